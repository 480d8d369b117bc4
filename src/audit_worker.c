/*-------------------------------------------------------------------------
 *
 * audit_worker.c
 *	  The process that keeps the audit log of a database.
 *
 * A background worker that does, in turns, what else somebody would have to
 * call by hand or by cron: functions in SQL, each in a transaction of its own.
 * One that fails is reported to the server log and tried again when it is next
 * due.  Nothing is kept here: what has been done stands in the tables beside
 * the log, so a worker may end at any moment.
 *
 * It ends when there is no active log, when the setting "audit_worker" is
 * off, and at SIGTERM: whoever drops the database, shuts the server down or
 * terminates it need not wait, as what is being executed is cancelled.
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
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit_databases.h"
#include "audit_door.h"
#include "audit_guard.h"
#include "audit_ring.h"
#include "audit_worker.h"
#include "compat.h"

#define UPKEEP_S		60

/* How long we wait for sessions that end, once we are to end ourselves */
#define LEAVE_MS		2000
#define LEAVE_STEP_MS	20

int			fobs_audit_seal_interval_s;

/* SIGTERM may cancel what is being executed */
static volatile sig_atomic_t cancellable = false;

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
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
}

static void
begin_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
finish_transaction(void)
{
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

static void
end_transaction(void)
{
	PopActiveSnapshot();
	finish_transaction();
}

/*
 * Executes a query in a transaction of its own.  Returns the number that it
 * yields, or 0 if that is none; -1 if it fails.
 */
static int64
execute(const char *query)
{
	volatile int64 result = 0;

	cancellable = !ShutdownRequestPending;
	PG_TRY();
	{
		begin_transaction(query);
		SPI_connect();
		if (SPI_execute(query, false, 0) < 0)
			elog(ERROR, "SPI_execute failed: %s",
				 SPI_result_code_string(SPI_result));
		if (SPI_processed > 0 &&
			SPI_gettypeid(SPI_tuptable->tupdesc, 1) == INT8OID)
		{
			bool		isnull;

			result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
												 SPI_tuptable->tupdesc, 1,
												 &isnull));
		}
		SPI_finish();
		end_transaction();
	}
	PG_CATCH();
	{
		recover();
		result = -1;
	}
	PG_END_TRY();
	cancellable = false;
	return result;
}

/* Is there an audit log to keep? */
static bool
has_active_log(void)
{
	bool		active;

	begin_transaction("looking for an audit log");
	active = fobs_audit_guard_log_is_active();
	end_transaction();
	return active;
}

/* Seals what is new, and signs that. */
static void
seal(void)
{
	if (execute("SELECT fraiseql_obs.seal_audit_log()") > 0 &&
		fobs_audit_signing_key_file[0] != '\0')
		(void) execute("SELECT fraiseql_obs.audit_sign_checkpoint()");
}

/* Writes what there is of operations that were rolled back. */
static void
drain_ring(void)
{
	while (execute("SELECT fraiseql_obs.audit_drain_ring()") > 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
			break;
	}
}

/*
 * The server is being shut down, or somebody has us end: the sessions of this
 * database may be ending, too, and what they leave is written, if it comes
 * soon.
 */
static void
take_leave(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   LEAVE_MS);

	do
	{
		if (execute("SELECT fraiseql_obs.audit_drain_ring()") > 0)
			continue;
		if (fobs_audit_ring_unsettled() == 0)
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LEAVE_STEP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	} while (GetCurrentTimestamp() < deadline);
	(void) execute("SELECT fraiseql_obs.audit_announce_stop()");
}

/* Ends, so that the launcher starts a worker again or not. */
static void
end_worker(bool for_good)
{
	fobs_audit_databases_leave(for_good);
	proc_exit(0);
}

static void
wait_until(TimestampTz due)
{
	long		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													 due);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Is it time?  Then says when it is the next time. */
static bool
is_due(TimestampTz *due, int interval_s)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = now + interval_s * USECS_PER_SEC;

	/* the interval may have been made shorter */
	if (*due > now && *due <= next)
		return false;
	*due = next;
	return true;
}

/* The worker's process */
void
fraiseql_obs_audit_worker_main(Datum database)
{
	TimestampTz seal_due = 0;
	TimestampTz upkeep_due = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_sigterm);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database),
											  InvalidOid, 0);
	pgstat_report_appname("fraiseql_obs audit worker");
	set_up_session();
	if (!has_active_log() ||
		!fobs_audit_databases_enter(DatumGetObjectId(database)))
		proc_exit(0);

	(void) fobs_audit_ring_set_drainer(MyLatch);
	(void) execute("SELECT fraiseql_obs.audit_announce_start()");
	while (!ShutdownRequestPending && fobs_audit_worker)
	{
		if (!has_active_log())
			end_worker(true);
		drain_ring();
		if (is_due(&seal_due, fobs_audit_seal_interval_s))
			seal();
		if (is_due(&upkeep_due, UPKEEP_S))
			(void) execute("SELECT fraiseql_obs.index_audit_partitions()");
		wait_until(Min(seal_due, upkeep_due));
	}
	take_leave();
	end_worker(false);
}
