/*-------------------------------------------------------------------------
 *
 * collector.c
 *	  Reads the server's state into samples.
 *
 * Everything comes from shared memory or from core's cumulative statistics,
 * which are in shared memory, too.  No catalog is read and no heavyweight
 * lock is taken, so a scrape does not wait for anything that a user can hold,
 * needs neither a transaction nor a database, and works on a standby.  The
 * locks on the way are lightweight ones that core holds for moments.
 *
 * Freshness.  Core keeps snapshots, and a scrape must see neither an old one
 * nor leave its own behind.  Cumulative statistics obey
 * stats_fetch_consistency: we read them with "none", which neither looks at
 * the snapshot of the current transaction nor adds to it, and put back what
 * reading the fixed-numbered kinds overwrites.  A transaction that reads
 * pg_stat_database and the like sees what it would have seen without us.  As
 * to the entries of backends, see server_backends.c.
 *
 * Databases.  Those that counters.c tells apart have their own series; the
 * rest is summed into "other".  Which databases exist, connected to or not,
 * is seen from the names of their directories.
 *
 * Sums over databases would go backwards with DROP DATABASE and
 * pg_stat_reset(), and a rate over them would show a peak that never was.  So
 * sums are kept in shared memory and only their growth is added (RunningSum).
 * Who scrapes, updates them under the lock, held while the statistics of the
 * databases are read; two scrapes at a time take turns for these
 * microseconds.
 *
 * Caveats:
 * - Backends report their statistics now and then (at most once a second, at
 *   the latest when they exit), not with each statement.
 * - "other" counts transactions from the first scrape on, because databases
 *   leave it when they get a series of their own.
 * - What a sum grows by while a database leaves it is lost where the two
 *   cancel out.  With the server, sums start anew without databases that were
 *   dropped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "common/relpath.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/pgstat_internal.h"
#include "utils/timestamp.h"

#include "collector.h"
#include "compat.h"
#include "counters.h"
#include "label.h"
#include "server_backends.h"

/* Stands for objects that belong to all databases, in core's statistics */
#define SHARED_OBJECTS	InvalidOid

/* A sum that does not shrink */
typedef struct RunningSum
{
	uint64		seen;			/* the sum when it was last read */
	uint64		total;			/* what it has grown by so far */
} RunningSum;

/* Everything under lock */
typedef struct CollectorShared
{
	LWLock	   *lock;
	bool		started;		/* the first scrape has been */
	RunningSum	blocks_hit;
	RunningSum	blocks_missed;
	RunningSum	other_commits;
	RunningSum	other_rollbacks;
} CollectorShared;

/* States of a connection; the order of state_names */
typedef enum ConnectionState
{
	CONNECTION_STARTING,
	CONNECTION_ACTIVE,
	CONNECTION_IDLE,
	CONNECTION_IDLE_IN_TRANSACTION,
	CONNECTION_IDLE_IN_TRANSACTION_ABORTED,
	CONNECTION_FASTPATH,
	CONNECTION_DISABLED,
	CONNECTION_STATES
} ConnectionState;

/* Those of pg_stat_activity, with underscores */
static const char *const state_names[CONNECTION_STATES] = {
	"starting", "active", "idle", "idle_in_transaction",
	"idle_in_transaction_aborted", "fastpath_function_call", "disabled"
};

/* How far a standby has come; the order of stage_names */
#define STAGES			4

static const char *const stage_names[STAGES] = {
	"sent", "written", "flushed", "replayed"
};

/* Indexed by WalSndState */
#define SENDER_STATES	(WALSNDSTATE_STOPPING + 1)

static const char *const sender_state_names[SENDER_STATES] = {
	"startup", "backup", "catchup", "streaming", "stopping"
};

/* The standbys that connect under one name, the slowest of them */
typedef struct Standby
{
	char		name[NAMEDATALEN * 3];	/* UTF-8 */
	bool		known[STAGES];
	uint64		lag[STAGES];	/* bytes */
} Standby;

