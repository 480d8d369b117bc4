/*-------------------------------------------------------------------------
 *
 * counters.h
 *	  Statement counters by database, in shared memory.
 *
 * See counters.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_COUNTERS_H
#define FRAISEQL_OBS_COUNTERS_H

#include "datatype/timestamp.h"

#include "histogram.h"
#include "observation.h"

/* Bytes of a database name as a label, with its terminating zero */
#define FOBS_DATNAME_SIZE	(NAMEDATALEN * 3)

/* Databases told apart; entry 0 is the one called "other" */
#define FOBS_MAX_DATABASES	64
#define FOBS_DATABASE_OTHER 0

/* What is counted of the statements of one database. */
typedef struct FobsCounters
{
	FobsHistogram durations;	/* of every statement that ended */
	uint64		duration_ns;	/* sum of the durations */
	uint64		planning_ns;
	uint64		rows;
	uint64		slow;			/* took slow_query_threshold or longer */
} FobsCounters;

/* One database's line of a snapshot */
typedef struct FobsDatabaseSnapshot
{
	char		name[FOBS_DATNAME_SIZE];	/* UTF-8 */
	FobsCounters counters;		/* since the last reset */
} FobsDatabaseSnapshot;

extern void fobs_counters_shmem_request(void);
extern void fobs_counters_shmem_startup(void);
extern void fobs_counters_require(void);

/* This process */
#pragma GCC visibility push(hidden)
extern bool fobs_counters_attached;
#pragma GCC visibility pop
extern bool fobs_counters_attach_slot(void);
extern int	fobs_counters_database(void);
extern void fobs_counters_count(const FobsObservation *observation);
extern void fobs_counters_count_planning(uint64 planning_ns);

/*
 * Gives this process its slot, if it has none yet.  Returns whether it has
 * one now: processes that are in no database have not.
 */
static inline bool
fobs_counters_attach(void)
{
	return likely(fobs_counters_attached) || fobs_counters_attach_slot();
}

/* All processes */
extern int	fobs_counters_snapshot(FobsDatabaseSnapshot *snapshot);
extern int	fobs_counters_databases(char (*names)[FOBS_DATNAME_SIZE],
									Oid *oids);
extern void fobs_counters_reset(void);
extern TimestampTz fobs_counters_reset_mark(void);
extern TimestampTz fobs_counters_reset_at(void);

#endif							/* FRAISEQL_OBS_COUNTERS_H */
