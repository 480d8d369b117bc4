/*-------------------------------------------------------------------------
 *
 * exposition.c
 *	  Samples in, Prometheus / OpenMetrics / JSON text out.
 *
 * Pure formatting: no shared memory, no catalogs, no clock.  A writer appends
 * to a StringInfo and keeps one thing, the family it is in; that is announced
 * with its first sample, so a family without samples does not appear.
 *
 * Sources: "Exposition formats" of the Prometheus documentation (text format
 * 0.0.4) and the OpenMetrics specification 1.0.0.  What the two share is
 * written alike: label values escape \, " and the newline, bucket bounds are
 * OpenMetrics' canonical numbers.  They differ in the metadata: OpenMetrics
 * names a counter's family without _total, states the unit, escapes " in help
 * texts too, has exemplars, and ends with "# EOF".  No timestamps and no
 * _created series, as Prometheus recommends.
 *
 * Most of a scrape is buckets of histograms, which differ in their bound and
 * count alone.  So the rest of such a line is rendered once, and copied for
 * each bucket from where it stands in the output already.
 *
 * JSON has the names of the Prometheus format:
 *
 *	{"metrics": [{"name", "type", "unit", "help", "samples": [
 *		{"labels": {}, "value"} or, for a histogram,
 *		{"labels": {}, "buckets": {"0.0005": n, ..., "+Inf": n},
 *		 "sum", "count"}]}]}
 *
 * Its buckets are cumulative, as in the other formats; what is no number
 * (NaN, infinity) is null.
 *
 * Caveat: writers trust their callers with names, with labels being UTF-8 and
 * with not writing a series twice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"

#include "exposition.h"

/* Integers up to here are exact in a double */
#define MAX_EXACT	9007199254740992.0	/* 2^53 */

/* Room that a number takes at most */
#define NUMBER_SIZE	Max(DOUBLE_SHORTEST_DECIMAL_LEN, MAXINT8LEN + 1)

typedef struct TextWriter
{
	FobsWriter	writer;			/* must be first */
	FobsFormat	format;
	StringInfo	out;
	const FobsFamily *family;	/* open since the last family() */
	int			name_len;		/* of its name */
	bool		announced;		/* its metadata is written */
	bool		any_family;		/* JSON: a comma is due before the next one */
	bool		any_sample;		/* JSON: likewise */
} TextWriter;

/* Indexed by FobsMetricType */
static const char *const type_names[] = {"counter", "gauge", "histogram"};

static void text_family(FobsWriter *writer, const FobsFamily *family);
static void text_sample(FobsWriter *writer, const FobsLabel *labels,
						int nlabels, double value);
static void text_histogram(FobsWriter *writer, const FobsLabel *labels,
						   int nlabels, const FobsBuckets *buckets);
static void text_exemplar(StringInfo out, const FobsExemplar *exemplar);
static void text_announce(TextWriter *text);
static void text_labels(StringInfo out, const FobsLabel *labels, int nlabels);
static void text_value(StringInfo out, int nlabels, double value);
static void json_family(FobsWriter *writer, const FobsFamily *family);
static void json_sample(FobsWriter *writer, const FobsLabel *labels,
						int nlabels, double value);
static void json_histogram(FobsWriter *writer, const FobsLabel *labels,
						   int nlabels, const FobsBuckets *buckets);
static void json_announce(TextWriter *text);
static void json_close_family(TextWriter *text);
static void json_open_sample(TextWriter *text, const FobsLabel *labels,
							 int nlabels);
static void json_string(StringInfo out, const char *value);
static void json_number(StringInfo out, double value);
static void append_escaped(StringInfo out, const char *value, bool quotes);

/* The name of a type, as every format spells it. */
const char *
fobs_metric_type_name(FobsMetricType type)
{
	return type_names[type];
}

/* As enlargeStringInfo(), which is a call even where there is room */
static inline void
reserve(StringInfo out, int len)
{
	if (unlikely(out->len + len >= out->maxlen))
		enlargeStringInfo(out, len);
}

/* As appendBinaryStringInfo(), for text so short that a call is the most */
static inline void
append(StringInfo out, const char *text, int len)
{
	reserve(out, len);
	memcpy(out->data + out->len, text, len);
	out->len += len;
	out->data[out->len] = '\0';
}

