/*-------------------------------------------------------------------------
 *
 * audit_ring.h
 *	  Operations of which an entry remains when they are rolled back.
 *
 * See audit_ring.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_RING_H
#define FOBS_AUDIT_RING_H

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/latch.h"

#include "audit_log.h"
#include "audit_payload.h"
#include "tracecontext.h"

typedef enum FobsSlotState
{
	FOBS_SLOT_FREE,
	FOBS_SLOT_RESERVED,
	FOBS_SLOT_FILLED,
	FOBS_SLOT_PREPARED,
	FOBS_SLOT_TAKEN,
	FOBS_N_SLOT_STATES
} FobsSlotState;

/* Why there is no entry of an operation that failed */
typedef enum FobsLoss
{
	FOBS_LOSS_RING_FULL,		/* it was rolled back and had no slot */
	FOBS_LOSS_REFUSED,			/* it was not done, for it got no slot */
	FOBS_LOSS_PREPARED,			/* whether it was rolled back is not known */
	FOBS_LOSS_REJECTED,			/* the log's table did not take it */
	FOBS_LOSS_DATABASE_DROPPED,
	FOBS_N_LOSSES
} FobsLoss;

/* How the server ended that used the data directory before this one */
typedef enum FobsServerEnd
{
	FOBS_SERVER_STOPPED,		/* shut down in order */
	FOBS_SERVER_CRASHED,
	FOBS_SERVER_ELSEWHERE		/* this one was its standby */
} FobsServerEnd;

/* What was lost since somebody last said so */
typedef struct FobsLosses
{
	uint64		n[FOBS_N_LOSSES];
	TimestampTz since;			/* of the first; 0: there are none */
} FobsLosses;

typedef struct FobsRingSlot
{
	pg_atomic_uint32 state;		/* a FobsSlotState; says whose the rest is */
	int32		next;			/* in a list of slots, or -1 */
	uint64		sequence;		/* in the order of reservations */
	Oid			database;
	SubTransactionId subid;		/* while reserved or taken */

	/* the operation */
	FullTransactionId xact;
	int64		id;				/* of its row; 0: there was none yet */
	TimestampTz backend_start;
	int			pid;
	int			result;			/* as it was logged: a FobsResult */
	bool		cut;			/* some of it did not fit */

	/* of a statement that nobody logged, whose texts are UTF-8 */
	bool		is_statement;
	bool		is_notice;		/* of one that did not fail */
	Oid			role;
	int64		queryid;		/* 0: it has none */

	/* and, from filled on, how it ended */
	bool		timed_out;		/* by statement_timeout */
	int			sqlstate;		/* 0: there was no error */

	FobsPayload payload;
} FobsRingSlot;

extern void fobs_audit_ring_shmem_request(void);
extern void fobs_audit_ring_shmem_startup(void);

/* A statement that failed without having logged anything; texts are UTF-8 */
typedef struct FobsFailedStatement
{
	int			sqlstate;
	int64		queryid;
	const char *operation;
	const char *user_id;
	const char *tenant_id;
	const char *request_id;
	const FobsTrace *trace;
} FobsFailedStatement;

/* Logging operations */
extern void fobs_audit_ring_attach(void);
extern FobsRingSlot *fobs_audit_ring_reserve(const Operation *operation);
extern void fobs_audit_ring_count(FobsResult result);
extern void fobs_audit_ring_add_statement(const FobsFailedStatement *failed);
extern void fobs_audit_ring_add_notice(const char *operation,
									   const char *entity_type,
									   const char *entity_id);

/* Draining, within a transaction; what it does is undone with that */
extern int	fobs_audit_ring_take(FobsRingSlot **slots, int max);
extern void fobs_audit_ring_reject(void);
extern bool fobs_audit_ring_declare(FobsLosses *losses);
extern bool fobs_audit_ring_announce_start(TimestampTz *began_at);
extern FobsServerEnd fobs_audit_ring_server_before(void);
extern bool fobs_audit_ring_announce_stop(void);

/* For who drains on its own */
extern bool fobs_audit_ring_set_drainer(Latch *latch);
extern int	fobs_audit_ring_unsettled(void);
extern void fobs_audit_ring_wake(void);
extern uint64 fobs_audit_ring_mark(void);
extern int	fobs_audit_ring_keep_databases(uint64 mark, const List *databases);

/* Metrics */
typedef struct FobsRingSnapshot
{
	bool		in_use;			/* there is an audit log somewhere */
	uint64		rows[FOBS_N_RESULTS];	/* that were committed */
	int			slots[FOBS_N_SLOT_STATES];
	uint64		lost[FOBS_N_LOSSES];
} FobsRingSnapshot;

extern const char *const fobs_audit_losses[FOBS_N_LOSSES];

extern void fobs_audit_ring_snapshot(FobsRingSnapshot *snapshot);

#endif							/* FOBS_AUDIT_RING_H */
