/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  Log-linear latency histogram: pure arithmetic.
 *
 * A cell holds how many durations fell at or below its upper bound and above
 * that of the cell before.  Bounds go up in decimal steps, thirteen a decade
 * (1.25 1.5 1.75 2 2.5 3 3.5 4 5 6 7 8 10), from one microsecond to 5,000
 * seconds; the first cell takes what is shorter and the last what is longer.
 * No bound is more than 1.25 times the one before, so the middle of a cell is
 * within 12.5 % of everything in it.
 *
 * The steps are decimal rather than binary so that each bound that exports
 * use is a cell's bound, too: a count below 0.25 s is a count, not an
 * interpolation.  As in Prometheus, bounds are inclusive.
 *
 * Nothing here is shared, locked or allocated; the tables are filled before
 * the first process is forked and read-only from then on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/float.h"

#include "histogram.h"

/* The thirteen bounds of the decade that begins at "unit" */
#define DECADE(unit) \
	(unit) * 5 / 4, (unit) * 3 / 2, (unit) * 7 / 4, (unit) * 2, \
	(unit) * 5 / 2, (unit) * 3, (unit) * 7 / 2, (unit) * 4, \
	(unit) * 5, (unit) * 6, (unit) * 7, (unit) * 8, (unit) * 10

#define LAST_CELL	FOBS_HISTOGRAM_LAST_CELL
#define upper_ns	fobs_histogram_upper_ns

/* Upper bounds in nanoseconds; the last cell has none */
const uint64 fobs_histogram_upper_ns[LAST_CELL] = {
	UINT64CONST(1000),
	DECADE(UINT64CONST(1000)),
	DECADE(UINT64CONST(10000)),
	DECADE(UINT64CONST(100000)),
	DECADE(UINT64CONST(1000000)),
	DECADE(UINT64CONST(10000000)),
	DECADE(UINT64CONST(100000000)),
	DECADE(UINT64CONST(1000000000)),
	DECADE(UINT64CONST(10000000000)),
	DECADE(UINT64CONST(100000000000)),
	UINT64CONST(1250000000000),
	UINT64CONST(1500000000000),
	UINT64CONST(1750000000000),
	UINT64CONST(2000000000000),
	UINT64CONST(2500000000000),
	UINT64CONST(3000000000000),
	UINT64CONST(3500000000000),
	UINT64CONST(4000000000000),
	UINT64CONST(5000000000000)
};

/*
 * Bounds of exported histograms.  The text is OpenMetrics' canonical form of
 * a float, which the Prometheus format accepts: one spelling in both, because
 * Prometheus 2 stores le="1" and le="1.0" as two series.
 */
static const uint64 export_ns[FOBS_EXPORT_BOUNDS] = {
	UINT64CONST(500000), UINT64CONST(1000000), UINT64CONST(2500000),
	UINT64CONST(5000000), UINT64CONST(10000000), UINT64CONST(25000000),
	UINT64CONST(50000000), UINT64CONST(100000000), UINT64CONST(250000000),
	UINT64CONST(500000000), UINT64CONST(1000000000),
	UINT64CONST(2500000000), UINT64CONST(5000000000),
	UINT64CONST(10000000000)
};

const char *const fobs_histogram_export_text[FOBS_EXPORT_BOUNDS + 1] = {
	"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
	"0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"
};

uint8		fobs_histogram_first_cell[64 * 8];
uint8		fobs_histogram_export_end[FOBS_EXPORT_BOUNDS + 1];

/* Fills the tables. */
void
fobs_histogram_init(void)
{
	for (int bit = 3; bit < 64; bit++)
	{
		for (int eighth = 0; eighth < 8; eighth++)
		{
			uint64		shortest = (UINT64CONST(8) + eighth) << (bit - 3);
			int			cell = 0;

			while (cell < LAST_CELL && upper_ns[cell] < shortest)
				cell++;
			fobs_histogram_first_cell[bit * 8 + eighth] = cell;
		}
	}
	for (int bound = 0; bound < FOBS_EXPORT_BOUNDS; bound++)
		fobs_histogram_export_end[bound] =
			fobs_histogram_cell(export_ns[bound]) + 1;
	fobs_histogram_export_end[FOBS_EXPORT_BOUNDS] = FOBS_HISTOGRAM_CELLS;
}

/* How many durations a histogram holds. */
uint64
fobs_histogram_count(const FobsHistogram *histogram)
{
	uint64		count = 0;

	for (int cell = 0; cell < FOBS_HISTOGRAM_CELLS; cell++)
		count += histogram->cells[cell];
	return count;
}

/*
 * Estimates a quantile (0 to 1), in nanoseconds: the middle of the cell that
 * holds the nearest-rank duration.  NaN for an empty histogram.  The last
 * cell, having no middle, gives its lower bound; callers that know minimum
 * and maximum clamp to them.
 */
double
fobs_histogram_quantile(const FobsHistogram *histogram, double quantile)
{
	uint64		count = fobs_histogram_count(histogram);
	uint64		rank;
	uint64		seen = 0;
	int			cell;

	if (count == 0)
		return get_float8_nan();

	rank = (uint64) ceil(quantile * (double) count);
	rank = Max(rank, 1);
	for (cell = 0; cell < LAST_CELL; cell++)
	{
		seen += histogram->cells[cell];
		if (seen >= rank)
			break;
	}

	if (cell == 0)
		return (double) upper_ns[0] / 2;
	if (cell == LAST_CELL)
		return (double) upper_ns[LAST_CELL - 1];
	return (double) (upper_ns[cell - 1] + upper_ns[cell]) / 2;
}

/* Which of the bounds that exports use a duration falls under */
int
fobs_histogram_export_bucket(uint64 duration_ns)
{
	int			bound = 0;

	while (bound < FOBS_EXPORT_BOUNDS && export_ns[bound] < duration_ns)
		bound++;
	return bound;
}

/*
 * The histogram as exports show it: how many durations were at or below each
 * bound of fobs_histogram_export_text, ending with all of them.
 */
void
fobs_histogram_cumulate(const FobsHistogram *histogram,
						uint64 counts[FOBS_EXPORT_BOUNDS + 1])
{
	uint64		seen = 0;
	int			cell = 0;

	for (int bound = 0; bound <= FOBS_EXPORT_BOUNDS; bound++)
	{
		while (cell < fobs_histogram_export_end[bound])
			seen += histogram->cells[cell++];
		counts[bound] = seen;
	}
}
