/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Checks in, verdict out: is the server well, and ready for clients?
 *
 * Knows no shared memory: health_facts.c has measured, the settings say what
 * is too much, and here is what follows from it.  The same values give the
 * same verdict, whoever asks.
 *
 * A check is healthy, degraded or unhealthy, and the worst of them is the
 * server's status.  Unhealthy means that clients should go elsewhere, so a
 * check says so by itself only where the server cannot serve: it starts or
 * stops, it was drained, it is out of transaction identifiers.  Load, lag and
 * disks degrade, unless a setting says from where on they are failures: to
 * take a server out of rotation because it is loaded moves the load to the
 * next one.
 *
 * What is not known is null.  It is no reason to complain, as there are
 * servers that have no standby, audit log or crash to tell of, except where
 * something was to be measured and could not be.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xlogdefs.h"
#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "exposition.h"
#include "health.h"

const char *const fobs_role_names[FOBS_N_ROLES] = {
	"any", "primary", "replica"
};

const char *const fobs_check_names[FOBS_N_CHECKS] = {
	"server", "drain", "recovery", "replication", "connections", "crash",
	"canary", "xid_age", "audit", "transactions", "disk"
};

static const char *const state_names[FOBS_N_STATES] = {
	"starting", "ready", "standby", "stopping"
};

static const char *const health_names[] = {
	"healthy", "degraded", "unhealthy"
};

/* What each fact belongs to, and how it is shown; indexed by FobsFact */
static const struct
{
	FobsCheck	check;
	const char *name;
	FobsFactKind kind;
}			facts_table[FOBS_N_FACTS] =

