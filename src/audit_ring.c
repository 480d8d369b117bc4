/*-------------------------------------------------------------------------
 *
 * audit_ring.c
 *	  Operations of which an entry remains when they are rolled back.
 *
 * log_operation() appends its row in the caller's transaction, and a rollback
 * takes that along.  So it first reserves one of a fixed number of slots in
 * shared memory and writes the operation there.  When the transaction commits,
 * the slot is freed: the row says all.  When it, or the subtransaction, is
 * rolled back, the slot is filled: the callback notes why, wakes who drains
 * this database, and is done.  It allocates nothing, reads no catalog and
 * cannot fail, whatever the state that the process is in.  audit_drain.c turns
 * filled slots into rows, in a transaction of its own.
 *
 * A slot belongs, by its state, to
 *	free		nobody, in the list that the mutex protects
 *	reserved	the process whose transaction logged the operation
 *	filled		whoever takes it first, by compare-and-exchange
 *	prepared	the same, once its transaction has ended
 *	taken		the process whose transaction writes the row
 * and only its owner changes it.  A process links what it has reserved and
 * taken, newest first, so that those of a subtransaction come before those of
 * its parents, and the numbers of subtransactions, which only grow, say where
 * to stop.  Committing frees all of them, for what is taken has become a row.
 * Rolling back fills what was reserved and gives back what was taken, and so
 * each operation becomes a row once, though several drain at the same time or
 * one of them fails.  A process that exits rolls back before; if one is
 * killed, the server starts shared memory anew, and all is lost:
 * audit_announce_start() says so in the log.
 *
 * PREPARE TRANSACTION leaves the operations of a transaction to be prepared
 * slots; whoever drains looks what has become of it.
 *
 * Where no slot is free, audit_on_failure says what happens.  What is then
 * rolled back without an entry is counted, by cause, for the metrics and,
 * until an entry in the log of the database declares it, for that.
 *
 * With audit_failures on, a statement that fails in a transaction that has
 * logged nothing fills a slot, too, when its error is sent to the client.  So
 * does what is done while the guard is off (audit_guard.c), failed or not.
 *
 * Counts that are uncertain until the transaction ends are kept in levels, one
 * for each subtransaction that has any, innermost last.
 *
 * Does nothing without shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/proclist.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inet.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "utils/xid8.h"

#include "audit_ring.h"
#include "compat.h"
#include "errors.h"
#include "guc.h"

/* Databases whose losses are told apart, and whose drainers are woken */
#define MAX_DATABASES	256

#define NO_SLOT			(-1)

typedef enum Announcement
{
	NOT_ANNOUNCED,				/* that the server has started */
	BEING_ANNOUNCED,			/* by a transaction that goes on */
	ANNOUNCED
} Announcement;

/* A database with an audit log; everything under mutex */
typedef struct RingDatabase
{
	Oid			oid;			/* InvalidOid: not in use */
	Announcement start;
	uint64		sequence;		/* there since that reservation */
	TimestampTz began_at;		/* entries before are those of a server of
								 * which nobody has said how it ended */
	Latch	   *drainer;		/* of the process that drains it, or NULL */
	FobsLosses	losses;
} RingDatabase;

typedef struct RingShared
{
	pg_atomic_uint64 rows[FOBS_N_RESULTS];
	pg_atomic_uint64 lost[FOBS_N_LOSSES];
	FobsServerEnd server_before;
	ConditionVariable freed;	/* some slot was */
	slock_t		mutex;
	int32		first_free;		/* under mutex */
	uint64		next_sequence;	/* under mutex */
	RingDatabase databases[MAX_DATABASES];
	FobsRingSlot slots[FLEXIBLE_ARRAY_MEMBER];	/* audit_ring_slots */
} RingShared;

/* What depends on how a (sub)transaction ends */
typedef struct Level
{
	SubTransactionId subid;
	bool		announces_start;	/* of the server */
	bool		announces_stop;
	uint64		rows[FOBS_N_RESULTS];	/* appended */
	uint64		uncovered;		/* logged without a slot */
	uint64		rejected;		/* taken, and not written */
	FobsLosses	declared;		/* by an entry that it has appended */
} Level;

const char *const fobs_audit_losses[FOBS_N_LOSSES] = {
	[FOBS_LOSS_RING_FULL] = "ring_full",
	[FOBS_LOSS_REFUSED] = "refused",
	[FOBS_LOSS_PREPARED] = "prepared",
	[FOBS_LOSS_REJECTED] = "rejected",
	[FOBS_LOSS_DATABASE_DROPPED] = "database_dropped",
};

