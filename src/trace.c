/*-------------------------------------------------------------------------
 *
 * trace.c
 *	  The trace of the request that is being served.
 *
 * What a statement is recorded with is the trace that it started with
 * (context.c).  Functions that it calls want the trace of now: a function may
 * set it and log an operation, all in one statement.  So they look at the
 * settings again, unless the statement's comment has a trace, which comes
 * before those.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "context.h"
#include "hooks.h"
#include "trace.h"

/*
 * The trace of now, and its tracestate in FOBS_TRACESTATE_SIZE bytes.  Returns
 * false if there is none.  Works without shared memory.
 */
bool
fobs_trace_now(FobsTrace *trace, char *tracestate)
{
	const FobsContext *context = fobs_hooks_context();

	if (context == NULL || context->carrier != FOBS_CARRIER_COMMENT)
		return fobs_context_session_trace(trace, tracestate);
	*trace = context->trace;
	strlcpy(tracestate, context->tracestate, FOBS_TRACESTATE_SIZE);
	return true;
}
