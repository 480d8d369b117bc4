/*-------------------------------------------------------------------------
 *
 * app_labels.c
 *	  Names and labels of the metrics that the application keeps.
 *
 * Names are the programmer's: a name that Prometheus would not take, or that
 * could be mistaken for another one's sample, is an error.  The names of a
 * family's samples are its own with _total, _bucket, _sum, _count or _created
 * behind them (or _info, for a type that is not used here), so no family's
 * name may end in one of these, but for the _total that every counter's has.
 * The colon is for recording rules, names that begin with fraiseql_obs_ are
 * ours, and "up" and those that begin with scrape_ are what Prometheus itself
 * records of a target, beside the target's own samples.
 *
 * Values come from the application's users: nothing is refused.  A value that
 * is too long is cut at a character's boundary, control characters become
 * spaces, what is no text becomes U+FFFD (see label.c).  An empty value is
 * none, as in Prometheus.  The space for labels is the same for each series:
 * what the names leave is shared out evenly.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "app_labels.h"
#include "label.h"

#define LABEL_NAME_SIZE		NAMEDATALEN
#define OUR_PREFIX			"fraiseql_obs_"
#define PROMETHEUS_NAME		"up"
#define PROMETHEUS_PREFIX	"scrape_"
#define COUNTER_SUFFIX		"_total"

/* What the names of labels must leave for each value, at least */
#define LEAST_VALUE_BYTES	16

static const char *const sample_suffixes[] = {
	"_total", "_bucket", "_sum", "_count", "_created", "_info"
};

/* Letters, digits and underscores, and no digit first; ASCII alone */
static bool
is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		char		c = name[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' &&
			(c < '0' || c > '9' || i == 0))
			return false;
	}
	return len > 0;
}

static bool
begins_with(const char *name, size_t len, const char *prefix)
{
	size_t		prefix_len = strlen(prefix);

	return len >= prefix_len && memcmp(name, prefix, prefix_len) == 0;
}

static bool
ends_in(const char *name, size_t len, const char *suffix)
{
	size_t		suffix_len = strlen(suffix);

	return len >= suffix_len &&
		memcmp(name + len - suffix_len, suffix, suffix_len) == 0;
}

/* Raises an error if samples of another one have such names. */
static void
check_not_reserved(const char *name, size_t len)
{
	if (begins_with(name, len, OUR_PREFIX))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("metric name \"%.*s\" is reserved", (int) len, name),
				 errhint("Names that begin with \"%s\" are those of the extension itself.",
						 OUR_PREFIX)));
	if (begins_with(name, len, PROMETHEUS_PREFIX) ||
		(len == strlen(PROMETHEUS_NAME) &&
		 begins_with(name, len, PROMETHEUS_NAME)))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("metric name \"%.*s\" is reserved", (int) len, name),
				 errhint("\"%s\" and names that begin with \"%s\" are those of what Prometheus records of a target.",
						 PROMETHEUS_NAME, PROMETHEUS_PREFIX)));
}

/* Raises an error unless a metric of the application may have this name. */
void
fobs_app_name_check(const char *name, size_t len, FobsMetricType type)
{
	size_t		base_len = len;

	if (len >= FOBS_APP_NAME_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("metric name is too long"),
				 errdetail("It has %zu bytes; %d are allowed.",
						   len, FOBS_APP_NAME_SIZE - 1)));
	if (!is_name(name, len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid metric name \"%.*s\"", (int) len, name),
				 errhint("A metric name has letters, digits and underscores, and does not begin with a digit.")));
	check_not_reserved(name, len);

	if (type == FOBS_COUNTER)
	{
		if (!ends_in(name, len, COUNTER_SUFFIX))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("name of counter \"%.*s\" does not end in \"%s\"",
							(int) len, name, COUNTER_SUFFIX),
					 errhint("Name it after what it counts, as in \"orders_total\".")));
		base_len -= strlen(COUNTER_SUFFIX);
		if (base_len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("invalid metric name \"%.*s\"", (int) len, name),
					 errdetail("It says nothing but that it is a counter.")));
	}
	for (int i = 0; i < lengthof(sample_suffixes); i++)
	{
		if (ends_in(name, base_len, sample_suffixes[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("invalid metric name \"%.*s\"", (int) len, name),
					 errdetail("Names with \"%s\" at the end are those of samples of counters and histograms.",
							   sample_suffixes[i])));
	}
}

