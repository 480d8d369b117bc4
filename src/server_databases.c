/*-------------------------------------------------------------------------
 *
 * server_databases.c
 *	  What core counts by database: transactions, blocks, rows, temporary
 *	  files, deadlocks, conflicts, sessions.
 *
 * Which databases exist, connected to or not, is seen from the names of their
 * directories.
 *
 * Sums over databases would go backwards with DROP DATABASE and
 * pg_stat_reset(), and a rate over them would show a peak that never was.  So
 * sums are kept in shared memory and only their growth is added (RunningSum).
 * Who scrapes, updates them under the lock, held while the statistics of the
 * databases are read; two scrapes at a time take turns for these
 * microseconds.
 *
 * Caveats:
 * - "other" counts from the first scrape on, because databases leave it when
 *   they get a series of their own.
 * - What a sum grows by while a database leaves it is lost where the two
 *   cancel out.  With the server, sums start anew without databases that were
 *   dropped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "common/relpath.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "compat.h"
#include "server.h"
#include "server_statistics.h"

/* Stands for objects that belong to all databases, in core's statistics */
#define SHARED_OBJECTS	InvalidOid

static const FobsFamily transactions_family = {
	"fraiseql_obs_db_transactions_total", FOBS_COUNTER, NULL,
	"Transactions that ended, by database and result."
};
static const FobsFamily blocks_family = {
	"fraiseql_obs_db_blocks_total", FOBS_COUNTER, NULL,
	"Blocks that were looked for in shared buffers, by database and whether they were there or had to be read."
};
static const FobsFamily tuples_family = {
	"fraiseql_obs_db_tuples_total", FOBS_COUNTER, NULL,
	"Rows of tables and indexes, by database and what was done with them."
};
static const FobsFamily temp_files_family = {
	"fraiseql_obs_db_temp_files_total", FOBS_COUNTER, NULL,
	"Temporary files that statements created, by database."
};
static const FobsFamily temp_bytes_family = {
	"fraiseql_obs_db_temp_bytes_total", FOBS_COUNTER, "bytes",
	"Bytes written to temporary files, by database."
};
static const FobsFamily deadlocks_family = {
	"fraiseql_obs_db_deadlocks_total", FOBS_COUNTER, NULL,
	"Deadlocks that were found, by database."
};
static const FobsFamily conflicts_family = {
	"fraiseql_obs_db_conflicts_total", FOBS_COUNTER, NULL,
	"Statements that a standby cancelled because of replay, by database and cause."
};
static const FobsFamily io_family = {
	"fraiseql_obs_db_io_seconds_total", FOBS_COUNTER, "seconds",
	"Time spent on reading and writing files of tables, by database; where track_io_timing is on."
};
static const FobsFamily sessions_family = {
	"fraiseql_obs_db_sessions_total", FOBS_COUNTER, NULL,
	"Sessions that began, by database."
};
static const FobsFamily sessions_lost_family = {
	"fraiseql_obs_db_sessions_lost_total", FOBS_COUNTER, NULL,
	"Sessions that did not end in order, by database and cause."
};
static const FobsFamily session_time_family = {
	"fraiseql_obs_db_session_seconds_total", FOBS_COUNTER, "seconds",
	"Time that sessions lasted, by database."
};
static const FobsFamily active_time_family = {
	"fraiseql_obs_db_active_seconds_total", FOBS_COUNTER, "seconds",
	"Time that sessions spent on executing statements, by database."
};
static const FobsFamily idle_in_transaction_family = {
	"fraiseql_obs_db_idle_in_transaction_seconds_total", FOBS_COUNTER, "seconds",
	"Time that sessions were idle within a transaction, by database."
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

/* What is written of each database; lines of a family stand together */
typedef struct DatabaseLine
{
	const FobsFamily *family;
	const char *label;			/* besides datname, or NULL */
	const char *value;
	size_t		field;			/* of PgStat_StatDBEntry */
	double		units;			/* of the field in one of the family */
} DatabaseLine;

#define LINE(family, label, value, field, units) \
	{&family, label, value, PGSTAT_DB_OFFSET(field), units}

static const DatabaseLine lines[] = {
	LINE(transactions_family, "result", "committed", xact_commit, 1),
	LINE(transactions_family, "result", "rolled_back", xact_rollback, 1),
	LINE(blocks_family, "result", "hit", blocks_hit, 1),
	/* those not hit are those fetched without these, see read_line() */
	LINE(blocks_family, "result", "read", blocks_fetched, 1),
	LINE(tuples_family, "action", "returned", tuples_returned, 1),
	LINE(tuples_family, "action", "fetched", tuples_fetched, 1),
	LINE(tuples_family, "action", "inserted", tuples_inserted, 1),
	LINE(tuples_family, "action", "updated", tuples_updated, 1),
	LINE(tuples_family, "action", "deleted", tuples_deleted, 1),
	LINE(temp_files_family, NULL, NULL, temp_files, 1),
	LINE(temp_bytes_family, NULL, NULL, temp_bytes, 1),
	LINE(deadlocks_family, NULL, NULL, deadlocks, 1),
	LINE(conflicts_family, "cause", "tablespace", conflict_tablespace, 1),
	LINE(conflicts_family, "cause", "lock", conflict_lock, 1),
	LINE(conflicts_family, "cause", "snapshot", conflict_snapshot, 1),
	LINE(conflicts_family, "cause", "bufferpin", conflict_bufferpin, 1),
	LINE(conflicts_family, "cause", "deadlock", conflict_startup_deadlock, 1),
	SINCE_16(LINE(conflicts_family, "cause", "logicalslot", conflict_logicalslot, 1),)
	/* core has microseconds */
	LINE(io_family, "action", "read", blk_read_time, 1e6),
	LINE(io_family, "action", "write", blk_write_time, 1e6),
	LINE(sessions_family, NULL, NULL, sessions, 1),
	LINE(sessions_lost_family, "cause", "abandoned", sessions_abandoned, 1),
	LINE(sessions_lost_family, "cause", "fatal", sessions_fatal, 1),
	LINE(sessions_lost_family, "cause", "killed", sessions_killed, 1),
	LINE(session_time_family, NULL, NULL, session_time, 1e6),
	LINE(active_time_family, NULL, NULL, active_time, 1e6),
	LINE(idle_in_transaction_family, NULL, NULL, idle_in_transaction_time, 1e6)
};

#define LINES	lengthof(lines)

/* Shared memory is the same in all versions of PostgreSQL. */
#define MAX_LINES 32

StaticAssertDecl(lengthof(lines) <= MAX_LINES, "too many lines");

/* A sum that does not shrink */
typedef struct RunningSum
{
	uint64		seen;			/* the sum when it was last read */
	uint64		total;			/* what it has grown by so far */
} RunningSum;

/* Everything under lock */
typedef struct DatabasesShared
{
	LWLock	   *lock;
	bool		started;		/* the first scrape has been */
	RunningSum	blocks_hit;
	RunningSum	blocks_missed;
	RunningSum	other[MAX_LINES];
} DatabasesShared;

/* What a scrape has read */
typedef struct DatabaseValues
{
	const FobsServer *server;
	bool		measured[FOBS_MAX_DATABASES];
	uint64		values[FOBS_MAX_DATABASES][LINES];
	uint64		blocks_hit;
	uint64		blocks_missed;
} DatabaseValues;

static DatabasesShared *shared = NULL;

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_server_databases_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(DatabasesShared));
	RequestNamedLWLockTranche("fraiseql_obs_databases", 1);
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_server_databases_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_databases",
							 sizeof(DatabasesShared), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(DatabasesShared));
	shared->lock = &GetNamedLWLockTranche("fraiseql_obs_databases")->lock;
}

