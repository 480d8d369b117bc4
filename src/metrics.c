/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  All metrics, as samples or as text.
 *
 * The families about statements and about ourselves stand here, those about
 * the server in collector.c, those about audit logs in audit_metrics.c, those
 * that the application feeds in http_requests.c, caches.c and pools.c, those
 * about the HTTP endpoint in endpoint.c; together they are the catalogue.
 * Names are API.  The application's own names follow last (app_metrics.c).
 * Every export and metrics() goes through fobs_metrics_write(), so a sample
 * that stands in one stands in all.
 *
 * What is in shared memory is UTF-8, and so is text for a process that sends
 * it as it is.  SQL functions return the server's encoding: a writer of their
 * own translates label values on the way, before any format escapes them.
 *
 * Sizes and durations of scrapes cannot describe the scrape that they are
 * part of, so they are those of the scrape before.  They are two atomic
 * variables: of scrapes that end at the same moment, any may be seen.
 *
 * Turning collection off (fraiseql_obs.enabled, .metrics_enabled) does not
 * turn exports off: they go on with what was counted so far, with the state
 * of the server, and with fraiseql_obs_collection_enabled at 0.  That tells
 * what sessions of the exporting role start with: a process cannot see what
 * others have set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "app_metrics.h"
#include "app_series.h"
#include "audit_metrics.h"
#include "caches.h"
#include "collector.h"
#include "context.h"
#include "compat.h"
#include "counters.h"
#include "endpoint.h"
#include "errors.h"
#include "exemplars.h"
#include "http_requests.h"
#include "label.h"
#include "metrics.h"
#include "operations.h"
#include "otlp_sender.h"
#include "pools.h"
#include "queries.h"
#include "server.h"
#include "slowlog.h"
#include "spans.h"

typedef struct MetricsShared
{
	pg_atomic_uint64 scrapes;	/* 0: the others mean nothing yet */
	pg_atomic_uint64 duration_ns;
	pg_atomic_uint64 size;		/* bytes */
} MetricsShared;

static MetricsShared *shared = NULL;

