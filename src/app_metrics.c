/*-------------------------------------------------------------------------
 *
 * app_metrics.c
 *	  Counters, gauges and histograms that the application names itself.
 *
 * counter_add(), gauge_set() and histogram_observe() keep them in the store of
 * app_series.c, under the names that app_labels.c allows.  What is recorded is
 * recorded, whatever becomes of the transaction: who counts requests wants to
 * count those that fail.
 *
 * A histogram has the bounds that exports use, for seconds, or up to as many
 * others that were given with its first observation.  Bounds are part of a
 * family as its type is: a family whose series had different ones could not
 * be summed.
 *
 * With fraiseql_obs.enabled or .metrics_enabled off, nothing is recorded and
 * nothing is checked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "app_labels.h"
#include "app_metrics.h"
#include "app_refs.h"
#include "app_series.h"
#include "compat.h"
#include "counters.h"
#include "guc.h"

/* From here on, OpenMetrics writes bounds with an exponent, and below */
#define EXPONENT_FROM	1e6
#define EXPONENT_BELOW	1e-4

/* Space for a bound as text: a sign, 17 digits, a point and "e-308" */
#define BOUND_SIZE		32

PG_FUNCTION_INFO_V1(fraiseql_obs_counter_add);
PG_FUNCTION_INFO_V1(fraiseql_obs_gauge_set);
PG_FUNCTION_INFO_V1(fraiseql_obs_histogram_observe);

/* Indexed by FobsAppKind, as far as applications have them */
static const FobsMetricType types[] = {
	FOBS_COUNTER, FOBS_GAUGE, FOBS_HISTOGRAM
};
static const char *const helps[] = {
	"Counter kept by the application.",
	"Gauge kept by the application.",
	"Histogram kept by the application."
};

/*
 * Is what the application records to be kept?  Raises an error where the
 * library is not preloaded.
 */
bool
fobs_app_is_recording(void)
{
	fobs_counters_require();
	return fobs_counting;
}

/* Raises an error if an argument is NULL. */
void
fobs_app_require(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

static void
add_varlena(FobsAppKey *key, struct varlena *value)
{
	size_t		len = VARSIZE_ANY_EXHDR(value);

	fobs_app_key_add(key, &len, sizeof(len));
	fobs_app_key_add(key, VARDATA_ANY(value), len);
}

/* Fills in the bounds of a histogram that were given. */
static void
read_bounds(FobsAppFamily *family, ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("buckets must be an array of one dimension, and not empty")));
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elements, &nulls, &n);
	if (n > FOBS_APP_BOUNDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("too many buckets"),
				 errdetail("There are %d; %d are allowed, not counting that of all values.",
						   n, FOBS_APP_BOUNDS)));
	for (int i = 0; i < n; i++)
	{
		family->bounds[i] = nulls[i] ? -1 : DatumGetFloat8(elements[i]);
		if (!isfinite(family->bounds[i]) ||
			family->bounds[i] <= (i == 0 ? 0 : family->bounds[i - 1]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("buckets must be finite numbers above zero, each greater than the one before"),
					 errhint("Leave out +Inf, which each histogram has.")));
	}
	family->nbounds = n;
}

/* Raises an error if a value is none that this kind of metric can have. */
static void
check_value(double value, FobsAppKind kind, text * name)
{
	const char *what = fobs_metric_type_name(types[kind]);

	if (kind == FOBS_APP_GAUGE)
		return;
	if (!isfinite(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value for %s \"%s\" is not a finite number", what,
						text_to_cstring(name))));
	if (value < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value for %s \"%s\" is negative", what,
						text_to_cstring(name)),
				 errhint("A value that goes up and down is one for gauge_set().")));
}

/* Records for arguments that this backend has not seen, or not lately. */
static void
record_searching(FunctionCallInfo fcinfo, FobsAppKind kind,
				 FobsAppRefs *found, const FobsAppObservation *observation)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	FobsAppFamily family = {
		.name = VARDATA_ANY(name),
		.name_len = VARSIZE_ANY_EXHDR(name),
		.kind = kind
	};
	FobsAppLabels labels = {0};

	fobs_app_name_check(family.name, family.name_len, types[kind]);
	if (!PG_ARGISNULL(2))
		fobs_app_labels_from_jsonb(&labels, PG_GETARG_JSONB_P(2));
	if (kind == FOBS_APP_HISTOGRAM && !PG_ARGISNULL(3))
		read_bounds(&family, PG_GETARG_ARRAYTYPE_P(3));
	found->truncated = labels.truncated;
	fobs_app_record(&family, &labels, &found->refs[0], observation);
}

/* The functions' arguments are name, value, labels and, of one, buckets. */
static Datum
record(FunctionCallInfo fcinfo, FobsAppKind kind)
{
	FobsAppKey	key;
	FobsAppRefs *found;
	FobsAppObservation observation = {0};

