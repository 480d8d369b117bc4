/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  Planner, executor and utility hooks: one statement in, one finished
 *	  statement out.
 *
 * A Statement is what we know of one execution.  It is made when the executor
 * starts, hangs on the QueryDesc (found by its address), and goes when the
 * executor's memory goes, whoever frees that: portals, cursors and nested
 * statements interleave, so nothing about one of them is in a global.
 *
 * A statement is published, which means counted, exactly once:
 *	- a SELECT as soon as ExecutorRun has drained it, since a client that
 *	  leaves its portal open may never let it end;
 *	- what modifies data after ExecutorFinish, which fires its triggers;
 *	- one that fails when the error passes our hook, with its SQLSTATE;
 *	- one that is running when its process is told to exit, and one that was
 *	  read in part, at exit;
 *	- what is left (a portal that was not read to its end) at ExecutorEnd, or
 *	  else when its memory is freed.
 * Its time is that spent in ExecutorRun and ExecutorFinish.  The clock is read
 * twice, at the start of the one and the end of the other; in between is
 * nothing.  A failing ExecutorStart is not timed: its time is that since the
 * client's message arrived.
 *
 * What is not counted: parallel workers, whose work is their leader's;
 * transaction control, SET and its kin, which would drown the rest; PREPARE,
 * EXECUTE and DEALLOCATE, as EXECUTE's statement is counted itself; EXPLAIN
 * without ANALYZE and what its planning runs.
 *
 * "depth" counts the planner, executor and utility calls around us; at depth 0
 * a statement is a client's own.  Every call is bracketed so that an error
 * takes it back.  SPI statements of a deferred trigger run at depth 0, too,
 * inside of COMMIT; they have no active portal.
 *
 * We never write to what we are given (other extensions read the query
 * identifier after us), never raise an error and never talk to the client.
 *
 * Caveats:
 * - A WITH HOLD cursor that is materialised at COMMIT runs outside of any
 *	 statement we count; the FETCHes before and after it are counted.
 * - A portal that is run again after it was drained (a scrollable cursor read
 *	 backwards inside of a function) is counted for its first pass alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "context.h"
#include "counters.h"
#include "errors.h"
#include "guc.h"
#include "hooks.h"
#include "label.h"
#include "operations.h"
#include "queries.h"
#include "slowlog.h"

#define PROCESS_UTILITY_PARAMS \
	PlannedStmt *pstmt, const char *queryString, bool readOnlyTree, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc
#define PROCESS_UTILITY_ARGS \
	pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc

