/*-------------------------------------------------------------------------
 *
 * audit_metrics.h
 *	  Metrics of audit logs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_METRICS_H
#define FRAISEQL_OBS_AUDIT_METRICS_H

#include "exposition.h"

extern void fobs_audit_metrics_write(FobsWriter *writer);

#endif							/* FRAISEQL_OBS_AUDIT_METRICS_H */
