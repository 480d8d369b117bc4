/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  Errors by database and SQLSTATE, in shared memory.
 *
 * An error is counted when it is sent to the client, whatever raised it:
 * parser, planner, executor, COMMIT, or a command in an aborted transaction.
 * So the numbers are those that the clients see, once each; errors that a
 * PL/pgSQL EXCEPTION block handles are not among them.  Processes that have no
 * client report errors of their statements through hooks.c instead.
 *
 * We look at the messages by wrapping the process's PQcommMethods.  The usual
 * emit_log_hook is not called for messages that the server log leaves out
 * (log_min_messages = fatal), and executor hooks do not see the parser's
 * errors.  The wrapper reads ErrorResponse messages and passes everything on
 * unchanged.
 *
 * The table is a fixed array with open addressing, used without any lock and
 * without allocating: an error may be raised anywhere, out of memory and with
 * locks held.  A kind of error claims a place for good by setting its key;
 * its count is atomic.  A kind that finds no place is counted as an "other"
 * of its database.  Anybody can make up SQLSTATEs (RAISE), so those that
 * PostgreSQL does not define may take only some of the places.
 *
 * Besides, this is where one learns why a (sub)transaction is being rolled
 * back (fobs_errors_cause()), which the server tells nobody.  An error that is
 * sent ends the innermost (sub)transaction right away.  One that a function
 * handles is sent to nobody; functions are the only ones that do, and so
 * whoever wants to know has fobs_errors_watch() put a callback of ours at the
 * bottom of error_context_stack, below those of the functions being executed.
 * It is called for each error that is raised in them, and goes with them or at
 * the end of the transaction.  Statements that nobody watches pay nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "conditions.h"
#include "counters.h"
#include "errors.h"
#include "guc.h"
#include "label.h"

PG_FUNCTION_INFO_V1(fraiseql_obs_error_stats);

/* Places that made-up SQLSTATEs may take */
#define MAX_MADE_UP		256

/* All fields are atomic */
typedef struct ErrorEntry
{
	pg_atomic_uint64 key;		/* see error_key(); 0: free */
	pg_atomic_uint64 errors;
	pg_atomic_uint64 last_error;	/* TimestampTz */
} ErrorEntry;

typedef struct ErrorsShared
{
	pg_atomic_uint32 nmade_up;	/* places taken by made-up SQLSTATEs */
	ErrorEntry	entries[FOBS_MAX_ERRORS];
	ErrorEntry	others[FOBS_MAX_DATABASES]; /* by entry of counters.c */
} ErrorsShared;

static ErrorsShared *shared = NULL;

int			fobs_errors_last_sent = 0;

/* The error that was sent last, as long as it may yet end a transaction */
static int	sent = 0;

/* The error that was last raised while we watched, and where */
static int	raised = 0;
static SubTransactionId raised_in = InvalidSubTransactionId;

static void note_error(void *arg);
static ErrorContextCallback watcher = {.callback = note_error};

static void (*error_on_send) (int sqlstate);

static PQcommMethods comm_methods;
static int	(*prev_putmessage) (char msgtype, const char *s, size_t len);

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_errors_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(ErrorsShared));
}

static void
init_entry(ErrorEntry *entry)
{
	pg_atomic_init_u64(&entry->key, 0);
	pg_atomic_init_u64(&entry->errors, 0);
	pg_atomic_init_u64(&entry->last_error, 0);
}

static uint64
error_key(int database, int sqlstate)
{
	return ((uint64) (database + 1) << 32) | (uint32) sqlstate;
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_errors_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_errors", sizeof(ErrorsShared),
							 &found);
	if (found)
		return;
	pg_atomic_init_u32(&shared->nmade_up, 0);
	for (int i = 0; i < FOBS_MAX_ERRORS; i++)
		init_entry(&shared->entries[i]);
	for (int i = 0; i < FOBS_MAX_DATABASES; i++)
	{
		init_entry(&shared->others[i]);
		pg_atomic_write_u64(&shared->others[i].key, error_key(i, 0));
	}
}

static bool
is_made_up(int sqlstate)
{
	return fobs_condition_name(unpack_sql_state(sqlstate)) == NULL;
}

/*
 * Claims a free place for a kind of error; false if somebody was faster or it
 * may have none.  Made-up ones are counted after the fact, so a few more than
 * MAX_MADE_UP may get in at the same moment.
 */
static bool
claim_entry(ErrorEntry *entry, uint64 key, int sqlstate)
{
	uint64		expected = 0;
	bool		made_up = is_made_up(sqlstate);

	if (made_up && pg_atomic_read_u32(&shared->nmade_up) >= MAX_MADE_UP)
		return false;
	if (!pg_atomic_compare_exchange_u64(&entry->key, &expected, key))
		return expected == key;
	if (made_up)
		pg_atomic_fetch_add_u32(&shared->nmade_up, 1);
	return true;
}

