/*-------------------------------------------------------------------------
 *
 * audit_process.c
 *	  What the background workers in a database with an audit log share.
 *
 * Each of them does its work in transactions of its own.  One that fails is
 * reported to the server log, once, and the process goes on; whoever called
 * for the work decides when to try again.  SIGTERM cancels what is being
 * executed, so that whoever drops the database, shuts the server down or
 * terminates the process need not wait.  What is to be done before the process
 * ends is not cancelled, and should be short.
 *
 * The process has the rights of a superuser, and what it works on belongs to
 * somebody else, who may have attached code of his own to it.  So all that is
 * done in a transaction is done with the rights of the log's owner, as a
 * security-restricted operation (audit_door.c); and if a statement commits on
 * its way (DETACH CONCURRENTLY), up to there, for the server lets no such
 * operation outlive a transaction.  Only whether there is a log is found out
 * before, which executes nothing (audit_extension.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit_door.h"
#include "audit_guard.h"
#include "audit_log.h"
#include "audit_process.h"
#include "compat.h"

/* SIGTERM may cancel what is being executed */
static volatile sig_atomic_t cancellable = false;

/* What is executed is what there is to do before the process ends */
static bool leaving = false;

/* Whose rights we had before we took those of the log's owner */
static FobsSavedUser self;
static bool as_owner = false;

/*
 * Launches a process of a type in a database, which has a name to show; its
 * main function is in our library.  We are told when it begins and ends.
 * Returns its handle, in TopMemoryContext, or NULL if there is no place for
 * it, of which the server log is told once.
 */
BackgroundWorkerHandle *
fobs_audit_process_launch(const char *type, const char *function,
						  Oid database, const char *name)
{
	static bool warned = false;
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = FOBS_LIBRARY_NAME,
		.bgw_main_arg = ObjectIdGetDatum(database),
		.bgw_notify_pid = MyProcPid,
	};
	MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);
	BackgroundWorkerHandle *handle = NULL;

	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "%s (%s)", type, name);
	if (RegisterDynamicBackgroundWorker(&worker, &handle))
		warned = false;
	else if (!warned)
	{
		warned = true;
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start process \"%s\"", worker.bgw_name),
				 errhint("Increase \"max_worker_processes\".")));
	}
	MemoryContextSwitchTo(outer);
	return handle;
}

/* SIGTERM: end, and do not wait for what is being executed. */
static void
handle_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;

	ShutdownRequestPending = true;
	if (cancellable)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * What a database or role sets for its sessions is not meant for us: nothing
 * may time out, or be read-only.  We observe, and are not observed.
 */
static void
set_up_session(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"datestyle", "ISO, YMD"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"session_replication_role", "origin"},
		{"client_min_messages", "warning"},
		{"fraiseql_obs.enabled", "off"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i].name, settings[i].value,
						PGC_SUSET, PGC_S_OVERRIDE);
}

/* Takes the rights of the log's owner for the work of a transaction. */
static void
take_rights(void)
{
	fobs_audit_become_owner(fobs_audit_log_owner(), &self);
	as_owner = true;
}

static void
give_back_rights(void)
{
	if (as_owner)
		fobs_audit_become_self(&self);
	as_owner = false;
}

/* The transaction ends; one that fails gives them back itself. */
static void
transaction_ends(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT)
		give_back_rights();
	else if (event == XACT_EVENT_ABORT)
		as_owner = false;
}

/* Connects to the database, as a superuser. */
void
fobs_audit_process_start(Oid database)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_sigterm);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pgstat_report_appname(MyBgworkerEntry->bgw_type);
	RegisterXactCallback(transaction_ends, NULL);
	set_up_session();
}

static void
begin_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	debug_query_string = activity;
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
become_idle(void)
{
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* What is done may have left no snapshot, if it began a transaction anew. */
static void
end_transaction(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	become_idle();
}

/* A transaction has failed: reports why, unless it is we who cancelled it. */
static void
recover(void)
{
	HOLD_INTERRUPTS();
	if (!ShutdownRequestPending)
		EmitErrorReport();
	AbortOutOfAnyTransaction();
	FlushErrorState();
	MemoryContextSwitchTo(TopMemoryContext);
	QueryCancelPending = false;
	become_idle();
	RESUME_INTERRUPTS();
}

/* Is there an active log in this database? */
bool
fobs_audit_process_has_log(void)
{
	bool		active;

	begin_transaction("looking for an audit log");
	active = fobs_audit_guard_log_is_active();
	end_transaction();
	return active;
}

/* From now on SIGTERM does not cancel what is executed. */
void
fobs_audit_process_leave(void)
{
	leaving = true;
}

/*
 * Does work in a transaction of its own, with the rights of the log's owner;
 * false if it fails.
 */
bool
fobs_audit_transaction(const char *activity, FobsWork work, void *arg)
{
	volatile bool done = false;

	/* in this order, lest a SIGTERM be missed */
	cancellable = !leaving;
	if (cancellable && ShutdownRequestPending)
		InterruptPending = QueryCancelPending = true;
	PG_TRY();
	{
		begin_transaction(activity);
		take_rights();
		work(arg);
		give_back_rights();
		end_transaction();
		done = true;
	}
	PG_CATCH();
	{
		recover();
	}
	PG_END_TRY();
	cancellable = false;
	return done;
}

typedef struct NumberQuery
{
	const char *text;
	int64		result;
} NumberQuery;

static void
execute_query(void *arg)
{
	NumberQuery *query = arg;

	SPI_connect();
	if (SPI_execute(query->text, false, 0) < 0)
		elog(ERROR, "SPI_execute failed: %s",
			 SPI_result_code_string(SPI_result));
	if (SPI_processed > 0 &&
		SPI_gettypeid(SPI_tuptable->tupdesc, 1) == INT8OID)
	{
		bool		isnull;

		query->result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													SPI_tuptable->tupdesc, 1,
													&isnull));
	}
	SPI_finish();
}

/*
 * Executes a query in a transaction of its own.  Returns the number that it
 * yields, or 0 if that is none; -1 if it fails.
 */
int64
fobs_audit_execute(const char *query)
{
	NumberQuery executed = {.text = query};

	if (!fobs_audit_transaction(query, execute_query, &executed))
		return -1;
	return executed.result;
}
