/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  All metrics, as samples or as text.
 *
 * See metrics.c for the catalogue of families.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_METRICS_H
#define FRAISEQL_OBS_METRICS_H

#include "exposition.h"

extern void fobs_metrics_shmem_request(void);
extern void fobs_metrics_shmem_startup(void);
extern void fobs_metrics_write(FobsWriter *writer);
extern void fobs_metrics_export(FobsFormat format, StringInfo out);

#endif							/* FRAISEQL_OBS_METRICS_H */
