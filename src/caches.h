/*-------------------------------------------------------------------------
 *
 * caches.h
 *	  How well caches answer: those of the application, and shared buffers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_CACHES_H
#define FRAISEQL_OBS_CACHES_H

#include "app_series.h"
#include "collector.h"
#include "exposition.h"

/* The setting "cache_log_interval", in seconds; 0 is off */
extern int	fobs_cache_log_interval_s;

extern void fobs_caches_write(FobsWriter *writer,
							  const FobsAppSnapshot *snapshot,
							  const FobsBufferUse *buffers);
extern long fobs_caches_log_if_due(void);

#endif							/* FRAISEQL_OBS_CACHES_H */
