/*-------------------------------------------------------------------------
 *
 * tracing.c
 *	  What this process traces: statements and commits that become spans.
 *
 * hooks.c tells when a statement of a sampled request begins, is executed and
 * ends; here is what has to be remembered for its span.  Statements of other
 * requests come here only if they were slow or have failed, and then have a
 * span of what is known of them anyway.
 *
 * What is traced and being executed is a chain from the innermost outwards, so
 * that what a function runs finds its parent.  A statement is in it while it
 * is in ExecutorRun or ExecutorFinish, or in ProcessUtility.  Whatever an
 * error has ended is taken out of it with all that was inside.
 *
 * A commit has a span if something in the transaction was traced and it wrote.
 * It begins with the command, so that deferred triggers are part of it, or,
 * where there is none, when the transaction is about to be committed.
 *
 * Spans have the time of day, but the clock that is read for them all is the
 * monotonic one: how far they are apart is looked up once for each message of
 * the client, so that the spans of a statement lie within each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/instrument.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "guc.h"
#include "tracing.h"

FobsTraced *fobs_tracing_innermost = NULL;
bool		fobs_tracing_transaction = false;

/* Whose transaction it is; we hold it while there is one */
static FobsContext *transaction_context = NULL;

/*
 * What the spans of the client's latest traced statement have in common, put
 * together when the first of them is recorded
 */
static FobsSpanRequest request;
static const FobsContext *request_context = NULL;

/* The commit of the transaction, while it goes on */
static FobsTraced commit;
static bool committing = false;
static bool commit_writes;
static CommandTag commit_command;

/* By how much the time of day is ahead, and for which message that holds */
static int64 clocks_apart_ns = 0;
static TimestampTz clocks_compared_at = 0;

/* The trace of what was kept, though it belongs to none, and of when */
static FobsTrace kept_trace;
static TimestampTz kept_at = 0;

static uint64
monotonic_ns(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (uint64) INSTR_TIME_GET_NANOSEC(now);
}

/* Looks how far the clocks are apart, if that is not known of this message. */
static void
compare_clocks(void)
{
	TimestampTz message = GetCurrentStatementStartTimestamp();
	int64		unix_us;

	if (message == clocks_compared_at)
		return;
	unix_us = GetCurrentTimestamp() +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	clocks_apart_ns = unix_us * 1000 - (int64) monotonic_ns();
	clocks_compared_at = message;
}

/* Of the monotonic clock, the nanoseconds since 1970 */
static inline int64
unix_ns(uint64 at_ns)
{
	return (int64) at_ns + clocks_apart_ns;
}

static void
set_parent(FobsTraced *traced, FobsSpanId parent_id)
{
	memcpy(traced->trace.parent_id, &parent_id, sizeof(parent_id));
	traced->parent_is_remote = false;
}

/* Notes an error that is raised while something is executed. */
static void
note_error(void *arg)
{
	FobsTraced *traced = arg;
	int			sqlstate = geterrcode();

	/* notices and warnings come here, too */
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_SUCCESSFUL_COMPLETION):
		case ERRCODE_TO_CATEGORY(ERRCODE_WARNING):
		case ERRCODE_TO_CATEGORY(ERRCODE_NO_DATA):
			return;
	}
	traced->sqlstate = sqlstate;
	traced->error_ns = monotonic_ns();
}

static void
begin(FobsTraced *traced, FobsContext *context, uint64 start_ns,
	  bool has_execution)
{
	traced->context = context;
	traced->span_id = fobs_spans_new_id();
	traced->has_execution = has_execution;
	traced->entered = false;
	traced->sqlstate = 0;
	traced->error_ns = 0;
	traced->start_ns = start_ns != 0 ? start_ns : monotonic_ns();
	traced->execution_start_ns = 0;
	traced->end_ns = 0;
	traced->blocks_hit = 0;
	traced->blocks_read = 0;
	traced->callback.callback = note_error;
	traced->callback.arg = traced;
}

/* The open transaction belongs to the request of that context. */
static void
begin_transaction(FobsContext *context)
{
	fobs_tracing_transaction = true;
	if (context == transaction_context)
		return;
	context->refcount++;
	if (transaction_context != NULL)
		fobs_context_release(transaction_context);
	transaction_context = context;
}

/*
 * A client's statement begins, whose context is sampled.  If it has just been
 * planned, it began with that.  The caller holds the context for as long.
 */