/* What a scrape has read; in the current memory context */
typedef struct ServerState
{
	int			ndatabases;		/* those of counters.c */
	char		names[FOBS_MAX_DATABASES][FOBS_DATNAME_SIZE];
	Oid			oids[FOBS_MAX_DATABASES];

	/* from the entries of backends */
	int			connections[FOBS_MAX_DATABASES][CONNECTION_STATES];
	TimestampTz oldest_xact;	/* 0: nobody is in a transaction */
	int			nsenders;
	int		   *sender_pids;
	char		(*sender_names)[NAMEDATALEN * 3];

	/* from core's statistics */
	bool		measured[FOBS_MAX_DATABASES];
	uint64		commits[FOBS_MAX_DATABASES];
	uint64		rollbacks[FOBS_MAX_DATABASES];
	uint64		blocks_hit;
	uint64		blocks_missed;
	PgStat_CheckpointerStats checkpointer;
	PgStat_WalStats wal;
} ServerState;

static CollectorShared *shared = NULL;

static const FobsFamily connections_family = {
	"fraiseql_obs_db_connections", FOBS_GAUGE, NULL,
	"Client connections by database and state."
};
static const FobsFamily connections_max_family = {
	"fraiseql_obs_db_connections_max", FOBS_GAUGE, NULL,
	"Client connections that the server allows (max_connections)."
};
static const FobsFamily transactions_family = {
	"fraiseql_obs_db_transactions_total", FOBS_COUNTER, NULL,
	"Transactions that ended, by database and result."
};
static const FobsFamily oldest_transaction_family = {
	"fraiseql_obs_oldest_transaction_age_seconds", FOBS_GAUGE, "seconds",
	"Age of the oldest open transaction of a client or background worker, 0 if there is none."
};
static const FobsFamily oldest_xmin_family = {
	"fraiseql_obs_oldest_xmin_age_transactions", FOBS_GAUGE, NULL,
	"Transactions since the oldest one whose rows VACUUM must keep, for open and prepared transactions and replication slots."
};
static const FobsFamily oldest_unfrozen_family = {
	"fraiseql_obs_oldest_unfrozen_age_transactions", FOBS_GAUGE, NULL,
	"Transactions since the oldest one that is not frozen; short of 2^31 the server refuses to write."
};
static const FobsFamily cache_hits_family = {
	"fraiseql_obs_cache_hits_total", FOBS_COUNTER, NULL,
	"Look-ups that a cache could answer."
};
static const FobsFamily cache_misses_family = {
	"fraiseql_obs_cache_misses_total", FOBS_COUNTER, NULL,
	"Look-ups that a cache could not answer."
};
static const FobsFamily cache_hit_ratio_family = {
	"fraiseql_obs_cache_hit_ratio", FOBS_GAUGE, "ratio",
	"Share of a cache's look-ups that it could answer, of all so far."
};
static const FobsFamily cache_size_family = {
	"fraiseql_obs_cache_size_bytes", FOBS_GAUGE, "bytes",
	"Size of a cache."
};
static const FobsFamily wal_records_family = {
	"fraiseql_obs_wal_records_total", FOBS_COUNTER, NULL,
	"Records written to the write-ahead log."
};
static const FobsFamily wal_images_family = {
	"fraiseql_obs_wal_full_page_images_total", FOBS_COUNTER, NULL,
	"Full page images written to the write-ahead log."
};
static const FobsFamily wal_bytes_family = {
	"fraiseql_obs_wal_bytes_total", FOBS_COUNTER, "bytes",
	"Bytes written to the write-ahead log."
};
static const FobsFamily checkpoints_family = {
	"fraiseql_obs_checkpoints_total", FOBS_COUNTER, NULL,
	"Checkpoints by their cause: checkpoint_timeout or a request."
};
static const FobsFamily checkpoint_write_family = {
	"fraiseql_obs_checkpoint_write_seconds_total", FOBS_COUNTER, "seconds",
	"Time that checkpoints spent on writing files."
};
static const FobsFamily checkpoint_sync_family = {
	"fraiseql_obs_checkpoint_sync_seconds_total", FOBS_COUNTER, "seconds",
	"Time that checkpoints spent on synchronizing files to disk."
};
static const FobsFamily checkpoint_buffers_family = {
	"fraiseql_obs_checkpoint_buffers_written_total", FOBS_COUNTER, NULL,
	"Shared buffers written by checkpoints."
};
static const FobsFamily in_recovery_family = {
	"fraiseql_obs_in_recovery", FOBS_GAUGE, NULL,
	"1 on a standby and during recovery, 0 on a primary."
};
static const FobsFamily streaming_family = {
	"fraiseql_obs_replication_streaming", FOBS_GAUGE, NULL,
	"1 if this standby receives a stream of changes, 0 if not."
};
static const FobsFamily replay_delay_family = {
	"fraiseql_obs_replication_replay_delay_seconds", FOBS_GAUGE, "seconds",
	"Age of the last transaction that this standby replayed, 0 if it has replayed all that the stream brought."
};
static const FobsFamily replay_lag_family = {
	"fraiseql_obs_replication_replay_lag_bytes", FOBS_GAUGE, "bytes",
	"What this standby has received and not replayed."
};
static const FobsFamily senders_family = {
	"fraiseql_obs_replication_senders", FOBS_GAUGE, NULL,
	"Connections that this server sends changes to, by state."
};
static const FobsFamily standby_lag_family = {
	"fraiseql_obs_replication_lag_bytes", FOBS_GAUGE, "bytes",
	"How far the slowest receiver of an application_name is behind this server, by stage."
};