static const FobsFamily duration_family = {
	"fraiseql_obs_db_query_duration_seconds", FOBS_HISTOGRAM, "seconds",
	"Duration of top-level statements, failed ones too, by database."
};
static const FobsFamily slow_family = {
	"fraiseql_obs_db_slow_queries_total", FOBS_COUNTER, NULL,
	"Top-level statements that took fraiseql_obs.slow_query_threshold or longer."
};
static const FobsFamily rows_family = {
	"fraiseql_obs_db_rows_total", FOBS_COUNTER, NULL,
	"Rows that top-level statements returned or changed."
};
static const FobsFamily planning_family = {
	"fraiseql_obs_db_planning_seconds_total", FOBS_COUNTER, "seconds",
	"Time spent on planning top-level statements."
};
static const FobsFamily errors_family = {
	"fraiseql_obs_db_query_errors_total", FOBS_COUNTER, NULL,
	"Errors that clients were sent, by database and class of SQLSTATE."
};
static const FobsFamily operation_duration_family = {
	"fraiseql_obs_operation_duration_seconds", FOBS_HISTOGRAM, "seconds",
	"Duration of top-level statements by operation of the application."
};
static const FobsFamily operation_errors_family = {
	"fraiseql_obs_operation_errors_total", FOBS_COUNTER, NULL,
	"Top-level statements that failed, by operation of the application."
};
static const FobsFamily series_family = {
	"fraiseql_obs_series", FOBS_GAUGE, NULL,
	"Series in use, by what they are of."
};
static const FobsFamily series_limit_family = {
	"fraiseql_obs_series_limit", FOBS_GAUGE, NULL,
	"Series that there is room for; the rest is counted as \"other\"."
};
static const FobsFamily series_overflow_family = {
	"fraiseql_obs_series_overflow_total", FOBS_COUNTER, NULL,
	"Observations counted as \"other\" because there was no room for a series."
};
static const FobsFamily series_evicted_family = {
	"fraiseql_obs_series_evicted_total", FOBS_COUNTER, NULL,
	"Series that gave way to others and were added to \"other\"."
};
static const FobsFamily label_truncated_family = {
	"fraiseql_obs_label_truncated_total", FOBS_COUNTER, NULL,
	"Values of the request context, and of labels, that were cut to their maximal length."
};
static const FobsFamily slow_log_dropped_family = {
	"fraiseql_obs_slow_log_dropped_total", FOBS_COUNTER, NULL,
	"Slow and failed statements that could not be kept for slow_queries()."
};
static const FobsFamily slow_log_suppressed_family = {
	"fraiseql_obs_slow_log_lines_suppressed_total", FOBS_COUNTER, NULL,
	"Slow statements not written to the server log because of fraiseql_obs.slow_query_log_rate."
};
static const FobsFamily spans_family = {
	"fraiseql_obs_spans_total", FOBS_COUNTER, NULL,
	"Statements and commits recorded as spans."
};
static const FobsFamily spans_dropped_family = {
	"fraiseql_obs_spans_dropped_total", FOBS_COUNTER, NULL,
	"Spans that could not be recorded, because as many were being recorded at that moment as are kept."
};
static const FobsFamily spans_overwritten_family = {
	"fraiseql_obs_spans_overwritten_total", FOBS_COUNTER, NULL,
	"Spans that gave way to newer ones; fraiseql_obs.max_spans are kept."
};
static const FobsFamily reset_family = {
	"fraiseql_obs_stats_reset_timestamp_seconds", FOBS_GAUGE, "seconds",
	"When all metrics of fraiseql_obs were last reset, or the server started, in Unix time."
};
static const FobsFamily collection_family = {
	"fraiseql_obs_collection_enabled", FOBS_GAUGE, NULL,
	"1 if sessions start with fraiseql_obs.enabled and .metrics_enabled on, so that statements are counted, 0 if not."
};
static const FobsFamily scrape_duration_family = {
	"fraiseql_obs_scrape_duration_seconds", FOBS_GAUGE, "seconds",
	"How long the previous export took."
};
static const FobsFamily scrape_size_family = {
	"fraiseql_obs_scrape_size_bytes", FOBS_GAUGE, "bytes",
	"Size of the previous export."
};
static const FobsFamily build_family = {
	"fraiseql_obs_build_info", FOBS_GAUGE, NULL,
	"Always 1; versions of fraiseql_obs and PostgreSQL are its labels."
};

/* The names of the formats, as export_metrics() takes them */
static const struct
{
	const char *name;
	FobsFormat	format;
}			formats[] =

{
	{"prometheus", FOBS_FORMAT_PROMETHEUS},
	{"openmetrics", FOBS_FORMAT_OPENMETRICS},
	{"json", FOBS_FORMAT_JSON}
};

/* Errors of a database summed by class of SQLSTATE */
typedef struct ErrorClass
{
	int			database;
	char		name[sizeof(FOBS_LABEL_OTHER)];
	uint64		errors;
} ErrorClass;

/* A writer that hands on label values in the server's encoding */
typedef struct ServerWriter
{
	FobsWriter	writer;			/* must be first */
	FobsWriter *next;
} ServerWriter;

/* A writer that makes rows of metrics() */
typedef struct RowWriter
{
	FobsWriter	writer;			/* must be first */
	const FobsFamily *family;
	ReturnSetInfo *rsinfo;
	MemoryContext row_context;	/* reset for each row */
} RowWriter;

static void write_databases(FobsWriter *writer,
							const FobsExemplars *exemplars);
static void write_errors(FobsWriter *writer);
static void write_operations(FobsWriter *writer,
							 const FobsExemplars *exemplars);
static void write_series(FobsWriter *writer);
static void write_self(FobsWriter *writer);
static void write_single(FobsWriter *writer, const FobsFamily *family,
						 double value);

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_metrics_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(MetricsShared));
	fobs_server_databases_shmem_request();
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_metrics_shmem_startup(void)
{
	bool		found;

	fobs_server_databases_shmem_startup();
	shared = ShmemInitStruct("fraiseql_obs_metrics", sizeof(MetricsShared),
							 &found);
	if (found)
		return;
	pg_atomic_init_u64(&shared->scrapes, 0);
	pg_atomic_init_u64(&shared->duration_ns, 0);
	pg_atomic_init_u64(&shared->size, 0);
}

