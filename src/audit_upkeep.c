/*-------------------------------------------------------------------------
 *
 * audit_upkeep.c
 *	  The process that makes and removes partitions of an audit log.
 *
 * The worker of a database (audit_worker.c) starts it now and then; it does
 * what is due and ends.  It is a process of its own because it may wait long:
 * a partition is detached only once all transactions have ended that could
 * read it, and a report may take an hour.  Meanwhile the worker seals and
 * drains as ever.
 *
 * In this order, so that what was left half done comes first:
 *
 * recall: after a start of the server, metrics and health are told what the
 *    newest verification in the log has found, so that a restart silences
 *    nothing.  Until then they say nothing of it.
 * finalize: a partition whose detaching was interrupted (a crash, or somebody
 *    ended this process) is detached.
 * maintain: maintain_audit_log(false) makes partitions ahead, drops what has
 *    been detached, keeps what a hold keeps, builds indexes, collapses seals.
 * remove: each partition that is past the retention is closed (verified, and
 *    recorded as removed), detached CONCURRENTLY, and dropped.
 *
 * Nothing is remembered here: how far a partition has come is in the catalogs
 * and in the tables beside the log.  What fails is reported to the server log,
 * and is tried the next time.
 *
 * Waiting.  DETACH CONCURRENTLY waits without a snapshot and without a lock,
 * after it has committed that the partition is not to be read any more: nobody
 * waits for us, and VACUUM is not held back.  FINALIZE waits too, for who has
 * locked the partition and for all transactions with an older snapshot, and
 * that with locks for which pg_dump, a verification, or a writer who needs a
 * new partition would have to wait.  So we wait for them ourselves before, by
 * the same snapshot and without a lock, and find nobody when it looks.  Both
 * are given up after PATIENCE_MS, so that partitions are made however long
 * somebody reads.  Where we and a CREATE INDEX CONCURRENTLY wait for each
 * other, it is we who notice first, and give up.
 *
 * A session that is terminated while it detaches leaves what we leave.  The
 * statement passes the guard by a door, which is closed again whatever
 * happens.  It is executed with the rights of the log's owner
 * (audit_process.c): the check of foreign keys that refer to the log may call
 * his casts.  That is over before CONCURRENTLY commits for the first time;
 * what comes after it calls nothing of his.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "audit_databases.h"
#include "audit_door.h"
#include "audit_process.h"
#include "audit_query.h"
#include "audit_upkeep.h"
#include "compat.h"

/* How long one partition may keep others from being made */
#define PATIENCE_MS		(60 * 60 * 1000)

/* And how long somebody may have to wait for one to be finalized */
#define FINALIZE_TIMEOUT "2s"

/* As the last word of a statement of audit_close_partition() */
#define FINALIZE		" FINALIZE"

/* What maintain_audit_log() could not do, and how far ahead it is then */
#define FAILED_STEPS \
	"SELECT concat_ws(' ', step->>'step', step->>'partition') || ': ' || " \
	"(step->>'message') FROM jsonb_array_elements(" \
	"fraiseql_obs.maintain_audit_log(false)->'failed') AS step"
#define LAST_FINDINGS \
	"SELECT coalesce((found->>'violations')::bigint, -1), " \
	"coalesce((found->>'anchor_violations')::bigint, -1), " \
	"(found->>'verified_at')::timestamptz " \
	"FROM fraiseql_obs.audit_last_findings() AS found"
#define PARTITIONS_AHEAD \
	"SELECT count(*) " \
	"FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) " \
	"WHERE range_from > now()"

/* A query for texts, and what it has found; in TopMemoryContext */
typedef struct Texts
{
	const char *query;
	List	   *found;
} Texts;

/* The process, for the worker that has started it */
static BackgroundWorkerHandle *started = NULL;

/*---- for the worker ----*/

static void
end_at_exit(int code, Datum arg)
{
	fobs_audit_upkeep_end();
}