static void read_databases(ServerState *state);
static void read_backends(ServerState *state);
static void read_backend(const PgBackendStatus *backend, void *arg);
static void read_statistics(ServerState *state);
static void read_fresh_statistics(ServerState *state);
static void read_database_statistics(ServerState *state, const Oid *oids,
									 int noids);
static Oid *list_databases(int *noids);
static int	list_databases_in(const char *path, Oid **oids, int noids,
							  int *size);
static int	database_index(const ServerState *state, Oid oid);
static ConnectionState connection_state(BackendState state);
static void write_sessions(FobsWriter *writer, const ServerState *state);
static void write_transactions(FobsWriter *writer, const ServerState *state);
static void write_horizons(FobsWriter *writer, const ServerState *state);
static void write_cache(FobsWriter *writer, const ServerState *state);
static void write_wal(FobsWriter *writer, const ServerState *state);
static void write_checkpoints(FobsWriter *writer, const ServerState *state);
static void write_standby(FobsWriter *writer);
static void write_senders(FobsWriter *writer, const ServerState *state,
						  bool in_recovery);
static void write_single(FobsWriter *writer, const FobsFamily *family,
						 double value);

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_collector_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(CollectorShared));
	RequestNamedLWLockTranche("fraiseql_obs_collector", 1);
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_collector_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_collector",
							 sizeof(CollectorShared), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(CollectorShared));
	shared->lock = &GetNamedLWLockTranche("fraiseql_obs_collector")->lock;
}

/*
 * Writes the families about the server itself.  Allocates in the current
 * memory context.  Raises an error only where core does: out of memory, or
 * the query is cancelled.
 */
void
fobs_collector_write(FobsWriter *writer)
{
	ServerState *state = palloc0(sizeof(ServerState));
	bool		in_recovery = RecoveryInProgress();

	read_databases(state);
	read_backends(state);
	read_statistics(state);

	write_sessions(writer, state);
	write_transactions(writer, state);
	write_horizons(writer, state);
	write_cache(writer, state);
	write_wal(writer, state);
	write_checkpoints(writer, state);
	write_single(writer, &in_recovery_family, in_recovery);
	if (in_recovery)
		write_standby(writer);
	write_senders(writer, state, in_recovery);
	pfree(state);
}

static void
read_databases(ServerState *state)
{
	state->ndatabases = fobs_counters_databases(state->names, state->oids);
}

/* The entry of a database in counters.c, or that of "other" */
static int
database_index(const ServerState *state, Oid oid)
{
	for (int i = 0; i < state->ndatabases; i++)
	{
		if (i != FOBS_DATABASE_OTHER && state->oids[i] == oid &&
			OidIsValid(oid))
			return i;
	}
	return FOBS_DATABASE_OTHER;
}