static RingShared *shared = NULL;

/* This process: its database (NULL: it is not told apart) and its slots */
static bool attached = false;
static RingDatabase *my_database = NULL;
static int32 my_first = NO_SLOT;
static Level *levels = NULL;
static int	nlevels = 0;
static int	max_levels = 0;

static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId subid,
							   SubTransactionId parent, void *arg);

static Size
shmem_size(void)
{
	return add_size(offsetof(RingShared, slots),
					mul_size(fobs_audit_ring_slots, sizeof(FobsRingSlot)));
}

/*
 * How the server before this one ended: what it has written itself is still in
 * the control file when shared memory is made.
 */
static FobsServerEnd
find_server_end(void)
{
	bool		valid;
	ControlFileData *control = get_controlfile(DataDir, &valid);
	DBState		state = control->state;

	pfree(control);
	if (!valid)
		return FOBS_SERVER_CRASHED;
	switch (state)
	{
		case DB_SHUTDOWNED:
			return FOBS_SERVER_STOPPED;
		case DB_SHUTDOWNED_IN_RECOVERY:
		case DB_IN_ARCHIVE_RECOVERY:
			return FOBS_SERVER_ELSEWHERE;
		default:
			return FOBS_SERVER_CRASHED;
	}
}

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_audit_ring_shmem_request(void)
{
	RequestAddinShmemSpace(shmem_size());
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_audit_ring_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_audit_ring", shmem_size(), &found);
	if (found)
		return;

	for (int i = 0; i < FOBS_N_RESULTS; i++)
		pg_atomic_init_u64(&shared->rows[i], 0);
	for (int i = 0; i < FOBS_N_LOSSES; i++)
		pg_atomic_init_u64(&shared->lost[i], 0);
	shared->server_before = find_server_end();
	ConditionVariableInit(&shared->freed);
	SpinLockInit(&shared->mutex);
	shared->next_sequence = 1;
	memset(shared->databases, 0, sizeof(shared->databases));
	for (int i = 0; i < fobs_audit_ring_slots; i++)
	{
		pg_atomic_init_u32(&shared->slots[i].state, FOBS_SLOT_FREE);
		shared->slots[i].next = i + 1;
	}
	shared->slots[fobs_audit_ring_slots - 1].next = NO_SLOT;
	shared->first_free = 0;
}

/*
 * Databases
 */

/* The entry of a database, or NULL; caller holds the mutex. */
static RingDatabase *
find_database(Oid oid)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (shared->databases[i].oid == oid)
			return &shared->databases[i];
	return NULL;
}

/* Makes an entry of ours; NULL if there is no room.  Under mutex, too. */
static RingDatabase *
make_database(TimestampTz began_at)
{
	RingDatabase *database = find_database(InvalidOid);

	if (database == NULL)
		return NULL;
	memset(database, 0, sizeof(RingDatabase));
	database->oid = MyDatabaseId;
	database->sequence = shared->next_sequence;
	database->began_at = began_at;
	return database;
}

