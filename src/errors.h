/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  Errors by database and SQLSTATE, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_ERRORS_H
#define FRAISEQL_OBS_ERRORS_H

#include "datatype/timestamp.h"

#include "counters.h"

/* One (database, SQLSTATE); sqlstate is 0 for its "other" */
typedef struct FobsErrorSnapshot
{
	int			database;		/* entry of counters.c */
	int			sqlstate;		/* packed as by MAKE_SQLSTATE() */
	uint64		errors;
	TimestampTz last_error;
} FobsErrorSnapshot;

/* SQLSTATE of the last error that this process's client was sent, or 0 */
#pragma GCC visibility push(hidden)
extern int	fobs_errors_last_sent;
#pragma GCC visibility pop

#define FOBS_MAX_ERRORS 2048	/* kinds of error told apart */
#define FOBS_ERRORS_SNAPSHOT_SIZE (FOBS_MAX_ERRORS + FOBS_MAX_DATABASES)

extern void fobs_errors_shmem_request(void);
extern void fobs_errors_shmem_startup(void);
extern void fobs_errors_install(void (*on_send) (int sqlstate));
extern void fobs_errors_count(int sqlstate);

/* Why (sub)transactions are rolled back */
extern void fobs_errors_watch(void);
extern void fobs_errors_unwatch(void);
extern void fobs_errors_forget(void);
extern int	fobs_errors_cause(SubTransactionId subid);

extern int	fobs_errors_snapshot(FobsErrorSnapshot *snapshot);
extern uint64 fobs_errors_overflow(void);
extern void fobs_errors_reset(void);

#endif							/* FRAISEQL_OBS_ERRORS_H */
