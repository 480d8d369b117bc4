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

#include "port/pg_bitutils.h"

#define FOBS_HISTOGRAM_CELLS	128
#define FOBS_HISTOGRAM_LAST_CELL (FOBS_HISTOGRAM_CELLS - 1)

/* Bounds that exports use, +Inf not counted; see fobs_histogram_export_text */
#define FOBS_EXPORT_BOUNDS		14

/* A histogram at rest: a private copy, or one that only its owner writes. */
typedef struct FobsHistogram
{
	uint64		cells[FOBS_HISTOGRAM_CELLS];	/* not cumulative */
} FobsHistogram;

extern void fobs_histogram_init(void);
extern uint64 fobs_histogram_count(const FobsHistogram *histogram);
extern double fobs_histogram_quantile(const FobsHistogram *histogram,
									  double quantile);
extern int	fobs_histogram_export_bucket(uint64 duration_ns);
extern void fobs_histogram_cumulate(const FobsHistogram *histogram,
									uint64 counts[FOBS_EXPORT_BOUNDS + 1]);

/* The bounds as every export prints them, "+Inf" last */
extern const char *const fobs_histogram_export_text[FOBS_EXPORT_BOUNDS + 1];

#pragma GCC visibility push(hidden)

/* Upper bounds of the cells, inclusive; the last cell has none */
extern const uint64 fobs_histogram_upper_ns[FOBS_HISTOGRAM_LAST_CELL];

/*
 * Where to start looking: the cell of the shortest duration that has a given
 * highest bit and the given three bits below it.
 */
extern uint8 fobs_histogram_first_cell[64 * 8];

/* The first cell that is above each of the bounds that exports use */
extern uint8 fobs_histogram_export_end[FOBS_EXPORT_BOUNDS + 1];

#pragma GCC visibility pop

/* The cell that a duration falls into. */
static inline int
fobs_histogram_cell(uint64 duration_ns)
{
	const uint64 *upper_ns = fobs_histogram_upper_ns;
	int			bit;
	int			cell;

	if (duration_ns <= upper_ns[0])
		return 0;
	if (unlikely(duration_ns > upper_ns[FOBS_HISTOGRAM_LAST_CELL - 1]))
		return FOBS_HISTOGRAM_LAST_CELL;

	/* at most one bound lies between two starting points */
	bit = pg_leftmost_one_pos64(duration_ns);
	cell = fobs_histogram_first_cell[bit * 8 +
									 ((duration_ns >> (bit - 3)) & 7)];
	return cell + (upper_ns[cell] < duration_ns);
}

#endif							/* FRAISEQL_OBS_HISTOGRAM_H */