/*
 * Writes all metrics; label values are UTF-8.  The library must be preloaded.
 * Needs no transaction and no database; allocates in the current memory
 * context, which the caller is to reset.
 */
void
fobs_metrics_write(FobsWriter *writer)
{
	FobsAppSnapshot *app = fobs_app_series_snapshot();
	const FobsExemplars *exemplars = NULL;
	FobsBufferUse buffers;

	if (writer->takes_exemplars)
		exemplars = fobs_exemplars_collect();
	write_databases(writer, exemplars);
	write_errors(writer);
	write_operations(writer, exemplars);
	write_series(writer);
	fobs_audit_metrics_write(writer);
	fobs_endpoint_metrics_write(writer);
	fobs_otlp_metrics_write(writer);
	write_self(writer);
	fobs_collector_write(writer, &buffers);
	fobs_caches_write(writer, app, &buffers);
	fobs_http_requests_write(writer, app);
	fobs_pools_write(writer, app);
	fobs_app_metrics_write(writer, app);
}

/* Appends all metrics as text; through "outer" if labels are translated. */
static void
export_text(FobsFormat format, StringInfo out,
			FobsWriter *(*outer) (FobsWriter *text))
{
	FobsWriter *text;
	int			start = out->len;
	instr_time	began;
	instr_time	took;

	/* as much room as the last one took, and some */
	enlargeStringInfo(out, pg_atomic_read_u64(&shared->size) * 9 / 8);

	INSTR_TIME_SET_CURRENT(began);
	text = fobs_text_writer_create(format, out);
	fobs_metrics_write(outer != NULL ? outer(text) : text);
	fobs_text_writer_finish(text);
	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, began);

	pg_atomic_write_u64(&shared->duration_ns,
						(uint64) (INSTR_TIME_GET_DOUBLE(took) * 1e9));
	pg_atomic_write_u64(&shared->size, out->len - start);
	pg_atomic_fetch_add_u64(&shared->scrapes, 1);
}

/*
 * Appends all metrics as text in UTF-8, and notes duration and size for the
 * next time.  As to the rest, see fobs_metrics_write().
 */
void
fobs_metrics_export(FobsFormat format, StringInfo out)
{
	export_text(format, out, NULL);
}

static double
seconds(uint64 ns)
{
	return ns / 1e9;
}

/* Does a line that may be "other" have anything to say? */
static bool
is_used(const FobsDatabaseSnapshot *snapshot, int database)
{
	return database != FOBS_DATABASE_OTHER ||
		fobs_histogram_count(&snapshot[database].counters.durations) > 0;
}

static void
write_databases(FobsWriter *writer, const FobsExemplars *exemplars)
{
	FobsDatabaseSnapshot *snapshot =
	palloc(FOBS_MAX_DATABASES * sizeof(FobsDatabaseSnapshot));
	int			ndatabases = fobs_counters_snapshot(snapshot);
	const FobsFamily *families[] = {
		&duration_family, &slow_family, &rows_family, &planning_family
	};

	for (int f = 0; f < lengthof(families); f++)
	{
		const FobsFamily *family = families[f];

		fobs_write_family(writer, family);
		for (int i = 0; i < ndatabases; i++)
		{
			const FobsCounters *counters = &snapshot[i].counters;
			FobsLabel	label = {"datname", snapshot[i].name};

			if (!is_used(snapshot, i))
				continue;
			if (family == &duration_family)
			{
				uint64		counts[FOBS_EXPORT_BOUNDS + 1];

				fobs_histogram_cumulate(&counters->durations, counts);
				fobs_write_durations(writer, &label, 1, counts,
									 counters->duration_ns,
									 fobs_database_exemplars(exemplars, i));
			}
			else if (family == &slow_family)
				fobs_write_sample(writer, &label, 1, counters->slow);
			else if (family == &rows_family)
				fobs_write_sample(writer, &label, 1, counters->rows);
			else
				fobs_write_sample(writer, &label, 1,
								  seconds(counters->planning_ns));
		}
	}
	pfree(snapshot);
}

