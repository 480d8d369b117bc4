/*-------------------------------------------------------------------------
 *
 * server_backends.c
 *	  What every process of the server says of itself.
 *
 * Core copies the entries of backends once per transaction, whatever
 * stats_fetch_consistency says, and the copy cannot be put back.  We drop it
 * before and after: what is read is fresh, and pg_stat_activity is read anew
 * afterwards in the same transaction.  The copy is as large as the server may
 * have backends, with the texts of their statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgstat.h"

#include "compat.h"
#include "server_backends.h"

/* Calls a function for the entry of each process that has one. */
void
fobs_backends_visit(FobsBackendVisitor visit, void *arg)
{
	int			nbackends;

	pgstat_clear_backend_activity_snapshot();
	nbackends = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= nbackends; i++)
		visit(&pgstat_get_local_beentry_by_index(i)->backendStatus, arg);
	pgstat_clear_backend_activity_snapshot();
}

/* Does it have a transaction open that somebody began on purpose? */
bool
fobs_backends_in_transaction(const PgBackendStatus *backend)
{
	return (backend->st_backendType == B_BACKEND ||
			backend->st_backendType == B_BG_WORKER) &&
		backend->st_xact_start_timestamp != 0;
}
