/*-------------------------------------------------------------------------
 *
 * query_metrics.c
 *	  The queries that take most time, as text for the status page.
 *
 * These are no metrics of the catalogue (metrics.c): which queries take most
 * time changes, so a series would come and go with each scrape, which a time
 * series database pays for.  Hence JSON alone, with the form of all metrics in
 * JSON, so that who reads the one reads the other.
 *
 * A query is summed over the users who ask it.
 *
 * What had no room or gave way is a query called "other" of no database; what
 * the server computes no identifier for has no such label.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "counters.h"
#include "exposition.h"
#include "label.h"
#include "queries.h"
#include "query_metrics.h"

/* How many queries are told */
#define MAX_TOLD	50

/* Has no padding: the key is hashed and compared as bytes. */
typedef struct SumKey
{
	int64		queryid;
	int32		dbid;			/* 0: "other" */
	int32		toplevel;
} SumKey;

/* A query of all users */
typedef struct QuerySum
{
	SumKey		key;			/* must be first */
	FobsSeriesSummary summary;
} QuerySum;

/* The names of databases, as far as they are told apart */
typedef struct Databases
{
	int			n;
	Oid			oids[FOBS_MAX_DATABASES];
	char		names[FOBS_MAX_DATABASES][FOBS_DATNAME_SIZE];
} Databases;

/* The labels of a query, and the room that their values take */
typedef struct QueryLabels
{
	FobsLabel	labels[3];
	int			n;
	char		queryid[MAXINT8LEN + 1];
} QueryLabels;

static const FobsFamily duration_family = {
	"fraiseql_obs_query_duration_seconds", FOBS_HISTOGRAM, "seconds",
	"Duration of statements by query, of those queries that took most time."
};
static const FobsFamily errors_family = {
	"fraiseql_obs_query_errors_total", FOBS_COUNTER, NULL,
	"Statements that failed by query, of those queries that took most time."
};
static const FobsFamily rows_family = {
	"fraiseql_obs_query_rows_total", FOBS_COUNTER, NULL,
	"Rows that statements returned or changed by query, of those queries that took most time."
};

static SumKey
sum_key(const FobsQueryKey *query)
{
	SumKey		key = {0};

	if (query != NULL)
	{
		key.queryid = query->queryid;
		key.dbid = query->dbid;
		key.toplevel = query->toplevel != 0;
	}
	return key;
}

static void
add_summary(const void *query, FobsSeriesSummary *summary, void *arg)
{
	SumKey		key = sum_key(query);
	QuerySum   *sum;
	bool		found;

	if (fobs_series_summary_calls(summary) == 0)
		return;
	sum = hash_search((HTAB *) arg, &key, HASH_ENTER, &found);
	if (found)
		fobs_series_summary_add(&sum->summary, summary);
	else
		sum->summary = *summary;
}

/* The longest first, and of equal ones always the same */
static int
compare_sums(const void *a, const void *b)
{
	const QuerySum *left = *(QuerySum *const *) a;
	const QuerySum *right = *(QuerySum *const *) b;

	if (left->summary.duration_ns != right->summary.duration_ns)
		return left->summary.duration_ns > right->summary.duration_ns ? -1 : 1;
	return memcmp(&left->key, &right->key, sizeof(SumKey));
}

/*
 * Returns the queries that took most time, those first; the array is palloc'd.
 */
static QuerySum **
find_slowest(HTAB *sums, int *ntold)
{
	QuerySum  **sorted;
	QuerySum   *sum;
	HASH_SEQ_STATUS status;
	int			n = 0;

	fobs_queries_visit_summaries(add_summary, sums);
	sorted = palloc((hash_get_num_entries(sums) + 1) * sizeof(QuerySum *));
	hash_seq_init(&status, sums);
	while ((sum = hash_seq_search(&status)) != NULL)
		sorted[n++] = sum;
	qsort(sorted, n, sizeof(QuerySum *), compare_sums);
	*ntold = Min(n, MAX_TOLD);
	return sorted;
}

static const char *
database_name(const Databases *databases, Oid oid)
{
	for (int i = 0; i < databases->n; i++)
	{
		if (databases->oids[i] == oid)
			return databases->names[i];
	}
	return FOBS_LABEL_OTHER;
}

static void
add_label(QueryLabels *labels, const char *name, const char *value)
{
	labels->labels[labels->n].name = name;
	labels->labels[labels->n].value = value;
	labels->n++;
}

static void
fill_labels(QueryLabels *labels, const Databases *databases,
			const SumKey *key)
{
	labels->n = 0;
	if (key->dbid == 0)
	{
		add_label(labels, "queryid", FOBS_LABEL_OTHER);
		return;
	}
	add_label(labels, "datname", database_name(databases, key->dbid));
	if (key->queryid != 0)
	{
		snprintf(labels->queryid, sizeof(labels->queryid), INT64_FORMAT,
				 key->queryid);
		add_label(labels, "queryid", labels->queryid);
	}
	add_label(labels, "toplevel", key->toplevel ? "true" : "false");
}

static void
write_sum(FobsWriter *writer, const FobsFamily *family,
		  const QueryLabels *labels, const FobsSeriesSummary *summary)
{
	if (family == &duration_family)
		fobs_write_durations(writer, labels->labels, labels->n,
							 summary->counts, summary->duration_ns, NULL);
	else if (family == &errors_family)
		fobs_write_sample(writer, labels->labels, labels->n, summary->errors);
	else
		fobs_write_sample(writer, labels->labels, labels->n, summary->rows);
}

/*
 * Appends them as JSON in UTF-8.  Needs no transaction and no database;
 * allocates in the current memory context, which the caller is to reset.
 */
void
fobs_query_metrics_export(StringInfo out)
{
	const FobsFamily *families[] = {
		&duration_family, &errors_family, &rows_family
	};
	HASHCTL		control = {
		.keysize = sizeof(SumKey),
		.entrysize = sizeof(QuerySum),
		.hcxt = CurrentMemoryContext
	};
	HTAB	   *sums = hash_create("fraiseql_obs sums of queries", 1024,
								   &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Databases  *databases = palloc(sizeof(Databases));
	FobsWriter *writer = fobs_text_writer_create(FOBS_FORMAT_JSON, out);
	int			ntold;
	QuerySum  **told = find_slowest(sums, &ntold);

	/* after the queries: databases only come, so each query's is there */
	databases->n = fobs_counters_databases(databases->names, databases->oids);
	for (int f = 0; f < lengthof(families); f++)
	{
		fobs_write_family(writer, families[f]);
		for (int i = 0; i < ntold; i++)
		{
			QueryLabels labels;

			fill_labels(&labels, databases, &told[i]->key);
			write_sum(writer, families[f], &labels, &told[i]->summary);
		}
	}
	fobs_text_writer_finish(writer);
	pfree(told);
	pfree(databases);
	hash_destroy(sums);
}
