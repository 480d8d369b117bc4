/*-------------------------------------------------------------------------
 *
 * server_locks.c
 *	  Heavyweight locks by database and mode, and who waits for one.
 *
 * Core copies all locks, under the lightweight locks of the lock table, as it
 * does for pg_locks: the more locks are held, the longer it takes, up to what
 * max_locks_per_transaction makes room for.
 *
 * A lock of something that belongs to no database, as a shared catalog or a
 * transaction identifier, is among "other".  Advisory locks count like others;
 * predicate locks of serializable transactions do not, as nobody waits for
 * them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/lock.h"

#include "server.h"

#define LOCK_MODES	(MaxLockMode + 1)

static const FobsFamily locks_family = {
	"fraiseql_obs_locks", FOBS_GAUGE, NULL,
	"Locks that are held, by database and mode."
};
static const FobsFamily lock_waits_family = {
	"fraiseql_obs_lock_waits", FOBS_GAUGE, NULL,
	"Locks that somebody waits for, by database."
};

/* The database of what is locked, as pg_locks has it */
static Oid
lock_database(const LOCKTAG *tag)
{
	switch ((LockTagType) tag->locktag_type)
	{
		case LOCKTAG_TRANSACTION:
		case LOCKTAG_VIRTUALTRANSACTION:
		case LOCKTAG_SPECULATIVE_TOKEN:
			return InvalidOid;
		default:
			/* all others begin with it */
			return tag->locktag_field1;
	}
}

void
fobs_server_locks_write(FobsWriter *writer, const FobsServer *server)
{
	int			held[FOBS_MAX_DATABASES][LOCK_MODES] = {{0}};
	int			waits[FOBS_MAX_DATABASES] = {0};
	LockData   *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		Oid			oid = lock_database(&lock->locktag);
		int			database = fobs_server_database(server, oid);

		for (int mode = 1; mode < LOCK_MODES; mode++)
		{
			if ((lock->holdMask & LOCKBIT_ON(mode)) != 0)
				held[database][mode]++;
		}
		if (lock->waitLockMode != NoLock)
			waits[database]++;
	}
	pfree(locks->locks);
	pfree(locks);

	fobs_write_family(writer, &locks_family);
	for (int i = 0; i < server->ndatabases; i++)
	{
		for (int mode = 1; mode < LOCK_MODES; mode++)
		{
			FobsLabel	labels[] = {
				{"datname", server->names[i]},
				{"mode", GetLockmodeName(DEFAULT_LOCKMETHOD, mode)}
			};

			fobs_write_sample(writer, labels, lengthof(labels),
							  held[i][mode]);
		}
	}
	fobs_write_family(writer, &lock_waits_family);
	for (int i = 0; i < server->ndatabases; i++)
		fobs_server_write_labelled(writer, "datname", server->names[i],
								   waits[i]);
}