/* Looks at what every backend says of itself. */
static void
read_backends(ServerState *state)
{
	state->sender_pids = palloc(Max(max_wal_senders, 1) * sizeof(int));
	state->sender_names = palloc(Max(max_wal_senders, 1) *
								 sizeof(*state->sender_names));

	fobs_backends_visit(read_backend, state);
}

static void
read_backend(const PgBackendStatus *backend, void *arg)
{
	ServerState *state = arg;
	TimestampTz xact_start = backend->st_xact_start_timestamp;

	if (backend->st_backendType == B_BACKEND)
		state->connections[database_index(state, backend->st_databaseid)]
			[connection_state(backend->st_state)]++;

	if (fobs_backends_in_transaction(backend) &&
		(state->oldest_xact == 0 || xact_start < state->oldest_xact))
		state->oldest_xact = xact_start;

	if (backend->st_backendType == B_WAL_SENDER &&
		state->nsenders < max_wal_senders)
	{
		const char *name = backend->st_appname;

		/* an empty label would be none */
		if (name[0] == '\0')
			name = "unknown";
		state->sender_pids[state->nsenders] = backend->st_procpid;
		fobs_label_copy(state->sender_names[state->nsenders],
						sizeof(state->sender_names[0]), name, strlen(name));
		state->nsenders++;
	}
}

static ConnectionState
connection_state(BackendState state)
{
	switch (state)
	{
		case STATE_RUNNING:
			return CONNECTION_ACTIVE;
		case STATE_IDLE:
			return CONNECTION_IDLE;
		case STATE_IDLEINTRANSACTION:
			return CONNECTION_IDLE_IN_TRANSACTION;
		case STATE_IDLEINTRANSACTION_ABORTED:
			return CONNECTION_IDLE_IN_TRANSACTION_ABORTED;
		case STATE_FASTPATH:
			return CONNECTION_FASTPATH;
		case STATE_DISABLED:
			return CONNECTION_DISABLED;
		default:
			/* has not said anything yet */
			return CONNECTION_STARTING;
	}
}

/*
 * Reads core's statistics past the current transaction's snapshot of them,
 * and leaves that as it was.
 */
static void
read_statistics(ServerState *state)
{
	PgStat_Snapshot *snapshot = &pgStatLocal.snapshot;
	int			consistency = pgstat_fetch_consistency;
	bool		fixed_valid[lengthof(snapshot->fixed_valid)];
	PgStat_FetchConsistency mode;
	PgStat_CheckpointerStats checkpointer;
	PgStat_WalStats wal;
	bool		have_snapshot;

	/* if a snapshot is due to be dropped, because of SET, let it happen now */
	(void) pgstat_get_stat_snapshot_timestamp(&have_snapshot);

	mode = snapshot->mode;
	memcpy(fixed_valid, snapshot->fixed_valid, sizeof(fixed_valid));
	checkpointer = snapshot->checkpointer;
	wal = snapshot->wal;

	PG_TRY();
	{
		pgstat_fetch_consistency = PGSTAT_FETCH_CONSISTENCY_NONE;
		read_fresh_statistics(state);
	}
	PG_FINALLY();
	{
		pgstat_fetch_consistency = consistency;
		snapshot->mode = mode;
		memcpy(snapshot->fixed_valid, fixed_valid, sizeof(fixed_valid));
		snapshot->checkpointer = checkpointer;
		snapshot->wal = wal;
	}
	PG_END_TRY();
}

static void
read_fresh_statistics(ServerState *state)
{
	int			noids;
	Oid		   *oids = list_databases(&noids);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	read_database_statistics(state, oids, noids);
	LWLockRelease(shared->lock);
	pfree(oids);

	state->checkpointer = *pgstat_fetch_stat_checkpointer();
	state->wal = *pgstat_fetch_stat_wal();
}

/* Adds what a sum has grown by since it was last seen; returns all of it. */
static uint64
advance(RunningSum *sum, uint64 now)
{
	if (now > sum->seen)
		sum->total += now - sum->seen;
	sum->seen = now;
	return sum->total;
}

