/*-------------------------------------------------------------------------
 *
 * audit_launcher.c
 *	  Starts a worker in each database that has an audit log.
 *
 * One background worker of the server, connected to no database, from the end
 * of recovery on.  It cannot see from outside which databases have an audit
 * log, so at its start it sends a worker into each, one after the other; one
 * that finds no active log ends at once.  From then on who makes an audit log
 * says so (audit_databases.c).  A worker that has ended is started again, not
 * sooner than RESTART_MS after it was started before.
 *
 * As it is there in any case, it also logs how well caches answer (caches.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit_databases.h"
#include "audit_drain.h"
#include "audit_process.h"
#include "audit_worker.h"
#include "caches.h"
#include "compat.h"
#include "endpoint.h"
#include "otlp_sender.h"

#define RESTART_MS		5000
#define RESTART_S		(RESTART_MS / 1000)

/* How often to look whether a worker has come so far, and what to tidy up */
#define BUSY_MS			200
#define TIDY_MS			60000

bool		fobs_audit_worker = true;

/* Databases that nobody has looked into yet */
static List *unseen = NIL;

/* The worker that was started last, until it has entered or ended */
static BackgroundWorkerHandle *started = NULL;

/* When a worker was last started for a database with an entry */
static struct
{
	Oid			database;
	TimestampTz at;
}			attempts[FOBS_MAX_AUDIT_DATABASES];

/* Registers the launcher with the postmaster. */
void
fobs_audit_launcher_register(void)
{
	BackgroundWorker worker = {
		.bgw_name = "fraiseql_obs audit launcher",
		.bgw_type = "fraiseql_obs audit launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = RESTART_S,
		.bgw_library_name = FOBS_LIBRARY_NAME,
		.bgw_function_name = "fraiseql_obs_audit_launcher_main",
	};

	RegisterBackgroundWorker(&worker);
}

/* The databases that can be connected to, in TopMemoryContext */
static List *
list_databases(void)
{
	List	   *databases = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;
	MemoryContext outer;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (!database->datallowconn)
			continue;
		outer = MemoryContextSwitchTo(TopMemoryContext);
		databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(outer);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	return databases;
}

/* The name of a database, or NULL if there is none; in TopMemoryContext. */
static char *
database_name(Oid database)
{
	char	   *name;

	StartTransactionCommand();
	name = get_database_name(database);
	if (name != NULL)
		name = MemoryContextStrdup(TopMemoryContext, name);
	CommitTransactionCommand();
	return name;
}

/* Starts a worker in a database.  False if that cannot be done now. */
static bool
start_worker(Oid database)
{
	char	   *name = database_name(database);

	if (name == NULL)
	{
		fobs_audit_databases_forget(database);
		return true;
	}
	started = fobs_audit_process_launch("fraiseql_obs audit worker",
										"fraiseql_obs_audit_worker_main",
										database, name);
	pfree(name);
	return started != NULL;
}

/* Has the worker that was started last come so far that the next one may? */
static bool
is_settled(void)
{
	pid_t		pid;
	FobsAuditDatabase databases[FOBS_MAX_AUDIT_DATABASES];
	int			n;

	if (started == NULL)
		return true;
	switch (GetBackgroundWorkerPid(started, &pid))
	{
		case BGWH_NOT_YET_STARTED:
			return false;
		case BGWH_STARTED:
			n = fobs_audit_databases_snapshot(databases);
			while (n > 0 && databases[n - 1].worker_pid != (int) pid)
				n--;
			if (n == 0)
				return false;
			break;
		default:
			break;
	}
	pfree(started);
	started = NULL;
	return true;
}

/* May a worker be started for this database again? */
static bool
may_attempt(Oid database, TimestampTz now)
{
	int			place = 0;

	for (int i = 0; i < FOBS_MAX_AUDIT_DATABASES; i++)
	{
		if (attempts[i].database == database)
		{
			place = i;
			break;
		}
		if (attempts[i].at < attempts[place].at)
			place = i;
	}
	if (attempts[place].database == database &&
		!TimestampDifferenceExceeds(attempts[place].at, now, RESTART_MS))
		return false;
	attempts[place].database = database;
	attempts[place].at = now;
	return true;
}

/*
 * Starts the workers that are missing, one after the other.  Returns whether
 * one is on its way, or missing still.
 */
static bool
start_workers(void)
{
	Oid			vacant[FOBS_MAX_AUDIT_DATABASES];
	TimestampTz now = GetCurrentTimestamp();
	int			n;

	if (!is_settled())
		return true;
	if (unseen != NIL)
	{
		if (start_worker(linitial_oid(unseen)))
			unseen = list_delete_first(unseen);
		return true;
	}
	n = fobs_audit_databases_vacant(vacant);
	for (int i = 0; i < n; i++)
	{
		if (may_attempt(vacant[i], now))
		{
			(void) start_worker(vacant[i]);
			break;
		}
	}
	return n > 0;
}

/* Frees what the ring has of databases that were dropped. */
static void
tidy_ring(void)
{
	StartTransactionCommand();
	(void) fobs_audit_forget_dropped_databases();
	CommitTransactionCommand();
}

static void
end_launcher(int code, Datum arg)
{
	fobs_audit_databases_set_launcher(NULL);
}

/* The launcher's process */
void
fraiseql_obs_audit_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(end_launcher, (Datum) 0);
	fobs_audit_databases_set_launcher(MyLatch);

	unseen = list_databases();
	while (!ShutdownRequestPending)
	{
		bool		busy = fobs_audit_worker && start_workers();
		long		wait_ms = busy ? BUSY_MS : TIDY_MS;
		long		log_ms = fobs_caches_log_if_due();

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(wait_ms, log_ms), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (!busy)
			tidy_ring();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			fobs_endpoint_reloaded();
			fobs_otlp_sender_reloaded();
		}
	}

	/* the postmaster starts it again unless the server is being shut down */
	proc_exit(1);
}