/* Finds or claims the place of a kind of error. */
static ErrorEntry *
find_entry(int database, int sqlstate)
{
	uint64		key = error_key(database, sqlstate);
	uint32		start = murmurhash32((uint32) (key ^ (key >> 32)));

	for (int i = 0; sqlstate != 0 && i < FOBS_MAX_ERRORS; i++)
	{
		ErrorEntry *entry = &shared->entries[(start + i) % FOBS_MAX_ERRORS];
		uint64		current = pg_atomic_read_u64(&entry->key);

		if (current == key)
			return entry;
		if (current == 0)
		{
			if (claim_entry(entry, key, sqlstate))
				return entry;
			if (pg_atomic_read_u64(&entry->key) == 0)
				break;
		}
	}
	return &shared->others[database];
}

/*
 * Counts one error of this process's database.  Takes a lock only if the
 * process has not attached to the counters yet; never raises an error.
 */
void
fobs_errors_count(int sqlstate)
{
	ErrorEntry *entry;

	if (!fobs_counting || !fobs_counters_attach())
		return;
	entry = find_entry(fobs_counters_database(), sqlstate);
	pg_atomic_fetch_add_u64(&entry->errors, 1);
	pg_atomic_write_u64(&entry->last_error, (uint64) GetCurrentTimestamp());
}

/*
 * Finds the SQLSTATE in the body of an ErrorResponse: fields of a type byte
 * and a string, up to a zero byte (protocol 3, "Error and Notice Message
 * Fields").  Returns 0 if there is none.
 */
static int
error_response_sqlstate(const char *body, size_t len)
{
	const char *end = body + len;

	while (body < end && *body != '\0')
	{
		char		type = *body++;
		size_t		length = strnlen(body, end - body);

		if (type == PG_DIAG_SQLSTATE && length == 5)
			return MAKE_SQLSTATE(body[0], body[1], body[2], body[3], body[4]);
		body += length + 1;
	}
	return 0;
}

static pg_noinline int
put_error_response(char msgtype, const char *s, size_t len)
{
	fobs_errors_last_sent = error_response_sqlstate(s, len);
	if (fobs_errors_last_sent != 0)
	{
		/* what is refused in an aborted transaction has not aborted it */
		if (fobs_errors_last_sent != ERRCODE_IN_FAILED_SQL_TRANSACTION)
			sent = fobs_errors_last_sent;
		fobs_errors_count(fobs_errors_last_sent);
		error_on_send(fobs_errors_last_sent);
	}
	return prev_putmessage(msgtype, s, len);
}

/* Passes all but errors on at the price of a jump. */
static int
putmessage(char msgtype, const char *s, size_t len)
{
	if (likely(msgtype != 'E'))
		return prev_putmessage(msgtype, s, len);
	return put_error_response(msgtype, s, len);
}

/*
 * Starts looking at the messages to clients.  From the postmaster, so that
 * its children inherit it; a parallel worker replaces the methods with its
 * own, and its leader sends what is to be sent.  "on_send" is told of each
 * error that is about to be sent, before its transaction is aborted.
 */
void
fobs_errors_install(void (*on_send) (int sqlstate))
{
	error_on_send = on_send;
	comm_methods = *PqCommMethods;
	prev_putmessage = comm_methods.putmessage;
	comm_methods.putmessage = putmessage;
	PqCommMethods = &comm_methods;
}

/*
 * The callback of errors that are raised.  Notices and warnings come here,
 * too. It tells them by their class, because nobody tells their level.
 */
static void
note_error(void *arg)
{
	int			sqlstate = geterrcode();

	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_SUCCESSFUL_COMPLETION):
		case ERRCODE_TO_CATEGORY(ERRCODE_WARNING):
		case ERRCODE_TO_CATEGORY(ERRCODE_NO_DATA):
			return;
	}
	raised = sqlstate;
	raised_in = GetCurrentSubTransactionId();
}

/*
 * Notes from now on what is raised in the functions that are being executed.
 * As some are, what was sent before has done all that it could.
 */
void
fobs_errors_watch(void)
{
	ErrorContextCallback **link = &error_context_stack;

	sent = 0;
	while (*link != NULL && *link != &watcher)
		link = &(*link)->previous;
	*link = &watcher;
}

/* At the end of a transaction.  Functions that go on are watched still. */
void
fobs_errors_unwatch(void)
{
	if (error_context_stack == &watcher)
		error_context_stack = NULL;
	raised = 0;
}