/* Appends what stands in the output already. */
static inline void
append_again(StringInfo out, int start, int len)
{
	reserve(out, len);
	append(out, out->data + start, len);
}

/* Opens a family; it appears once it has a sample. */
void
fobs_write_family(FobsWriter *writer, const FobsFamily *family)
{
	writer->family(writer, family);
}

/* Writes a counter's or a gauge's sample, in the family's unit. */
void
fobs_write_sample(FobsWriter *writer, const FobsLabel *labels, int nlabels,
				  double value)
{
	Assert(nlabels <= FOBS_MAX_LABELS);
	writer->sample(writer, labels, nlabels, value);
}

/* Writes a histogram's samples for one set of labels. */
void
fobs_write_histogram(FobsWriter *writer, const FobsLabel *labels, int nlabels,
					 const FobsBuckets *buckets)
{
	Assert(nlabels <= FOBS_MAX_LABELS);
	writer->histogram(writer, labels, nlabels, buckets);
}

/* The same for durations, with the bounds that exports use. */
void
fobs_write_durations(FobsWriter *writer, const FobsLabel *labels, int nlabels,
					 const uint64 counts[FOBS_EXPORT_BOUNDS + 1],
					 uint64 sum_ns, const FobsExemplar *exemplars)
{
	FobsBuckets buckets = {
		.n = FOBS_EXPORT_BOUNDS + 1,
		.bounds = fobs_histogram_export_text,
		.counts = counts,
		.sum = sum_ns / 1e9,
		.exemplars = exemplars
	};

	fobs_write_histogram(writer, labels, nlabels, &buckets);
}

/*
 * A writer that appends text of a format to out, in UTF-8.  Lives in the
 * current memory context; fobs_text_writer_finish() completes the text.
 */
FobsWriter *
fobs_text_writer_create(FobsFormat format, StringInfo out)
{
	TextWriter *text = palloc0(sizeof(TextWriter));

	text->format = format;
	text->out = out;
	if (format == FOBS_FORMAT_JSON)
	{
		text->writer.family = json_family;
		text->writer.sample = json_sample;
		text->writer.histogram = json_histogram;
		appendStringInfoString(out, "{\"metrics\":[");
	}
	else
	{
		text->writer.family = text_family;
		text->writer.sample = text_sample;
		text->writer.histogram = text_histogram;
		text->writer.takes_exemplars = format == FOBS_FORMAT_OPENMETRICS;
	}
	return &text->writer;
}

/* Writes what the format ends with, and frees the writer. */
void
fobs_text_writer_finish(FobsWriter *writer)
{
	TextWriter *text = (TextWriter *) writer;

	if (text->format == FOBS_FORMAT_OPENMETRICS)
		appendStringInfoString(text->out, "# EOF\n");
	else if (text->format == FOBS_FORMAT_JSON)
	{
		json_close_family(text);
		appendStringInfoString(text->out, "]}\n");
	}
	pfree(text);
}

/* Seconds since 1970 */
double
fobs_unix_time(TimestampTz timestamp)
{
	return timestamp / (double) USECS_PER_SEC +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY;
}

/*
 * Appends a number as all formats read it: whole numbers without a point as
 * long as they are exact, else the shortest text that reads back the same.
 * NaN and infinities are those of Prometheus.
 */
void
fobs_append_number(StringInfo out, double value)
{
	reserve(out, NUMBER_SIZE);
	if (fabs(value) <= MAX_EXACT && value == (double) (int64) value)
		out->len += pg_lltoa((int64) value, out->data + out->len);
	else if (isnan(value))
		appendStringInfoString(out, "NaN");
	else if (isinf(value))
		appendStringInfoString(out, value > 0 ? "+Inf" : "-Inf");
	else
		out->len += double_to_shortest_decimal_buf(value,
												   out->data + out->len);
}

static void
text_family(FobsWriter *writer, const FobsFamily *family)
{
	TextWriter *text = (TextWriter *) writer;

	text->family = family;
	text->name_len = strlen(family->name);
	text->announced = false;
}