/* Sums the statistics of the databases; caller holds the lock. */
static void
read_database_statistics(ServerState *state, const Oid *oids, int noids)
{
	uint64		hit = 0;
	uint64		missed = 0;
	uint64	   *commits = state->commits;
	uint64	   *rollbacks = state->rollbacks;

	for (int i = 0; i < noids; i++)
	{
		PgStat_StatDBEntry *entry = pgstat_fetch_stat_dbentry(oids[i]);
		int			database;

		if (entry == NULL)
			continue;
		database = database_index(state, oids[i]);
		state->measured[database] = true;
		commits[database] += PGSTAT_DB_FIELD(entry, xact_commit);
		rollbacks[database] += PGSTAT_DB_FIELD(entry, xact_rollback);
		hit += PGSTAT_DB_FIELD(entry, blocks_hit);
		missed += PGSTAT_DB_FIELD(entry, blocks_fetched) -
			PGSTAT_DB_FIELD(entry, blocks_hit);
		pfree(entry);
	}

	if (!shared->started)
	{
		shared->other_commits.seen = commits[FOBS_DATABASE_OTHER];
		shared->other_rollbacks.seen = rollbacks[FOBS_DATABASE_OTHER];
		shared->started = true;
	}
	state->measured[FOBS_DATABASE_OTHER] = true;
	commits[FOBS_DATABASE_OTHER] =
		advance(&shared->other_commits, commits[FOBS_DATABASE_OTHER]);
	rollbacks[FOBS_DATABASE_OTHER] =
		advance(&shared->other_rollbacks, rollbacks[FOBS_DATABASE_OTHER]);
	state->blocks_hit = advance(&shared->blocks_hit, hit);
	state->blocks_missed = advance(&shared->blocks_missed, missed);
}

static int
compare_oids(const void *a, const void *b)
{
	Oid			left = *(const Oid *) a;
	Oid			right = *(const Oid *) b;

	return left < right ? -1 : left > right;
}

/*
 * All databases that have a directory, in pg_default or another tablespace,
 * and SHARED_OBJECTS; each once.
 */
static Oid *
list_databases(int *noids)
{
	int			size = 64;
	Oid		   *oids = palloc(size * sizeof(Oid));
	DIR		   *tablespaces = AllocateDir("pg_tblspc");
	struct dirent *entry;
	int			n = 0;

	oids[n++] = SHARED_OBJECTS;
	n = list_databases_in("base", &oids, n, &size);
	while ((entry = ReadDirExtended(tablespaces, "pg_tblspc", DEBUG1)) != NULL)
	{
		char		path[MAXPGPATH];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "pg_tblspc/%s/%s", entry->d_name,
				 TABLESPACE_VERSION_DIRECTORY);
		n = list_databases_in(path, &oids, n, &size);
	}
	FreeDir(tablespaces);

	qsort(oids, n, sizeof(Oid), compare_oids);
	*noids = qunique(oids, n, sizeof(Oid), compare_oids);
	return oids;
}

/* Appends the databases of one directory; returns how many there are now. */
static int
list_databases_in(const char *path, Oid **oids, int noids, int *size)
{
	DIR		   *dir = AllocateDir(path);
	struct dirent *entry;

	while ((entry = ReadDirExtended(dir, path, DEBUG1)) != NULL)
	{
		if (entry->d_name[strspn(entry->d_name, "0123456789")] != '\0')
			continue;
		if (noids == *size)
		{
			*size *= 2;
			*oids = repalloc(*oids, *size * sizeof(Oid));
		}
		(*oids)[noids++] = atooid(entry->d_name);
	}
	FreeDir(dir);
	return noids;
}

static void
write_single(FobsWriter *writer, const FobsFamily *family, double value)
{
	fobs_write_family(writer, family);
	fobs_write_sample(writer, NULL, 0, value);
}

static void
write_sessions(FobsWriter *writer, const ServerState *state)
{
	fobs_write_family(writer, &connections_family);
	for (int i = 0; i < state->ndatabases; i++)
	{
		for (int s = 0; s < CONNECTION_STATES; s++)
		{
			FobsLabel	labels[] = {
				{"datname", state->names[i]},
				{"state", state_names[s]}
			};

			fobs_write_sample(writer, labels, lengthof(labels),
							  state->connections[i][s]);
		}
	}
	write_single(writer, &connections_max_family, MaxConnections);
}

