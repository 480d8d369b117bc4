/*-------------------------------------------------------------------------
 *
 * health_facts.c
 *	  What health checks look at, from shared memory.
 *
 * Read in any process that is attached to shared memory: it needs neither a
 * database nor a transaction, looks at no catalog, and works during recovery.
 * Locks are lightweight ones that core holds for moments, and spinlocks.  The
 * one thing that grows with the server is the copy of the entries of backends
 * (server_backends.c).
 *
 * Two things come from files: the state of the postmaster, which it writes
 * into postmaster.pid and nowhere else, and the space that file systems have.
 * A file system that hangs, as one on the network may, hangs who asks it;
 * there is no way to ask with a time limit.  The HTTP endpoint, which has to
 * go on, has a thread try, and says if that comes to nothing: then no file is
 * looked at.  The space is not asked for while both limits of it are 0.
 *
 * After health_check_timeout what has not been looked at yet is skipped, so
 * what may take long comes last.
 *
 * A server that was taken out of rotation is a flag in shared memory: it is in
 * rotation again when it starts anew, after a crash, too.  In a file of the
 * data directory the flag would be copied to standbys with it.
 *
 * Whether replay stalls is seen by comparing with what the probe before saw,
 * so it is at least as long as shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/fd.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/float.h"
#include "utils/pidfile.h"
#include "utils/timestamp.h"

#include "audit_databases.h"
#include "audit_worker.h"
#include "canary.h"
#include "compat.h"
#include "counters.h"
#include "health_facts.h"
#include "server_backends.h"
#include "server_horizons.h"

typedef struct HealthShared
{
	TimestampTz crashed_at;		/* when it started after that; or 0 */
	slock_t		mutex;			/* protects all that follows */
	TimestampTz drained_at;		/* 0: in rotation */
	XLogRecPtr	behind_at;		/* replay had come so far ... */
	TimestampTz behind_since;	/* ... then, and there was more; 0: no more */
} HealthShared;

int			fobs_health_check_timeout_ms;
FobsHealthLimits fobs_health_limits;
double		fobs_health_unanswered_s = 0;

static HealthShared *shared = NULL;

PG_FUNCTION_INFO_V1(fraiseql_obs_drain);

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_health_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(HealthShared));
}

/*
 * Did the server before this one crash, or was it stopped as if?  What it has
 * written itself is still in the control file when shared memory is made.  A
 * backup begins with the control file of a server that runs.
 */
static bool
crashed_before(void)
{
	bool		valid;
	struct stat label;
	ControlFileData *control = get_controlfile(DataDir, &valid);
	DBState		state = control->state;

	pfree(control);
	return valid && state != DB_SHUTDOWNED &&
		state != DB_SHUTDOWNED_IN_RECOVERY &&
		stat("backup_label", &label) != 0;
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_health_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_health", sizeof(HealthShared),
							 &found);
	if (found)
		return;
	memset(shared, 0, sizeof(HealthShared));
	SpinLockInit(&shared->mutex);
	if (crashed_before())
		shared->crashed_at = GetCurrentTimestamp();
}

/* Nothing is known yet. */
void
fobs_health_clear(FobsHealthFacts *facts)
{
	memset(facts, 0, sizeof(*facts));
	for (int i = 0; i < FOBS_N_FACTS; i++)
		facts->values[i] = get_float8_nan();
}

/* Seconds since then, with milliseconds */
static double
seconds_since(TimestampTz then, TimestampTz now)
{
	return Max((now - then) / 1000, 0) / 1000.0;
}

/*
 * The state of the postmaster, by the line of postmaster.pid that it keeps up
 * to date; NaN if it cannot be read, as in a single-user server.
 */