/* Appends a label, its value in UTF-8 and of at most so many bytes. */
static void
append(FobsAppLabels *labels, const char *name, const char *value, size_t len,
	   size_t most)
{
	char	   *at = labels->text + labels->size;
	size_t		name_size = strlen(name) + 1;

	Assert(labels->size + name_size + most + 1 <= FOBS_APP_LABELS_SIZE);
	memcpy(at, name, name_size);
	at += name_size;
	if (!fobs_label_copy(at, most + 1, value, len))
		labels->truncated = true;
	if (*at == '\0')
		return;
	labels->n++;
	fobs_label_clear_controls(at);
	labels->size = at + strlen(at) + 1 - labels->text;
}

/*
 * Adds a label with a short name to a set of three at most; the value is text
 * of the server.  What has no value adds nothing.
 */
void
fobs_app_labels_add(FobsAppLabels *labels, const char *name,
					const char *value, size_t len)
{
	fobs_label_prepare();
	append(labels, name, value, len, FOBS_APP_VALUE_BYTES);
}

/* Raises an error unless a label may have this name. */
static void
check_label_name(const char *name, size_t len)
{
	if (len >= LABEL_NAME_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("label name is too long"),
				 errdetail("It has %zu bytes; %d are allowed.",
						   len, LABEL_NAME_SIZE - 1)));
	if (!is_name(name, len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid label name \"%.*s\"", (int) len, name),
				 errhint("A label name has letters, digits and underscores, and does not begin with a digit.")));
	if ((len >= 2 && name[0] == '_' && name[1] == '_') ||
		(len == 2 && memcmp(name, "le", 2) == 0) ||
		(len == 8 && memcmp(name, "quantile", 8) == 0))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("label name \"%.*s\" is reserved", (int) len, name),
				 errhint("Prometheus keeps \"le\", \"quantile\" and names that begin with \"__\" for itself.")));
}

/* The text of a label's value; NULL stands for none. */
static const char *
value_text(const JsonbValue *value, const char *name, int *len)
{
	const char *text = NULL;
	Datum		number;

	switch (value->type)
	{
		case jbvString:
			*len = value->val.string.len;
			return value->val.string.val;
		case jbvNumeric:
			number = NumericGetDatum(value->val.numeric);
			text = DatumGetCString(DirectFunctionCall1(numeric_out, number));
			break;
		case jbvBool:
			text = value->val.boolean ? "true" : "false";
			break;
		case jbvNull:
			text = "";
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("value of label \"%s\" is an array or an object",
							name),
					 errhint("Values of labels are strings, numbers or booleans.")));
	}
	*len = strlen(text);
	return text;
}

/*
 * Makes labels of a JSON object; raises an error if it is none, or for the
 * name of a label.
 */
void
fobs_app_labels_from_jsonb(FobsAppLabels *labels, Jsonb *json)
{
	char		names[FOBS_MAX_LABELS][LABEL_NAME_SIZE];
	JsonbValue	values[FOBS_MAX_LABELS];
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			n = 0;
	int			left = FOBS_APP_LABELS_SIZE;
	int			most;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("labels are not a JSON object"),
				 errhint("Give them as in '{\"region\": \"eu\"}'.")));
	if (JB_ROOT_COUNT(json) > FOBS_MAX_LABELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("too many labels"),
				 errdetail("There are %d; %d are allowed.",
						   (int) JB_ROOT_COUNT(json), FOBS_MAX_LABELS)));

	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			check_label_name(value.val.string.val, value.val.string.len);
			memcpy(names[n], value.val.string.val, value.val.string.len);
			names[n][value.val.string.len] = '\0';
			left -= value.val.string.len + 1;
		}
		else if (token == WJB_VALUE)
			values[n++] = value;
	}
	if (n == 0)
		return;

	most = Min(left / n - 1, FOBS_APP_VALUE_BYTES);
	if (most < LEAST_VALUE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("names of labels are too long"),
				 errdetail("They leave no room for values in the %d bytes that all labels may have.",
						   FOBS_APP_LABELS_SIZE)));
	fobs_label_prepare();
	for (int i = 0; i < n; i++)
	{
		int			len;
		const char *text = value_text(&values[i], names[i], &len);

		append(labels, names[i], text, len, most);
	}
}

/* Finds the names and values in the text of n labels. */
void
fobs_app_labels_unpack(const char *text, int n, FobsLabel *labels)
{
	for (int i = 0; i < n; i++)
	{
		labels[i].name = text;
		text += strlen(text) + 1;
		labels[i].value = text;
		text += strlen(text) + 1;
	}
}