{
	[FOBS_FACT_ROLE] =
	{FOBS_CHECK_SERVER, "role", FOBS_FACT_NAME},
	[FOBS_FACT_STATE] =
	{FOBS_CHECK_SERVER, "state", FOBS_FACT_NAME},
	[FOBS_FACT_UPTIME] =
	{FOBS_CHECK_SERVER, "uptime_seconds", FOBS_FACT_NUMBER},

	[FOBS_FACT_DRAINING] =
	{FOBS_CHECK_DRAIN, "draining", FOBS_FACT_BOOLEAN},
	[FOBS_FACT_DRAINED_AT] =
	{FOBS_CHECK_DRAIN, "since", FOBS_FACT_TIME},

	[FOBS_FACT_IN_RECOVERY] =
	{FOBS_CHECK_RECOVERY, "in_recovery", FOBS_FACT_BOOLEAN},
	[FOBS_FACT_REPLAYED_LSN] =
	{FOBS_CHECK_RECOVERY, "replayed_lsn", FOBS_FACT_LSN},
	[FOBS_FACT_REPLAY_PAUSED] =
	{FOBS_CHECK_RECOVERY, "paused", FOBS_FACT_BOOLEAN},
	[FOBS_FACT_REPLAY_STALLED] =
	{FOBS_CHECK_RECOVERY, "stalled_seconds", FOBS_FACT_NUMBER},

	[FOBS_FACT_STREAMING] =
	{FOBS_CHECK_REPLICATION, "streaming", FOBS_FACT_BOOLEAN},
	[FOBS_FACT_REPLAY_LAG] =
	{FOBS_CHECK_REPLICATION, "replay_lag_bytes", FOBS_FACT_NUMBER},
	[FOBS_FACT_REPLAY_DELAY] =
	{FOBS_CHECK_REPLICATION, "replay_delay_seconds", FOBS_FACT_NUMBER},
	[FOBS_FACT_SENDERS] =
	{FOBS_CHECK_REPLICATION, "receivers", FOBS_FACT_NUMBER},
	[FOBS_FACT_SENDER_LAG] =
	{FOBS_CHECK_REPLICATION, "receiver_lag_bytes", FOBS_FACT_NUMBER},

	[FOBS_FACT_CONNECTIONS_USED] =
	{FOBS_CHECK_CONNECTIONS, "used", FOBS_FACT_NUMBER},
	[FOBS_FACT_CONNECTIONS_LIMIT] =
	{FOBS_CHECK_CONNECTIONS, "limit", FOBS_FACT_NUMBER},
	[FOBS_FACT_CONNECTIONS_RESERVED] =
	{FOBS_CHECK_CONNECTIONS, "reserved", FOBS_FACT_NUMBER},

	[FOBS_FACT_CRASHED_AT] =
	{FOBS_CHECK_CRASH, "restarted_at", FOBS_FACT_TIME},
	[FOBS_FACT_CRASH_AGE] =
	{FOBS_CHECK_CRASH, "seconds_ago", FOBS_FACT_NUMBER},

	[FOBS_FACT_CANARY_AGE] =
	{FOBS_CHECK_CANARY, "succeeded_seconds_ago", FOBS_FACT_NUMBER},
	[FOBS_FACT_CANARY_DURATION] =
	{FOBS_CHECK_CANARY, "duration_seconds", FOBS_FACT_NUMBER},

	[FOBS_FACT_OLDEST_UNFROZEN] =
	{FOBS_CHECK_XID_AGE, "oldest_unfrozen", FOBS_FACT_NUMBER},
	[FOBS_FACT_OLDEST_XMIN] =
	{FOBS_CHECK_XID_AGE, "oldest_xmin", FOBS_FACT_NUMBER},
	[FOBS_FACT_OLDEST_MULTIXACT] =
	{FOBS_CHECK_XID_AGE, "oldest_multixact", FOBS_FACT_NUMBER},
	[FOBS_FACT_XIDS_LEFT] =
	{FOBS_CHECK_XID_AGE, "left", FOBS_FACT_NUMBER},

	[FOBS_FACT_AUDIT_LOGS] =
	{FOBS_CHECK_AUDIT, "logs", FOBS_FACT_NUMBER},
	[FOBS_FACT_AUDIT_WORKERS] =
	{FOBS_CHECK_AUDIT, "workers", FOBS_FACT_NUMBER},
	[FOBS_FACT_SEAL_LAG] =
	{FOBS_CHECK_AUDIT, "seal_lag_seconds", FOBS_FACT_NUMBER},
	[FOBS_FACT_VIOLATIONS] =
	{FOBS_CHECK_AUDIT, "violations", FOBS_FACT_NUMBER},

	[FOBS_FACT_OLDEST_TRANSACTION] =
	{FOBS_CHECK_TRANSACTIONS, "oldest_seconds", FOBS_FACT_NUMBER},

	[FOBS_FACT_DATA_SIZE] =
	{FOBS_CHECK_DISK, "data_size_bytes", FOBS_FACT_NUMBER},
	[FOBS_FACT_DATA_AVAILABLE] =
	{FOBS_CHECK_DISK, "data_available_bytes", FOBS_FACT_NUMBER},
	[FOBS_FACT_WAL_SIZE] =
	{FOBS_CHECK_DISK, "wal_size_bytes", FOBS_FACT_NUMBER},
	[FOBS_FACT_WAL_AVAILABLE] =
	{FOBS_CHECK_DISK, "wal_available_bytes", FOBS_FACT_NUMBER},
	[FOBS_FACT_UNANSWERED] =
	{FOBS_CHECK_DISK, "unanswered_seconds", FOBS_FACT_NUMBER},
};

/* What is judged, and the verdict so far */
typedef struct Case
{
	const double *values;
	const FobsHealthLimits *limits;
	const FobsHealthQuestion *question;
	FobsVerdict *verdict;
} Case;

static void complain(Case *c, FobsCheck check, FobsHealth status,
					 const char *message,...) pg_attribute_printf(4, 5);

/* Notes what is wrong; of several things in a check, the first of the worst */
static void
complain(Case *c, FobsCheck check, FobsHealth status, const char *message,...)
{
	FobsVerdict *verdict = c->verdict;
	va_list		args;

	if (status <= verdict->checks[check])
		return;
	verdict->checks[check] = status;
	verdict->status = Max(verdict->status, status);
	va_start(args, message);
	vsnprintf(verdict->messages[check], sizeof(verdict->messages[check]),
			  message, args);
	va_end(args);
}