/* Starts the process in a database, which has a name to show. */
void
fobs_audit_upkeep_start(Oid database, const char *name)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(end_at_exit, (Datum) 0);
	registered = true;
	started = fobs_audit_process_launch("fraiseql_obs audit upkeep",
										"fraiseql_obs_audit_upkeep_main",
										database, name);
}

/* Has it been started, and not ended?  Its end sets the worker's latch. */
bool
fobs_audit_upkeep_is_running(void)
{
	pid_t		pid;

	if (started == NULL)
		return false;
	if (GetBackgroundWorkerPid(started, &pid) != BGWH_STOPPED)
		return true;
	pfree(started);
	started = NULL;
	return false;
}

/* Has it end now.  Where it stopped is where the next one goes on. */
void
fobs_audit_upkeep_end(void)
{
	if (started != NULL)
		TerminateBackgroundWorker(started);
}

/*---- detaching ----*/

/* A utility statement as the planner would give it */
static PlannedStmt *
parse(const char *query)
{
	PlannedStmt *statement = makeNode(PlannedStmt);

	statement->commandType = CMD_UTILITY;
	statement->canSetTag = true;
	statement->utilityStmt =
		linitial_node(RawStmt, pg_parse_query(query))->stmt;
	statement->stmt_len = strlen(query);
	return statement;
}

/*
 * Executes a utility statement in a portal, as a client's is executed, because
 * this one commits on its way and goes on.  What outlives that, and the
 * snapshots of event triggers, belong to the portal.
 */
static void
execute_utility(void *arg)
{
	const char *query = arg;
	Portal		portal = CreatePortal("", true, true);
	MemoryContext outer = MemoryContextSwitchTo(portal->portalContext);
	List	   *statements = list_make1(parse(query));

	MemoryContextSwitchTo(outer);
	/* the portal takes one of its own, which the statement may give up */
	PopActiveSnapshot();
	portal->visible = false;
	PortalDefineQuery(portal, NULL, query, CMDTAG_ALTER_TABLE, statements,
					  NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) PortalRun(portal, FETCH_ALL, true, None_Receiver, None_Receiver,
					 NULL);
	PortalDrop(portal, false);
}

/*
 * Has FINALIZE find nobody to wait for.  The transaction has one snapshot,
 * older than which there are no others then.
 */