/* One execution of one statement */
typedef struct Statement
{
	/* executor statements only */
	MemoryContextCallback callback; /* on es_query_cxt */
	QueryDesc  *queryDesc;
	struct Statement *next;		/* in its bucket, or in the free list */

	int64		queryid;
	Oid			userid;
	bool		toplevel;
	bool		reads_only;		/* has nothing to do in ExecutorFinish */
	bool		has_run;
	bool		published;
	FobsContext *context;
	TimestampTz called_at;		/* when the client's message arrived */

	uint64		started_ns;		/* clock at the start, 0: not running */
	uint64		duration_ns;
	uint64		planning_ns;
	uint64		rows;
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

/* Buckets of the table of statements; a power of two */
#define STATEMENT_BUCKETS	64

static Statement *buckets[STATEMENT_BUCKETS];
static Statement *free_statements = NULL;

/* Calls around us; see banner */
static int	depth = 0;

/* Above 0: inside of an EXPLAIN that executes nothing */
static int	suppressed = 0;

/* The client's statement that is running, for when the process must exit */
static Statement *running = NULL;
static bool exit_callback_registered = false;

/* Time spent on planning the statement that will start next */
static struct
{
	int64		queryid;
	int			depth;
	uint64		planning_ns;
}			planned;

/* Saved hook values */
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

/* Time since the client's message arrived, for what we do not time. */
static uint64
since_message_ns(void)
{
	int64		us = GetCurrentTimestamp() -
	GetCurrentStatementStartTimestamp();

	return us > 0 ? (uint64) us * 1000 : 0;
}

/* Is a statement that starts here the client's own? */
static bool
at_toplevel(void)
{
	return depth == 0 && (ActivePortal != NULL || MyProcPort == NULL);
}

/* Is a statement that starts here to be counted? */
static bool
is_tracked(bool toplevel)
{
	if (!fobs_enabled || !fobs_metrics_enabled || suppressed > 0 ||
		IsParallelWorker())
		return false;
	return fobs_track == FOBS_TRACK_ALL ||
		(fobs_track == FOBS_TRACK_TOP && toplevel);
}

static StatementText
statement_text(const char *source, int location, int length)
{
	StatementText text = {NULL, 0};

	if (source != NULL)
	{
		text.start = source + Max(location, 0);
		text.length = length;
	}
	return text;
}

static int
text_length(StatementText text)
{
	if (text.start == NULL)
		return 0;
	return text.length > 0 ? text.length : (int) strlen(text.start);
}

/*
 * Publishing
 */

static void
record_statement(Statement *statement, int sqlstate, bool slow,
				 StatementText text)
{
	FobsSlowRecord record;

	record.userid = statement->userid;
	record.queryid = statement->queryid;
	record.duration_ns = statement->duration_ns;
	record.rows = statement->rows;
	record.sqlstate = sqlstate;
	fobs_slowlog_add(&record,
					 fobs_include_query_bodies ? text.start : NULL,
					 text_length(text), statement->context, slow);
}

/*
 * Counts a statement that has ended; sqlstate is 0 if it succeeded.  Called
 * while errors are being handled, too.
 */
static void
publish(Statement *statement, int sqlstate, StatementText text)
{
	FobsObservation observation;

	statement->published = true;
	if (!fobs_counters_attach())
		return;

	observation.duration_ns = statement->duration_ns;
	observation.planning_ns = statement->planning_ns;
	observation.rows = statement->rows;
	observation.slow = statement->duration_ns >= fobs_slow_query_threshold_ns;
	observation.failed = sqlstate != 0;
	observation.called_at = statement->called_at;

	if (statement->toplevel)
	{
		FobsContext *context = statement->context;

		fobs_counters_count(observation.duration_ns, observation.rows,
							observation.slow);
		if (context->operation.operation[0] != '\0')
			fobs_operations_count(&context->operation,
								  &context->operation_ref, &observation);

		/* errors of clients are counted where they are sent; see errors.c */
		if (observation.failed && whereToSendOutput != DestRemote &&
			sqlstate != fobs_errors_last_sent)
			fobs_errors_count(sqlstate);
	}
	fobs_queries_count(statement->userid, statement->queryid,
					   statement->toplevel, &observation);

	/* an error that a function handles is its own business */
	if (unlikely(observation.slow ||
				 (observation.failed && statement->toplevel)))
		record_statement(statement, sqlstate, observation.slow, text);
}

/* Adds the time since the clock was started. */
static void
stop_clock(Statement *statement)
{
	if (statement->started_ns != 0)
	{
		statement->duration_ns += now_ns() - statement->started_ns;
		statement->started_ns = 0;
	}
}

/*
 * Publishes what is left when this process exits: the client's statement that
 * was running when it was told to (such an error, FATAL, passes none of our
 * hooks), and portals that were read in part.
 */
static void
publish_rest(int code, Datum arg)
{
	if (running != NULL)
	{
		stop_clock(running);
		publish(running,
				fobs_errors_last_sent != 0 ? fobs_errors_last_sent :
				ERRCODE_CONNECTION_FAILURE,
				no_text);
		running = NULL;
	}

	for (int i = 0; i < STATEMENT_BUCKETS; i++)
	{
		for (Statement *statement = buckets[i]; statement != NULL;
			 statement = statement->next)
		{
			stop_clock(statement);
			if (statement->has_run && !statement->published)
				publish(statement, 0, no_text);
		}
	}
}

/*
 * Fills in what is known when a statement starts.  Returns false if this
 * process cannot count.
 */
static bool
begin_statement(Statement *statement, int64 queryid, bool toplevel,
				StatementText text)
{
	if (!fobs_counters_attach())
		return false;
	if (unlikely(!exit_callback_registered))
	{
		/* after attaching, so that it is called before the slot is folded */
		before_shmem_exit(publish_rest, (Datum) 0);
		exit_callback_registered = true;
	}

	fobs_label_prepare();
	fobs_errors_last_sent = 0;
	statement->queryid = queryid;
	statement->userid = GetUserId();
	statement->toplevel = toplevel;
	statement->has_run = false;
	statement->published = false;
	statement->context = fobs_context_capture(text.start,
											  text_length(text));
	statement->called_at = GetCurrentStatementStartTimestamp();
	statement->started_ns = 0;
	statement->duration_ns = 0;
	statement->planning_ns = 0;
	statement->rows = 0;
	return true;
}

/* Takes the time that planning this statement took, if it has just been. */
static uint64
take_planning_ns(int64 queryid)
{
	uint64		planning_ns = 0;

	if (planned.queryid == queryid && planned.depth == depth)
		planning_ns = planned.planning_ns;
	planned.planning_ns = 0;
	return planning_ns;
}

/* Counts a statement that failed before it could run. */
static void
publish_failed_start(int64 queryid, bool toplevel, uint64 duration_ns,
					 uint64 planning_ns, StatementText text)
{
	Statement	statement;

	if (!begin_statement(&statement, queryid, toplevel, text))
		return;
	statement.duration_ns = duration_ns;
	statement.planning_ns = planning_ns;
	publish(&statement, geterrcode(), text);
	fobs_context_release(statement.context);
}

/*
 * The table of statements that the executor knows
 */

static Statement **
bucket_of(const QueryDesc *queryDesc)
{
	uintptr_t	address = (uintptr_t) queryDesc;

	return &buckets[((address >> 4) ^ (address >> 10)) &
					(STATEMENT_BUCKETS - 1)];
}

static Statement *
find_statement(const QueryDesc *queryDesc)
{
	Statement  *statement = *bucket_of(queryDesc);

	while (statement != NULL && statement->queryDesc != queryDesc)
		statement = statement->next;
	return statement;
}

/* The last chance to publish, and the end of a Statement. */
static void
forget_statement(void *arg)
{
	Statement  *statement = arg;
	Statement **link = bucket_of(statement->queryDesc);

	stop_clock(statement);
	if (statement->has_run && !statement->published)
		publish(statement, 0, no_text);
	if (running == statement)
		running = NULL;

	while (*link != statement)
		link = &(*link)->next;
	*link = statement->next;
	fobs_context_release(statement->context);
	statement->next = free_statements;
	free_statements = statement;
}

/* Takes a Statement from the free list; NULL if there is no memory. */
static Statement *
allocate_statement(void)
{
	Statement  *statement;

	if (unlikely(free_statements == NULL))
	{
		Statement  *chunk;

		chunk = MemoryContextAllocExtended(TopMemoryContext,
										   STATEMENTS_CHUNK * sizeof(Statement),
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

/* Makes a Statement for a QueryDesc that has started. */
static void
remember_statement(QueryDesc *queryDesc, bool toplevel)
{
	StatementText text = executor_text(queryDesc);
	int64		queryid = (int64) queryDesc->plannedstmt->queryId;
	Statement  *statement = allocate_statement();
	Statement **bucket;

	if (statement == NULL)
		return;
	if (!begin_statement(statement, queryid, toplevel, text))
	{
		statement->next = free_statements;
		free_statements = statement;
		return;
	}
	statement->reads_only = only_reads(queryDesc);
	statement->planning_ns = take_planning_ns(queryid);

	bucket = bucket_of(queryDesc);
	statement->queryDesc = queryDesc;
	statement->next = *bucket;
	*bucket = statement;
	statement->callback.func = forget_statement;
	statement->callback.arg = statement;
	MemoryContextRegisterResetCallback(queryDesc->estate->es_query_cxt,
									   &statement->callback);
}

/*
 * The hooks
 */

static PlannedStmt *
fobs_planner(PLANNER_PARAMS)
{
	PlannedStmt *result;
	volatile bool tracked = is_tracked(depth == 0);
	int64		queryid = (int64) parse->queryId;
	volatile uint64 started_ns = tracked ? now_ns() : 0;
	uint64		planning_ns;

	depth++;
	PG_TRY();
	{
		if (prev_planner)
			result = prev_planner(PLANNER_ARGS);
		else
			result = standard_planner(PLANNER_ARGS);
	}
	PG_CATCH();
	{
		depth--;
		if (tracked)
		{
			planning_ns = now_ns() - started_ns;
			publish_failed_start(queryid, depth == 0, planning_ns, planning_ns,
								 statement_text(query_string,
												parse->stmt_location,
												parse->stmt_len));
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	depth--;

	if (tracked)
	{
		planning_ns = now_ns() - started_ns;
		if (depth == 0 && fobs_counters_attach())
			fobs_counters_count_planning(planning_ns);

		/* a rule may turn one statement into several, planned one by one */
		if (planned.queryid == queryid && planned.depth == depth)
			planned.planning_ns += planning_ns;
		else
		{
			planned.queryid = queryid;
			planned.depth = depth;
			planned.planning_ns = planning_ns;
		}
	}
	return result;
}

static void
fobs_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	volatile bool toplevel = at_toplevel();
	volatile bool tracked = is_tracked(toplevel) &&
	!(eflags & EXEC_FLAG_EXPLAIN_ONLY);

	PG_TRY();
	{
		if (prev_ExecutorStart)
			prev_ExecutorStart(queryDesc, eflags);
		else
			standard_ExecutorStart(queryDesc, eflags);
	}
	PG_CATCH();
	{
		if (tracked)
		{
			int64		queryid = (int64) queryDesc->plannedstmt->queryId;

			publish_failed_start(queryid, toplevel,
								 toplevel ? since_message_ns() : 0,
								 take_planning_ns(queryid),
								 executor_text(queryDesc));
		}
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (tracked)
		remember_statement(queryDesc, toplevel);
}

/* An error has passed ExecutorRun or ExecutorFinish. */
static void
fail_statement(Statement *statement)
{
	if (running == statement)
		running = NULL;
	stop_clock(statement);
	if (!statement->published)
		publish(statement, geterrcode(), executor_text(statement->queryDesc));
}

/* ExecutorRun has returned; "count" is how many rows it was asked for. */
static void
end_run(Statement *statement, uint64 count)
{
	uint64		rows = statement->queryDesc->estate->es_processed;

	statement->has_run = true;
	statement->rows += rows;
	if (!statement->reads_only)
		return;					/* the clock runs until ExecutorFinish ends */

	stop_clock(statement);
	if (running == statement)
		running = NULL;
	if (!statement->published && (count == 0 || rows < count))
		publish(statement, 0, executor_text(statement->queryDesc));
}

static void
fobs_ExecutorRun(EXECUTOR_RUN_PARAMS)
{
	Statement  *volatile statement = find_statement(queryDesc);

	if (statement != NULL)
	{
		if (statement->toplevel)
			running = statement;
		if (statement->started_ns == 0)
			statement->started_ns = now_ns();
	}

	depth++;
	PG_TRY();
	{
		if (prev_ExecutorRun)
			prev_ExecutorRun(EXECUTOR_RUN_ARGS);
		else
			standard_ExecutorRun(EXECUTOR_RUN_ARGS);
	}
	PG_CATCH();
	{
		depth--;
		if (statement != NULL)
		{
			/* the client has them; what was modified is rolled back */
			if (statement->reads_only)
				statement->rows += queryDesc->estate->es_processed;
			fail_statement(statement);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	depth--;

	if (statement != NULL)
		end_run(statement, count);
}

static void
fobs_ExecutorFinish(QueryDesc *queryDesc)
{
	Statement  *volatile statement = find_statement(queryDesc);

	depth++;
	PG_TRY();
	{
		if (prev_ExecutorFinish)
			prev_ExecutorFinish(queryDesc);
		else
			standard_ExecutorFinish(queryDesc);
	}
	PG_CATCH();
	{
		depth--;
		if (statement != NULL)
			fail_statement(statement);
		PG_RE_THROW();
	}
	PG_END_TRY();
	depth--;

	if (statement != NULL && !statement->reads_only)
	{
		stop_clock(statement);
		if (running == statement)
			running = NULL;
		if (statement->has_run && !statement->published)
			publish(statement, 0, executor_text(queryDesc));
	}
}

static void
fobs_ExecutorEnd(QueryDesc *queryDesc)
{
	Statement  *statement = find_statement(queryDesc);

	if (statement != NULL && statement->has_run && !statement->published)
	{
		stop_clock(statement);
		publish(statement, 0, executor_text(queryDesc));
	}

	/* this frees es_query_cxt and with it the Statement */
	if (prev_ExecutorEnd)
		prev_ExecutorEnd(queryDesc);
	else
		standard_ExecutorEnd(queryDesc);
}

/*
 * Utility statements
 */

typedef enum UtilityKind
{
	UTILITY_COUNTED,
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

static void
call_ProcessUtility(PROCESS_UTILITY_PARAMS)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(PROCESS_UTILITY_ARGS);
	else
		standard_ProcessUtility(PROCESS_UTILITY_ARGS);
}

/* Calls it one level deeper, without counting anything itself. */
static void
call_ProcessUtility_nested(bool suppress, PROCESS_UTILITY_PARAMS)
{
	depth++;
	suppressed += suppress;
	PG_TRY();
	{
		call_ProcessUtility(PROCESS_UTILITY_ARGS);
	}
	PG_FINALLY();
	{
		suppressed -= suppress;
		depth--;
	}
	PG_END_TRY();
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
	StatementText text = statement_text(queryString, pstmt->stmt_location,
										pstmt->stmt_len);
	StatementText tag;
	Statement	statement;

	if (kind == UTILITY_TRANSPARENT)
	{
		call_ProcessUtility(PROCESS_UTILITY_ARGS);
		return;
	}
	/* parts of a larger utility statement have no identifier of their own */
	if (kind == UTILITY_SUPPRESSED || !is_tracked(toplevel) ||
		(!toplevel && queryid == 0) ||
		!begin_statement(&statement, queryid, toplevel, text))
	{
		call_ProcessUtility_nested(kind == UTILITY_SUPPRESSED,
								   PROCESS_UTILITY_ARGS);
		return;
	}

	/*
	 * Nothing of pstmt may be used afterwards, as a procedure that commits
	 * may free it.  The text is never shown, as it may hold a password: the
	 * tag stands for it.
	 */
	tag.start = GetCommandTagName(CreateCommandTag(pstmt->utilityStmt));
	tag.length = strlen(tag.start);

	if (toplevel)
		running = &statement;
	statement.started_ns = now_ns();
	depth++;
	PG_TRY();
	{
		call_ProcessUtility(PROCESS_UTILITY_ARGS);
	}
	PG_CATCH();
	{
		depth--;
		if (toplevel)
			running = NULL;
		stop_clock(&statement);
		publish(&statement, geterrcode(), tag);
		fobs_context_release(statement.context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	depth--;
	if (toplevel)
		running = NULL;

	stop_clock(&statement);
	statement.rows = utility_rows(qc);
	publish(&statement, 0, tag);
	fobs_context_release(statement.context);
}

/* Puts our hooks in front of those that are there. */
void
fobs_hooks_install(void)
{
	/* have the server compute query identifiers, if it is left to us */
	EnableQueryId();

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