/* Is a value known, a limit set, and reached? */
static bool
reaches(double value, double limit)
{
	return limit > 0 && !isnan(value) && value >= limit;
}

static void
check_server(Case *c)
{
	double		state = c->values[FOBS_FACT_STATE];
	double		role = c->values[FOBS_FACT_ROLE];

	if (isnan(state))
		complain(c, FOBS_CHECK_SERVER, FOBS_DEGRADED,
				 "the state of the server is not known");
	else if (state == FOBS_STATE_STARTING)
		complain(c, FOBS_CHECK_SERVER, FOBS_UNHEALTHY,
				 "the server is starting");
	else if (state == FOBS_STATE_STOPPING)
		complain(c, FOBS_CHECK_SERVER, FOBS_UNHEALTHY,
				 "the server is shutting down");
	else if (state == FOBS_STATE_STANDBY)
		complain(c, FOBS_CHECK_SERVER, FOBS_UNHEALTHY,
				 "the server accepts no connections");

	if (c->question->role != FOBS_ROLE_ANY && role != c->question->role)
		complain(c, FOBS_CHECK_SERVER, FOBS_UNHEALTHY,
				 "the server is no %s",
				 fobs_role_names[c->question->role]);
}

static void
check_drain(Case *c)
{
	if (c->values[FOBS_FACT_DRAINING] == 1)
		complain(c, FOBS_CHECK_DRAIN, FOBS_UNHEALTHY,
				 "the server was taken out of rotation by drain()");
}

static void
check_recovery(Case *c)
{
	double		stalled = c->values[FOBS_FACT_REPLAY_STALLED];

	if (reaches(stalled, c->limits->replay_warning))
		complain(c, FOBS_CHECK_RECOVERY, FOBS_DEGRADED,
				 "replay has not advanced for %.0f s", stalled);
}

/*
 * Lag is bytes and not time: on an idle primary the last transaction grows old
 * without anything being late.  Who asks for a maximal lag wants to know that
 * it holds, so a replica that cannot tell fails.
 */
static void
check_replication(Case *c)
{
	double		lag = c->values[FOBS_FACT_REPLAY_LAG];
	double		receivers_lag = c->values[FOBS_FACT_SENDER_LAG];
	bool		cut_off = c->values[FOBS_FACT_STREAMING] == 0;

	if (c->question->max_lag >= 0 &&
		c->values[FOBS_FACT_ROLE] == FOBS_ROLE_REPLICA)
	{
		if (isnan(lag) || cut_off)
			complain(c, FOBS_CHECK_REPLICATION, FOBS_UNHEALTHY,
					 "how far the server is behind is not known");
		else if (lag > c->question->max_lag)
			complain(c, FOBS_CHECK_REPLICATION, FOBS_UNHEALTHY,
					 "replay is %.0f bytes behind", lag);
	}
	if (reaches(lag, c->limits->lag_failure * 1024.0))
		complain(c, FOBS_CHECK_REPLICATION, FOBS_UNHEALTHY,
				 "replay is %.0f bytes behind", lag);
	if (cut_off)
		complain(c, FOBS_CHECK_REPLICATION, FOBS_DEGRADED,
				 "the server receives no changes from its primary");
	if (reaches(lag, c->limits->lag_warning * 1024.0))
		complain(c, FOBS_CHECK_REPLICATION, FOBS_DEGRADED,
				 "replay is %.0f bytes behind", lag);
	if (reaches(receivers_lag, c->limits->lag_warning * 1024.0))
		complain(c, FOBS_CHECK_REPLICATION, FOBS_DEGRADED,
				 "a receiver is %.0f bytes behind", receivers_lag);
}

static void
check_connections(Case *c)
{
	double		used = c->values[FOBS_FACT_CONNECTIONS_USED];
	double		limit = c->values[FOBS_FACT_CONNECTIONS_LIMIT];
	double		share = 100 * used / limit;

	if (reaches(share, c->limits->connections_failure))
		complain(c, FOBS_CHECK_CONNECTIONS, FOBS_UNHEALTHY,
				 "%.0f of %.0f connections are in use", used, limit);
	if (reaches(share, c->limits->connections_warning))
		complain(c, FOBS_CHECK_CONNECTIONS, FOBS_DEGRADED,
				 "%.0f of %.0f connections are in use", used, limit);
}