static double
postmaster_state(void)
{
	static const char *const lines[FOBS_N_STATES] = {
		PM_STATUS_STARTING, PM_STATUS_READY, PM_STATUS_STANDBY,
		PM_STATUS_STOPPING
	};
	char		content[4096];
	char	   *line = content;
	int			file;
	int			length;

	if (fobs_health_unanswered_s > 0)
		return get_float8_nan();
	file = BasicOpenFile("postmaster.pid", O_RDONLY | PG_BINARY);
	if (file < 0)
		return get_float8_nan();
	length = read(file, content, sizeof(content) - 1);
	close(file);
	content[Max(length, 0)] = '\0';

	for (int i = 1; i < LOCK_FILE_LINE_PM_STATUS && line != NULL; i++)
	{
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	for (int i = 0; i < FOBS_N_STATES && line != NULL; i++)
	{
		if (strncmp(line, lines[i], strlen(lines[i])) == 0)
			return i;
	}
	return get_float8_nan();
}

/*
 * When the server begins anew after a crash of a backend, the postmaster does
 * not write that it starts; recovery tells.
 */
static void
read_server(FobsHealthFacts *facts)
{
	double	   *values = facts->values;
	double		state = postmaster_state();

	if (state == FOBS_STATE_READY && RecoveryInProgress() &&
		!HotStandbyActive())
		state = FOBS_STATE_STARTING;
	values[FOBS_FACT_STATE] = state;
	values[FOBS_FACT_ROLE] =
		GetRecoveryState() == RECOVERY_STATE_ARCHIVE ? FOBS_ROLE_REPLICA :
		FOBS_ROLE_PRIMARY;
	values[FOBS_FACT_UPTIME] = seconds_since(PgStartTime, facts->at);
}

static void
read_drain(FobsHealthFacts *facts)
{
	TimestampTz drained_at;

	SpinLockAcquire(&shared->mutex);
	drained_at = shared->drained_at;
	SpinLockRelease(&shared->mutex);

	facts->values[FOBS_FACT_DRAINING] = drained_at != 0;
	if (drained_at != 0)
		facts->values[FOBS_FACT_DRAINED_AT] = drained_at;
}

/*
 * How long replay has not advanced though there is more to replay, as far as
 * probes have seen
 */
static double
note_replay(XLogRecPtr replayed, bool behind, TimestampTz now)
{
	TimestampTz since;

	SpinLockAcquire(&shared->mutex);
	if (!behind)
		shared->behind_since = 0;
	else if (shared->behind_since == 0 || shared->behind_at != replayed)
	{
		shared->behind_at = replayed;
		shared->behind_since = now;
	}
	since = shared->behind_since;
	SpinLockRelease(&shared->mutex);
	return since == 0 ? 0 : seconds_since(since, now);
}

/*
 * In recovery from a crash there is more to replay until it ends.  What an
 * archive holds is not known before it is read.
 */
static void
read_recovery(FobsHealthFacts *facts)
{
	double	   *values = facts->values;
	XLogRecPtr	replayed;
	bool		behind;

	values[FOBS_FACT_IN_RECOVERY] = RecoveryInProgress();
	if (!RecoveryInProgress())
		return;
	replayed = GetXLogReplayRecPtr(NULL);
	if (XLogRecPtrIsInvalid(replayed))
		return;
	behind = GetRecoveryState() == RECOVERY_STATE_CRASH ||
		GetWalRcvFlushRecPtr(NULL, NULL) > replayed;

	values[FOBS_FACT_REPLAYED_LSN] = replayed;
	values[FOBS_FACT_REPLAY_PAUSED] =
		GetRecoveryPauseState() == RECOVERY_PAUSED;
	values[FOBS_FACT_REPLAY_STALLED] = note_replay(replayed, behind,
												   facts->at);
}

/*
 * How far this replica is behind its primary, as far as that has told: it
 * says where it is with what it sends, and when there is nothing to send.
 */
static void
read_own_lag(FobsHealthFacts *facts)
{
	double	   *values = facts->values;
	XLogRecPtr	replayed = GetXLogReplayRecPtr(NULL);
	XLogRecPtr	received = GetWalRcvFlushRecPtr(NULL, NULL);
	TimestampTz last_xact = GetLatestXTime();
	bool		streaming;
	XLogRecPtr	there;

	SpinLockAcquire(&WalRcv->mutex);
	streaming = WalRcv->walRcvState == WALRCV_STREAMING;
	there = WalRcv->latestWalEnd;
	SpinLockRelease(&WalRcv->mutex);

	there = Max(there, received);
	if (PrimaryConnInfo != NULL && PrimaryConnInfo[0] != '\0')
		values[FOBS_FACT_STREAMING] = streaming;
	if (!XLogRecPtrIsInvalid(there) && !XLogRecPtrIsInvalid(replayed))
		values[FOBS_FACT_REPLAY_LAG] = there > replayed ? there - replayed : 0;
	if (streaming && there <= replayed)
		values[FOBS_FACT_REPLAY_DELAY] = 0;
	else if (last_xact != 0)
		values[FOBS_FACT_REPLAY_DELAY] = seconds_since(last_xact, facts->at);
}

/*
 * How far a receiver is behind: by what it has replayed, or has stored if it
 * replays nothing.  False if it takes a backup or has not said anything yet.
 */
static bool
receiver_position(WalSnd *walsnd, XLogRecPtr *position)
{
	bool		used;

	SpinLockAcquire(&walsnd->mutex);
	used = walsnd->pid != 0 && walsnd->state != WALSNDSTATE_BACKUP;
	*position = walsnd->apply;
	if (XLogRecPtrIsInvalid(*position))
		*position = walsnd->flush;
	SpinLockRelease(&walsnd->mutex);
	return used;
}

static void
read_receivers(FobsHealthFacts *facts)
{
	double	   *values = facts->values;
	int			receivers = 0;
	XLogRecPtr	here;

	if (RecoveryInProgress())
		here = Max(GetWalRcvFlushRecPtr(NULL, NULL),
				   GetXLogReplayRecPtr(NULL));
	else
		here = GetFlushRecPtr(NULL);

	for (int i = 0; i < max_wal_senders; i++)
	{
		XLogRecPtr	position;
		double		lag;

		if (!receiver_position(&WalSndCtl->walsnds[i], &position))
			continue;
		receivers++;
		if (XLogRecPtrIsInvalid(position))
			continue;
		lag = here > position ? here - position : 0;
		if (isnan(values[FOBS_FACT_SENDER_LAG]) ||
			lag > values[FOBS_FACT_SENDER_LAG])
			values[FOBS_FACT_SENDER_LAG] = lag;
	}
	values[FOBS_FACT_SENDERS] = receivers;
}

static void
read_replication(FobsHealthFacts *facts)
{
	if (GetRecoveryState() == RECOVERY_STATE_ARCHIVE)
		read_own_lag(facts);
	read_receivers(facts);
}

/*
 * The first max_connections process slots are those of clients.  Who is in
 * one has its process identifier there, from before it is authenticated.
 */
static void
read_connections(FobsHealthFacts *facts)
{
	int			used = 0;

	for (int i = 0; i < MaxConnections; i++)
	{
		if (ProcGlobal->allProcs[i].pid != 0)
			used++;
	}
	facts->values[FOBS_FACT_CONNECTIONS_USED] = used;
	facts->values[FOBS_FACT_CONNECTIONS_LIMIT] =
		MaxConnections - RESERVED_CONNECTIONS;
	facts->values[FOBS_FACT_CONNECTIONS_RESERVED] = RESERVED_CONNECTIONS;
}

static void
read_crash(FobsHealthFacts *facts)
{
	if (shared->crashed_at == 0)
		return;
	facts->values[FOBS_FACT_CRASHED_AT] = shared->crashed_at;
	facts->values[FOBS_FACT_CRASH_AGE] = seconds_since(shared->crashed_at,
													   facts->at);
}

/* A canary that has not succeeded yet has not since the server started. */
static void
read_canary(FobsHealthFacts *facts)
{
	TimestampTz at;
	double		seconds;

	if (fobs_canary_interval_s == 0)
		return;
	if (fobs_canary_last_success(&at, &seconds))
		facts->values[FOBS_FACT_CANARY_DURATION] = seconds;
	else
		at = PgStartTime;
	facts->values[FOBS_FACT_CANARY_AGE] = seconds_since(at, facts->at);
}

static void
read_xid_age(FobsHealthFacts *facts)
{
	FobsHorizons horizons;

	fobs_horizons_read(&horizons);
	facts->values[FOBS_FACT_OLDEST_UNFROZEN] = horizons.oldest_unfrozen;
	facts->values[FOBS_FACT_OLDEST_XMIN] = horizons.oldest_xmin;
	facts->values[FOBS_FACT_OLDEST_MULTIXACT] = horizons.oldest_multixact;
	facts->values[FOBS_FACT_XIDS_LEFT] = horizons.left;
}

/*
 * What was not sealed since the server started has been so from then on, at
 * least.  Workers are not expected where they are turned off, nor on a
 * standby.
 */
static void
read_audit(FobsHealthFacts *facts)
{
	double	   *values = facts->values;
	FobsAuditDatabase *databases =
	palloc(FOBS_MAX_AUDIT_DATABASES * sizeof(FobsAuditDatabase));
	int			n = fobs_audit_databases_snapshot(databases);
	int			workers = 0;
	int64		violations = -1;
	double		lag = 0;

	for (int i = 0; i < n; i++)
	{
		TimestampTz sealed_at = Max(databases[i].status.sealed_at,
									PgStartTime);
		int64		found = fobs_audit_violations(&databases[i].status);

		if (databases[i].worker_pid != 0)
			workers++;
		lag = Max(lag, seconds_since(sealed_at, facts->at));
		if (found >= 0)
			violations = Max(violations, 0) + found;
	}
	pfree(databases);

	values[FOBS_FACT_AUDIT_LOGS] = n;
	values[FOBS_FACT_AUDIT_WORKERS] = workers;
	if (n > 0 && fobs_audit_worker && !RecoveryInProgress())
		values[FOBS_FACT_SEAL_LAG] = lag;
	if (violations >= 0)
		values[FOBS_FACT_VIOLATIONS] = violations;
}

static void
find_oldest_transaction(const PgBackendStatus *backend, void *arg)
{
	TimestampTz *oldest = arg;
	TimestampTz start = backend->st_xact_start_timestamp;

	if (fobs_backends_in_transaction(backend) &&
		(*oldest == 0 || start < *oldest))
		*oldest = start;
}

static void
read_transactions(FobsHealthFacts *facts)
{
	TimestampTz oldest = 0;

	fobs_backends_visit(find_oldest_transaction, &oldest);
	facts->values[FOBS_FACT_OLDEST_TRANSACTION] =
		oldest == 0 ? 0 : seconds_since(oldest, facts->at);
}

/* The space of a file system, and what of it is there for this server */
static void
read_space(FobsHealthFacts *facts, const char *directory, FobsFact size,
		   FobsFact available)
{
	struct statvfs space;

	if (statvfs(directory, &space) != 0)
		return;
	facts->values[available] = (double) space.f_bavail * space.f_frsize;
	/* what is set aside for root counts neither as used nor as there */
	facts->values[size] =
		((double) space.f_blocks - space.f_bfree + space.f_bavail) *
		space.f_frsize;
}

static void
read_disk(FobsHealthFacts *facts)
{
	if (fobs_health_unanswered_s > 0)
	{
		facts->values[FOBS_FACT_UNANSWERED] = fobs_health_unanswered_s;
		return;
	}
	if (fobs_health_limits.disk_warning == 0 &&
		fobs_health_limits.disk_failure == 0)
		return;
	read_space(facts, ".", FOBS_FACT_DATA_SIZE, FOBS_FACT_DATA_AVAILABLE);
	read_space(facts, "pg_wal", FOBS_FACT_WAL_SIZE, FOBS_FACT_WAL_AVAILABLE);
}

/* Measures all there is; the library must be preloaded. */
void
fobs_health_read(FobsHealthFacts *facts)
{
	static void (*const readers[FOBS_N_CHECKS]) (FobsHealthFacts *facts) = {
		[FOBS_CHECK_SERVER] = read_server,
		[FOBS_CHECK_DRAIN] = read_drain,
		[FOBS_CHECK_RECOVERY] = read_recovery,
		[FOBS_CHECK_REPLICATION] = read_replication,
		[FOBS_CHECK_CONNECTIONS] = read_connections,
		[FOBS_CHECK_CRASH] = read_crash,
		[FOBS_CHECK_CANARY] = read_canary,
		[FOBS_CHECK_XID_AGE] = read_xid_age,
		[FOBS_CHECK_AUDIT] = read_audit,
		[FOBS_CHECK_TRANSACTIONS] = read_transactions,
		[FOBS_CHECK_DISK] = read_disk
	};
	TimestampTz start = GetCurrentTimestamp();

	fobs_health_clear(facts);
	facts->at = start;
	for (int i = 0; i < FOBS_N_CHECKS; i++)
	{
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   fobs_health_check_timeout_ms))
			facts->skipped[i] = true;
		else
			readers[i] (facts);
	}
}

/*
 * drain(on) returns void: takes this server out of rotation, or puts it back.
 */
Datum
fraiseql_obs_drain(PG_FUNCTION_ARGS)
{
	bool		on = PG_GETARG_BOOL(0);
	TimestampTz now = GetCurrentTimestamp();
	bool		was_on;

	fobs_counters_require();
	SpinLockAcquire(&shared->mutex);
	was_on = shared->drained_at != 0;
	if (on != was_on)
		shared->drained_at = on ? now : 0;
	SpinLockRelease(&shared->mutex);

	if (on != was_on)
		ereport(LOG,
				(errmsg(on ? "server was taken out of rotation by role \"%s\"" :
						"server was put back into rotation by role \"%s\"",
						GetUserNameFromId(GetUserId(), false))));
	PG_RETURN_VOID();
}
