/*-------------------------------------------------------------------------
 *
 * query_metrics.h
 *	  The queries that take most time, as text for the status page.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_QUERY_METRICS_H
#define FRAISEQL_OBS_QUERY_METRICS_H

#include "lib/stringinfo.h"

extern void fobs_query_metrics_export(StringInfo out);

#endif							/* FRAISEQL_OBS_QUERY_METRICS_H */