static void
check_crash(Case *c)
{
	double		age = c->values[FOBS_FACT_CRASH_AGE];

	if (age < c->limits->crash_warning)
		complain(c, FOBS_CHECK_CRASH, FOBS_DEGRADED,
				 "the server was restarted after a crash %.0f s ago", age);
}

static void
check_canary(Case *c)
{
	double		age = c->values[FOBS_FACT_CANARY_AGE];

	if (reaches(age, c->limits->canary_failure))
		complain(c, FOBS_CHECK_CANARY, FOBS_UNHEALTHY,
				 "the canary has not succeeded for %.0f s", age);
	if (reaches(age, c->limits->canary_warning))
		complain(c, FOBS_CHECK_CANARY, FOBS_DEGRADED,
				 "the canary has not succeeded for %.0f s", age);
}

static void
check_xid_age(Case *c)
{
	double		limit = c->limits->xid_age_warning;

	if (c->values[FOBS_FACT_XIDS_LEFT] <= 0)
		complain(c, FOBS_CHECK_XID_AGE, FOBS_UNHEALTHY,
				 "the server is out of transaction identifiers");
	if (reaches(c->values[FOBS_FACT_OLDEST_UNFROZEN], limit))
		complain(c, FOBS_CHECK_XID_AGE, FOBS_DEGRADED,
				 "the oldest transaction that is not frozen is %.0f back",
				 c->values[FOBS_FACT_OLDEST_UNFROZEN]);
	if (reaches(c->values[FOBS_FACT_OLDEST_MULTIXACT], limit))
		complain(c, FOBS_CHECK_XID_AGE, FOBS_DEGRADED,
				 "the oldest multixact that is not frozen is %.0f back",
				 c->values[FOBS_FACT_OLDEST_MULTIXACT]);
}

static void
check_audit(Case *c)
{
	double		lag = c->values[FOBS_FACT_SEAL_LAG];
	double		violations = c->values[FOBS_FACT_VIOLATIONS];

	if (violations > 0)
		complain(c, FOBS_CHECK_AUDIT, FOBS_DEGRADED,
				 "verification found %.0f violations", violations);
	if (reaches(lag, c->limits->seal_lag_warning))
		complain(c, FOBS_CHECK_AUDIT, FOBS_DEGRADED,
				 "an audit log has not been sealed for %.0f s", lag);
}

static void
check_transactions(Case *c)
{
	double		oldest = c->values[FOBS_FACT_OLDEST_TRANSACTION];

	if (reaches(oldest, c->limits->transaction_warning))
		complain(c, FOBS_CHECK_TRANSACTIONS, FOBS_DEGRADED,
				 "a transaction has been open for %.0f s", oldest);
}

/* One file system; it is not looked at where both limits are 0. */
static void
check_disk_of(Case *c, FobsFact size, FobsFact available, const char *what)
{
	double		share = 100 * c->values[available] / c->values[size];

	if (isnan(share))
	{
		if (c->limits->disk_warning > 0 || c->limits->disk_failure > 0)
			complain(c, FOBS_CHECK_DISK, FOBS_DEGRADED,
					 "the space for %s is not known", what);
	}
	else if (share < c->limits->disk_failure)
		complain(c, FOBS_CHECK_DISK, FOBS_UNHEALTHY,
				 "%.1f %% of the space for %s are left", share, what);
	else if (share < c->limits->disk_warning)
		complain(c, FOBS_CHECK_DISK, FOBS_DEGRADED,
				 "%.1f %% of the space for %s are left", share, what);
}

