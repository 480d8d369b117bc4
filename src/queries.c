/*-------------------------------------------------------------------------
 *
 * queries.c
 *	  One series per (database, user, query identifier, toplevel).
 *
 * The store, with its limit and its "other", is one of series.c.  Each process
 * remembers where it found its latest queries in a small direct-mapped cache
 * of fixed size: two queries of one place only cost each other a look-up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "compat.h"
#include "counters.h"
#include "guc.h"
#include "queries.h"
#include "statistics.h"

#define TRANCHE "fraiseql_obs_queries"

#define CACHE_SIZE	512			/* a power of two */

typedef struct CachedQuery
{
	FobsQueryKey key;
	FobsSeriesRef ref;
} CachedQuery;

PG_FUNCTION_INFO_V1(fraiseql_obs_query_counters);

static FobsSeriesStore *store = NULL;

static CachedQuery cache[CACHE_SIZE];

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_queries_shmem_request(void)
{
	fobs_series_shmem_request(sizeof(FobsQueryKey), fobs_max_queries, TRANCHE);
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_queries_shmem_startup(void)
{
	memset(cache, 0, sizeof(cache));
	store = fobs_series_shmem_startup("queries", sizeof(FobsQueryKey),
									  fobs_max_queries, TRANCHE);
}

/* Counts one statement of this process's database for its query. */
void
fobs_queries_count(Oid userid, int64 queryid, bool toplevel,
				   const FobsObservation *observation)
{
	CachedQuery *cached;

	cached = &cache[((uint64) queryid ^ (userid * 31) ^ toplevel) &
					(CACHE_SIZE - 1)];
	if (cached->key.queryid != queryid || cached->key.userid != userid ||
		cached->key.toplevel != toplevel)
	{
		cached->key.queryid = queryid;
		cached->key.dbid = MyDatabaseId;
		cached->key.userid = userid;
		cached->key.toplevel = toplevel;
		cached->ref.series = NULL;
	}
	fobs_series_count(store, &cached->key, &cached->ref, observation);
}

/* Visits all queries; see fobs_series_visit().  The key is a FobsQueryKey. */
void
fobs_queries_visit(FobsSeriesVisitor visitor, void *arg)
{
	fobs_series_visit(store, visitor, arg);
}

/* The same with what exports tell of them */
void
fobs_queries_visit_summaries(FobsSeriesSummaryVisitor visitor, void *arg)
{
	fobs_series_visit_summaries(store, visitor, arg);
}

/* Tells about the store of queries. */
FobsSeriesStoreInfo
fobs_queries_info(void)
{
	return fobs_series_store_info(store);
}

/* Forgets all queries. */
void
fobs_queries_reset(void)
{
	fobs_series_reset(store);
}

/* Columns of query_counters() that come before those of statistics.c */
#define QUERY_KEY_COLUMNS	4
#define QUERY_COLUMNS		(QUERY_KEY_COLUMNS + FOBS_STATISTICS_COLUMNS)

typedef struct QueryRows
{
	ReturnSetInfo *rsinfo;
	bool		sees_all;		/* may read all statistics */
} QueryRows;

static void
put_query(const void *key, const FobsSeriesSnapshot *snapshot, void *arg)
{
	const FobsQueryKey *query = key;
	QueryRows  *rows = arg;
	Datum		values[QUERY_COLUMNS] = {0};
	bool		nulls[QUERY_COLUMNS] = {0};

	if (query != NULL)
	{
		values[0] = ObjectIdGetDatum(query->userid);
		values[1] = ObjectIdGetDatum(query->dbid);
		values[2] = BoolGetDatum(query->toplevel != 0);
		values[3] = Int64GetDatum(query->queryid);
		nulls[3] = query->queryid == 0 ||
			(!rows->sees_all && query->userid != GetUserId());
	}
	else if (snapshot->calls > 0)
		memset(nulls, true, QUERY_KEY_COLUMNS * sizeof(bool));
	else
		return;
	fobs_statistics_columns(snapshot, &values[QUERY_KEY_COLUMNS],
							&nulls[QUERY_KEY_COLUMNS]);
	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc,
						 values, nulls);
}

/*
 * query_counters(): userid, dbid, toplevel, queryid and the columns of
 * statistics.c, a row for each query and one, with the former NULL, for
 * "other".  As in pg_stat_statements, who may not read all statistics sees
 * no identifiers of other users' queries.
 */
Datum
fraiseql_obs_query_counters(PG_FUNCTION_ARGS)
{
	QueryRows	rows;

	fobs_counters_require();
	InitMaterializedSRF(fcinfo, 0);
	rows.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	rows.sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	fobs_queries_visit(put_query, &rows);
	return (Datum) 0;
}
