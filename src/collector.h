/*-------------------------------------------------------------------------
 *
 * collector.h
 *	  Reads the server's state into samples.
 *
 * See collector.c for what holds for all of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_COLLECTOR_H
#define FRAISEQL_OBS_COLLECTOR_H

#include "exposition.h"

/* How well shared buffers answer; caches.c has the families about that */
typedef struct FobsBufferUse
{
	uint64		hits;
	uint64		misses;
	uint64		size_bytes;
} FobsBufferUse;

extern void fobs_collector_write(FobsWriter *writer, FobsBufferUse *buffers);
extern void fobs_collector_read_buffers(FobsBufferUse *buffers);

#endif							/* FRAISEQL_OBS_COLLECTOR_H */
