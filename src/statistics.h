/*-------------------------------------------------------------------------
 *
 * statistics.h
 *	  The columns that query_stats() and operation_stats() share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_STATISTICS_H
#define FRAISEQL_OBS_STATISTICS_H

#include "series.h"

/* calls, errors, slow_calls, rows, eight times and last_call */
#define FOBS_STATISTICS_COLUMNS 13

extern void fobs_statistics_columns(const FobsSeriesSnapshot *snapshot,
									Datum *values, bool *nulls);

#endif							/* FRAISEQL_OBS_STATISTICS_H */
