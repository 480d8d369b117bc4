/*-------------------------------------------------------------------------
 *
 * pools.h
 *	  Connection pools of the application.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_POOLS_H
#define FRAISEQL_OBS_POOLS_H

#include "app_series.h"
#include "exposition.h"

extern void fobs_pools_write(FobsWriter *writer,
							 const FobsAppSnapshot *snapshot);

#endif							/* FRAISEQL_OBS_POOLS_H */