static void
text_sample(FobsWriter *writer, const FobsLabel *labels, int nlabels,
			double value)
{
	TextWriter *text = (TextWriter *) writer;
	StringInfo	out = text->out;

	if (!text->announced)
		text_announce(text);
	append(out, text->family->name, text->name_len);
	text_labels(out, labels, nlabels);
	text_value(out, nlabels, value);
}

static void
text_histogram(FobsWriter *writer, const FobsLabel *labels, int nlabels,
			   const FobsBuckets *buckets)
{
	TextWriter *text = (TextWriter *) writer;
	StringInfo	out = text->out;
	int			start;			/* of a line, and its length up to the bound */
	int			len;
	int			labels_start;
	int			labels_len;
	uint64		below = 0;

	if (!text->announced)
		text_announce(text);

	start = out->len;
	append(out, text->family->name, text->name_len);
	append(out, "_bucket", 7);
	labels_start = out->len;
	text_labels(out, labels, nlabels);
	labels_len = out->len - labels_start;
	append(out, nlabels > 0 ? ",le=\"" : "{le=\"", 5);
	len = out->len - start;

	for (int i = 0; i < buckets->n; i++)
	{
		const FobsExemplar *exemplar =
		buckets->exemplars != NULL ? &buckets->exemplars[i] : NULL;

		if (i > 0)
			append_again(out, start, len);
		append(out, buckets->bounds[i], strlen(buckets->bounds[i]));
		append(out, "\"} ", 3);
		fobs_append_number(out, (double) buckets->counts[i]);

		/* since a reset, nothing may have been observed there */
		if (exemplar != NULL && exemplar->unix_time > 0 &&
			buckets->counts[i] > below)
			text_exemplar(out, exemplar);
		append(out, "\n", 1);
		below = buckets->counts[i];
	}

	append_again(out, start, text->name_len);
	append(out, "_sum", 4);
	append_again(out, labels_start, labels_len);
	text_value(out, nlabels, buckets->sum);
	append_again(out, start, text->name_len);
	append(out, "_count", 6);
	append_again(out, labels_start, labels_len);
	text_value(out, nlabels, (double) below);
}

static void
text_exemplar(StringInfo out, const FobsExemplar *exemplar)
{
	appendStringInfo(out, " # {trace_id=\"%s\",span_id=\"%s\"} ",
					 exemplar->trace_id, exemplar->span_id);
	fobs_append_number(out, exemplar->value);
	appendStringInfo(out, " %.3f", exemplar->unix_time);
}

/* Writes a family's metadata, in the order that each format asks for. */
static void
text_announce(TextWriter *text)
{
	const FobsFamily *family = text->family;
	StringInfo	out = text->out;
	int			len = strlen(family->name);

	if (text->format == FOBS_FORMAT_PROMETHEUS)
	{
		appendStringInfo(out, "# HELP %s ", family->name);
		append_escaped(out, family->help, false);
		appendStringInfo(out, "\n# TYPE %s %s\n", family->name,
						 type_names[family->type]);
	}
	else
	{
		if (family->type == FOBS_COUNTER)
			len -= strlen("_total");
		appendStringInfo(out, "# TYPE %.*s %s\n", len, family->name,
						 type_names[family->type]);
		if (family->unit != NULL)
			appendStringInfo(out, "# UNIT %.*s %s\n", len, family->name,
							 family->unit);
		appendStringInfo(out, "# HELP %.*s ", len, family->name);
		append_escaped(out, family->help, true);
		appendStringInfoChar(out, '\n');
	}
	text->announced = true;
}

/* Appends labels, but for the brace that ends them. */
static void
text_labels(StringInfo out, const FobsLabel *labels, int nlabels)
{
	for (int i = 0; i < nlabels; i++)
	{
		append(out, i == 0 ? "{" : ",", 1);
		append(out, labels[i].name, strlen(labels[i].name));
		append(out, "=\"", 2);
		append_escaped(out, labels[i].value, true);
		append(out, "\"", 1);
	}
}

/* Ends a line after so many labels. */
static void
text_value(StringInfo out, int nlabels, double value)
{
	if (nlabels > 0)
		append(out, "}", 1);
	append(out, " ", 1);
	fobs_append_number(out, value);
	append(out, "\n", 1);
}