/* Adds one kind of error to its class, which is found or appended. */
static int
add_to_class(ErrorClass *classes, int nclasses,
			 const FobsErrorSnapshot *error)
{
	char		name[sizeof(FOBS_LABEL_OTHER)] = FOBS_LABEL_OTHER;
	int			i;

	if (error->sqlstate != 0)
		strlcpy(name, unpack_sql_state(ERRCODE_TO_CATEGORY(error->sqlstate)),
				3);
	for (i = 0; i < nclasses; i++)
	{
		if (classes[i].database == error->database &&
			strcmp(classes[i].name, name) == 0)
			break;
	}
	if (i == nclasses)
	{
		classes[i].database = error->database;
		strcpy(classes[i].name, name);
		classes[i].errors = 0;
		nclasses++;
	}
	classes[i].errors += error->errors;
	return nclasses;
}

static void
write_errors(FobsWriter *writer)
{
	FobsErrorSnapshot *errors =
	palloc(FOBS_ERRORS_SNAPSHOT_SIZE * sizeof(FobsErrorSnapshot));
	ErrorClass *classes =
	palloc(FOBS_ERRORS_SNAPSHOT_SIZE * sizeof(ErrorClass));
	char		(*names)[FOBS_DATNAME_SIZE] =
	palloc(FOBS_MAX_DATABASES * sizeof(*names));
	int			nerrors = fobs_errors_snapshot(errors);
	int			nclasses = 0;

	/* after the errors: databases only come, so each error's is there */
	(void) fobs_counters_databases(names, NULL);
	for (int i = 0; i < nerrors; i++)
		nclasses = add_to_class(classes, nclasses, &errors[i]);

	fobs_write_family(writer, &errors_family);
	for (int i = 0; i < nclasses; i++)
	{
		FobsLabel	labels[] = {
			{"datname", names[classes[i].database]},
			{"sqlstate_class", classes[i].name}
		};

		fobs_write_sample(writer, labels, lengthof(labels),
						  classes[i].errors);
	}
	pfree(names);
	pfree(classes);
	pfree(errors);
}

/*
 * Fills in the labels of an operation; returns how many there are.  A type
 * that was not given is left out, because an empty label is none.
 */
static int
operation_labels(FobsLabel *labels, const FobsOperationKey *key)
{
	labels[0].name = "operation";
	labels[0].value = key->operation;
	labels[1].name = "type";
	labels[1].value = key->type;
	return key->type[0] != '\0' ? 2 : 1;
}

static void
write_operations(FobsWriter *writer, const FobsExemplars *exemplars)
{
	int			nsums;
	FobsOperationSum *sums = fobs_operations_sums(&nsums);
	FobsLabel	labels[2];

	fobs_write_family(writer, &operation_duration_family);
	for (int i = 0; i < nsums; i++)
	{
		const FobsOperationKey *key = sums[i].key;
		const FobsSeriesSummary *summary = sums[i].summary;

		fobs_write_durations(writer, labels, operation_labels(labels, key),
							 summary->counts, summary->duration_ns,
							 fobs_operation_exemplars(exemplars,
													  key->operation,
													  key->type));
	}
	fobs_write_family(writer, &operation_errors_family);
	for (int i = 0; i < nsums; i++)
		fobs_write_sample(writer, labels,
						  operation_labels(labels, sums[i].key),
						  sums[i].summary->errors);
}