static void
execute_finalize(void *arg)
{
	AlterTableStmt *statement;
	AlterTableCmd *command;
	RangeVar   *name;
	LOCKTAG		partition;

	statement = castNode(AlterTableStmt, parse(arg)->utilityStmt);
	command = linitial_node(AlterTableCmd, statement->cmds);
	name = castNode(PartitionCmd, command->def)->name;
	SET_LOCKTAG_RELATION(partition, MyDatabaseId,
						 RangeVarGetRelid(name, NoLock, false));
	WaitForLockers(partition, AccessExclusiveLock, false);
	WaitForOlderSnapshots(GetActiveSnapshot()->xmin, false);
	(void) set_config_option("lock_timeout", FINALIZE_TIMEOUT, PGC_SUSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	execute_utility(arg);
}

static void
set_isolation(const char *level)
{
	SetConfigOption("default_transaction_isolation", level, PGC_SUSET,
					PGC_S_OVERRIDE);
}

static bool
ends_with(const char *text, const char *end)
{
	size_t		length = strlen(text);

	return length >= strlen(end) &&
		strcmp(text + length - strlen(end), end) == 0;
}

/* Executes a statement of audit_close_partition(); false if it fails. */
static bool
detach(char *statement)
{
	int			doors_before = fobs_audit_doors;
	bool		done;

	fobs_audit_doors |= FOBS_DOOR_KEEP;
	enable_timeout_after(STATEMENT_TIMEOUT, PATIENCE_MS);
	if (ends_with(statement, FINALIZE))
	{
		set_isolation("repeatable read");
		done = fobs_audit_transaction(statement, execute_finalize, statement);
		set_isolation("read committed");
	}
	else
		done = fobs_audit_transaction(statement, execute_utility, statement);
	disable_timeout(STATEMENT_TIMEOUT, false);
	fobs_audit_doors = doors_before;
	return done;
}

/*---- steps ----*/

static void
add_text(TupleTableSlot *slot, void *arg)
{
	Texts	   *texts = arg;
	MemoryContext before;

	if (slot->tts_isnull[0])
		return;
	before = MemoryContextSwitchTo(TopMemoryContext);
	texts->found = lappend(texts->found,
						   TextDatumGetCString(slot->tts_values[0]));
	MemoryContextSwitchTo(before);
}

static void
find_texts(void *arg)
{
	Texts	   *texts = arg;
	AuditQuery	query = {
		.text = texts->query,.new_snapshot = true,.row = add_text,.arg = arg
	};

	fobs_audit_run_query(&query);
}

/* The texts that a query finds, in its own transaction; NIL if it fails */
static List *
query_texts(const char *query)
{
	Texts		texts = {.query = query};

	if (!fobs_audit_transaction(query, find_texts, &texts))
		return NIL;
	return texts.found;
}

/* The partitions in a state of removal, by where they begin */
static List *
removable_partitions(const char *state)
{
	return query_texts(psprintf("SELECT range_from::text "
								"FROM fraiseql_obs.audit_removable_partitions() "
								"WHERE state = '%s'", state));
}

/* Has a partition ready and detaches it.  False if others must wait for it. */
static bool
close_and_detach(const char *range_from)
{
	List	   *statements =
	query_texts(psprintf("SELECT fraiseql_obs.audit_close_partition(timestamptz '%s')",
						 range_from));

	return statements == NIL || detach(linitial(statements));
}

static void
note_findings(TupleTableSlot *slot, void *arg)
{
	const Datum *values = slot->tts_values;

	fobs_audit_databases_recall(DatumGetInt64(values[0]),
								DatumGetInt64(values[1]),
								slot->tts_isnull[2] ? 0 :
								DatumGetTimestampTz(values[2]));
}

static void
find_findings(void *arg)
{
	AuditQuery	query = {
		.text = LAST_FINDINGS,.new_snapshot = true,.row = note_findings
	};

	fobs_audit_run_query(&query);
}

/* Once; what fails is tried again by the next process. */
static void
recall(void)
{
	if (!fobs_audit_databases_recalled())
		(void) fobs_audit_transaction(LAST_FINDINGS, find_findings, NULL);
}

static void
finalize(void)
{
	ListCell   *cell;

	foreach(cell, removable_partitions("detaching"))
		(void) close_and_detach(lfirst(cell));
}

/* Says in the server log which steps have failed, and why. */
static void
maintain(void)
{
	ListCell   *cell;

	foreach(cell, query_texts(FAILED_STEPS))
		ereport(WARNING,
				(errmsg("could not maintain the audit log: %s",
						(char *) lfirst(cell))));
	fobs_audit_databases_note_partitions(fobs_audit_execute(PARTITIONS_AHEAD));
}

/* One is detached at a time: while it is pending, no other can be. */
static void
remove_partitions(void)
{
	ListCell   *cell;

	foreach(cell, removable_partitions("attached"))
	{
		const char *from = lfirst(cell);

		if (ShutdownRequestPending || !close_and_detach(from))
			break;
		(void) fobs_audit_execute(psprintf("SELECT fraiseql_obs.audit_drop_partition(timestamptz '%s')",
										   from));
	}
}

/* The process */
void
fraiseql_obs_audit_upkeep_main(Datum database)
{
	static void (*const steps[]) (void) = {
		recall, finalize, maintain, remove_partitions
	};

	fobs_audit_process_start(DatumGetObjectId(database));
	SetConfigOption("deadlock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
	if (fobs_audit_process_has_log())
		for (int i = 0; i < lengthof(steps) && !ShutdownRequestPending; i++)
			steps[i] ();
	proc_exit(0);
}