/* Wakes the process that drains our database, if there is one. */
void
fobs_audit_ring_wake(void)
{
	Latch	   *latch = NULL;
	RingDatabase *database = my_database;

	if (shared == NULL)
		return;
	SpinLockAcquire(&shared->mutex);
	if (database == NULL)
		database = find_database(MyDatabaseId);
	if (database != NULL)
		latch = database->drainer;
	SpinLockRelease(&shared->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * Gets this process ready, before it logs anything; it may allocate.  Not for
 * use in recovery: then it is another server that logs.
 */
void
fobs_audit_ring_attach(void)
{
	TimestampTz now;

	if (attached || shared == NULL)
		return;
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
	now = GetCurrentTimestamp();
	SpinLockAcquire(&shared->mutex);
	my_database = find_database(MyDatabaseId);
	if (my_database == NULL)
		my_database = make_database(now);
	SpinLockRelease(&shared->mutex);
	attached = true;
}

/* Counts something that is lost. */
static void
add_loss(FobsLoss loss, uint64 n)
{
	TimestampTz now;

	if (n == 0)
		return;
	now = GetCurrentTimestamp();
	pg_atomic_fetch_add_u64(&shared->lost[loss], n);
	if (my_database == NULL)
		return;
	SpinLockAcquire(&shared->mutex);
	if (my_database->losses.since == 0)
		my_database->losses.since = now;
	my_database->losses.n[loss] += n;
	SpinLockRelease(&shared->mutex);
}

static void
add_losses(FobsLosses *losses, const FobsLosses *more)
{
	if (more->since == 0)
		return;
	for (int i = 0; i < FOBS_N_LOSSES; i++)
		losses->n[i] += more->n[i];
	if (losses->since == 0 || more->since < losses->since)
		losses->since = more->since;
}

/*
 * Levels
 */

/* The level of the current subtransaction; it may allocate. */
static Level *
current_level(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	fobs_audit_ring_attach();
	if (nlevels > 0 && levels[nlevels - 1].subid == subid)
		return &levels[nlevels - 1];
	if (nlevels == max_levels)
	{
		int			size = Max(8, 2 * max_levels);

		if (levels == NULL)
			levels = MemoryContextAlloc(TopMemoryContext,
										size * sizeof(Level));
		else
			levels = repalloc(levels, size * sizeof(Level));
		max_levels = size;
	}
	memset(&levels[nlevels], 0, sizeof(Level));
	levels[nlevels].subid = subid;
	return &levels[nlevels++];
}

/* The innermost level belongs to its parent from now on. */
static void
merge_level(SubTransactionId parent)
{
	Level	   *level = &levels[nlevels - 1];
	Level	   *outer = level - 1;

	if (nlevels == 1 || outer->subid != parent)
	{
		level->subid = parent;
		return;
	}
	for (int i = 0; i < FOBS_N_RESULTS; i++)
		outer->rows[i] += level->rows[i];
	outer->uncovered += level->uncovered;
	outer->rejected += level->rejected;
	outer->announces_start |= level->announces_start;
	outer->announces_stop |= level->announces_stop;
	add_losses(&outer->declared, &level->declared);
	nlevels--;
}

static void
set_announcement(Announcement start)
{
	SpinLockAcquire(&shared->mutex);
	my_database->start = start;
	SpinLockRelease(&shared->mutex);
}

/*
 * The start is to be announced again.  If it had been, then there is no time
 * before of which to tell: all that was rolled back since is here.
 */
static void
withdraw_announcement(void)
{
	SpinLockAcquire(&shared->mutex);
	if (my_database->start == ANNOUNCED)
		my_database->began_at = DT_NOBEGIN;
	my_database->start = NOT_ANNOUNCED;
	SpinLockRelease(&shared->mutex);
}

/* What the level counts holds. */
static void
commit_level(const Level *level)
{
	for (int i = 0; i < FOBS_N_RESULTS; i++)
		if (level->rows[i] > 0)
			pg_atomic_fetch_add_u64(&shared->rows[i], level->rows[i]);
	add_loss(FOBS_LOSS_REJECTED, level->rejected);
	if (level->announces_start)
		set_announcement(ANNOUNCED);
	if (level->announces_stop)
		withdraw_announcement();
}

/* What the level counts has not been. */
static void
abort_level(const Level *level)
{
	add_loss(FOBS_LOSS_RING_FULL, level->uncovered);
	if (level->declared.since != 0)
	{
		SpinLockAcquire(&shared->mutex);
		add_losses(&my_database->losses, &level->declared);
		SpinLockRelease(&shared->mutex);
	}
	if (level->announces_start)
		set_announcement(NOT_ANNOUNCED);
}

/*
 * Slots
 */

/* Makes a list of slots free, and whoever waits for one try again. */
static void
free_slots(int32 first)
{
	int32		last = first;

	for (;;)
	{
		pg_atomic_write_u32(&shared->slots[last].state, FOBS_SLOT_FREE);
		if (shared->slots[last].next == NO_SLOT)
			break;
		last = shared->slots[last].next;
	}
	SpinLockAcquire(&shared->mutex);
	shared->slots[last].next = shared->first_free;
	shared->first_free = first;
	SpinLockRelease(&shared->mutex);

	/* who saw no free slot had begun to wait before it took the mutex */
	if (!proclist_is_empty(&shared->freed.wakeup))
		ConditionVariableBroadcast(&shared->freed);
}

static void
free_slot(FobsRingSlot *slot)
{
	slot->next = NO_SLOT;
	free_slots(slot - shared->slots);
}

/* Takes a slot from the free ones; NULL if there is none. */
static FobsRingSlot *
pop_free(void)
{
	FobsRingSlot *slot = NULL;

	SpinLockAcquire(&shared->mutex);
	if (shared->first_free != NO_SLOT)
	{
		slot = &shared->slots[shared->first_free];
		shared->first_free = slot->next;
		slot->sequence = shared->next_sequence++;
	}
	SpinLockRelease(&shared->mutex);
	return slot;
}

/* Links a slot that is now ours. */
static void
push_mine(FobsRingSlot *slot, FobsSlotState state)
{
	slot->subid = GetCurrentSubTransactionId();
	slot->next = my_first;
	my_first = slot - shared->slots;
	pg_atomic_write_u32(&slot->state, state);
}

/* Waits for a free slot, but not for ever; NULL if there was none. */
static FobsRingSlot *
wait_for_free(void)
{
	static uint32 wait_event = 0;
	FobsRingSlot *slot;
	TimestampTz deadline;

	if (wait_event == 0)
		wait_event = WaitEventExtensionNew("FraiseqlObsAuditRing");
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   fobs_audit_block_timeout);
	fobs_audit_ring_wake();
	ConditionVariablePrepareToSleep(&shared->freed);
	while ((slot = pop_free()) == NULL)
	{
		TimestampTz now = GetCurrentTimestamp();
		long		left = TimestampDifferenceMilliseconds(now, deadline);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&shared->freed, left, wait_event);
	}
	ConditionVariableCancelSleep();
	return slot;
}