void
fobs_tracing_begin(FobsTraced *traced, FobsContext *context,
				   uint64 planned_at_ns, bool has_execution)
{
	begin(traced, context, planned_at_ns, has_execution);
	traced->trace = context->trace;
	traced->parent_is_remote = true;
	compare_clocks();
	begin_transaction(context);

	/* the application's settings may have changed */
	request_context = NULL;
}

/* The same for what is run by the innermost of what is traced. */
void
fobs_tracing_begin_nested(FobsTraced *traced, uint64 planned_at_ns,
						  bool has_execution)
{
	const FobsTraced *outer = fobs_tracing_innermost;

	begin(traced, outer->context, planned_at_ns, has_execution);
	traced->trace = outer->trace;
	set_parent(traced, outer->has_execution ?
			   fobs_spans_execution_id(outer->span_id) : outer->span_id);
}

/* From now on errors in it are noted. */
void
fobs_tracing_resume(FobsTraced *traced)
{
	traced->callback.previous = error_context_stack;
	error_context_stack = &traced->callback;
}

void
fobs_tracing_suspend(FobsTraced *traced)
{
	/* after an error it is gone, but for where that was caught */
	if (error_context_stack == &traced->callback)
		error_context_stack = traced->callback.previous;
}

/* It is being executed from now on. */
static void
link_innermost(FobsTraced *traced)
{
	traced->outer = fobs_tracing_innermost;
	fobs_tracing_innermost = traced;
}

/* Takes it out of the chain, and all inside; false if it was not there. */
static inline bool
unlink_innermost(FobsTraced *traced)
{
	FobsTraced *other = fobs_tracing_innermost;

	while (other != traced)
	{
		if (other == NULL)
			return false;
		other = other->outer;
	}
	fobs_tracing_innermost = traced->outer;
	return true;
}

/* It is executed from now on, perhaps not for the first time. */
void
fobs_tracing_enter(FobsTraced *traced, uint64 now_ns)
{
	if (traced->has_execution && traced->execution_start_ns == 0)
		traced->execution_start_ns = now_ns;
	traced->blocks_hit -= pgBufferUsage.shared_blks_hit;
	traced->blocks_read -= pgBufferUsage.shared_blks_read;
	traced->entered = true;
	link_innermost(traced);
	fobs_tracing_resume(traced);
}

/* It is not executed any more, if it was. */
void
fobs_tracing_leave(FobsTraced *traced, uint64 now_ns)
{
	if (!traced->entered)
		return;
	traced->entered = false;
	fobs_tracing_suspend(traced);
	if (!unlink_innermost(traced))
		return;
	traced->blocks_hit += pgBufferUsage.shared_blks_hit;
	traced->blocks_read += pgBufferUsage.shared_blks_read;
	traced->end_ns = now_ns;
}

/* The times of a statement that was traced */
static void
fill_traced(FobsSpanHeader *header, const FobsTraced *traced,
			const FobsTracedEnd *end)
{
	uint64		end_ns = traced->end_ns != 0 ? traced->end_ns : monotonic_ns();

	/* we are told of a nested error later than of that of what is around it */
	if (end->observation->failed && !end->toplevel && traced->error_ns != 0)
		end_ns = traced->error_ns;
	header->trace = traced->trace;
	header->parent_is_remote = traced->parent_is_remote;
	header->span_id = traced->span_id;
	header->start_ns = unix_ns(traced->start_ns);
	header->duration_ns = end_ns - traced->start_ns;
	header->planning_ns = Min(end->observation->planning_ns,
							  header->duration_ns);
	header->execution_ns = traced->execution_start_ns != 0 ?
		end_ns - traced->execution_start_ns : 0;
	header->busy_ns = Min(end->observation->duration_ns,
						  header->duration_ns);
	header->blocks_hit = traced->blocks_hit;
	header->blocks_read = traced->blocks_read;
	header->measured = true;
	header->reason = FOBS_SPAN_SAMPLED;
}

/*
 * The trace of what was not to be traced and is kept all the same: that of its
 * request, or else a new one for all that one message of the client has run.
 */
static void
fill_kept_trace(FobsSpanHeader *header, const FobsContext *context)
{
	TimestampTz message = GetCurrentStatementStartTimestamp();

	header->parent_is_remote = fobs_trace_is_set(&context->trace);
	if (header->parent_is_remote)
	{
		header->trace = context->trace;
		return;
	}
	if (message != kept_at)
	{
		fobs_spans_new_trace(&kept_trace);
		kept_at = message;
	}
	header->trace = kept_trace;
}

