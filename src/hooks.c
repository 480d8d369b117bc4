/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  Planner, executor and utility hooks: one statement in, one finished
 *	  statement out.
 *
 * A Statement is what we know of one execution.  It is made when the executor
 * starts and hangs on the QueryDesc (found by its address), because portals,
 * cursors and nested statements interleave.  It goes with ExecutorEnd, or,
 * where that is never called because of an error, with the (sub)transaction.
 *
 * A statement is published, which means counted, exactly once:
 *	- a SELECT as soon as ExecutorRun has drained it, since a client that
 *	  leaves its portal open may never let it end;
 *	- what modifies data after ExecutorFinish, which fires its triggers;
 *	- one that fails when its error is sent to the client, and a nested one
 *	  when the (sub)transaction that it ran in is rolled back;
 *	- one that is running when its process is told to exit, and one that was
 *	  read in part, at exit;
 *	- what is left (a portal that was not read to its end) when it goes.
 * Its time is that spent in ExecutorRun and ExecutorFinish.  The clock is read
 * twice, at the start of the one and the end of the other; in between is
 * nothing.  A failing ExecutorStart is not timed: its time is that since the
 * client's message arrived, or since the statement before it in the message.
 *
 * What is not counted: parallel workers, whose work is their leader's;
 * transaction control, SET and its kin, which would drown the rest; PREPARE,
 * EXECUTE and DEALLOCATE, as EXECUTE's statement is counted itself; EXPLAIN
 * without ANALYZE and what its planning runs.
 *
 * "current" is the client's statement that is being executed; whatever starts
 * meanwhile is nested.  So no call of the executor has to be bracketed by
 * PG_TRY: an error that a function handles leaves the client's statement
 * alone, and one that is not handled is sent to the client, or at least ends
 * the transaction, and either forgets "current".  What a function runs for
 * no statement (a deferred trigger inside of COMMIT, an index expression in
 * autovacuum, a CHECK of a parameter's type) is nested, too; see
 * plans_toplevel().
 *
 * A statement of a sampled request is traced as well (tracing.c).  Its span is
 * recorded when it is published, and so is one of what was slow or has failed.
 *
 * We never write to what we are given (other extensions read the query
 * identifier after us), never raise an error and never talk to the client, but
 * for the audit log's guard, whose purpose it is to refuse.
 *
 * Caveats:
 * - A WITH HOLD cursor that is materialised at COMMIT runs outside of any
 *	 statement we count; the FETCHes before and after it are counted.
 * - A portal that is run again after it was drained (a scrollable cursor read
 *	 backwards inside of a function) is counted for its first pass alone.
 * - The error of a process without a client has no SQLSTATE here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit_databases.h"
#include "audit_door.h"
#include "audit_guard.h"
#include "audit_ring.h"
#include "compat.h"
#include "context.h"
#include "counters.h"
#include "errors.h"
#include "guc.h"
#include "histogram.h"
#include "hooks.h"
#include "label.h"
#include "operations.h"
#include "queries.h"
#include "slowlog.h"
#include "sqlcommenter.h"
#include "tracing.h"

#define PROCESS_UTILITY_PARAMS \
	PlannedStmt *pstmt, const char *queryString, bool readOnlyTree, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc
#define PROCESS_UTILITY_ARGS \
	pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc

/* A statement is not only counted */
#define STATEMENT_UNCOUNTED 0x1 /* metrics were off when it started */
#define STATEMENT_TRACED	0x2 /* it will be a span */

/* One execution of one statement */
typedef struct Statement
{
	/* executor statements only */
	QueryDesc  *queryDesc;		/* NULL: the statement has failed */
	struct Statement *next;		/* among those alive, or those free */
	SubTransactionId subid;		/* which it belongs to */
	bool		started;		/* ExecutorStart has returned */
	bool		reads_only;		/* has nothing to do in ExecutorFinish */
	bool		has_run;

	bool		toplevel;
	bool		published;
	uint8		special;		/* STATEMENT_..., usually 0 */
	CmdType		operation;
	CommandTag	command;		/* if that is CMD_UTILITY */
	int64		queryid;
	Oid			userid;
	FobsContext *context;		/* NULL: it is nested, and not traced */
	uint64		clock_ns;		/* when the clock was started, 0: it was not */
	FobsObservation observation;	/* what is known of it so far */
	FobsTraced	traced;			/* if it is */
} Statement;

/*
 * A statement's text, or what stands for it, in the server's encoding.  It
 * may be one of several in a string; a length of 0 means up to its end, and
 * is left so until somebody wants it, as most statements' text is not wanted.
 */
typedef struct StatementText
{
	const char *start;			/* NULL: not known any more */
	int			length;
} StatementText;

static const StatementText no_text = {NULL, 0};

/* Statements allocated at a time */
#define STATEMENTS_CHUNK	16

/*
 * Buckets of the table of statements: one place for the statement that is
 * usually alone, and a power of two for the others, by address.
 */
#define HASHED_BUCKETS		256
#define STATEMENT_BUCKETS	(1 + HASHED_BUCKETS)

/* Those that the executor knows, and those to be used */
static Statement *buckets[STATEMENT_BUCKETS];
static int	nstatements = 0;
static Statement *free_statements = NULL;

/*
 * The client's statement that is being executed, see banner, and how many
 * open subtransactions began while it was
 */
static Statement *current = NULL;
static int	inner_subtransactions = 0;

/* What GetCurrentSubTransactionId() would say */
static SubTransactionId current_subid = TopSubTransactionId;

/* Above 0: inside of an EXPLAIN that executes nothing; nothing is counted */
static int	suppressed = 0;

/* Above 0: there or inside of the planner; nothing is the client's own */
static int	unclaimed = 0;

static bool exit_callback_registered = false;

/* Some statement that this process has parsed may have a comment */
static bool comments_seen = false;

/* Time spent on planning the statement that will start next */
static struct
{
	int64		queryid;
	bool		toplevel;
	uint64		planning_ns;
}			planned;

/* When the clock was last stopped, and in which message of the client */
static uint64 last_stop_ns = 0;
static TimestampTz last_stop_message = 0;

/* Saved hook values */
static post_parse_analyze_hook_type prev_post_parse_analyze = NULL;
static planner_hook_type prev_planner = NULL;
static ExecutorStart_hook_type prev_ExecutorStart = NULL;
static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static ExecutorEnd_hook_type prev_ExecutorEnd = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;

static uint64
now_ns(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (uint64) INSTR_TIME_GET_NANOSEC(now);
}

/*
 * Whether a function is being executed that uses SPI.  There is no function
 * that only asks; this one does nothing, for no relation has an empty name.
 */
static bool
spi_connected(void)
{
	return SPI_unregister_relation("") != SPI_ERROR_UNCONNECTED;
}

/*
 * Is a statement that is planned here the client's own?  A function that runs
 * it, be it for no statement at all, has left its mark on error_context_stack,
 * where the client's own usually have none but that of their parameters.
 */
static inline bool
plans_toplevel(void)
{
	return current == NULL && unclaimed == 0 &&
		(error_context_stack == NULL ||
		 error_context_stack->callback == ParamsErrorCallback ||
		 !spi_connected());
}

/* Is a statement that starts here the client's own? */
static inline bool
at_toplevel(void)
{
	return ActivePortal != NULL && plans_toplevel();
}

/* Is a statement that starts here to be counted, or traced? */
static inline bool
is_tracked(bool toplevel)
{
	/* a parallel worker has no statement at top level */
	if (toplevel)
		return fobs_observing && fobs_track >= FOBS_TRACK_TOP;
	return fobs_observing && fobs_track == FOBS_TRACK_ALL &&
		suppressed == 0 && !IsParallelWorker();
}

/*
 * The text of one statement of a string.  Comments before the first statement
 * belong to it, which the server sees differently from version to version.
 * What a rule has made of a statement (location -1) has no text of its own.
 */
static StatementText
statement_text(const char *source, int location, int length)
{
	StatementText text;

	if (source == NULL || location < 0)
		return no_text;
	if (location > 0 && fobs_sqlcommenter_only_comments(source, location))
	{
		length = length > 0 ? length + location : 0;
		location = 0;
	}
	text.start = source + location;
	text.length = length;
	return text;
}

static int
text_length(StatementText text)
{
	if (text.start == NULL)
		return 0;
	return text.length > 0 ? text.length : (int) strlen(text.start);
}

/* What the executor does, by name */
static inline CommandTag
command_tag(CmdType operation)
{
	static const CommandTag tags[] = {
		[CMD_UNKNOWN] = CMDTAG_UNKNOWN,
		[CMD_SELECT] = CMDTAG_SELECT,
		[CMD_UPDATE] = CMDTAG_UPDATE,
		[CMD_INSERT] = CMDTAG_INSERT,
		[CMD_DELETE] = CMDTAG_DELETE,
		[CMD_MERGE] = CMDTAG_MERGE,
		[CMD_UTILITY] = CMDTAG_UNKNOWN,
		[CMD_NOTHING] = CMDTAG_UNKNOWN
	};

	return tags[operation];
}

static bool
only_reads(const QueryDesc *queryDesc)
{
	return queryDesc->operation == CMD_SELECT &&
		!queryDesc->plannedstmt->hasModifyingCTE;
}

static StatementText
executor_text(const QueryDesc *queryDesc)
{
	return statement_text(queryDesc->sourceText,
						  queryDesc->plannedstmt->stmt_location,
						  queryDesc->plannedstmt->stmt_len);
}

/*
 * Publishing
 */

/* The context of the client's statement, if there is one, or of the session */
static FobsContext *
current_context(void)
{
	FobsContext *context = current != NULL ? current->context : NULL;

	if (context == NULL)
	{
		context = fobs_context_capture("", 0);
		fobs_context_release(context);	/* stays, as the latest one */
	}
	return context;
}

static inline bool
is_traced(const Statement *statement)
{
	return (statement->special & STATEMENT_TRACED) != 0;
}

/* A traced statement whose clock was stopped is not being executed. */
static inline void
leave_traced(Statement *statement)
{
	if (unlikely(is_traced(statement)))
		fobs_tracing_leave(&statement->traced, last_stop_ns);
}

/* Records the span of a statement that has ended. */
static void
record_span(Statement *statement, int sqlstate, const FobsContext *context,
			const char *query, int query_len)
{
	FobsTracedEnd end;

	end.observation = &statement->observation;
	end.userid = statement->userid;
	end.queryid = statement->queryid;
	end.command = statement->operation == CMD_UTILITY ?
		statement->command : command_tag(statement->operation);
	end.toplevel = statement->toplevel;
	end.executed = statement->queryDesc != NULL && statement->started;
	end.sqlstate = sqlstate;
	end.query = query;
	end.query_len = query_len;
	fobs_tracing_record(is_traced(statement) ? &statement->traced : NULL,
						context, &end);
}

/* Is it kept and logged, whether or not it is traced? */
static inline bool
is_remarkable(const Statement *statement)
{
	/* a nested error may be handled by the function: its own business */
	return statement->observation.failed ? statement->toplevel :
		statement->observation.slow;
}

/* Records a statement that was slow, has failed or is traced. */
static pg_noinline void
record_statement(Statement *statement, int sqlstate, StatementText text)
{
	FobsContext *context = statement->context;
	const char *query = fobs_include_query_bodies ? text.start : NULL;
	int			query_len = query != NULL ? text_length(text) : 0;
	FobsSlowRecord record;

	/* a nested statement's context is that of the client's around it */
	if (context == NULL)
		context = current_context();
	leave_traced(statement);
	if (is_traced(statement) || (fobs_tracing && is_remarkable(statement)))
		record_span(statement, sqlstate, context, query, query_len);
	if (!is_remarkable(statement) ||
		(statement->special & STATEMENT_UNCOUNTED) != 0)
		return;
	record.userid = statement->userid;
	record.queryid = statement->queryid;
	record.duration_ns = statement->observation.duration_ns;
	record.rows = statement->observation.rows;
	record.sqlstate = sqlstate;
	fobs_slowlog_add(&record, query, query_len, context,
					 statement->observation.slow);
}

/* Errors of clients are counted where they are sent; see errors.c. */
static pg_noinline void
publish_error(int sqlstate)
{
	if (whereToSendOutput != DestRemote && sqlstate != fobs_errors_last_sent)
		fobs_errors_count(sqlstate);
}

static pg_attribute_always_inline void
publish_toplevel(Statement *statement, int sqlstate)
{
	FobsContext *context = statement->context;

	fobs_counters_count(&statement->observation);
	if (context->operation.operation[0] != '\0')
		fobs_operations_count(&context->operation, &context->operation_ref,
							  &statement->observation);
	if (unlikely(statement->observation.failed))
		publish_error(sqlstate);
}

/*
 * Counts a statement that has ended.  If it failed, sqlstate is that of the
 * error, or 0 if that is not known.  Returns whether the caller should also
 * record it, with its text if that is still at hand.
 */
static pg_attribute_always_inline bool
publish_inline(Statement *statement, bool failed, int sqlstate)
{
	FobsObservation *observation = &statement->observation;
	bool		toplevel = statement->toplevel;
	uint8		special = statement->special;

	statement->published = true;
	if (!fobs_counters_attach())
		return false;

	observation->cell = fobs_histogram_cell(observation->duration_ns);
	observation->slow =
		observation->duration_ns >= fobs_slow_query_threshold_ns;
	observation->failed = failed;
	if (likely((special & STATEMENT_UNCOUNTED) == 0))
	{
		if (toplevel)
			publish_toplevel(statement, sqlstate);
		fobs_queries_count(statement->userid, statement->queryid, toplevel,
						   observation);
	}
	return special != 0 || (failed ? toplevel : observation->slow);
}

/* The same for where it does not matter if that takes a call. */
static pg_noinline bool
publish(Statement *statement, bool failed, int sqlstate)
{
	return publish_inline(statement, failed, sqlstate);
}

/*
 * Makes a client's statement the current one.  If there is one already, it is
 * a portal of the client's that a function reads, and part of that.
 */
static inline void
set_current(Statement *statement)
{
	if (current == NULL)
		current = statement;
}

static inline void
start_clock(Statement *statement)
{
	if (statement->toplevel)
		set_current(statement);
	if (statement->clock_ns == 0)
	{
		statement->clock_ns = now_ns();
		if (unlikely(is_traced(statement)))
			fobs_tracing_enter(&statement->traced, statement->clock_ns);
	}
}

/* Adds the time since the clock was started, if it was. */
static inline void
stop_clock(Statement *statement)
{
	if (statement->clock_ns != 0)
	{
		last_stop_ns = now_ns();
		last_stop_message = statement->observation.called_at;
		statement->observation.duration_ns +=
			last_stop_ns - statement->clock_ns;
		statement->clock_ns = 0;
	}
	if (current == statement)
		current = NULL;
}

/* The time that a client's statement took which never started its clock. */
static uint64
untimed_ns(const Statement *statement)
{
	TimestampTz message = statement->observation.called_at;
	int64		us;

	if (!statement->toplevel)
		return 0;
	if (last_stop_message == message)
		return now_ns() - last_stop_ns;
	us = GetCurrentTimestamp() - message;
	return us > 0 ? (uint64) us * 1000 : 0;
}

/* An executor statement has failed, in whichever of its parts. */
static void
fail_statement(Statement *statement, int sqlstate, StatementText text)
{
	if (sqlstate == 0 && proc_exit_inprogress)
		sqlstate = ERRCODE_CONNECTION_FAILURE;
	if (!statement->started)
		statement->observation.duration_ns = untimed_ns(statement);
	stop_clock(statement);
	leave_traced(statement);
	if (!statement->published && publish(statement, true, sqlstate))
		record_statement(statement, sqlstate, text);

	/* it may be freed now, and something else be where it was */
	statement->queryDesc = NULL;
}

/* An executor statement has succeeded, or was not read to its end. */
static pg_attribute_always_inline void
finish_statement(Statement *statement, const QueryDesc *queryDesc)
{
	if (unlikely(publish_inline(statement, false, 0)))
		record_statement(statement, 0, fobs_include_query_bodies ?
						 executor_text(queryDesc) : no_text);
}

/*
 * Publishes what is left when this process exits: the client's statement that
 * was being executed when it was told to, and portals that were read in part.
 */
static void
publish_rest(int code, Datum arg)
{
	Statement  *statement = current;

	if (statement != NULL)
	{
		fail_statement(statement, fobs_errors_last_sent, no_text);
	}

	for (int i = 0; i < STATEMENT_BUCKETS; i++)
	{
		for (statement = buckets[i]; statement != NULL;
			 statement = statement->next)
		{
			stop_clock(statement);
			leave_traced(statement);
			if (statement->has_run && !statement->published &&
				publish(statement, false, 0))
				record_statement(statement, 0, no_text);
		}
	}
}

/*
 * Gets this process ready to count; false if it cannot.  May read catalogs,
 * so it is called where a statement starts and not where it has failed.
 */
static pg_noinline bool
attach(void)
{
	fobs_label_prepare();
	if (!fobs_counters_attach())
		return false;
	if (!exit_callback_registered)
	{
		/* after attaching, so that it is called before the slot is folded */
		before_shmem_exit(publish_rest, (Datum) 0);
		exit_callback_registered = true;
	}
	return true;
}

/*
 * Fills in what is known when a statement starts.  Returns false if this
 * process cannot count.
 */
static pg_attribute_always_inline bool
begin_statement(Statement *statement, int64 queryid, bool toplevel,
				CmdType operation)
{
	if (unlikely(!fobs_counters_attached) && !attach())
		return false;

	statement->queryDesc = NULL;
	statement->toplevel = toplevel;
	statement->published = false;
	statement->special = fobs_not_counting;
	statement->operation = operation;
	statement->queryid = queryid;
	statement->userid = GetUserId();
	statement->clock_ns = 0;
	statement->observation.duration_ns = 0;
	statement->observation.planning_ns = 0;
	statement->observation.rows = 0;
	statement->observation.called_at = GetCurrentStatementStartTimestamp();
	statement->context = NULL;
	return true;
}

/*
 * A statement of a sampled request begins.  One that was planned has begun
 * with that: just before.
 */
static pg_noinline void
begin_traced(Statement *statement)
{
	uint64		planning_ns = statement->observation.planning_ns;
	uint64		planned_at_ns = planning_ns != 0 ? now_ns() - planning_ns : 0;
	bool		has_execution = statement->queryDesc != NULL;

	statement->special |= STATEMENT_TRACED;
	if (statement->toplevel)
		fobs_tracing_begin(&statement->traced, statement->context,
						   planned_at_ns, has_execution);
	else
	{
		fobs_tracing_begin_nested(&statement->traced, planned_at_ns,
								  has_execution);
		statement->context = statement->traced.context;
		statement->context->refcount++;
	}
}

/*
 * Captures the context of a client's statement that starts.  Its text is of
 * interest only where texts have comments.
 */
static inline void
begin_toplevel(Statement *statement, const char *source, int location,
			   int length)
{
	StatementText text;

	fobs_errors_last_sent = 0;
	if (likely(!comments_seen))
		statement->context = fobs_context_capture("", 0);
	else
	{
		text = statement_text(source, location, length);
		statement->context = fobs_context_capture(text.start,
												  text_length(text));
	}
	if (unlikely(fobs_trace_is_sampled(&statement->context->trace)))
		begin_traced(statement);
}

/* A statement that is nested is traced if what runs it is. */
static inline void
begin_nested(Statement *statement)
{
	if (unlikely(fobs_tracing_innermost != NULL))
		begin_traced(statement);
}

/* Takes back what begin_statement() has taken. */
static inline void
end_statement(Statement *statement)
{
	if (statement->context != NULL)
		fobs_context_release(statement->context);
}

/* Adds to the time that planning the next statement takes. */
static void
note_planning(int64 queryid, bool toplevel, uint64 started_ns)
{
	uint64		planning_ns = now_ns() - started_ns;

	if (toplevel && fobs_counting && fobs_counters_attach())
		fobs_counters_count_planning(planning_ns);

	/* a rule may turn one statement into several, planned one by one */
	if (planned.queryid != queryid || planned.toplevel != toplevel)
	{
		planned.queryid = queryid;
		planned.toplevel = toplevel;
		planned.planning_ns = 0;
	}
	planned.planning_ns += planning_ns;
}

/* Takes the time that planning this statement took, if it has just been. */
static uint64
take_planning_ns(int64 queryid, bool toplevel)
{
	uint64		planning_ns = 0;

	if (planned.queryid == queryid && planned.toplevel == toplevel)
		planning_ns = planned.planning_ns;
	planned.planning_ns = 0;
	return planning_ns;
}

/*
 * Counts a statement that failed while it was planned; with geterrcode(), so
 * for use while the error is being handled.
 */
static void
publish_failed_plan(const Query *parse, const char *query_string,
					bool toplevel, uint64 planning_ns)
{
	Statement	statement;

	if (!begin_statement(&statement, (int64) parse->queryId, toplevel,
						 parse->commandType))
		return;
	statement.observation.duration_ns = planning_ns;
	statement.observation.planning_ns = planning_ns;
	if (toplevel)
		begin_toplevel(&statement, query_string, parse->stmt_location,
					   parse->stmt_len);
	else
		begin_nested(&statement);
	if (publish(&statement, true, geterrcode()))
		record_statement(&statement, geterrcode(),
						 statement_text(query_string, parse->stmt_location,
										parse->stmt_len));
	end_statement(&statement);
}

/*
 * The statements that the executor knows
 */

static inline Statement **
hashed_bucket(const QueryDesc *queryDesc)
{
	uintptr_t	address = (uintptr_t) queryDesc;

	return &buckets[1 + ((address >> 4 ^ address >> 12) &
						 (HASHED_BUCKETS - 1))];
}

/* The bucket that has the QueryDesc's statement, if there is one. */
static inline Statement **
bucket_of(const QueryDesc *queryDesc)
{
	if (likely(buckets[0] != NULL && buckets[0]->queryDesc == queryDesc))
		return &buckets[0];
	return hashed_bucket(queryDesc);
}

static inline Statement *
find_statement(const QueryDesc *queryDesc)
{
	Statement  *statement = *bucket_of(queryDesc);

	while (statement != NULL && statement->queryDesc != queryDesc)
		statement = statement->next;
	return statement;
}

/*
 * Takes a Statement out of the table, where *link points to it, and back to
 * the free ones.
 */
static inline void
forget_statement(Statement **link)
{
	Statement  *statement = *link;

	*link = statement->next;
	nstatements--;
	end_statement(statement);
	statement->next = free_statements;
	free_statements = statement;
}

/*
 * Publishes a statement whose executor is gone, unless it has been.  It has
 * failed if it was in the midst of something, for an error that was sent to
 * nobody or that a function handles.
 */
static void
publish_abandoned(Statement *statement)
{
	if (!statement->started || statement->clock_ns != 0)
		fail_statement(statement, fobs_errors_last_sent, no_text);
	else if (statement->has_run && !statement->published &&
			 publish(statement, false, 0))
		record_statement(statement, 0, no_text);
}

/*
 * Forgets the statements of a subtransaction that was rolled back, or all
 * (InvalidSubTransactionId) at the end of a transaction.
 */
static pg_noinline void
forget_abandoned(SubTransactionId subid)
{
	for (int i = 0; i < STATEMENT_BUCKETS && nstatements > 0; i++)
	{
		Statement **link = &buckets[i];

		while (*link != NULL)
		{
			if (subid == InvalidSubTransactionId || (*link)->subid == subid)
			{
				publish_abandoned(*link);
				forget_statement(link);
			}
			else
				link = &(*link)->next;
		}
	}
}

/* A subtransaction's statements belong to its parent from now on. */
static pg_noinline void
hand_over(SubTransactionId subid, SubTransactionId parent)
{
	for (int i = 0; i < STATEMENT_BUCKETS; i++)
	{
		for (Statement *statement = buckets[i]; statement != NULL;
			 statement = statement->next)
		{
			if (statement->subid == subid)
				statement->subid = parent;
		}
	}
}

/*
 * Forgets "current" after a rollback of what it was being executed in: its
 * error was handled by somebody and sent to nobody.
 */
static void
abandon_current(void)
{
	if (current != NULL && current->queryDesc != NULL)
		fail_statement(current, fobs_errors_last_sent, no_text);
}

/* The rarer part of end_transaction() */
static pg_noinline void
end_statements(XactEvent event)
{
	if (event == XACT_EVENT_ABORT)
		fobs_audit_guard_unwatch();
	if (nstatements > 0 &&
		(event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		 event == XACT_EVENT_PREPARE))
	{
		abandon_current();
		forget_abandoned(InvalidSubTransactionId);
	}
	if (fobs_tracing_transaction)
		fobs_tracing_end_transaction(event);
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (unlikely((nstatements | fobs_tracing_transaction) != 0 ||
				 event == XACT_EVENT_ABORT))
		end_statements(event);
}

static void
change_subtransaction(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	bool		inner = inner_subtransactions > 0;

	switch (event)
	{
		case SUBXACT_EVENT_START_SUB:
			current_subid = subid;
			if (inner || current != NULL)
				inner_subtransactions++;
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			current_subid = parent;
			inner_subtransactions -= inner;
			if (nstatements > 0)
				hand_over(subid, parent);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			current_subid = parent;
			inner_subtransactions -= inner;
			if (!inner)
				abandon_current();
			if (nstatements > 0)
				forget_abandoned(subid);
			break;
		default:
			break;
	}
}

/* Takes a Statement from the free list; NULL if there is no memory. */
static Statement *
allocate_statement(void)
{
	Statement  *statement;

	if (unlikely(free_statements == NULL))
	{
		Size		size = STATEMENTS_CHUNK * sizeof(Statement);
		Statement  *chunk;

		chunk = MemoryContextAllocExtended(TopMemoryContext, size,
										   MCXT_ALLOC_NO_OOM);
		if (chunk == NULL)
			return NULL;
		for (int i = 0; i < STATEMENTS_CHUNK; i++)
		{
			chunk[i].next = free_statements;
			free_statements = &chunk[i];
		}
	}
	statement = free_statements;
	free_statements = statement->next;
	return statement;
}

/* Makes a Statement for a QueryDesc that is about to start, if it can. */
static Statement *
remember_statement(QueryDesc *queryDesc, bool toplevel)
{
	int64		queryid = (int64) queryDesc->plannedstmt->queryId;
	Statement  *statement = allocate_statement();
	Statement **bucket;

	if (statement == NULL)
		return NULL;
	if (!begin_statement(statement, queryid, toplevel,
						 queryDesc->operation))
	{
		statement->next = free_statements;
		free_statements = statement;
		return NULL;
	}
	statement->queryDesc = queryDesc;
	statement->subid = current_subid;
	statement->started = false;
	statement->reads_only = only_reads(queryDesc);
	statement->has_run = false;
	statement->observation.planning_ns = take_planning_ns(queryid,
														  toplevel);
	if (toplevel)
		begin_toplevel(statement, queryDesc->sourceText,
					   queryDesc->plannedstmt->stmt_location,
					   queryDesc->plannedstmt->stmt_len);
	else
		begin_nested(statement);

	bucket = buckets[0] == NULL ? &buckets[0] : hashed_bucket(queryDesc);
	statement->next = *bucket;
	*bucket = statement;
	nstatements++;
	return statement;
}

/*
 * The hooks
 */

/*
 * Looks whether a text has a comment when it is parsed, which for a prepared
 * statement is once, so that no execution has to look where none has.
 */
static void
fobs_post_parse_analyze(ParseState *pstate, Query *query, JumbleState *jstate)
{
	if (!comments_seen)
	{
		StatementText text = statement_text(pstate->p_sourcetext,
											query->stmt_location,
											query->stmt_len);

		comments_seen = text.start != NULL &&
			fobs_sqlcommenter_present(text.start, text_length(text));
	}
	if (prev_post_parse_analyze)
		prev_post_parse_analyze(pstate, query, jstate);
}

static PlannedStmt *
fobs_planner(PLANNER_PARAMS)
{
	PlannedStmt *result;
	volatile bool toplevel = plans_toplevel();
	volatile bool tracked = is_tracked(toplevel) && attach();
	volatile uint64 started_ns = tracked ? now_ns() : 0;
	int64		queryid = (int64) parse->queryId;

	unclaimed++;
	PG_TRY();
	{
		if (prev_planner)
			result = prev_planner(PLANNER_ARGS);
		else
			result = standard_planner(PLANNER_ARGS);
	}
	PG_CATCH();
	{
		unclaimed--;
		if (tracked)
		{
			note_planning(queryid, toplevel, started_ns);
			publish_failed_plan(parse, query_string, toplevel,
								take_planning_ns(queryid, toplevel));
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	unclaimed--;

	if (tracked)
		note_planning(queryid, toplevel, started_ns);
	return result;
}

static void
fobs_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	bool		toplevel = at_toplevel();
	Statement  *statement = NULL;

	if (is_tracked(toplevel) && !(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		statement = remember_statement(queryDesc, toplevel);
	if (toplevel && statement != NULL)
		set_current(statement);

	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		fobs_audit_guard_executor(queryDesc);

	if (statement != NULL)
	{
		statement->started = true;
		if (toplevel)
			current = NULL;
	}
}

static void
fobs_ExecutorRun(EXECUTOR_RUN_PARAMS)
{
	Statement  *statement = find_statement(queryDesc);
	uint64		rows;

	if (statement != NULL)
		start_clock(statement);

	if (prev_ExecutorRun)
		prev_ExecutorRun(EXECUTOR_RUN_ARGS);
	else
		standard_ExecutorRun(EXECUTOR_RUN_ARGS);

	if (statement == NULL)
		return;
	rows = queryDesc->estate->es_processed;
	statement->has_run = true;
	statement->observation.rows += rows;

	/* of what modifies data, the clock runs until ExecutorFinish ends */
	if (!statement->reads_only)
	{
		if (unlikely(is_traced(statement)))
			fobs_tracing_suspend(&statement->traced);
		return;
	}
	stop_clock(statement);
	if (likely(count == 0 || rows < count) &&
		ScanDirectionIsForward(direction) && !statement->published)
		finish_statement(statement, queryDesc);
	else
		leave_traced(statement);
}

static inline void
call_ExecutorFinish(QueryDesc *queryDesc)
{
	if (prev_ExecutorFinish)
		prev_ExecutorFinish(queryDesc);
	else
		standard_ExecutorFinish(queryDesc);
}

/* ExecutorFinish of what may have triggers to fire. */
static pg_noinline void
finish_modifying(QueryDesc *queryDesc)
{
	Statement  *statement = find_statement(queryDesc);

	if (unlikely(statement != NULL && is_traced(statement) &&
				 statement->clock_ns != 0))
		fobs_tracing_resume(&statement->traced);
	call_ExecutorFinish(queryDesc);
	if (statement == NULL)
		return;
	stop_clock(statement);
	leave_traced(statement);
	if (statement->has_run && !statement->published)
		finish_statement(statement, queryDesc);
}

static void
fobs_ExecutorFinish(QueryDesc *queryDesc)
{
	/* of what only reads, the clock has stopped */
	if (likely(only_reads(queryDesc)))
		call_ExecutorFinish(queryDesc);
	else
		finish_modifying(queryDesc);
}

/* Publishes what was not read to its end. */
static pg_noinline void
publish_ended(Statement *statement, const QueryDesc *queryDesc)
{
	stop_clock(statement);
	if (statement->has_run)
		finish_statement(statement, queryDesc);
}

static void
fobs_ExecutorEnd(QueryDesc *queryDesc)
{
	Statement **link = bucket_of(queryDesc);

	while (*link != NULL && (*link)->queryDesc != queryDesc)
		link = &(*link)->next;
	if (*link != NULL)
	{
		if (unlikely(!(*link)->published))
			publish_ended(*link, queryDesc);
		forget_statement(link);
	}

	if (prev_ExecutorEnd)
		prev_ExecutorEnd(queryDesc);
	else
		standard_ExecutorEnd(queryDesc);
}

/*
 * Has the audit log know of a statement that has failed, if the application
 * has named its operation.  What is refused in an aborted transaction is no
 * failure of its own, nor is what ends a session that is idle.
 */
static void
audit_failure(int sqlstate)
{
	FobsContext *context;
	FobsFailedStatement failed;
	char		user_id[FOBS_ID_SIZE];
	char		tenant_id[FOBS_ID_SIZE];

	if (!fobs_counters_attached || debug_query_string == NULL ||
		sqlstate == ERRCODE_IN_FAILED_SQL_TRANSACTION)
		return;
	context = current_context();
	if (context->operation.operation[0] == '\0')
		return;
	fobs_context_user_id(context, user_id);
	fobs_context_tenant_id(context, tenant_id);
	failed.sqlstate = sqlstate;
	failed.queryid = current != NULL ? current->queryid : 0;
	failed.operation = context->operation.operation;
	failed.user_id = user_id;
	failed.tenant_id = tenant_id;
	failed.request_id = context->request_id;
	failed.trace = &context->trace;
	fobs_audit_ring_add_statement(&failed);
}

/*
 * An error is about to be sent to the client.  If an executor statement of
 * the client's was being executed, it is the one that failed; nothing of it
 * has been freed yet.
 */
static void
error_sent(int sqlstate)
{
	Statement  *statement = current;

	if (fobs_audit_failures)
		audit_failure(sqlstate);
	if (statement == NULL || statement->queryDesc == NULL)
		return;

	/* the client has these rows; what was modified is rolled back */
	if (statement->reads_only && statement->clock_ns != 0)
		statement->observation.rows +=
			statement->queryDesc->estate->es_processed;
	fail_statement(statement, sqlstate, executor_text(statement->queryDesc));
	current = NULL;
}

/*
 * Utility statements
 */

typedef enum UtilityKind
{
	UTILITY_COUNTED,
	UTILITY_TRANSACTION,		/* transaction control */
	UTILITY_TRANSPARENT,		/* not counted; what it runs is as if alone */
	UTILITY_SUPPRESSED			/* not counted, nor what it runs */
} UtilityKind;

/* EXPLAIN without ANALYZE; of several such options the last one counts. */
static bool
explains_only(ExplainStmt *stmt)
{
	bool		analyze = false;
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "analyze") == 0)
			analyze = defGetBoolean(option);
	}
	return !analyze;
}

static UtilityKind
utility_kind(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_TransactionStmt:
			return UTILITY_TRANSACTION;
		case T_VariableSetStmt:
		case T_DiscardStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_DeallocateStmt:
			return UTILITY_TRANSPARENT;
		case T_ExplainStmt:
			return explains_only((ExplainStmt *) parsetree) ?
				UTILITY_SUPPRESSED : UTILITY_COUNTED;
		default:
			return UTILITY_COUNTED;
	}
}