/* About what is bounded: in the order of the families, -1 is not measured */
static void
write_series(FobsWriter *writer)
{
	FobsSeriesStoreInfo queries = fobs_queries_info();
	FobsSeriesStoreInfo operations = fobs_operations_info();
	FobsSeriesStoreInfo app = fobs_app_series_info();
	FobsSeriesStoreInfo app_names = fobs_app_names_info();
	const FobsFamily *families[] = {
		&series_family, &series_limit_family, &series_overflow_family,
		&series_evicted_family
	};
	const struct
	{
		const char *family;
		double		values[lengthof(families)];
	}			lines[] =
	{
		{"queries", {queries.series, queries.limit, queries.overflow,
		queries.evicted}},
		{"operations", {operations.series, operations.limit,
		operations.overflow, operations.evicted}},
		{"app", {app.series, app.limit, app.overflow, -1}},
		{"app_names", {app_names.series, app_names.limit, app_names.overflow,
		-1}},
		{"databases", {fobs_counters_databases(NULL, NULL) - 1,
		FOBS_MAX_DATABASES - 1, -1, -1}},
		{"errors", {-1, FOBS_MAX_ERRORS, fobs_errors_overflow(), -1}}
	};

	for (int f = 0; f < lengthof(families); f++)
	{
		fobs_write_family(writer, families[f]);
		for (int i = 0; i < lengthof(lines); i++)
		{
			FobsLabel	label = {"family", lines[i].family};

			if (lines[i].values[f] >= 0)
				fobs_write_sample(writer, &label, 1, lines[i].values[f]);
		}
	}
}

static void
write_single(FobsWriter *writer, const FobsFamily *family, double value)
{
	fobs_write_family(writer, family);
	fobs_write_sample(writer, NULL, 0, value);
}

/* Is a setting on, whatever this session has SET? */
static bool
is_on(const char *setting)
{
	return strcmp(GetConfigOptionResetString(setting), "on") == 0;
}

/* About this extension */
static void
write_self(FobsWriter *writer)
{
	FobsLabel	versions[] = {
		{"version", FRAISEQL_OBS_VERSION},
		{"postgres_version", GetConfigOption("server_version", false, false)}
	};
	FobsSpansInfo spans = fobs_spans_info();

	write_single(writer, &label_truncated_family,
				 fobs_context_truncated() + fobs_app_series_truncated());
	write_single(writer, &slow_log_dropped_family, fobs_slowlog_dropped());
	write_single(writer, &slow_log_suppressed_family,
				 fobs_slowlog_lines_suppressed());
	write_single(writer, &spans_family, spans.recorded);
	write_single(writer, &spans_dropped_family, spans.dropped);
	write_single(writer, &spans_overwritten_family, spans.overwritten);
	write_single(writer, &reset_family,
				 fobs_unix_time(fobs_counters_reset_at()));
	write_single(writer, &collection_family,
				 is_on("fraiseql_obs.enabled") &&
				 is_on("fraiseql_obs.metrics_enabled"));
	if (pg_atomic_read_u64(&shared->scrapes) > 0)
	{
		write_single(writer, &scrape_duration_family,
					 seconds(pg_atomic_read_u64(&shared->duration_ns)));
		write_single(writer, &scrape_size_family,
					 pg_atomic_read_u64(&shared->size));
	}
	fobs_write_family(writer, &build_family);
	fobs_write_sample(writer, versions, lengthof(versions), 1);
}

static void
server_family(FobsWriter *writer, const FobsFamily *family)
{
	FobsWriter *next = ((ServerWriter *) writer)->next;

	next->family(next, family);
}

static void
server_labels(const FobsLabel *labels, int nlabels, FobsLabel *translated)
{
	for (int i = 0; i < nlabels; i++)
	{
		translated[i].name = labels[i].name;
		translated[i].value = fobs_label_to_server(labels[i].value);
	}
}

static void
server_sample(FobsWriter *writer, const FobsLabel *labels, int nlabels,
			  double value)
{
	FobsWriter *next = ((ServerWriter *) writer)->next;
	FobsLabel	translated[FOBS_MAX_LABELS];

	server_labels(labels, nlabels, translated);
	next->sample(next, translated, nlabels, value);
}

static void
server_histogram(FobsWriter *writer, const FobsLabel *labels, int nlabels,
				 const FobsBuckets *buckets)
{
	FobsWriter *next = ((ServerWriter *) writer)->next;
	FobsLabel	translated[FOBS_MAX_LABELS];

	server_labels(labels, nlabels, translated);
	next->histogram(next, translated, nlabels, buckets);
}