static void
write_transactions(FobsWriter *writer, const ServerState *state)
{
	fobs_write_family(writer, &transactions_family);
	for (int i = 0; i < state->ndatabases; i++)
	{
		FobsLabel	labels[] = {
			{"datname", state->names[i]},
			{"result", "committed"}
		};

		if (!state->measured[i])
			continue;
		fobs_write_sample(writer, labels, lengthof(labels),
						  state->commits[i]);
		labels[1].value = "rolled_back";
		fobs_write_sample(writer, labels, lengthof(labels),
						  state->rollbacks[i]);
	}
}

/* How long ago a transaction identifier was the next one */
static double
xid_age(TransactionId xid, TransactionId next)
{
	return Max((int32) (next - xid), 0);
}

static void
write_horizons(FobsWriter *writer, const ServerState *state)
{
	TransactionId oldest_xmin = GetOldestNonRemovableTransactionId(NULL);
	TransactionId next = ReadNextTransactionId();
	TransactionId oldest_unfrozen;
	double		age = 0;

	if (state->oldest_xact != 0)
		age = (GetCurrentTimestamp() - state->oldest_xact) /
			(double) USECS_PER_SEC;
	write_single(writer, &oldest_transaction_family, Max(age, 0));

	if (TransactionIdIsNormal(oldest_xmin))
		write_single(writer, &oldest_xmin_family, xid_age(oldest_xmin, next));

	LWLockAcquire(XidGenLock, LW_SHARED);
	oldest_unfrozen = TransamVariables->oldestXid;
	LWLockRelease(XidGenLock);
	if (TransactionIdIsNormal(oldest_unfrozen))
		write_single(writer, &oldest_unfrozen_family,
					 xid_age(oldest_unfrozen, next));
}

static void
write_cache(FobsWriter *writer, const ServerState *state)
{
	FobsLabel	label = {"cache_type", "shared_buffers"};
	uint64		hit = state->blocks_hit;
	uint64		missed = state->blocks_missed;

	fobs_write_family(writer, &cache_hits_family);
	fobs_write_sample(writer, &label, 1, hit);
	fobs_write_family(writer, &cache_misses_family);
	fobs_write_sample(writer, &label, 1, missed);
	fobs_write_family(writer, &cache_hit_ratio_family);
	if (hit + missed > 0)
		fobs_write_sample(writer, &label, 1, hit / (double) (hit + missed));
	fobs_write_family(writer, &cache_size_family);
	fobs_write_sample(writer, &label, 1, (double) NBuffers * BLCKSZ);
}

static void
write_wal(FobsWriter *writer, const ServerState *state)
{
	write_single(writer, &wal_records_family,
				 PGSTAT_WAL_FIELD(&state->wal, wal_records));
	write_single(writer, &wal_images_family,
				 PGSTAT_WAL_FIELD(&state->wal, wal_fpi));
	write_single(writer, &wal_bytes_family,
				 PGSTAT_WAL_FIELD(&state->wal, wal_bytes));
}

static void
write_checkpoints(FobsWriter *writer, const ServerState *state)
{
	const PgStat_CheckpointerStats *stats = &state->checkpointer;
	FobsLabel	label = {"cause", "timed"};

	fobs_write_family(writer, &checkpoints_family);
	fobs_write_sample(writer, &label, 1, stats->num_timed);
	label.value = "requested";
	fobs_write_sample(writer, &label, 1, stats->num_requested);

	/* core has milliseconds */
	write_single(writer, &checkpoint_write_family, stats->write_time / 1e3);
	write_single(writer, &checkpoint_sync_family, stats->sync_time / 1e3);
	write_single(writer, &checkpoint_buffers_family, stats->buffers_written);
}

/*
 * What a standby knows of itself.  On an idle primary the last transaction
 * grows old without anything being late, so positions decide: who streams and
 * has replayed all that was received is not behind.
 */
