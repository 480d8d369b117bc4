/*-------------------------------------------------------------------------
 *
 * server_statistics.h
 *	  Core's cumulative statistics, fresh in any transaction.
 *
 * See server_statistics.c for what that takes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SERVER_STATISTICS_H
#define FRAISEQL_OBS_SERVER_STATISTICS_H

#include "pgstat.h"

/* The kinds of statistics of which there is one */
typedef struct FobsStatistics
{
	PgStat_ArchiverStats archiver;
	PgStat_BgWriterStats bgwriter;
	PgStat_CheckpointerStats checkpointer;
	PgStat_WalStats wal;
} FobsStatistics;

typedef void (*FobsStatisticsReader) (void *arg);

extern void fobs_statistics_read(FobsStatisticsReader read, void *arg);
extern void fobs_statistics_read_single(FobsStatistics *statistics);

#endif							/* FRAISEQL_OBS_SERVER_STATISTICS_H */
