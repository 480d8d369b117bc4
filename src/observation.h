/*-------------------------------------------------------------------------
 *
 * observation.h
 *	  One statement that ended, as the counters and series take it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OBSERVATION_H
#define FRAISEQL_OBS_OBSERVATION_H

#include "datatype/timestamp.h"

typedef struct FobsObservation
{
	uint64		duration_ns;
	int			cell;			/* of the duration; see histogram.c */
	bool		slow;
	bool		failed;
	uint64		planning_ns;
	uint64		rows;
	TimestampTz called_at;
} FobsObservation;

#endif							/* FRAISEQL_OBS_OBSERVATION_H */