/* The times of a statement of which nobody has noted when it began */
static void
fill_kept(FobsSpanHeader *header, const FobsContext *context,
		  const FobsTracedEnd *end)
{
	const FobsObservation *observation = end->observation;

	compare_clocks();
	fill_kept_trace(header, context);
	header->span_id = fobs_spans_new_id();
	header->planning_ns = observation->planning_ns;
	header->execution_ns = end->executed ? observation->duration_ns : 0;

	/* one that failed in planning has had nothing else */
	header->duration_ns = observation->duration_ns;
	if (end->executed)
		header->duration_ns += observation->planning_ns;
	header->start_ns = unix_ns(monotonic_ns() - header->duration_ns);
	header->busy_ns = observation->duration_ns;
	header->blocks_hit = 0;
	header->blocks_read = 0;
	header->measured = false;
	header->reason = observation->failed ? FOBS_SPAN_FAILED : FOBS_SPAN_SLOW;
}

static void
add_span(FobsSpan *span, const FobsContext *context, const char *query,
		 int query_len)
{
	bool		sampled = span->header.reason == FOBS_SPAN_SAMPLED;

	if (!sampled || context != request_context)
	{
		fobs_spans_pack(&request, context);
		request_context = sampled ? context : NULL;
	}
	fobs_spans_add(span, &request, query, query_len);
}

/*
 * Records the span of a statement that has ended: of one that was traced or,
 * if "traced" is NULL, that is kept because it was slow or has failed.
 */
void
fobs_tracing_record(const FobsTraced *traced, const FobsContext *context,
					const FobsTracedEnd *end)
{
	FobsSpan	span;
	FobsSpanHeader *header = &span.header;

	if (traced != NULL)
		fill_traced(header, traced, end);
	else
		fill_kept(header, context, end);
	header->rows = end->observation->rows;
	header->failed = end->observation->failed;
	header->sqlstate = end->sqlstate;
	if (header->failed && header->sqlstate == 0 && traced != NULL)
		header->sqlstate = traced->sqlstate;
	header->userid = end->userid;
	header->queryid = end->queryid;
	header->command = end->command;
	header->kind = end->toplevel ? FOBS_SPAN_STATEMENT : FOBS_SPAN_NESTED;
	add_span(&span, context, end->query, end->query_len);
}

/*
 * Commits
 */

/* The transaction is about to be committed, or prepared to be. */
void
fobs_tracing_begin_commit(CommandTag command)
{
	/* an extension may have COMMIT executed while it is */
	if (committing)
		return;
	/* a procedure may commit */
	if (fobs_tracing_innermost != NULL)
		fobs_tracing_begin_nested(&commit, 0, false);
	else
		fobs_tracing_begin(&commit, transaction_context, 0, false);
	commit_command = command;
	commit_writes = false;
	committing = true;
	fobs_errors_last_sent = 0;
	link_innermost(&commit);
}

static void
record_commit(bool failed)
{
	FobsSpan	span;
	FobsSpanHeader *header = &span.header;

	memset(header, 0, sizeof(FobsSpanHeader));
	header->trace = commit.trace;
	header->parent_is_remote = commit.parent_is_remote;
	header->span_id = commit.span_id;
	header->start_ns = unix_ns(commit.start_ns);
	header->duration_ns = monotonic_ns() - commit.start_ns;
	header->busy_ns = header->duration_ns;
	header->failed = failed;
	header->sqlstate = failed ? fobs_errors_last_sent : 0;
	header->userid = GetUserId();
	header->command = commit_command;
	header->kind = FOBS_SPAN_COMMIT;
	header->reason = FOBS_SPAN_SAMPLED;
	add_span(&span, commit.context, NULL, 0);
}

/* The transaction goes; a procedure that ended it begins the next one. */
static void
forget_transaction(void)
{
	if (committing)
		unlink_innermost(&commit);
	committing = false;
	if (fobs_tracing_innermost != NULL)
		return;
	fobs_tracing_transaction = false;
	fobs_context_release(transaction_context);
	transaction_context = NULL;
}

/* What becomes of the transaction; only if it has something that is traced. */
void
fobs_tracing_end_transaction(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (!committing)
				fobs_tracing_begin_commit(CMDTAG_COMMIT);
			commit_writes =
				TransactionIdIsValid(GetTopTransactionIdIfAny());
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (committing && commit_writes && fobs_counters_attached)
				record_commit(false);
			forget_transaction();
			break;
		case XACT_EVENT_ABORT:
			if (committing && fobs_counters_attached)
				record_commit(true);
			forget_transaction();
			break;
		default:
			break;
	}
}
