/*-------------------------------------------------------------------------
 *
 * canary.c
 *	  Tries now and then what clients want to do.
 *
 * Shared memory shows whether a server has a reason not to serve, but not
 * whether it serves.  A background worker that is connected to a database
 * finds out: it executes a query, and on a primary writes a message into the
 * log and commits, which waits for the disk, and for standbys if commits are
 * to.  It notes when it last succeeded and how long that took.  Probes look at
 * the note alone, so whatever the canary waits for, they do not.
 *
 * The message is a transactional one of pg_logical_emit_message(), because it
 * needs no table and leaves nothing behind but a transaction identifier.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit_process.h"
#include "canary.h"
#include "compat.h"

#define RESTART_S	10

#define READ	"SELECT 1"
#define WRITE \
	"SELECT pg_catalog.pg_logical_emit_message(true, 'fraiseql_obs', 'canary')"

typedef struct CanaryShared
{
	slock_t		mutex;			/* protects all that follows */
	TimestampTz succeeded_at;	/* 0: it has not */
	double		seconds;		/* how long that took */
} CanaryShared;

int			fobs_canary_interval_s;
char	   *fobs_canary_database;

static CanaryShared *shared = NULL;

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_canary_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(CanaryShared));
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_canary_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_canary", sizeof(CanaryShared),
							 &found);
	if (found)
		return;
	memset(shared, 0, sizeof(CanaryShared));
	SpinLockInit(&shared->mutex);
}

/* Registers the worker with the postmaster, if there is to be one. */
void
fobs_canary_register(void)
{
	BackgroundWorker worker = {
		.bgw_name = "fraiseql_obs canary",
		.bgw_type = "fraiseql_obs canary",
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_ConsistentState,
		.bgw_restart_time = RESTART_S,
		.bgw_library_name = FOBS_LIBRARY_NAME,
		.bgw_function_name = "fraiseql_obs_canary_main",
	};

	if (fobs_canary_interval_s > 0)
		RegisterBackgroundWorker(&worker);
}

/*
 * When the canary last succeeded, and how long that took; false if it has
 * not since the server started.
 */
bool
fobs_canary_last_success(TimestampTz *at, double *seconds)
{
	SpinLockAcquire(&shared->mutex);
	*at = shared->succeeded_at;
	*seconds = shared->seconds;
	SpinLockRelease(&shared->mutex);
	return *at != 0;
}

static void
note_success(instr_time since)
{
	TimestampTz now = GetCurrentTimestamp();
	instr_time	took;

	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, since);
	SpinLockAcquire(&shared->mutex);
	shared->succeeded_at = now;
	shared->seconds = INSTR_TIME_GET_DOUBLE(took);
	SpinLockRelease(&shared->mutex);
}

static void
execute(const char *query, bool read_only)
{
	int			result = SPI_execute(query, read_only, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

/* One transaction, as a client's */
static void
sing(void)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, READ);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	execute(READ, true);
	if (!RecoveryInProgress())
	{
		pgstat_report_activity(STATE_RUNNING, WRITE);
		execute(WRITE, false);
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	note_success(start);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* It failed: the server log says why. */
static void
recover(void)
{
	HOLD_INTERRUPTS();
	EmitErrorReport();
	AbortOutOfAnyTransaction();
	FlushErrorState();
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_activity(STATE_IDLE, NULL);
	RESUME_INTERRUPTS();
}

/* What is set for sessions of the database is not meant for us. */
static void
set_up_session(void)
{
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET,
					PGC_S_OVERRIDE);
	SetConfigOption("fraiseql_obs.enabled", "off", PGC_SUSET,
					PGC_S_OVERRIDE);
}

/* The worker's process */
void
fraiseql_obs_canary_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(fobs_canary_database, NULL, 0);
	pgstat_report_appname(MyBgworkerEntry->bgw_type);
	set_up_session();

	for (;;)
	{
		PG_TRY();
		{
			sing();
		}
		PG_CATCH();
		{
			recover();
		}
		PG_END_TRY();

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 fobs_canary_interval_s * 1000L, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