static inline void
call_next_ProcessUtility(PROCESS_UTILITY_PARAMS)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(PROCESS_UTILITY_ARGS);
	else
		standard_ProcessUtility(PROCESS_UTILITY_ARGS);
}

/*
 * Calls it, unless the audit log's guard refuses the statement.  What wants a
 * database for itself has the audit log's worker out of it.
 */
static void
call_ProcessUtility(PROCESS_UTILITY_PARAMS)
{
	int			doors_before = fobs_audit_doors;
	int			doors = fobs_audit_guard_utility(pstmt->utilityStmt);
	Oid			vacated = fobs_audit_databases_vacate(pstmt->utilityStmt);
	bool		watch = fobs_audit_guard_watch();

	if (likely(doors == doors_before && !OidIsValid(vacated)))
	{
		call_next_ProcessUtility(PROCESS_UTILITY_ARGS);
		if (watch)
			fobs_audit_guard_unwatch();
		return;
	}
	fobs_audit_doors = doors;
	PG_TRY();
	{
		call_next_ProcessUtility(PROCESS_UTILITY_ARGS);
	}
	PG_FINALLY();
	{
		fobs_audit_doors = doors_before;
		if (watch)
			fobs_audit_guard_unwatch();
		if (OidIsValid(vacated))
			fobs_audit_databases_readmit(vacated);
	}
	PG_END_TRY();
	if (OidIsValid(vacated) && IsA(pstmt->utilityStmt, DropdbStmt))
		fobs_audit_databases_forget(vacated);
}