/* No slot is free, and nothing may be done without. */
static void
refuse_operation(void)
{
	add_loss(FOBS_LOSS_REFUSED, 1);
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no room for another operation that could fail"),
			 errdetail("All %d slots of the audit ring are in use, and \"%s\" is \"%s\".",
					   fobs_audit_ring_slots, "fraiseql_obs.audit_on_failure",
					   GetConfigOption("fraiseql_obs.audit_on_failure",
									   false, false)),
			 errhint("Drain the ring with fraiseql_obs.audit_drain_ring(), or increase \"%s\".",
					 "fraiseql_obs.audit_ring_slots")));
}

/* Sets what does not depend on the operation. */
static void
begin_slot(FobsRingSlot *slot)
{
	slot->database = MyDatabaseId;
	slot->xact = GetTopFullTransactionIdIfAny();
	slot->id = 0;
	slot->backend_start = MyStartTimestamp;
	slot->pid = MyProcPid;
	slot->result = FOBS_RESULT_SUCCESS;
	slot->cut = false;
	slot->is_statement = false;
	slot->is_notice = false;
}

/*
 * Reserves a slot for an operation that is complete, in the current
 * (sub)transaction.  Returns NULL if it is to be done without one; an error if
 * it is not to be done.
 */
FobsRingSlot *
fobs_audit_ring_reserve(const Operation *operation)
{
	Operation	fitted;
	FobsResult	result;
	bool		all;
	Level	   *level;
	FobsRingSlot *slot;

	if (shared == NULL)
		return NULL;

	/* all that can fail comes before there is a slot */
	level = current_level();
	result = fobs_audit_result(operation);
	all = fobs_payload_fit(operation, &fitted);
	slot = pop_free();
	if (slot == NULL && fobs_audit_on_failure == FOBS_ON_FAILURE_BLOCK)
		slot = wait_for_free();
	if (slot == NULL)
	{
		if (fobs_audit_on_failure != FOBS_ON_FAILURE_CONTINUE)
			refuse_operation();
		level->uncovered++;
		return NULL;
	}

	begin_slot(slot);
	slot->result = result;
	slot->cut = !all;
	fobs_payload_write(&slot->payload, &fitted);
	push_mine(slot, FOBS_SLOT_RESERVED);
	fobs_errors_watch();
	return slot;
}

/* Counts a row that is about to be appended. */
void
fobs_audit_ring_count(FobsResult result)
{
	if (shared != NULL)
		current_level()->rows[result]++;
}

/*
 * The ends of transactions.  From here on nothing may allocate or fail.
 */

/* Lets a slot be taken. */
static void
offer(FobsRingSlot *slot, FobsSlotState state)
{
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, state);
}

/* Has statement_timeout ended the client's statement? */
static bool
statement_timed_out(void)
{
	TimestampTz end = get_timeout_finish_time(STATEMENT_TIMEOUT);

	return end != 0 && end >= GetCurrentStatementStartTimestamp() &&
		end <= GetCurrentTimestamp();
}

static void
commit(void)
{
	while (nlevels > 0)
		commit_level(&levels[--nlevels]);
	if (my_first != NO_SLOT)
	{
		int32		first = my_first;

		my_first = NO_SLOT;
		free_slots(first);
	}
}