	if (!fobs_app_is_recording())
		PG_RETURN_VOID();
	fobs_app_require(fcinfo, 0, "name of a metric");
	fobs_app_require(fcinfo, 1, "value of a metric");
	observation.number = PG_GETARG_FLOAT8(1);
	check_value(observation.number, kind, PG_GETARG_TEXT_PP(0));
	if (kind == FOBS_APP_GAUGE)
		observation.at = GetCurrentTimestamp();

	key.len = 0;
	fobs_app_key_add(&key, &kind, sizeof(kind));
	add_varlena(&key, PG_GETARG_VARLENA_PP(0));
	if (!PG_ARGISNULL(2))
		add_varlena(&key, PG_GETARG_VARLENA_PP(2));
	if (kind == FOBS_APP_HISTOGRAM && !PG_ARGISNULL(3))
		add_varlena(&key, PG_GETARG_VARLENA_PP(3));
	found = fobs_app_refs_find(&key);

	if (!fobs_app_record_by_ref(&found->refs[0], &observation))
		record_searching(fcinfo, kind, found, &observation);
	if (found->truncated)
		fobs_app_series_count_truncated();
	PG_RETURN_VOID();
}

/* counter_add(name, value, labels) */
Datum
fraiseql_obs_counter_add(PG_FUNCTION_ARGS)
{
	return record(fcinfo, FOBS_APP_COUNTER);
}

/* gauge_set(name, value, labels) */
Datum
fraiseql_obs_gauge_set(PG_FUNCTION_ARGS)
{
	return record(fcinfo, FOBS_APP_GAUGE);
}

/* histogram_observe(name, value, labels, buckets) */
Datum
fraiseql_obs_histogram_observe(PG_FUNCTION_ARGS)
{
	return record(fcinfo, FOBS_APP_HISTOGRAM);
}

/* What a counter has come to */
double
fobs_app_counter(const FobsAppSeriesCopy *series)
{
	return series->counts[0] + series->number;
}

/*
 * A bound in OpenMetrics' canonical form of a float, as the text of our own
 * histograms: the shortest that reads back the same, with a point or an
 * exponent.
 */
static const char *
bound_text(double bound)
{
	char	   *text = palloc(BOUND_SIZE);
	int			digits = 0;

	if (bound >= EXPONENT_FROM || bound < EXPONENT_BELOW)
	{
		do
			snprintf(text, BOUND_SIZE, "%.*e", digits, bound);
		while (digits++ < 17 && strtod(text, NULL) != bound);
		return text;
	}
	double_to_shortest_decimal_buf(bound, text);
	if (strchr(text, '.') == NULL)
		strlcat(text, ".0", BOUND_SIZE);
	return text;
}

/* Writes one series of a histogram. */
void
fobs_app_write_histogram(FobsWriter *writer, const FobsAppFamilyCopy *family,
						 const FobsAppSeriesCopy *series)
{
	FobsLabel	labels[FOBS_MAX_LABELS];
	const char *bounds[FOBS_APP_BOUNDS + 1];
	uint64		counts[FOBS_APP_BOUNDS + 1];
	uint64		seen = 0;
	FobsBuckets buckets = {
		.n = family->nbounds + 1,
		.bounds = bounds,
		.counts = counts,
		.sum = series->number
	};

	for (int i = 0; i <= family->nbounds; i++)
	{
		bounds[i] = i < family->nbounds ? bound_text(family->bounds[i]) : "+Inf";
		seen += series->counts[i];
		counts[i] = seen;
	}
	fobs_app_labels_unpack(series->labels, series->nlabels, labels);
	fobs_write_histogram(writer, labels, series->nlabels, &buckets);
}

/* Writes the metrics of the application's own names. */
void
fobs_app_metrics_write(FobsWriter *writer, const FobsAppSnapshot *snapshot)
{
	FobsLabel	labels[FOBS_MAX_LABELS];

	for (int f = 0; f < snapshot->nfamilies; f++)
	{
		const FobsAppFamilyCopy *copy = &snapshot->families[f];
		FobsFamily *family;

		if (copy->own)
			continue;
		family = palloc0(sizeof(FobsFamily));
		family->name = copy->name;
		family->type = types[copy->kind];
		family->help = helps[copy->kind];
		fobs_write_family(writer, family);
		for (int i = 0; i < copy->nseries; i++)
		{
			const FobsAppSeriesCopy *series = copy->series[i];

			if (copy->kind == FOBS_APP_HISTOGRAM)
			{
				fobs_app_write_histogram(writer, copy, series);
				continue;
			}
			fobs_app_labels_unpack(series->labels, series->nlabels, labels);
			fobs_write_sample(writer, labels, series->nlabels,
							  copy->kind == FOBS_APP_COUNTER ?
							  fobs_app_counter(series) : series->number);
		}
	}
}