/* Without its file systems the server serves nobody. */
static void
check_disk(Case *c)
{
	double		unanswered = c->values[FOBS_FACT_UNANSWERED];

	if (!isnan(unanswered))
		complain(c, FOBS_CHECK_DISK, FOBS_UNHEALTHY,
				 "a file system has not answered for %.0f s", unanswered);
	check_disk_of(c, FOBS_FACT_DATA_SIZE, FOBS_FACT_DATA_AVAILABLE, "data");
	check_disk_of(c, FOBS_FACT_WAL_SIZE, FOBS_FACT_WAL_AVAILABLE, "WAL");
}

/* Judges what was measured. */
void
fobs_health_judge(const FobsHealthFacts *facts,
				  const FobsHealthLimits *limits,
				  const FobsHealthQuestion *question, FobsVerdict *verdict)
{
	static void (*const checks[FOBS_N_CHECKS]) (Case *c) = {
		[FOBS_CHECK_SERVER] = check_server,
		[FOBS_CHECK_DRAIN] = check_drain,
		[FOBS_CHECK_RECOVERY] = check_recovery,
		[FOBS_CHECK_REPLICATION] = check_replication,
		[FOBS_CHECK_CONNECTIONS] = check_connections,
		[FOBS_CHECK_CRASH] = check_crash,
		[FOBS_CHECK_CANARY] = check_canary,
		[FOBS_CHECK_XID_AGE] = check_xid_age,
		[FOBS_CHECK_AUDIT] = check_audit,
		[FOBS_CHECK_TRANSACTIONS] = check_transactions,
		[FOBS_CHECK_DISK] = check_disk
	};
	Case		c = {facts->values, limits, question, verdict};

	memset(verdict, 0, sizeof(*verdict));
	for (int i = 0; i < FOBS_N_CHECKS; i++)
	{
		if (facts->skipped[i])
			complain(&c, i, FOBS_DEGRADED,
					 "not checked within fraiseql_obs.health_check_timeout");
		checks[i] (&c);
	}
}

/*
 * Does a probe pass?  A server that is on the way up has not failed to start
 * as long as it advances, however long that takes, or has not begun to
 * replay: who kills it then has it begin anew.
 */
bool
fobs_health_passes(FobsProbe probe, const FobsHealthFacts *facts,
				   const FobsVerdict *verdict)
{
	switch (probe)
	{
		case FOBS_PROBE_LIVENESS:
			return true;
		case FOBS_PROBE_STARTUP:
			return facts->values[FOBS_FACT_STATE] != FOBS_STATE_STARTING ||
				facts->skipped[FOBS_CHECK_RECOVERY] ||
				verdict->checks[FOBS_CHECK_RECOVERY] == FOBS_HEALTHY;
		case FOBS_PROBE_READINESS:
		case FOBS_PROBE_HEALTH:
			break;
	}
	return verdict->status != FOBS_UNHEALTHY;
}

static const char *
status_name(FobsProbe probe, const FobsHealthFacts *facts,
			const FobsVerdict *verdict)
{
	bool		passes = fobs_health_passes(probe, facts, verdict);

	switch (probe)
	{
		case FOBS_PROBE_LIVENESS:
			return "alive";
		case FOBS_PROBE_STARTUP:
			if (!passes)
				return "stalled";
			return facts->values[FOBS_FACT_STATE] == FOBS_STATE_STARTING ?
				"starting" : "started";
		case FOBS_PROBE_READINESS:
			return passes ? "ready" : "not_ready";
		case FOBS_PROBE_HEALTH:
			break;
	}
	return health_names[verdict->status];
}

static void
append_time(StringInfo out, TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;

	/* without a time zone it is that of UTC */
	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		appendStringInfoString(out, "null");
	else
		appendStringInfo(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
						 tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour,
						 tm.tm_min, tm.tm_sec, (int) fsec / 1000);
}

static void
append_fact(StringInfo out, FobsFact fact, double value)
{
	if (isnan(value))
	{
		appendStringInfoString(out, "null");
		return;
	}
	switch (facts_table[fact].kind)
	{
		case FOBS_FACT_NUMBER:
			fobs_append_number(out, value);
			break;
		case FOBS_FACT_BOOLEAN:
			appendStringInfoString(out, value != 0 ? "true" : "false");
			break;
		case FOBS_FACT_TIME:
			append_time(out, (TimestampTz) value);
			break;
		case FOBS_FACT_LSN:
			appendStringInfo(out, "\"%X/%X\"",
							 LSN_FORMAT_ARGS((XLogRecPtr) value));
			break;
		case FOBS_FACT_NAME:
			escape_json(out, fact == FOBS_FACT_ROLE ?
						fobs_role_names[(int) value] :
						state_names[(int) value]);
			break;
	}
}