/* Rolls back a subtransaction, or all by the number of the transaction. */
static void
roll_back(SubTransactionId subid)
{
	int			sqlstate = fobs_errors_cause(subid);
	bool		timed_out = sqlstate == ERRCODE_QUERY_CANCELED &&
	statement_timed_out();
	bool		filled = false;

	while (nlevels > 0 && levels[nlevels - 1].subid >= subid)
		abort_level(&levels[--nlevels]);
	while (my_first != NO_SLOT && shared->slots[my_first].subid >= subid)
	{
		FobsRingSlot *slot = &shared->slots[my_first];

		my_first = slot->next;
		if (pg_atomic_read_u32(&slot->state) == FOBS_SLOT_RESERVED)
		{
			slot->sqlstate = sqlstate;
			slot->timed_out = timed_out;
		}
		offer(slot, FOBS_SLOT_FILLED);
		filled = true;
	}
	if (filled)
		fobs_audit_ring_wake();
}

/* Has this transaction done what only its own end can complete? */
static bool
has_drained(void)
{
	for (int i = 0; i < nlevels; i++)
		if (levels[i].announces_start || levels[i].announces_stop ||
			levels[i].declared.since != 0)
			return true;
	for (int32 i = my_first; i != NO_SLOT; i = shared->slots[i].next)
		if (pg_atomic_read_u32(&shared->slots[i].state) == FOBS_SLOT_TAKEN)
			return true;
	return false;
}

/* The operations' fate is that of the prepared transaction from now on. */
static void
prepare(void)
{
	while (nlevels > 0)
		add_loss(FOBS_LOSS_PREPARED, levels[--nlevels].uncovered);
	while (my_first != NO_SLOT)
	{
		FobsRingSlot *slot = &shared->slots[my_first];

		my_first = slot->next;
		offer(slot, FOBS_SLOT_PREPARED);
	}
}

static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			if (has_drained())
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has drained the audit ring")));
			return;
		case XACT_EVENT_COMMIT:
			commit();
			break;
		case XACT_EVENT_PREPARE:
			prepare();
			break;
		case XACT_EVENT_ABORT:
			roll_back(TopSubTransactionId);
			break;
		default:
			return;
	}
	fobs_errors_unwatch();
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId subid,
				   SubTransactionId parent, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			if (nlevels > 0 && levels[nlevels - 1].subid == subid)
				merge_level(parent);
			for (int32 i = my_first; i != NO_SLOT; i = shared->slots[i].next)
			{
				if (shared->slots[i].subid != subid)
					break;
				shared->slots[i].subid = parent;
			}
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			roll_back(subid);
			break;
		default:
			break;
	}
}

/*
 * Statements that nobody logged
 */

static void
add_text(FobsPayload *payload, Argument argument, const char *value)
{
	if (value[0] != '\0')
		fobs_payload_add(payload, argument, value, strlen(value));
}

/* The client's address, as it is in an inet without its header */
static void
add_client_address(FobsPayload *payload)
{
	const struct sockaddr *address;
	unsigned char bytes[2 + 16];

	if (MyProcPort == NULL)
		return;
	address = (const struct sockaddr *) &MyProcPort->raddr.addr;
	if (address->sa_family == AF_INET)
	{
		bytes[0] = PGSQL_AF_INET;
		bytes[1] = 32;
		memcpy(bytes + 2,
			   &((const struct sockaddr_in *) address)->sin_addr, 4);
		fobs_payload_add(payload, ARG_CLIENT_ADDR, bytes, 2 + 4);
	}
	else if (address->sa_family == AF_INET6)
	{
		bytes[0] = PGSQL_AF_INET6;
		bytes[1] = 128;
		memcpy(bytes + 2, &((const struct sockaddr_in6 *) address)->sin6_addr,
			   16);
		fobs_payload_add(payload, ARG_CLIENT_ADDR, bytes, 2 + 16);
	}
}

/* A slot for a statement, with what is known of who sends it, or NULL */
static FobsRingSlot *
begin_statement(int64 queryid, const char *operation)
{
	FobsRingSlot *slot = pop_free();
	FobsPayload *payload;

	if (slot == NULL)
	{
		add_loss(FOBS_LOSS_RING_FULL, 1);
		return NULL;
	}
	begin_slot(slot);
	slot->is_statement = true;
	slot->role = GetSessionUserId();
	slot->queryid = queryid;

	payload = &slot->payload;
	payload->size = 0;
	add_text(payload, ARG_OPERATION, operation);
	add_text(payload, ARG_APPLICATION_NAME, application_name);
	add_client_address(payload);
	fobs_payload_add_number(payload, ARG_OCCURRED_AT,
							TimestampTzGetDatum(GetCurrentTimestamp()));
	return slot;
}

