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

extern void fobs_caches_write(FobsWriter *writer,
							  const FobsAppSnapshot *snapshot,
							  const FobsBufferUse *buffers);

#endif							/* FRAISEQL_OBS_CACHES_H */
