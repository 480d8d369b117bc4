/*-------------------------------------------------------------------------
 *
 * queries.h
 *	  One series per (database, user, query identifier, toplevel).
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_QUERIES_H
#define FRAISEQL_OBS_QUERIES_H

#include "series.h"

/* Has no padding: the key is hashed and compared as bytes. */
typedef struct FobsQueryKey
{
	int64		queryid;		/* 0: the server computes none */
	Oid			dbid;
	Oid			userid;
	int64		toplevel;
} FobsQueryKey;

extern void fobs_queries_shmem_request(void);
extern void fobs_queries_shmem_startup(void);
extern void fobs_queries_count(Oid userid, int64 queryid, bool toplevel,
							   const FobsObservation *observation);
extern void fobs_queries_visit(FobsSeriesVisitor visitor, void *arg);
extern void fobs_queries_visit_summaries(FobsSeriesSummaryVisitor visitor,
										 void *arg);
extern FobsSeriesStoreInfo fobs_queries_info(void);
extern void fobs_queries_reset(void);

#endif							/* FRAISEQL_OBS_QUERIES_H */