static int
compare_oids(const void *a, const void *b)
{
	Oid			left = *(const Oid *) a;
	Oid			right = *(const Oid *) b;

	return left < right ? -1 : left > right;
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

/* Adds what a sum has grown by since it was last seen; returns all of it. */
static uint64
advance(RunningSum *sum, uint64 now)
{
	if (now > sum->seen)
		sum->total += now - sum->seen;
	sum->seen = now;
	return sum->total;
}

/* What a line says of a database */
static uint64
read_line(const DatabaseLine *line, const PgStat_StatDBEntry *entry)
{
	PgStat_Counter value = *(const PgStat_Counter *)
	((const char *) entry + line->field);

	/* core counts all that were looked for, and has another for those hit */
	if (line->field == PGSTAT_DB_OFFSET(blocks_fetched))
		value -= PGSTAT_DB_FIELD(entry, blocks_hit);
	return Max(value, 0);
}

/* Sums the statistics of the databases; caller holds the lock. */
static void
sum_databases(DatabaseValues *sums, const Oid *oids, int noids)
{
	uint64		hit = 0;
	uint64		missed = 0;
	uint64	   *other = sums->values[FOBS_DATABASE_OTHER];

	for (int i = 0; i < noids; i++)
	{
		PgStat_StatDBEntry *entry = pgstat_fetch_stat_dbentry(oids[i]);
		int			database;

		if (entry == NULL)
			continue;
		database = fobs_server_database(sums->server, oids[i]);
		sums->measured[database] = true;
		for (int l = 0; l < LINES; l++)
			sums->values[database][l] += read_line(&lines[l], entry);
		hit += PGSTAT_DB_FIELD(entry, blocks_hit);
		missed += PGSTAT_DB_FIELD(entry, blocks_fetched) -
			PGSTAT_DB_FIELD(entry, blocks_hit);
		pfree(entry);
	}

	sums->measured[FOBS_DATABASE_OTHER] = true;
	for (int l = 0; l < LINES; l++)
	{
		if (!shared->started)
			shared->other[l].seen = other[l];
		other[l] = advance(&shared->other[l], other[l]);
	}
	shared->started = true;
	sums->blocks_hit = advance(&shared->blocks_hit, hit);
	sums->blocks_missed = advance(&shared->blocks_missed, missed);
}

static void
read_databases(void *arg)
{
	int			noids;
	Oid		   *oids = list_databases(&noids);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	sum_databases(arg, oids, noids);
	LWLockRelease(shared->lock);
	pfree(oids);
}

/* Writes the lines of a family, from the first one on; returns the next. */
static int
write_lines(FobsWriter *writer, const DatabaseValues *sums, int first)
{
	const FobsFamily *family = lines[first].family;
	int			next = first;

	while (next < LINES && lines[next].family == family)
		next++;

	fobs_write_family(writer, family);
	for (int i = 0; i < sums->server->ndatabases; i++)
	{
		for (int l = first; l < next && sums->measured[i]; l++)
		{
			FobsLabel	labels[] = {
				{"datname", sums->server->names[i]},
				{lines[l].label, lines[l].value}
			};

			fobs_write_sample(writer, labels,
							  lines[l].label == NULL ? 1 : lengthof(labels),
							  sums->values[i][l] / lines[l].units);
		}
	}
	return next;
}

static void
write_cache(FobsWriter *writer, const DatabaseValues *sums)
{
	const char *type = "shared_buffers";
	uint64		hit = sums->blocks_hit;
	uint64		missed = sums->blocks_missed;

	fobs_write_family(writer, &cache_hits_family);
	fobs_server_write_labelled(writer, "cache_type", type, hit);
	fobs_write_family(writer, &cache_misses_family);
	fobs_server_write_labelled(writer, "cache_type", type, missed);
	fobs_write_family(writer, &cache_hit_ratio_family);
	if (hit + missed > 0)
		fobs_server_write_labelled(writer, "cache_type", type,
								   hit / (double) (hit + missed));
	fobs_write_family(writer, &cache_size_family);
	fobs_server_write_labelled(writer, "cache_type", type,
							   (double) NBuffers * BLCKSZ);
}

void
fobs_server_databases_write(FobsWriter *writer, const FobsServer *server)
{
	DatabaseValues *sums = palloc0(sizeof(DatabaseValues));

	sums->server = server;
	fobs_statistics_read(read_databases, sums);
	for (int line = 0; line < LINES;)
		line = write_lines(writer, sums, line);
	write_cache(writer, sums);
	pfree(sums);
}