static void
add_trace(FobsPayload *payload, const FobsTrace *trace)
{
	char		trace_id[FOBS_TRACE_ID_SIZE];
	char		span_id[FOBS_SPAN_ID_SIZE];

	fobs_trace_format_id(trace->trace_id, FOBS_TRACE_ID_BYTES, trace_id);
	fobs_trace_format_id(trace->parent_id, FOBS_SPAN_ID_BYTES, span_id);
	add_text(payload, ARG_TRACE_ID, trace_id);
	add_text(payload, ARG_SPAN_ID, span_id);
}

/* Has the current subtransaction logged an operation? */
static bool
has_logged(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (my_first != NO_SLOT && shared->slots[my_first].subid >= subid)
		return true;
	return nlevels > 0 && levels[nlevels - 1].subid >= subid &&
		levels[nlevels - 1].uncovered > 0;
}

/*
 * Fills a slot for a statement that has failed, before it is rolled back.  Not
 * if what is rolled back has an operation: then that tells of the failure.
 * There must have been an operation in this database since the server started,
 * or somebody who drains it: nobody else would.
 */
void
fobs_audit_ring_add_statement(const FobsFailedStatement *failed)
{
	FobsRingSlot *slot;
	FobsPayload *payload;

	if (has_logged())
		return;
	if (my_database == NULL)
	{
		SpinLockAcquire(&shared->mutex);
		my_database = find_database(MyDatabaseId);
		SpinLockRelease(&shared->mutex);
		if (my_database == NULL)
			return;
	}

	slot = begin_statement(failed->queryid, failed->operation);
	if (slot == NULL)
		return;
	slot->sqlstate = failed->sqlstate;
	slot->timed_out = failed->sqlstate == ERRCODE_QUERY_CANCELED &&
		statement_timed_out();
	payload = &slot->payload;
	add_text(payload, ARG_USER_ID, failed->user_id);
	add_text(payload, ARG_TENANT_ID, failed->tenant_id);
	add_text(payload, ARG_REQUEST_ID, failed->request_id);
	if (fobs_trace_is_set(failed->trace))
		add_trace(payload, failed->trace);
	offer(slot, FOBS_SLOT_FILLED);
	fobs_audit_ring_wake();
}

/*
 * Fills a slot for something that is done, and is to be known whatever becomes
 * of the transaction; it may allocate.  Names are the server's.
 */
void
fobs_audit_ring_add_notice(const char *operation, const char *entity_type,
						   const char *entity_id)
{
	FobsRingSlot *slot;

	if (shared == NULL)
		return;
	fobs_audit_ring_attach();
	slot = begin_statement(0, operation);
	if (slot == NULL)
		return;
	slot->is_notice = true;
	slot->sqlstate = 0;
	slot->timed_out = false;
	add_text(&slot->payload, ARG_ENTITY_TYPE, entity_type);
	add_text(&slot->payload, ARG_ENTITY_ID, entity_id);
	offer(slot, FOBS_SLOT_FILLED);
	fobs_audit_ring_wake();
}

/*
 * Draining
 */

typedef enum Outcome
{
	IN_PROGRESS,
	COMMITTED,
	ROLLED_BACK,
	UNKNOWN						/* it is too long ago */
} Outcome;

static Outcome
transaction_outcome(FullTransactionId xact)
{
	LOCAL_FCINFO(call, 1);
	Datum		datum;
	char	   *status;

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = FullTransactionIdGetDatum(xact);
	call->args[0].isnull = false;
	datum = pg_xact_status(call);
	if (call->isnull)
		return UNKNOWN;
	status = TextDatumGetCString(datum);
	if (strcmp(status, "in progress") == 0)
		return IN_PROGRESS;
	return strcmp(status, "committed") == 0 ? COMMITTED : ROLLED_BACK;
}

/* Claims a slot, if it is still what it was when it was looked at. */
static bool
claim(FobsRingSlot *slot, FobsSlotState state, uint64 sequence)
{
	uint32		expected = state;

	if (!pg_atomic_compare_exchange_u32(&slot->state, &expected,
										FOBS_SLOT_TAKEN))
		return false;
	if (slot->sequence == sequence)
		return true;
	offer(slot, state);
	return false;
}

/* Looks what has become of a slot's prepared transaction. */
static void
settle_prepared(FobsRingSlot *slot)
{
	uint64		sequence;
	Outcome		outcome;

	pg_read_barrier();
	sequence = slot->sequence;
	outcome = transaction_outcome(slot->xact);
	if (outcome == IN_PROGRESS ||
		!claim(slot, FOBS_SLOT_PREPARED, sequence))
		return;
	switch (outcome)
	{
		case COMMITTED:
			pg_atomic_fetch_add_u64(&shared->rows[slot->result], 1);
			free_slot(slot);
			break;
		case ROLLED_BACK:
			slot->sqlstate = 0;
			slot->timed_out = false;
			offer(slot, FOBS_SLOT_FILLED);
			break;
		default:
			add_loss(FOBS_LOSS_PREPARED, 1);
			free_slot(slot);
			break;
	}
}