/* Calls it so that nothing is counted. */
static void
call_ProcessUtility_suppressed(PROCESS_UTILITY_PARAMS)
{
	suppressed++;
	unclaimed++;
	PG_TRY();
	{
		call_ProcessUtility(PROCESS_UTILITY_ARGS);
	}
	PG_FINALLY();
	{
		suppressed--;
		unclaimed--;
	}
	PG_END_TRY();
}

/*
 * Transaction control is not counted, but tells the audit log's operations
 * what becomes of them.
 */
static void
call_transaction_control(PROCESS_UTILITY_PARAMS)
{
	TransactionStmtKind kind = ((TransactionStmt *) pstmt->utilityStmt)->kind;

	fobs_errors_forget();
	if (unlikely(fobs_tracing_transaction) &&
		(kind == TRANS_STMT_COMMIT || kind == TRANS_STMT_PREPARE) &&
		!IsAbortedTransactionBlockState())
		fobs_tracing_begin_commit(CreateCommandTag(pstmt->utilityStmt));
	call_ProcessUtility(PROCESS_UTILITY_ARGS);
	if (kind == TRANS_STMT_COMMIT_PREPARED ||
		kind == TRANS_STMT_ROLLBACK_PREPARED)
		fobs_audit_ring_wake();
}

/*
 * The query identifier of a utility statement.  An extension that was loaded
 * after us may have set it to 0 to tell those below not to count it, which is
 * not meant for us; the server reported it before.
 */
