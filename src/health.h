/*-------------------------------------------------------------------------
 *
 * health.h
 *	  Checks in, verdict out: is the server well, and ready for clients?
 *
 * See health.c for the checks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HEALTH_H
#define FRAISEQL_OBS_HEALTH_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

/* Of a check, and of all; the worst decides */
typedef enum FobsHealth
{
	FOBS_HEALTHY,
	FOBS_DEGRADED,				/* somebody should look */
	FOBS_UNHEALTHY				/* no clients should be sent here */
} FobsHealth;

/* In the order in which they are made: what may take longest comes last */
typedef enum FobsCheck
{
	FOBS_CHECK_SERVER,
	FOBS_CHECK_DRAIN,
	FOBS_CHECK_RECOVERY,
	FOBS_CHECK_REPLICATION,
	FOBS_CHECK_CONNECTIONS,
	FOBS_CHECK_CRASH,
	FOBS_CHECK_CANARY,
	FOBS_CHECK_XID_AGE,
	FOBS_CHECK_AUDIT,
	FOBS_CHECK_TRANSACTIONS,
	FOBS_CHECK_DISK,
	FOBS_N_CHECKS
} FobsCheck;

/* What the checks look at; facts[] in health.c says what each is */
typedef enum FobsFact
{
	FOBS_FACT_ROLE,				/* a FobsRole */
	FOBS_FACT_STATE,			/* a FobsServerState */
	FOBS_FACT_UPTIME,
	FOBS_FACT_DRAINING,
	FOBS_FACT_DRAINED_AT,
	FOBS_FACT_IN_RECOVERY,
	FOBS_FACT_REPLAYED_LSN,
	FOBS_FACT_REPLAY_PAUSED,
	FOBS_FACT_REPLAY_STALLED,
	FOBS_FACT_STREAMING,		/* not known where it is not to stream */
	FOBS_FACT_REPLAY_LAG,
	FOBS_FACT_REPLAY_DELAY,
	FOBS_FACT_SENDERS,
	FOBS_FACT_SENDER_LAG,
	FOBS_FACT_CONNECTIONS_USED,
	FOBS_FACT_CONNECTIONS_LIMIT,
	FOBS_FACT_CONNECTIONS_RESERVED,
	FOBS_FACT_CRASHED_AT,
	FOBS_FACT_CRASH_AGE,
	FOBS_FACT_CANARY_AGE,
	FOBS_FACT_CANARY_DURATION,
	FOBS_FACT_OLDEST_UNFROZEN,
	FOBS_FACT_OLDEST_XMIN,
	FOBS_FACT_OLDEST_MULTIXACT,
	FOBS_FACT_XIDS_LEFT,
	FOBS_FACT_AUDIT_LOGS,
	FOBS_FACT_AUDIT_WORKERS,
	FOBS_FACT_SEAL_LAG,
	FOBS_FACT_VIOLATIONS,
	FOBS_FACT_OLDEST_TRANSACTION,
	FOBS_FACT_DATA_SIZE,
	FOBS_FACT_DATA_AVAILABLE,
	FOBS_FACT_WAL_SIZE,
	FOBS_FACT_WAL_AVAILABLE,
	FOBS_FACT_UNANSWERED,
	FOBS_N_FACTS
} FobsFact;

typedef enum FobsRole
{
	FOBS_ROLE_ANY,
	FOBS_ROLE_PRIMARY,
	FOBS_ROLE_REPLICA,
	FOBS_N_ROLES
} FobsRole;

typedef enum FobsServerState
{
	FOBS_STATE_STARTING,
	FOBS_STATE_READY,
	FOBS_STATE_STANDBY,			/* runs, but accepts no connections */
	FOBS_STATE_STOPPING,
	FOBS_N_STATES
} FobsServerState;

/* What was measured; NaN is what is not known or does not apply */
typedef struct FobsHealthFacts
{
	TimestampTz at;
	double		values[FOBS_N_FACTS];
	bool		skipped[FOBS_N_CHECKS]; /* there was no time for it */
} FobsHealthFacts;

/* From which value on a check warns or fails; 0: never.  See guc.c. */
typedef struct FobsHealthLimits
{
	int			connections_warning;	/* percent in use */
	int			connections_failure;
	int			lag_warning;	/* kilobytes */
	int			lag_failure;
	int			replay_warning; /* seconds */
	int			transaction_warning;	/* seconds */
	int			xid_age_warning;
	int			disk_warning;	/* percent available */
	int			disk_failure;
	int			seal_lag_warning;	/* seconds */
	int			crash_warning;	/* seconds */
	int			canary_warning; /* seconds */
	int			canary_failure;
} FobsHealthLimits;

/* What a caller of readiness asks for besides */
typedef struct FobsHealthQuestion
{
	FobsRole	role;
	double		max_lag;		/* bytes; negative: any */
} FobsHealthQuestion;

typedef struct FobsVerdict
{
	FobsHealth	status;
	FobsHealth	checks[FOBS_N_CHECKS];
	char		messages[FOBS_N_CHECKS][80];	/* empty: nothing to say */
} FobsVerdict;

/* What somebody wants to know */
typedef enum FobsProbe
{
	FOBS_PROBE_LIVENESS,		/* is there anybody? */
	FOBS_PROBE_STARTUP,			/* has it started, or is it on the way? */
	FOBS_PROBE_READINESS,		/* should clients be sent here? */
	FOBS_PROBE_HEALTH
} FobsProbe;

extern void fobs_health_judge(const FobsHealthFacts *facts,
							  const FobsHealthLimits *limits,
							  const FobsHealthQuestion *question,
							  FobsVerdict *verdict);
extern bool fobs_health_passes(FobsProbe probe, const FobsHealthFacts *facts,
							   const FobsVerdict *verdict);
extern void fobs_health_append_json(StringInfo out, FobsProbe probe,
									bool detailed,
									const FobsHealthFacts *facts,
									const FobsVerdict *verdict);

/* How a fact is written in JSON; a name is one of these words */
typedef enum FobsFactKind
{
	FOBS_FACT_NUMBER,
	FOBS_FACT_BOOLEAN,
	FOBS_FACT_TIME,				/* a TimestampTz */
	FOBS_FACT_LSN,
	FOBS_FACT_NAME
} FobsFactKind;

extern const char *const fobs_role_names[FOBS_N_ROLES];
extern const char *const fobs_check_names[FOBS_N_CHECKS];

extern FobsFact fobs_health_find_fact(FobsCheck check, const char *name,
									  size_t len, FobsFactKind *kind);
extern int	fobs_health_find_word(FobsFact fact, const char *word,
								  size_t len);

#endif							/* FRAISEQL_OBS_HEALTH_H */
