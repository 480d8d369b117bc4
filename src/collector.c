/*-------------------------------------------------------------------------
 *
 * collector.c
 *	  Reads the server's state into samples.
 *
 * The families stand in server_*.c, by what they are about.  What holds for
 * all of them: everything comes from shared memory or from core's cumulative
 * statistics, which are in shared memory, too, except what the names of files
 * tell.  No catalog is read and no heavyweight lock is taken, so a scrape does
 * not wait for anything that a user can hold, needs neither a transaction nor
 * a database, and works on a standby and during recovery.  The locks on the
 * way are lightweight ones that core holds for moments.
 *
 * Databases.  Those that counters.c tells apart have their own series; the
 * rest, and what belongs to no database, is summed into "other".
 *
 * Caveat: backends report their statistics now and then (at most once a
 * second, at the latest when they exit), not with each statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/timestamp.h"

#include "collector.h"
#include "server.h"

/* The entry of a database in counters.c, or that of "other" */
int
fobs_server_database(const FobsServer *server, Oid oid)
{
	for (int i = 0; i < server->ndatabases; i++)
	{
		if (i != FOBS_DATABASE_OTHER && server->oids[i] == oid &&
			OidIsValid(oid))
			return i;
	}
	return FOBS_DATABASE_OTHER;
}

/* Writes a family of one sample without labels. */
void
fobs_server_write_single(FobsWriter *writer, const FobsFamily *family,
						 double value)
{
	fobs_write_family(writer, family);
	fobs_write_sample(writer, NULL, 0, value);
}

/* Writes a sample with one label. */
void
fobs_server_write_labelled(FobsWriter *writer, const char *name,
						   const char *value, double sample)
{
	FobsLabel	label = {name, value};

	fobs_write_sample(writer, &label, 1, sample);
}

/*
 * Writes the families about the server itself.  Allocates in the current
 * memory context.  Raises an error only where core does: out of memory, or
 * the query is cancelled.
 */
void
fobs_collector_write(FobsWriter *writer)
{
	FobsServer *server = palloc0(sizeof(FobsServer));

	server->now = GetCurrentTimestamp();
	server->in_recovery = RecoveryInProgress();
	fobs_horizons_read(&server->horizons);
	server->ndatabases = fobs_counters_databases(server->names, server->oids);

	fobs_server_activity_write(writer, server);
	fobs_server_databases_write(writer, server);
	fobs_server_locks_write(writer, server);
	fobs_server_horizons_write(writer, server);
	fobs_server_wal_write(writer, server);
	fobs_server_replication_write(writer, server);
	fobs_server_slots_write(writer, server);
	fobs_server_settings_write(writer);
	fobs_server_health_write(writer);
	pfree(server);
}
