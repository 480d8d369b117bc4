/*-------------------------------------------------------------------------
 *
 * app_metrics.h
 *	  Counters, gauges and histograms that the application names itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_APP_METRICS_H
#define FRAISEQL_OBS_APP_METRICS_H

#include "fmgr.h"

#include "app_refs.h"
#include "app_series.h"
#include "exposition.h"

extern void fobs_app_metrics_write(FobsWriter *writer,
								   const FobsAppSnapshot *snapshot);

/* What the other functions that record something share */
extern bool fobs_app_is_recording(void);
extern void fobs_app_require(FunctionCallInfo fcinfo, int n,
							 const char *what);
extern void fobs_app_write_histogram(FobsWriter *writer,
									 const FobsAppFamilyCopy *family,
									 const FobsAppSeriesCopy *series);
extern double fobs_app_counter(const FobsAppSeriesCopy *series);

#endif							/* FRAISEQL_OBS_APP_METRICS_H */