/* Puts a writer behind one that translates to the server's encoding. */
static FobsWriter *
server_writer_create(FobsWriter *next)
{
	ServerWriter *server = palloc0(sizeof(ServerWriter));

	server->writer.family = server_family;
	server->writer.sample = server_sample;
	server->writer.histogram = server_histogram;
	server->writer.takes_exemplars = next->takes_exemplars;
	server->next = next;
	return &server->writer;
}

static void
row_family(FobsWriter *writer, const FobsFamily *family)
{
	((RowWriter *) writer)->family = family;
}

static void
put_row(RowWriter *row, const char *suffix, const FobsLabel *labels,
		int nlabels, double value)
{
	const FobsFamily *family = row->family;
	MemoryContext old_context = MemoryContextSwitchTo(row->row_context);
	StringInfoData json;
	Datum		values[5];
	bool		nulls[5] = {0};

	initStringInfo(&json);
	fobs_append_labels_json(&json, labels, nlabels);
	values[0] = CStringGetTextDatum(psprintf("%s%s", family->name, suffix));
	values[1] = CStringGetTextDatum(fobs_metric_type_name(family->type));
	values[2] = CStringGetTextDatum(family->help);
	values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	values[4] = Float8GetDatum(value);
	tuplestore_putvalues(row->rsinfo->setResult, row->rsinfo->setDesc,
						 values, nulls);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(row->row_context);
}

static void
row_sample(FobsWriter *writer, const FobsLabel *labels, int nlabels,
		   double value)
{
	put_row((RowWriter *) writer, "", labels, nlabels, value);
}

static void
row_histogram(FobsWriter *writer, const FobsLabel *labels, int nlabels,
			  const FobsBuckets *buckets)
{
	RowWriter  *row = (RowWriter *) writer;
	FobsLabel	bucket[FOBS_MAX_LABELS + 1];

	for (int i = 0; i < nlabels; i++)
		bucket[i] = labels[i];
	bucket[nlabels].name = "le";
	for (int i = 0; i < buckets->n; i++)
	{
		bucket[nlabels].value = buckets->bounds[i];
		put_row(row, "_bucket", bucket, nlabels + 1, buckets->counts[i]);
	}
	put_row(row, "_sum", labels, nlabels, buckets->sum);
	put_row(row, "_count", labels, nlabels, buckets->counts[buckets->n - 1]);
}

PG_FUNCTION_INFO_V1(fraiseql_obs_metrics);
PG_FUNCTION_INFO_V1(fraiseql_obs_export_metrics);

/*
 * metrics(): name, type, help, labels, value; a row for each sample.  The
 * name is the sample's: a histogram's has _bucket, _sum or _count at its end.
 */
Datum
fraiseql_obs_metrics(PG_FUNCTION_ARGS)
{
	RowWriter	row = {0};

	fobs_counters_require();
	InitMaterializedSRF(fcinfo, 0);

	row.writer.family = row_family;
	row.writer.sample = row_sample;
	row.writer.histogram = row_histogram;
	row.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	row.row_context = AllocSetContextCreate(CurrentMemoryContext,
											"fraiseql_obs metrics row",
											ALLOCSET_DEFAULT_SIZES);
	fobs_metrics_write(server_writer_create(&row.writer));
	MemoryContextDelete(row.row_context);
	PG_RETURN_NULL();
}

/*
 * export_metrics(format): all metrics as text in the server's encoding.
 * Raises invalid_parameter_value for a format that does not exist.
 */
Datum
fraiseql_obs_export_metrics(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	fobs_counters_require();
	for (int i = 0; i < lengthof(formats); i++)
	{
		StringInfoData out;

		if (strcmp(name, formats[i].name) != 0)
			continue;
		initStringInfo(&out);
		appendStringInfoSpaces(&out, VARHDRSZ);
		export_text(formats[i].format, &out, server_writer_create);
		SET_VARSIZE(out.data, out.len);
		PG_RETURN_TEXT_P(out.data);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized export format \"%s\"", name),
			 errhint("Available formats: prometheus, openmetrics, json.")));
	PG_RETURN_NULL();			/* keep compiler quiet */
}