static void
append_check(StringInfo out, FobsCheck check, const FobsHealthFacts *facts,
			 const FobsVerdict *verdict)
{
	appendStringInfo(out, "\"%s\": {\"status\": \"%s\"",
					 fobs_check_names[check],
					 health_names[verdict->checks[check]]);
	if (verdict->messages[check][0] != '\0')
	{
		appendStringInfoString(out, ", \"message\": ");
		escape_json(out, verdict->messages[check]);
	}
	for (int i = 0; i < FOBS_N_FACTS; i++)
	{
		if (facts_table[i].check != check)
			continue;
		appendStringInfo(out, ", \"%s\": ", facts_table[i].name);
		append_fact(out, i, facts->values[i]);
	}
	appendStringInfoChar(out, '}');
}

static void
append_checks(StringInfo out, const FobsHealthFacts *facts,
			  const FobsVerdict *verdict)
{
	appendStringInfoString(out, ", \"timestamp\": ");
	append_time(out, facts->at);
	appendStringInfoString(out, ", \"checks\": {");
	for (int i = 0; i < FOBS_N_CHECKS; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		append_check(out, i, facts, verdict);
	}
	appendStringInfoChar(out, '}');
}

/* Which checks fail, and nothing of what they have found */
static void
append_failed(StringInfo out, const FobsVerdict *verdict)
{
	const char *separator = "";

	appendStringInfoString(out, ", \"failed\": [");
	for (int i = 0; i < FOBS_N_CHECKS; i++)
	{
		if (verdict->checks[i] != FOBS_UNHEALTHY)
			continue;
		appendStringInfo(out, "%s\"%s\"", separator, fobs_check_names[i]);
		separator = ", ";
	}
	appendStringInfoChar(out, ']');
}

/*
 * Appends the answer to a probe as a JSON object, all of it ASCII: its status,
 * and what was looked at, or only, where clients should not be sent here, the
 * names of the checks that say so.  Liveness looks at nothing: it has neither
 * facts nor a verdict.
 */
void
fobs_health_append_json(StringInfo out, FobsProbe probe, bool detailed,
						const FobsHealthFacts *facts,
						const FobsVerdict *verdict)
{
	appendStringInfo(out, "{\"status\": \"%s\"",
					 status_name(probe, facts, verdict));
	if (detailed && facts != NULL)
		append_checks(out, facts, verdict);
	else if (probe == FOBS_PROBE_READINESS &&
			 !fobs_health_passes(probe, facts, verdict))
		append_failed(out, verdict);
	appendStringInfoChar(out, '}');
}

/* Finds a fact by its name in JSON; FOBS_N_FACTS if there is none. */
FobsFact
fobs_health_find_fact(FobsCheck check, const char *name, size_t len,
					  FobsFactKind *kind)
{
	for (int i = 0; i < FOBS_N_FACTS; i++)
	{
		if (facts_table[i].check == check &&
			strlen(facts_table[i].name) == len &&
			memcmp(facts_table[i].name, name, len) == 0)
		{
			*kind = facts_table[i].kind;
			return i;
		}
	}
	return FOBS_N_FACTS;
}

/* Finds a word that a fact may be; -1 if it may not. */
int
fobs_health_find_word(FobsFact fact, const char *word, size_t len)
{
	bool		is_role = fact == FOBS_FACT_ROLE;
	int			n = is_role ? FOBS_N_ROLES : FOBS_N_STATES;

	for (int i = 0; i < n; i++)
	{
		const char *name = is_role ? fobs_role_names[i] : state_names[i];

		if (strlen(name) == len && memcmp(name, word, len) == 0)
			return i;
	}
	return -1;
}
