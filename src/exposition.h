/*-------------------------------------------------------------------------
 *
 * exposition.h
 *	  Samples in, Prometheus / OpenMetrics / JSON text out.
 *
 * A FobsWriter takes a stream of families, each followed by its samples.
 * Whoever has samples (collector.c, metrics.c) writes them with the
 * fobs_write_*() functions and does not know where they go: into text of one
 * of the formats, or into the rows of metrics().
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_EXPOSITION_H
#define FRAISEQL_OBS_EXPOSITION_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#include "histogram.h"
#include "tracecontext.h"

#define FOBS_MAX_LABELS 8

typedef enum FobsMetricType
{
	FOBS_COUNTER,
	FOBS_GAUGE,
	FOBS_HISTOGRAM
} FobsMetricType;

/*
 * A metric family.  The name is the one users see in the Prometheus format:
 * counters end in _total.
 */
typedef struct FobsFamily
{
	const char *name;
	FobsMetricType type;
	const char *unit;			/* base unit that ends the name, or NULL */
	const char *help;
} FobsFamily;

/* Label values are UTF-8; see label.c for how they become so. */
typedef struct FobsLabel
{
	const char *name;
	const char *value;
} FobsLabel;

/* The trace of a recent observation in a bucket of a histogram */
typedef struct FobsExemplar
{
	double		unix_time;		/* of the observation, 0: there is none */
	double		value;
	char		trace_id[FOBS_TRACE_ID_SIZE];
	char		span_id[FOBS_SPAN_ID_SIZE];
} FobsExemplar;

/* A histogram of one set of labels */
typedef struct FobsBuckets
{
	int			n;
	const char *const *bounds;	/* as text, "+Inf" last */
	const uint64 *counts;		/* cumulative, so that the last is of all */
	double		sum;
	const FobsExemplar *exemplars;	/* one for each bound, or NULL */
} FobsBuckets;

typedef struct FobsWriter FobsWriter;

struct FobsWriter
{
	bool		takes_exemplars;

	/* opens a family; every sample up to the next one belongs to it */
	void		(*family) (FobsWriter *writer, const FobsFamily *family);

	/* a sample of a counter or a gauge */
	void		(*sample) (FobsWriter *writer, const FobsLabel *labels,
						   int nlabels, double value);

	/* all samples of a histogram for one set of labels */
	void		(*histogram) (FobsWriter *writer, const FobsLabel *labels,
							  int nlabels, const FobsBuckets *buckets);
};

/* Writing */
extern void fobs_write_family(FobsWriter *writer, const FobsFamily *family);
extern void fobs_write_sample(FobsWriter *writer, const FobsLabel *labels,
							  int nlabels, double value);
extern void fobs_write_histogram(FobsWriter *writer, const FobsLabel *labels,
								 int nlabels, const FobsBuckets *buckets);
extern void fobs_write_durations(FobsWriter *writer, const FobsLabel *labels,
								 int nlabels,
								 const uint64 counts[FOBS_EXPORT_BOUNDS + 1],
								 uint64 sum_ns,
								 const FobsExemplar *exemplars);

/* Pieces that other writers use */
extern const char *fobs_metric_type_name(FobsMetricType type);
extern double fobs_unix_time(TimestampTz timestamp);
extern void fobs_append_number(StringInfo out, double value);
extern void fobs_append_labels_json(StringInfo out, const FobsLabel *labels,
									int nlabels);

/* The text formats */
typedef enum FobsFormat
{
	FOBS_FORMAT_PROMETHEUS,		/* text format 0.0.4 */
	FOBS_FORMAT_OPENMETRICS,	/* OpenMetrics 1.0.0 */
	FOBS_FORMAT_JSON
} FobsFormat;

extern FobsWriter *fobs_text_writer_create(FobsFormat format, StringInfo out);
extern void fobs_text_writer_finish(FobsWriter *writer);

#endif							/* FRAISEQL_OBS_EXPOSITION_H */