/* Appends text with \, newlines and, if asked, " escaped. */
static void
append_escaped(StringInfo out, const char *value, bool quotes)
{
	for (;;)
	{
		size_t		len = strcspn(value, quotes ? "\\\n\"" : "\\\n");

		append(out, value, len);
		value += len;
		if (*value == '\0')
			return;
		append(out, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\",
			   2);
		value++;
	}
}

static void
json_family(FobsWriter *writer, const FobsFamily *family)
{
	TextWriter *text = (TextWriter *) writer;

	json_close_family(text);
	text->family = family;
}

static void
json_sample(FobsWriter *writer, const FobsLabel *labels, int nlabels,
			double value)
{
	TextWriter *text = (TextWriter *) writer;

	json_open_sample(text, labels, nlabels);
	appendStringInfoString(text->out, ",\"value\":");
	json_number(text->out, value);
	appendStringInfoChar(text->out, '}');
}

static void
json_histogram(FobsWriter *writer, const FobsLabel *labels, int nlabels,
			   const FobsBuckets *buckets)
{
	TextWriter *text = (TextWriter *) writer;
	StringInfo	out = text->out;

	json_open_sample(text, labels, nlabels);
	appendStringInfoString(out, ",\"buckets\":");
	for (int i = 0; i < buckets->n; i++)
	{
		appendStringInfoChar(out, i == 0 ? '{' : ',');
		json_string(out, buckets->bounds[i]);
		appendStringInfoChar(out, ':');
		json_number(out, (double) buckets->counts[i]);
	}
	appendStringInfoString(out, "},\"sum\":");
	json_number(out, buckets->sum);
	appendStringInfoString(out, ",\"count\":");
	json_number(out, (double) buckets->counts[buckets->n - 1]);
	appendStringInfoChar(out, '}');
}

static void
json_announce(TextWriter *text)
{
	StringInfo	out = text->out;
	const FobsFamily *family = text->family;

	if (text->any_family)
		appendStringInfoChar(out, ',');
	appendStringInfoString(out, "{\"name\":");
	json_string(out, family->name);
	appendStringInfoString(out, ",\"type\":");
	json_string(out, type_names[family->type]);
	appendStringInfoString(out, ",\"unit\":");
	if (family->unit != NULL)
		json_string(out, family->unit);
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"help\":");
	json_string(out, family->help);
	appendStringInfoString(out, ",\"samples\":[");
	text->announced = true;
	text->any_family = true;
	text->any_sample = false;
}

static void
json_close_family(TextWriter *text)
{
	if (text->announced)
		appendStringInfoString(text->out, "]}");
	text->announced = false;
}

/* Begins a sample's object with its labels. */
static void
json_open_sample(TextWriter *text, const FobsLabel *labels, int nlabels)
{
	if (!text->announced)
		json_announce(text);
	if (text->any_sample)
		appendStringInfoChar(text->out, ',');
	text->any_sample = true;
	appendStringInfoString(text->out, "{\"labels\":");
	fobs_append_labels_json(text->out, labels, nlabels);
}

/* Appends labels as a JSON object; its encoding is that of their values. */
void
fobs_append_labels_json(StringInfo out, const FobsLabel *labels, int nlabels)
{
	appendStringInfoChar(out, '{');
	for (int i = 0; i < nlabels; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		json_string(out, labels[i].name);
		appendStringInfoChar(out, ':');
		json_string(out, labels[i].value);
	}
	appendStringInfoChar(out, '}');
}

static void
json_string(StringInfo out, const char *value)
{
	appendStringInfoChar(out, '"');
	for (; *value != '\0'; value++)
	{
		if (*value == '"' || *value == '\\')
		{
			appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, *value);
		}
		else if ((unsigned char) *value < ' ')
			appendStringInfo(out, "\\u%04x", (unsigned int) *value);
		else
			appendStringInfoChar(out, *value);
	}
	appendStringInfoChar(out, '"');
}

static void
json_number(StringInfo out, double value)
{
	if (isnan(value) || isinf(value))
		appendStringInfoString(out, "null");
	else
		fobs_append_number(out, value);
}
