/*-------------------------------------------------------------------------
 *
 * tracing.h
 *	  What this process traces: statements and commits that become spans.
 *
 * See tracing.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_TRACING_H
#define FRAISEQL_OBS_TRACING_H

#include "access/xact.h"

#include "observation.h"
#include "spans.h"

/* A statement or commit that is traced, while it lasts */
typedef struct FobsTraced
{
	struct FobsTraced *outer;	/* executed around it, while it is executed */
	FobsContext *context;		/* of its request; held by somebody else */
	FobsSpanId	span_id;
	FobsTrace	trace;			/* with its parent */
	bool		parent_is_remote;
	bool		has_execution;	/* apart from the statement itself */
	bool		entered;		/* and not left since */
	int			sqlstate;		/* of the latest error in it, 0: none */
	uint64		error_ns;		/* and when that was raised */
	uint64		start_ns;		/* these by the monotonic clock */
	uint64		execution_start_ns; /* 0: not yet */
	uint64		end_ns;			/* when it was last executed, 0: never */
	uint64		blocks_hit;		/* while it was executed */
	uint64		blocks_read;
	ErrorContextCallback callback;	/* while it is executed */
} FobsTraced;

/* What hooks.c knows of a statement that ended */
typedef struct FobsTracedEnd
{
	const FobsObservation *observation;
	Oid			userid;
	int64		queryid;
	CommandTag	command;
	bool		toplevel;
	bool		executed;		/* by the executor */
	int			sqlstate;		/* 0: not known, or it succeeded */
	const char *query;			/* NULL: not to be shown */
	int			query_len;
} FobsTracedEnd;

#pragma GCC visibility push(hidden)

/* The innermost of what is traced and being executed, or NULL */
extern FobsTraced *fobs_tracing_innermost;

/* The transaction that is open has something that is traced */
extern bool fobs_tracing_transaction;

#pragma GCC visibility pop

extern void fobs_tracing_begin(FobsTraced *traced, FobsContext *context,
							   uint64 planned_at_ns, bool has_execution);
extern void fobs_tracing_begin_nested(FobsTraced *traced,
									  uint64 planned_at_ns,
									  bool has_execution);
extern void fobs_tracing_enter(FobsTraced *traced, uint64 now_ns);
extern void fobs_tracing_suspend(FobsTraced *traced);
extern void fobs_tracing_resume(FobsTraced *traced);
extern void fobs_tracing_leave(FobsTraced *traced, uint64 now_ns);
extern void fobs_tracing_record(const FobsTraced *traced,
								const FobsContext *context,
								const FobsTracedEnd *end);

extern void fobs_tracing_begin_commit(CommandTag command);
extern void fobs_tracing_end_transaction(XactEvent event);

#endif							/* FRAISEQL_OBS_TRACING_H */
