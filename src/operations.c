/*-------------------------------------------------------------------------
 *
 * operations.c
 *	  One series per (database, operation, type) of the application.
 *
 * The operation comes from the request context (context.c); statements that
 * have none are not counted here.  Only top-level statements count.  The
 * store, with its limit and its "other", is one of series.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "counters.h"
#include "guc.h"
#include "label.h"
#include "operations.h"
#include "statistics.h"

#define TRANCHE "fraiseql_obs_operations"

PG_FUNCTION_INFO_V1(fraiseql_obs_operation_stats);

static FobsSeriesStore *store = NULL;

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_operations_shmem_request(void)
{
	fobs_series_shmem_request(sizeof(FobsOperationKey), fobs_max_operations,
							  TRANCHE);
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_operations_shmem_startup(void)
{
	store = fobs_series_shmem_startup("operations", sizeof(FobsOperationKey),
									  fobs_max_operations, TRANCHE);
}

/*
 * Counts a statement for its operation.  The ref belongs to the key and is
 * kept by the caller.
 */
void
fobs_operations_count(const FobsOperationKey *key, FobsSeriesRef *ref,
					  const FobsObservation *observation)
{
	fobs_series_count(store, key, ref, observation);
}

/* Visits the operations of each database; see fobs_series_visit(). */
void
fobs_operations_visit(FobsSeriesVisitor visitor, void *arg)
{
	fobs_series_visit(store, visitor, arg);
}

/* Operations while they are being summed, and "other" */
typedef struct OperationSums
{
	int			n;
	int			size;
	FobsOperationSum *sums;
	FobsSeriesSummary other;
} OperationSums;

/* A real operation of this name is not told apart from the rest. */
static bool
is_other(const FobsOperationKey *key)
{
	return key == NULL ||
		(strcmp(key->operation, FOBS_LABEL_OTHER) == 0 &&
		 key->type[0] == '\0');
}

static void
collect_sum(const void *key, FobsSeriesSummary *summary, void *arg)
{
	OperationSums *sums = arg;

	if (is_other(key))
	{
		fobs_series_summary_add(&sums->other, summary);
		return;
	}

	/* room for this one and for "other" */
	if (sums->n + 1 == sums->size)
	{
		sums->size *= 2;
		sums->sums = repalloc(sums->sums,
							  sums->size * sizeof(FobsOperationSum));
	}
	sums->sums[sums->n].key = key;
	sums->sums[sums->n++].summary = summary;
}

static int
compare_sums(const void *a, const void *b)
{
	const FobsOperationKey *left = ((const FobsOperationSum *) a)->key;
	const FobsOperationKey *right = ((const FobsOperationSum *) b)->key;
	int			order = strcmp(left->operation, right->operation);

	return order != 0 ? order : strcmp(left->type, right->type);
}

/*
 * Sums each (operation, type) over the databases.  Returns an array in the
 * order of their names, last "other" if it has calls.  All of it is in the
 * current memory context, which the caller is to reset.
 */
FobsOperationSum *
fobs_operations_sums(int *nsums)
{
	static const FobsOperationKey other = {.operation = FOBS_LABEL_OTHER};
	OperationSums *all = palloc0(sizeof(OperationSums));
	FobsOperationSum *sums;
	int			kept = 0;

	all->size = 64;
	all->sums = palloc(all->size * sizeof(FobsOperationSum));
	fobs_series_visit_summaries(store, collect_sum, all);
	sums = all->sums;
	qsort(sums, all->n, sizeof(FobsOperationSum), compare_sums);

	for (int i = 0; i < all->n; i++)
	{
		if (kept > 0 && compare_sums(&sums[kept - 1], &sums[i]) == 0)
			fobs_series_summary_add(sums[kept - 1].summary, sums[i].summary);
		else
			sums[kept++] = sums[i];
	}
	if (fobs_series_summary_calls(&all->other) > 0)
	{
		sums[kept].key = &other;
		sums[kept++].summary = &all->other;
	}
	*nsums = kept;
	return sums;
}

/* Tells about the store of operations. */
FobsSeriesStoreInfo
fobs_operations_info(void)
{
	return fobs_series_store_info(store);
}

/* Forgets all operations. */
void
fobs_operations_reset(void)
{
	fobs_series_reset(store);
}

/* Columns of operation_stats() that come before those of statistics.c */
#define OPERATION_KEY_COLUMNS	3
#define OPERATION_COLUMNS \
	(OPERATION_KEY_COLUMNS + FOBS_STATISTICS_COLUMNS)

typedef struct OperationRows
{
	ReturnSetInfo *rsinfo;
	char		databases[FOBS_MAX_DATABASES][FOBS_DATNAME_SIZE];
} OperationRows;

static void
put_operation(const void *key, const FobsSeriesSnapshot *snapshot, void *arg)
{
	const FobsOperationKey *operation = key;
	OperationRows *rows = arg;
	Datum		values[OPERATION_COLUMNS] = {0};
	bool		nulls[OPERATION_COLUMNS] = {0};

	if (operation != NULL)
	{
		values[0] = fobs_label_datum(rows->databases[operation->database]);
		values[1] = fobs_label_datum(operation->operation);
		values[2] = fobs_label_datum(operation->type);
	}
	else if (snapshot->calls > 0)
	{
		nulls[0] = true;
		values[1] = fobs_label_datum(FOBS_LABEL_OTHER);
		values[2] = fobs_label_datum("");
	}
	else
		return;
	fobs_statistics_columns(snapshot, &values[OPERATION_KEY_COLUMNS],
							&nulls[OPERATION_KEY_COLUMNS]);
	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc,
						 values, nulls);
}

/*
 * operation_stats(): datname, operation, type and the columns of statistics.c,
 * a row for each operation of a database and one, of no database, for
 * "other".
 */
Datum
fraiseql_obs_operation_stats(PG_FUNCTION_ARGS)
{
	OperationRows *rows;

	fobs_counters_require();
	InitMaterializedSRF(fcinfo, 0);
	rows = palloc0(sizeof(OperationRows));
	rows->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	fobs_counters_databases(rows->databases, NULL);
	fobs_operations_visit(put_operation, rows);
	return (Datum) 0;
}