static int64
utility_queryid(const PlannedStmt *pstmt, bool toplevel)
{
	if (pstmt->queryId == 0 && toplevel)
		return (int64) pgstat_get_my_query_id();
	return (int64) pstmt->queryId;
}

/* Rows that a command tag reports for what it has read or written. */
static uint64
utility_rows(const QueryCompletion *qc)
{
	if (qc == NULL)
		return 0;
	switch (qc->commandTag)
	{
		case CMDTAG_COPY:
		case CMDTAG_FETCH:
		case CMDTAG_SELECT:
		case CMDTAG_REFRESH_MATERIALIZED_VIEW:
			return qc->nprocessed;
		default:
			return 0;
	}
}

static void
fobs_ProcessUtility(PROCESS_UTILITY_PARAMS)
{
	UtilityKind kind = utility_kind(pstmt->utilityStmt);
	bool		toplevel = at_toplevel();
	int64		queryid = utility_queryid(pstmt, toplevel);
	StatementText tag;
	Statement	statement;

	if (kind == UTILITY_TRANSACTION)
	{
		call_transaction_control(PROCESS_UTILITY_ARGS);
		return;
	}
	/* parts of a larger utility statement have no identifier of their own */
	if (kind == UTILITY_TRANSPARENT || (!toplevel && queryid == 0))
	{
		call_ProcessUtility(PROCESS_UTILITY_ARGS);
		return;
	}
	if (kind == UTILITY_SUPPRESSED)
	{
		call_ProcessUtility_suppressed(PROCESS_UTILITY_ARGS);
		return;
	}
	statement.command = CreateCommandTag(pstmt->utilityStmt);
	if (!is_tracked(toplevel) ||
		!begin_statement(&statement, queryid, toplevel, CMD_UTILITY))
	{
		/* what the client's statement runs is not the client's own */
		if (toplevel)
			call_ProcessUtility_suppressed(PROCESS_UTILITY_ARGS);
		else
			call_ProcessUtility(PROCESS_UTILITY_ARGS);
		return;
	}

	if (toplevel)
		begin_toplevel(&statement, queryString, pstmt->stmt_location,
					   pstmt->stmt_len);
	else
		begin_nested(&statement);

	/*
	 * Nothing of pstmt may be used afterwards, as a procedure that commits
	 * may free it.  The text is never shown, as it may hold a password: the
	 * tag stands for it.
	 */
	tag.start = GetCommandTagName(statement.command);
	tag.length = strlen(tag.start);

	start_clock(&statement);
	PG_TRY();
	{
		call_ProcessUtility(PROCESS_UTILITY_ARGS);
	}
	PG_CATCH();
	{
		stop_clock(&statement);
		leave_traced(&statement);
		if (publish(&statement, true, geterrcode()))
			record_statement(&statement, geterrcode(), tag);
		end_statement(&statement);
		PG_RE_THROW();
	}
	PG_END_TRY();

	stop_clock(&statement);
	leave_traced(&statement);
	statement.observation.rows = utility_rows(qc);
	if (publish(&statement, false, 0))
		record_statement(&statement, 0, tag);
	end_statement(&statement);
}

/*
 * The context of the client's statement that is being executed, NULL if there
 * is none that is tracked.
 */
const FobsContext *
fobs_hooks_context(void)
{
	return current != NULL ? current->context : NULL;
}

/* Puts our hooks in front of those that are there. */
void
fobs_hooks_install(void)
{
	/* have the server compute query identifiers, if it is left to us */
	EnableQueryId();

	fobs_errors_install(error_sent);
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(change_subtransaction, NULL);

	prev_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = fobs_post_parse_analyze;
	prev_planner = planner_hook;
	planner_hook = fobs_planner;
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = fobs_ExecutorStart;
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = fobs_ExecutorRun;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = fobs_ExecutorFinish;
	prev_ExecutorEnd = ExecutorEnd_hook;
	ExecutorEnd_hook = fobs_ExecutorEnd;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = fobs_ProcessUtility;
}
