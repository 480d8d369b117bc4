/*-------------------------------------------------------------------------
 *
 * trace.h
 *	  The trace of the request that is being served.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_TRACE_H
#define FRAISEQL_OBS_TRACE_H

#include "tracecontext.h"

extern bool fobs_trace_now(FobsTrace *trace, char *tracestate);

#endif							/* FRAISEQL_OBS_TRACE_H */