/* The client commands what becomes of its transaction: no error does. */
void
fobs_errors_forget(void)
{
	sent = 0;
	raised = 0;
}

/*
 * The SQLSTATE of the error for which a (sub)transaction is being rolled back,
 * or 0 if there is none; for use by callbacks of (sub)transactions.
 *
 * Subtransactions are numbered in the order in which they start.  So what was
 * raised in one with this number or a higher one was raised inside, maybe by a
 * function that handled it and then raised it again, which is not called to
 * our attention.  A client's transaction is ended by what the client is sent.
 */
int
fobs_errors_cause(SubTransactionId subid)
{
	int			sqlstate = sent;

	if (sqlstate == 0 && raised_in >= subid &&
		(subid != TopSubTransactionId || whereToSendOutput != DestRemote))
		sqlstate = raised;

	/* it ends one, or all when the process exits */
	if (!proc_exit_inprogress)
		sent = 0;
	return sqlstate;
}

static void
read_entry(ErrorEntry *entry, FobsErrorSnapshot *snapshot)
{
	uint64		key = pg_atomic_read_u64(&entry->key);

	snapshot->database = (int) (key >> 32) - 1;
	snapshot->sqlstate = (int) (uint32) key;
	snapshot->errors = pg_atomic_read_u64(&entry->errors);
	snapshot->last_error =
		(TimestampTz) pg_atomic_read_u64(&entry->last_error);
}

/*
 * Copies what was counted into an array of FOBS_ERRORS_SNAPSHOT_SIZE; returns
 * how many kinds of error there are.  Those with sqlstate 0 are "other".
 */
int
fobs_errors_snapshot(FobsErrorSnapshot *snapshot)
{
	int			n = 0;

	for (int i = 0; i < FOBS_MAX_ERRORS; i++)
	{
		if (pg_atomic_read_u64(&shared->entries[i].errors) > 0)
			read_entry(&shared->entries[i], &snapshot[n++]);
	}
	for (int i = 0; i < FOBS_MAX_DATABASES; i++)
	{
		if (pg_atomic_read_u64(&shared->others[i].errors) > 0)
			read_entry(&shared->others[i], &snapshot[n++]);
	}
	return n;
}

/* How many errors were counted as "other" since the last reset. */
uint64
fobs_errors_overflow(void)
{
	uint64		overflow = 0;

	for (int i = 0; i < FOBS_MAX_DATABASES; i++)
		overflow += pg_atomic_read_u64(&shared->others[i].errors);
	return overflow;
}

/* Starts counting anew; the kinds of error keep their places. */
void
fobs_errors_reset(void)
{
	for (int i = 0; i < FOBS_MAX_ERRORS; i++)
		pg_atomic_write_u64(&shared->entries[i].errors, 0);
	for (int i = 0; i < FOBS_MAX_DATABASES; i++)
		pg_atomic_write_u64(&shared->others[i].errors, 0);
}

#define ERROR_COLUMNS	5

/*
 * error_stats(): datname, sqlstate, condition_name (NULL if it has none),
 * errors, last_error.  The sqlstate "other" has no condition.
 */
Datum
fraiseql_obs_error_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char		(*databases)[FOBS_DATNAME_SIZE];
	FobsErrorSnapshot *errors;
	int			nerrors;

	fobs_counters_require();
	InitMaterializedSRF(fcinfo, 0);

	databases = palloc(FOBS_MAX_DATABASES * FOBS_DATNAME_SIZE);
	errors = palloc(FOBS_ERRORS_SNAPSHOT_SIZE * sizeof(FobsErrorSnapshot));
	nerrors = fobs_errors_snapshot(errors);
	fobs_counters_databases(databases, NULL);
	for (int i = 0; i < nerrors; i++)
	{
		FobsErrorSnapshot *error = &errors[i];
		const char *sqlstate = error->sqlstate == 0 ? FOBS_LABEL_OTHER :
		unpack_sql_state(error->sqlstate);
		const char *name = fobs_condition_name(sqlstate);
		Datum		values[ERROR_COLUMNS] = {0};
		bool		nulls[ERROR_COLUMNS] = {0};

		values[0] = fobs_label_datum(databases[error->database]);
		values[1] = CStringGetTextDatum(sqlstate);
		nulls[2] = name == NULL;
		if (!nulls[2])
			values[2] = CStringGetTextDatum(name);
		values[3] = Int64GetDatum((int64) error->errors);
		values[4] = TimestampTzGetDatum(error->last_error);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc,
							 values, nulls);
	}
	return (Datum) 0;
}
