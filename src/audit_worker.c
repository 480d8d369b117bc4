/*-------------------------------------------------------------------------
 *
 * audit_worker.c
 *	  The process that keeps the audit log of a database.
 *
 * A background worker that does, in turns, what else somebody would have to
 * call by hand or by cron: functions in SQL, each in a transaction of its own
 * (audit_process.c).  One that fails is tried again when it is next due.
 * Nothing is kept here: what has been done stands in the tables beside the
 * log, so a worker may end at any moment.
 *
 * It drains the ring and seals, which nothing may hold up.  So what may take
 * or wait long, making and removing partitions, is left to a process that it
 * starts every UPKEEP_S, and when the configuration is read anew, unless the
 * last one is still at it (audit_upkeep.c).
 *
 * It ends when there is no active log, when the setting "audit_worker" is
 * off, and at SIGTERM, and has that process end, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit_databases.h"
#include "audit_process.h"
#include "audit_ring.h"
#include "audit_upkeep.h"
#include "audit_worker.h"
#include "compat.h"
#include "label.h"

/*
 * What is called has all arguments, of the types that are declared, so that
 * there is nothing to choose between.
 */
#define SEAL			"SELECT fraiseql_obs.seal_audit_log(interval '5 minutes')"
#define SIGN			"SELECT fraiseql_obs.audit_sign_checkpoint()"
#define ROOT \
	"SELECT fraiseql_obs.audit_checkpoint_number(bigint '" INT64_FORMAT "')"
#define DRAIN			"SELECT fraiseql_obs.audit_drain_ring()"
#define ANNOUNCE_START	"SELECT fraiseql_obs.audit_announce_start()"
#define ANNOUNCE_STOP	"SELECT fraiseql_obs.audit_announce_stop()"

#define UPKEEP_S		60

/* How long we wait for sessions that end, once we are to end ourselves */
#define LEAVE_MS		2000
#define LEAVE_STEP_MS	20

int			fobs_audit_seal_interval_s;

/* When to do what the upkeep process does */
static TimestampTz upkeep_due = 0;

/* Seals what is new, signs that, and has the metrics say it. */
static void
seal(void)
{
	static int64 known_seals = -1;
	static int64 root = -1;
	int64		is_signed = -1;
	int64		seals = fobs_audit_execute(SEAL);

	if (seals < 0)
		return;
	if (seals > 0 && fobs_audit_signing_key_file[0] != '\0')
		is_signed = fobs_audit_execute(SIGN) >= 0;
	if (seals != known_seals)
	{
		char	   *query = psprintf(ROOT, seals);

		root = seals > 0 ? fobs_audit_execute(query) : -1;
		known_seals = seals;
		pfree(query);
	}
	fobs_audit_databases_note_seals(seals, root, is_signed);
}

/* Writes what there is of operations that were rolled back. */
static void
drain_ring(void)
{
	while (fobs_audit_execute(DRAIN) > 0)
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

	fobs_audit_process_leave();
	do
	{
		if (fobs_audit_execute(DRAIN) > 0)
			continue;
		if (fobs_audit_ring_unsettled() == 0)
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LEAVE_STEP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	} while (GetCurrentTimestamp() < deadline);
	/* if we are switched off, the server goes on */
	if (fobs_audit_worker)
		(void) fobs_audit_execute(ANNOUNCE_STOP);
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
		/* the retention may be another */
		upkeep_due = 0;
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

/* The name of our database, in TopMemoryContext */
static void
look_up_name(void *arg)
{
	char	  **name = arg;

	fobs_label_prepare();
	*name = MemoryContextStrdup(TopMemoryContext,
								get_database_name(MyDatabaseId));
}

/* The worker's process */
void
fraiseql_obs_audit_worker_main(Datum database)
{
	TimestampTz seal_due = 0;
	char	   *name;

	fobs_audit_process_start(DatumGetObjectId(database));
	if (!fobs_audit_process_has_log())
	{
		fobs_audit_databases_forget(MyDatabaseId);
		proc_exit(0);
	}
	if (!fobs_audit_transaction("looking up the database",
								look_up_name, &name) ||
		!fobs_audit_databases_enter(name))
		proc_exit(0);

	(void) fobs_audit_ring_set_drainer(MyLatch);
	(void) fobs_audit_execute(ANNOUNCE_START);
	while (!ShutdownRequestPending && fobs_audit_worker)
	{
		bool		upkeep;

		if (!fobs_audit_process_has_log())
			end_worker(true);
		drain_ring();
		if (is_due(&seal_due, fobs_audit_seal_interval_s))
			seal();
		upkeep = fobs_audit_upkeep_is_running();
		if (!upkeep && is_due(&upkeep_due, UPKEEP_S))
			fobs_audit_upkeep_start(MyDatabaseId, name);
		wait_until(upkeep ? seal_due : Min(seal_due, upkeep_due));
	}
	fobs_audit_upkeep_end();
	take_leave();
	end_worker(false);
}
