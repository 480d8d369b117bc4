/*-------------------------------------------------------------------------
 *
 * server_statistics.c
 *	  Core's cumulative statistics, fresh in any transaction.
 *
 * Core keeps a snapshot of them as stats_fetch_consistency says, and a scrape
 * must see neither an old one nor leave its own behind.  We read them with
 * "none", which neither looks at the snapshot of the current transaction nor
 * adds to it, and put back what reading the kinds of which there is one
 * overwrites.  A transaction that reads pg_stat_database and the like sees
 * what it would have seen without us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/pgstat_internal.h"

#include "server_statistics.h"

/* Copies what a snapshot has of the kinds of which there is one. */
static void
copy_single(FobsStatistics *statistics, const PgStat_Snapshot *snapshot)
{
	statistics->archiver = snapshot->archiver;
	statistics->bgwriter = snapshot->bgwriter;
	statistics->checkpointer = snapshot->checkpointer;
	statistics->wal = snapshot->wal;
}

/* Calls a function that sees statistics as they are now. */
void
fobs_statistics_read(FobsStatisticsReader read, void *arg)
{
	PgStat_Snapshot *snapshot = &pgStatLocal.snapshot;
	int			consistency = pgstat_fetch_consistency;
	bool		fixed_valid[lengthof(snapshot->fixed_valid)];
	PgStat_FetchConsistency mode;
	FobsStatistics before;
	bool		have_snapshot;

	/* if a snapshot is due to be dropped, because of SET, let it happen now */
	(void) pgstat_get_stat_snapshot_timestamp(&have_snapshot);

	mode = snapshot->mode;
	memcpy(fixed_valid, snapshot->fixed_valid, sizeof(fixed_valid));
	copy_single(&before, snapshot);

	PG_TRY();
	{
		pgstat_fetch_consistency = PGSTAT_FETCH_CONSISTENCY_NONE;
		read(arg);
	}
	PG_FINALLY();
	{
		pgstat_fetch_consistency = consistency;
		snapshot->mode = mode;
		memcpy(snapshot->fixed_valid, fixed_valid, sizeof(fixed_valid));
		snapshot->archiver = before.archiver;
		snapshot->bgwriter = before.bgwriter;
		snapshot->checkpointer = before.checkpointer;
		snapshot->wal = before.wal;
	}
	PG_END_TRY();
}

static void
read_single(void *arg)
{
	(void) pgstat_fetch_stat_archiver();
	(void) pgstat_fetch_stat_bgwriter();
	(void) pgstat_fetch_stat_checkpointer();
	(void) pgstat_fetch_stat_wal();
	copy_single(arg, &pgStatLocal.snapshot);
}

/* Reads the kinds of which there is one. */
void
fobs_statistics_read_single(FobsStatistics *statistics)
{
	fobs_statistics_read(read_single, statistics);
}
