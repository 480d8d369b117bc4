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

extern void fobs_collector_write(FobsWriter *writer);

#endif							/* FRAISEQL_OBS_COLLECTOR_H */