typedef struct Candidate
{
	uint64		sequence;
	FobsRingSlot *slot;
} Candidate;

static int
compare_candidates(const void *a, const void *b)
{
	uint64		left = ((const Candidate *) a)->sequence;
	uint64		right = ((const Candidate *) b)->sequence;

	return left < right ? -1 : left > right;
}

/* Lists the filled slots of our database, oldest first; returns how many. */
static int
list_filled(Candidate *candidates)
{
	int			n = 0;

	for (int i = 0; i < fobs_audit_ring_slots; i++)
	{
		FobsRingSlot *slot = &shared->slots[i];

		if (pg_atomic_read_u32(&slot->state) == FOBS_SLOT_PREPARED &&
			slot->database == MyDatabaseId)
			settle_prepared(slot);
		if (pg_atomic_read_u32(&slot->state) != FOBS_SLOT_FILLED)
			continue;
		pg_read_barrier();
		if (slot->database != MyDatabaseId)
			continue;
		candidates[n].sequence = slot->sequence;
		candidates[n].slot = slot;
		n++;
	}
	qsort(candidates, n, sizeof(Candidate), compare_candidates);
	return n;
}

/*
 * Takes the oldest filled slots of our database, at most max; returns how
 * many. They are freed when the transaction commits, and are filled as before
 * if it is rolled back.
 */
int
fobs_audit_ring_take(FobsRingSlot **slots, int max)
{
	Candidate  *candidates = palloc(fobs_audit_ring_slots * sizeof(Candidate));
	int			ncandidates;
	int			n = 0;

	fobs_audit_ring_attach();
	ncandidates = list_filled(candidates);
	for (int i = 0; i < ncandidates && n < max; i++)
	{
		if (!claim(candidates[i].slot, FOBS_SLOT_FILLED,
				   candidates[i].sequence))
			continue;
		slots[n] = candidates[i].slot;
		push_mine(slots[n++], FOBS_SLOT_TAKEN);
	}
	pfree(candidates);
	return n;
}

/* The log's table does not take one of the slots that we have taken. */
void
fobs_audit_ring_reject(void)
{
	current_level()->rejected++;
}

/*
 * Tells what our database has lost, for an entry of this transaction to say
 * it; false if there is nothing to say.
 */
bool
fobs_audit_ring_declare(FobsLosses *losses)
{
	Level	   *level = current_level();

	memset(losses, 0, sizeof(FobsLosses));
	if (my_database == NULL)
		return false;
	SpinLockAcquire(&shared->mutex);
	*losses = my_database->losses;
	memset(&my_database->losses, 0, sizeof(FobsLosses));
	SpinLockRelease(&shared->mutex);
	add_losses(&level->declared, losses);
	return losses->since != 0;
}

/*
 * Whether it is on this transaction to say in the log of our database that the
 * server has started, and before when entries are those of another one: since
 * -infinity if this one has said so, and then that it ends.
 */
bool
fobs_audit_ring_announce_start(TimestampTz *began_at)
{
	Level	   *level = current_level();
	bool		ours;

	if (my_database == NULL)
		return false;
	*began_at = my_database->began_at;
	SpinLockAcquire(&shared->mutex);
	ours = my_database->start == NOT_ANNOUNCED;
	if (ours)
		my_database->start = BEING_ANNOUNCED;
	SpinLockRelease(&shared->mutex);
	level->announces_start |= ours;
	return ours;
}

/* How the server before this one ended */
FobsServerEnd
fobs_audit_ring_server_before(void)
{
	return shared->server_before;
}

/*
 * If this transaction commits, the start is to be announced again.  Returns
 * whether we are who drains our database; an error if that is another process,
 * which alone knows when it ends.
 */
bool
fobs_audit_ring_announce_stop(void)
{
	Level	   *level = current_level();
	Latch	   *drainer;

	if (my_database == NULL)
		return false;
	SpinLockAcquire(&shared->mutex);
	drainer = my_database->drainer;
	SpinLockRelease(&shared->mutex);
	if (drainer != NULL && drainer != MyLatch)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the audit worker of this database announces itself when it stops"),
				 errhint("Announce a stop only where \"%s\" is off.",
						 "fraiseql_obs.audit_worker")));
	level->announces_stop = true;
	return drainer != NULL;
}

