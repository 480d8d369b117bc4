/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  Log-linear latency histogram: pure arithmetic.
 *
 * See histogram.c for the layout of the cells.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HISTOGRAM_H
#define FRAISEQL_OBS_HISTOGRAM_H

#define FOBS_HISTOGRAM_CELLS	128

/* Bounds that exports use, +Inf not counted; see fobs_histogram_export_text */
#define FOBS_EXPORT_BOUNDS		14

/* A histogram at rest: a private copy, or one that only its owner writes. */
typedef struct FobsHistogram
{
	uint64		cells[FOBS_HISTOGRAM_CELLS];	/* not cumulative */
} FobsHistogram;

extern void fobs_histogram_init(void);
extern int	fobs_histogram_cell(uint64 duration_ns);
extern uint64 fobs_histogram_cell_upper_ns(int cell);
extern uint64 fobs_histogram_count(const FobsHistogram *histogram);
extern void fobs_histogram_add(FobsHistogram *to, const FobsHistogram *from);
extern double fobs_histogram_quantile(const FobsHistogram *histogram,
									  double quantile);
extern void fobs_histogram_cumulate(const FobsHistogram *histogram,
									uint64 counts[FOBS_EXPORT_BOUNDS + 1]);

/* The bounds as every export prints them, "+Inf" last */
extern const char *const fobs_histogram_export_text[FOBS_EXPORT_BOUNDS + 1];

#endif							/* FRAISEQL_OBS_HISTOGRAM_H */