static void
write_standby(FobsWriter *writer)
{
	XLogRecPtr	replayed = GetXLogReplayRecPtr(NULL);
	XLogRecPtr	received = Max(GetWalRcvFlushRecPtr(NULL, NULL), replayed);
	TimestampTz last_xact = GetLatestXTime();
	bool		streaming;
	double		delay;

	SpinLockAcquire(&WalRcv->mutex);
	streaming = WalRcv->walRcvState == WALRCV_STREAMING;
	SpinLockRelease(&WalRcv->mutex);

	write_single(writer, &streaming_family, streaming);
	write_single(writer, &replay_lag_family, received - replayed);
	fobs_write_family(writer, &replay_delay_family);
	if (streaming && received == replayed)
		fobs_write_sample(writer, NULL, 0, 0);
	else if (last_xact != 0)
	{
		delay = (GetCurrentTimestamp() - last_xact) / (double) USECS_PER_SEC;
		fobs_write_sample(writer, NULL, 0, Max(delay, 0));
	}
}

/* Finds or adds a standby by its name, so that no series appears twice. */
static Standby *
find_standby(Standby *standbys, int *nstandbys, const char *name)
{
	for (int i = 0; i < *nstandbys; i++)
	{
		if (strcmp(standbys[i].name, name) == 0)
			return &standbys[i];
	}
	strlcpy(standbys[*nstandbys].name, name, sizeof(standbys->name));
	return &standbys[(*nstandbys)++];
}

/* Notes how far one receiver is behind; positions may not be known yet. */
static void
note_standby(Standby *standby, XLogRecPtr here,
			 const XLogRecPtr positions[STAGES])
{
	for (int stage = 0; stage < STAGES; stage++)
	{
		uint64		lag;

		if (XLogRecPtrIsInvalid(positions[stage]))
			continue;
		lag = here > positions[stage] ? here - positions[stage] : 0;
		standby->lag[stage] = Max(standby->lag[stage], lag);
		standby->known[stage] = true;
	}
}

/* How far those are that this server sends changes to. */
static void
write_senders(FobsWriter *writer, const ServerState *state, bool in_recovery)
{
	XLogRecPtr	here;
	Standby    *standbys = palloc0(Max(max_wal_senders, 1) * sizeof(Standby));
	int			nstandbys = 0;
	int			senders[SENDER_STATES] = {0};

	if (in_recovery)
		here = Max(GetWalRcvFlushRecPtr(NULL, NULL),
				   GetXLogReplayRecPtr(NULL));
	else
		here = GetFlushRecPtr(NULL);

	for (int i = 0; i < max_wal_senders; i++)
	{
		WalSnd	   *walsnd = &WalSndCtl->walsnds[i];
		XLogRecPtr	positions[STAGES];
		WalSndState sender_state;
		int			pid;

		SpinLockAcquire(&walsnd->mutex);
		pid = walsnd->pid;
		sender_state = walsnd->state;
		positions[0] = walsnd->sentPtr;
		positions[1] = walsnd->write;
		positions[2] = walsnd->flush;
		positions[3] = walsnd->apply;
		SpinLockRelease(&walsnd->mutex);

		if (pid == 0)
			continue;
		senders[sender_state]++;
		for (int j = 0; j < state->nsenders; j++)
		{
			if (state->sender_pids[j] == pid)
				note_standby(find_standby(standbys, &nstandbys,
										  state->sender_names[j]),
							 here, positions);
		}
	}

	fobs_write_family(writer, &senders_family);
	for (int i = 0; i < SENDER_STATES; i++)
	{
		FobsLabel	label = {"state", sender_state_names[i]};

		fobs_write_sample(writer, &label, 1, senders[i]);
	}

	fobs_write_family(writer, &standby_lag_family);
	for (int i = 0; i < nstandbys; i++)
	{
		for (int stage = 0; stage < STAGES; stage++)
		{
			FobsLabel	labels[] = {
				{"application_name", standbys[i].name},
				{"stage", stage_names[stage]}
			};

			if (standbys[i].known[stage])
				fobs_write_sample(writer, labels, lengthof(labels),
								  standbys[i].lag[stage]);
		}
	}
	pfree(standbys);
}
