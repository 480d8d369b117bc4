/*-------------------------------------------------------------------------
 *
 * statistics.c
 *	  The columns that query_stats() and operation_stats() share.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "statistics.h"

static double
ms(uint64 ns)
{
	return (double) ns / 1000000.0;
}

/* A quantile in milliseconds, kept inside of what was really measured. */
static Datum
quantile_ms(const FobsSeriesSnapshot *snapshot, double quantile)
{
	double		ns = fobs_histogram_quantile(&snapshot->durations, quantile);

	ns = Max(ns, (double) snapshot->min_ns);
	ns = Min(ns, (double) snapshot->max_ns);
	return Float8GetDatum(ns / 1000000.0);
}

/*
 * Fills FOBS_STATISTICS_COLUMNS columns: calls, errors, slow_calls, rows,
 * total, min, max, mean, p50, p95, p99 of execution and total planning time in
 * milliseconds, and last_call.  The order is that of the SQL functions'
 * columns.  A series without calls has no minimum, maximum, mean, quantiles
 * and last call.
 */
void
fobs_statistics_columns(const FobsSeriesSnapshot *snapshot,
						Datum *values, bool *nulls)
{
	int			i = 0;

	memset(nulls, 0, FOBS_STATISTICS_COLUMNS * sizeof(bool));
	values[i++] = Int64GetDatum((int64) snapshot->calls);
	values[i++] = Int64GetDatum((int64) snapshot->errors);
	values[i++] = Int64GetDatum((int64) snapshot->slow);
	values[i++] = Int64GetDatum((int64) snapshot->rows);
	values[i++] = Float8GetDatum(ms(snapshot->duration_ns));
	if (snapshot->calls > 0)
	{
		values[i++] = Float8GetDatum(ms(snapshot->min_ns));
		values[i++] = Float8GetDatum(ms(snapshot->max_ns));
		values[i++] = Float8GetDatum(ms(snapshot->duration_ns) /
									 (double) snapshot->calls);
		values[i++] = quantile_ms(snapshot, 0.50);
		values[i++] = quantile_ms(snapshot, 0.95);
		values[i++] = quantile_ms(snapshot, 0.99);
	}
	else
	{
		memset(&nulls[i], true, 6 * sizeof(bool));
		i += 6;
	}
	values[i++] = Float8GetDatum(ms(snapshot->planning_ns));
	nulls[i] = snapshot->calls == 0;
	values[i++] = TimestampTzGetDatum(snapshot->last_call);
	Assert(i == FOBS_STATISTICS_COLUMNS);
}