/*
 * For who drains on its own
 */

static void
unset_drainer(int code, Datum arg)
{
	SpinLockAcquire(&shared->mutex);
	if (my_database->drainer == (Latch *) DatumGetPointer(arg))
		my_database->drainer = NULL;
	SpinLockRelease(&shared->mutex);
}

/*
 * Has the latch of this process, which must be in shared memory, set when a
 * slot of its database is filled; until it exits.  Returns false if there are
 * too many databases: then it has to look from time to time.
 */
bool
fobs_audit_ring_set_drainer(Latch *latch)
{
	fobs_audit_ring_attach();
	if (my_database == NULL)
		return false;
	before_shmem_exit(unset_drainer, PointerGetDatum(latch));
	SpinLockAcquire(&shared->mutex);
	my_database->drainer = latch;
	SpinLockRelease(&shared->mutex);
	return true;
}

/*
 * How many slots of our database are filled, or reserved by transactions that
 * go on; to be waited for by who drains before the server stops.
 */
int
fobs_audit_ring_unsettled(void)
{
	int			n = 0;

	for (int i = 0; i < fobs_audit_ring_slots; i++)
	{
		uint32		state = pg_atomic_read_u32(&shared->slots[i].state);

		if ((state == FOBS_SLOT_RESERVED || state == FOBS_SLOT_FILLED ||
			 state == FOBS_SLOT_TAKEN) &&
			shared->slots[i].database == MyDatabaseId)
			n++;
	}
	return n;
}

/* A moment, for fobs_audit_ring_keep_databases(). */
uint64
fobs_audit_ring_mark(void)
{
	uint64		mark;

	SpinLockAcquire(&shared->mutex);
	mark = shared->next_sequence;
	SpinLockRelease(&shared->mutex);
	return mark;
}

/* Forgets a database that has been dropped. */
static void
forget_dropped(RingDatabase *database, uint64 mark, const List *databases)
{
	Oid			oid;
	uint64		sequence;

	SpinLockAcquire(&shared->mutex);
	oid = database->oid;
	sequence = database->sequence;
	SpinLockRelease(&shared->mutex);
	if (oid == InvalidOid || sequence >= mark ||
		list_member_oid(databases, oid))
		return;
	SpinLockAcquire(&shared->mutex);
	if (database->oid == oid && database->sequence == sequence)
		database->oid = InvalidOid;
	SpinLockRelease(&shared->mutex);
}

/*
 * Frees what is there of databases that have been dropped; returns how many
 * slots that were.  The databases are those that exist, as seen in a snapshot
 * taken after the mark: what came later may be of newer ones.
 */
int
fobs_audit_ring_keep_databases(uint64 mark, const List *databases)
{
	int			freed = 0;

	for (int i = 0; i < fobs_audit_ring_slots; i++)
	{
		FobsRingSlot *slot = &shared->slots[i];
		uint32		state = pg_atomic_read_u32(&slot->state);
		uint64		sequence;

		if (state != FOBS_SLOT_FILLED && state != FOBS_SLOT_PREPARED)
			continue;
		pg_read_barrier();
		sequence = slot->sequence;
		if (sequence >= mark || list_member_oid(databases, slot->database) ||
			!claim(slot, state, sequence))
			continue;
		free_slot(slot);
		freed++;
	}
	pg_atomic_fetch_add_u64(&shared->lost[FOBS_LOSS_DATABASE_DROPPED], freed);
	for (int i = 0; i < MAX_DATABASES; i++)
		forget_dropped(&shared->databases[i], mark, databases);
	return freed;
}

/* Counts of all databases since the server started. */
void
fobs_audit_ring_snapshot(FobsRingSnapshot *snapshot)
{
	memset(snapshot, 0, sizeof(FobsRingSnapshot));
	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_DATABASES; i++)
		snapshot->in_use |= shared->databases[i].oid != InvalidOid;
	SpinLockRelease(&shared->mutex);
	for (int i = 0; i < FOBS_N_RESULTS; i++)
		snapshot->rows[i] = pg_atomic_read_u64(&shared->rows[i]);
	for (int i = 0; i < FOBS_N_LOSSES; i++)
		snapshot->lost[i] = pg_atomic_read_u64(&shared->lost[i]);
	for (int i = 0; i < fobs_audit_ring_slots; i++)
		snapshot->slots[pg_atomic_read_u32(&shared->slots[i].state)]++;
}
