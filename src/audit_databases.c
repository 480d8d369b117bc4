/*-------------------------------------------------------------------------
 *
 * audit_databases.c
 *	  The databases whose audit log is kept, in shared memory.
 *
 * A fixed array, protected as a whole by a spinlock, because what is done with
 * it is short and rare:
 * - who makes an audit log enters its database, and wakes the launcher
 *	 (audit_launcher.c), which starts a worker there (audit_worker.c);
 * - the worker notes its process, and takes that back when it ends;
 * - what the worker, its upkeep process and whoever verifies the log find out,
 *	 they note for the metrics; it stays when the worker ends;
 * - what verifications have found before the server was started, the upkeep
 *	 process reads in the log (audit_upkeep.c).  It only adds what none has
 *	 said since, which is newer, whatever the clock shows;
 * - a statement that wants the database for itself (DROP DATABASE) has the
 *	 worker leave, and keeps it out until the statement has ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit_databases.h"
#include "compat.h"
#include "label.h"

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_announce);

/* How long a statement waits for the worker to leave, at most */
#define VACATE_MS		5000
#define VACATE_STEP_MS	10

typedef struct Entry
{
	FobsAuditDatabase public;	/* its database is InvalidOid: free */
	bool		closed;			/* a statement keeps the worker out */
} Entry;

typedef struct AuditDatabasesShared
{
	slock_t		mutex;			/* protects all that follows */
	Latch	   *launcher;		/* NULL: it does not run */
	Entry		entries[FOBS_MAX_AUDIT_DATABASES];
} AuditDatabasesShared;

static AuditDatabasesShared *shared = NULL;

/* The entry of the database that this process is the worker of */
static Entry *own = NULL;

/* This transaction has made the audit log of this database active */
static bool announced = false;
static char announced_name[FOBS_DATNAME_SIZE];

static const FobsAuditStatus nothing_known = {
	.seals = -1,.root = -1,.is_signed = -1,.partitions_ahead = -1,
	.violations = -1,.anchor_violations = -1
};

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_audit_databases_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(AuditDatabasesShared));
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_audit_databases_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_audit_databases",
							 sizeof(AuditDatabasesShared), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(AuditDatabasesShared));
	SpinLockInit(&shared->mutex);
}

/* The entry of a database, or NULL; caller holds the mutex. */
static Entry *
find_entry(Oid database)
{
	for (int i = 0; i < FOBS_MAX_AUDIT_DATABASES; i++)
		if (shared->entries[i].public.database == database)
			return &shared->entries[i];
	return NULL;
}

/* The same, made if there is room; caller holds the mutex. */
static Entry *
make_entry(Oid database)
{
	Entry	   *entry = find_entry(database);

	if (entry != NULL)
		return entry;
	entry = find_entry(InvalidOid);
	if (entry == NULL)
		return NULL;
	entry->public.database = database;
	entry->public.name[0] = '\0';
	entry->public.worker_pid = 0;
	entry->public.status = nothing_known;
	entry->closed = false;
	return entry;
}

/*
 * Names an entry.  Another one that had the name has lost it: its database was
 * renamed or dropped.  Caller holds the mutex.
 */
static void
name_entry(Entry *entry, const char *name)
{
	for (int i = 0; i < FOBS_MAX_AUDIT_DATABASES; i++)
		if (strcmp(shared->entries[i].public.name, name) == 0)
			shared->entries[i].public.name[0] = '\0';
	strlcpy(entry->public.name, name, FOBS_DATNAME_SIZE);
}

/* The name of a database as a label */
static void
copy_name(char *label, const char *name)
{
	fobs_label_prepare();
	(void) fobs_label_copy(label, FOBS_DATNAME_SIZE, name, strlen(name));
	fobs_label_clear_controls(label);
}

static void
wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&shared->mutex);
	latch = shared->launcher;
	SpinLockRelease(&shared->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

/* The database that a statement wants without anybody connected to it */
static Oid
wanted_for_itself(Node *statement)
{
	const char *name = NULL;
	Oid			database;
	ListCell   *cell;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) statement)->dbname;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) statement)->subname;
			break;
		case T_AlterDatabaseStmt:
			foreach(cell, ((AlterDatabaseStmt *) statement)->options)
			{
				if (strcmp(lfirst_node(DefElem, cell)->defname,
						   "tablespace") == 0)
					name = ((AlterDatabaseStmt *) statement)->dbname;
			}
			break;
		case T_CreatedbStmt:
			foreach(cell, ((CreatedbStmt *) statement)->options)
			{
				DefElem    *option = lfirst_node(DefElem, cell);

				if (strcmp(option->defname, "template") == 0 &&
					option->arg != NULL)
					name = strVal(option->arg);
			}
			break;
		default:
			break;
	}
	if (name == NULL)
		return InvalidOid;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) ||
		!object_ownercheck(DatabaseRelationId, database, GetUserId()))
		return InvalidOid;
	return database;
}

/*
 * Has the worker leave the database that a statement wants for itself, and
 * keeps it out until fobs_audit_databases_readmit().  Returns the database, or
 * InvalidOid if there is none or no worker of it.
 */
Oid
fobs_audit_databases_vacate(Node *statement)
{
	Oid			database = shared == NULL ? InvalidOid :
	wanted_for_itself(statement);
	int			pid = 0;
	Entry	   *entry;

	if (!OidIsValid(database))
		return InvalidOid;
	SpinLockAcquire(&shared->mutex);
	entry = find_entry(database);
	if (entry != NULL)
	{
		entry->closed = true;
		pid = entry->public.worker_pid;
	}
	SpinLockRelease(&shared->mutex);
	if (entry == NULL)
		return InvalidOid;

	if (pid != 0)
		kill(pid, SIGTERM);
	for (int waited = 0; pid != 0 && waited < VACATE_MS;
		 waited += VACATE_STEP_MS)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_LATCH_SET |
						 WL_EXIT_ON_PM_DEATH, VACATE_STEP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		SpinLockAcquire(&shared->mutex);
		pid = entry->public.worker_pid;
		SpinLockRelease(&shared->mutex);
	}
	return database;
}

/* Lets the worker into a database again, if that is still there. */
void
fobs_audit_databases_readmit(Oid database)
{
	Entry	   *entry;

	SpinLockAcquire(&shared->mutex);
	entry = find_entry(database);
	if (entry != NULL)
		entry->closed = false;
	SpinLockRelease(&shared->mutex);
	wake_launcher();
}

static void
leave_at_exit(int code, Datum arg)
{
	fobs_audit_databases_leave(false);
}

/*
 * Notes that this process is the worker of its database, which has a name;
 * false if there is one already, or no room, or a statement keeps it out.
 */
bool
fobs_audit_databases_enter(const char *name)
{
	char		label[FOBS_DATNAME_SIZE];
	Entry	   *entry;
	bool		full;

	copy_name(label, name);
	SpinLockAcquire(&shared->mutex);
	entry = make_entry(MyDatabaseId);
	full = entry == NULL;
	if (!full && !entry->closed && entry->public.worker_pid == 0)
	{
		entry->public.worker_pid = MyProcPid;
		name_entry(entry, label);
		own = entry;
	}
	SpinLockRelease(&shared->mutex);
	if (full)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases with an audit log"),
				 errdetail("The audit logs of %d databases are kept.",
						   FOBS_MAX_AUDIT_DATABASES)));
	if (own == NULL)
		return false;
	before_shmem_exit(leave_at_exit, (Datum) 0);
	return true;
}

/* Takes that back; for good if there is no audit log any more. */
void
fobs_audit_databases_leave(bool for_good)
{
	if (own == NULL)
		return;
	SpinLockAcquire(&shared->mutex);
	own->public.worker_pid = 0;
	if (for_good)
		own->public.database = InvalidOid;
	SpinLockRelease(&shared->mutex);
	own = NULL;
	wake_launcher();
}

/* The status of our database's log, with the mutex held; or NULL, without */
static FobsAuditStatus *
lock_status(void)
{
	Entry	   *entry;

	if (shared == NULL)
		return NULL;
	SpinLockAcquire(&shared->mutex);
	entry = find_entry(MyDatabaseId);
	if (entry != NULL)
		return &entry->public.status;
	SpinLockRelease(&shared->mutex);
	return NULL;
}

static void
unlock_status(void)
{
	SpinLockRelease(&shared->mutex);
}

/* Notes that the log was sealed just now, and how far it is. */
void
fobs_audit_databases_note_seals(int64 seals, int64 root,
								int64 is_signed)
{
	TimestampTz now = GetCurrentTimestamp();
	FobsAuditStatus *status = lock_status();

	if (status == NULL)
		return;
	status->sealed_at = now;
	status->seals = seals;
	status->root = root;
	status->is_signed = is_signed;
	unlock_status();
}

/* Notes how many partitions there are for times to come. */
void
fobs_audit_databases_note_partitions(int64 ahead)
{
	FobsAuditStatus *status = lock_status();

	if (status == NULL)
		return;
	status->partitions_ahead = ahead;
	unlock_status();
}

/* Makes the entry of our database, if there is none, and gives it a name. */
static void
enter_named(const char *name)
{
	Entry	   *entry;

	SpinLockAcquire(&shared->mutex);
	entry = make_entry(MyDatabaseId);
	if (entry != NULL)
		name_entry(entry, name);
	SpinLockRelease(&shared->mutex);
}

/*
 * Makes the entry of a log that is verified before its worker has come, or
 * where none is to come.  There is no entry of a standby, nor of a log that
 * this transaction makes: that may yet be rolled back.
 */
void
fobs_audit_databases_enter_verified(void)
{
	char		label[FOBS_DATNAME_SIZE];

	if (shared == NULL || announced || RecoveryInProgress())
		return;
	copy_name(label, get_database_name(MyDatabaseId));
	enter_named(label);
}

/*
 * Notes that the log was verified just now, all of it if nothing was found.
 * What was found against an anchor stands until that finds nothing: without
 * one it cannot be seen.  Calls nothing that a transaction which has committed
 * could not.
 */
void
fobs_audit_databases_note_verified(int64 violations, bool anchored)
{
	TimestampTz now = GetCurrentTimestamp();
	FobsAuditStatus *status = lock_status();

	if (status == NULL)
		return;
	status->violations = violations;
	if (anchored)
		status->anchor_violations = violations;
	if (fobs_audit_violations(status) == 0)
		status->verified_at = now;
	unlock_status();
}

/* Need what was found before the server was started not be read any more? */
bool
fobs_audit_databases_recalled(void)
{
	FobsAuditStatus *status = lock_status();
	bool		recalled;

	if (status == NULL)
		return true;
	recalled = status->recalled;
	unlock_status();
	return recalled;
}

/*
 * Notes what the log has of verifications: what the last one found, what of
 * one with an anchor stands (-1: nothing), and when nothing was wrong (0: that
 * is not known).
 */
void
fobs_audit_databases_recall(int64 violations, int64 anchor_violations,
							TimestampTz verified_at)
{
	FobsAuditStatus *status = lock_status();
	bool		is_news;

	if (status == NULL)
		return;
	is_news = status->violations < 0;
	if (is_news)
		status->violations = violations;
	if (anchor_violations > 0 && status->anchor_violations < 0)
	{
		/* which one without an anchor has not seen */
		status->anchor_violations = anchor_violations;
		is_news = true;
	}
	if (is_news || status->verified_at == 0)
		status->verified_at = verified_at;
	status->recalled = true;
	unlock_status();
}

/* Says whom to wake; NULL when the launcher ends. */
void
fobs_audit_databases_set_launcher(Latch *latch)
{
	SpinLockAcquire(&shared->mutex);
	shared->launcher = latch;
	SpinLockRelease(&shared->mutex);
}

/*
 * Fills in the databases that should have a worker and have none, and returns
 * how many; databases has room for FOBS_MAX_AUDIT_DATABASES.
 */
int
fobs_audit_databases_vacant(Oid *databases)
{
	int			n = 0;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < FOBS_MAX_AUDIT_DATABASES; i++)
	{
		Entry	   *entry = &shared->entries[i];

		if (OidIsValid(entry->public.database) && !entry->closed &&
			entry->public.worker_pid == 0)
			databases[n++] = entry->public.database;
	}
	SpinLockRelease(&shared->mutex);
	return n;
}

/* Forgets a database that there is no longer, or that has no log. */
void
fobs_audit_databases_forget(Oid database)
{
	Entry	   *entry;

	SpinLockAcquire(&shared->mutex);
	entry = find_entry(database);
	if (entry != NULL && entry->public.worker_pid == 0)
		entry->public.database = InvalidOid;
	SpinLockRelease(&shared->mutex);
}

/* How many violations are known; -1: nothing is known of any verification */
int64
fobs_audit_violations(const FobsAuditStatus *status)
{
	return Max(status->violations, status->anchor_violations);
}

/*
 * Copies the databases, of which there are at most FOBS_MAX_AUDIT_DATABASES;
 * returns how many.
 */
int
fobs_audit_databases_snapshot(FobsAuditDatabase *databases)
{
	int			n = 0;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < FOBS_MAX_AUDIT_DATABASES; i++)
		if (OidIsValid(shared->entries[i].public.database))
			databases[n++] = shared->entries[i].public;
	SpinLockRelease(&shared->mutex);
	return n;
}

/* Has the launcher look for an audit log in our database. */
static void
enter_announced(void)
{
	if (shared == NULL)
		return;
	enter_named(announced_name);
	wake_launcher();
}

/* Does so once the log is there for others. */
static void
transaction_ended(XactEvent event, void *arg)
{
	if (!announced)
		return;
	if (event == XACT_EVENT_COMMIT)
		enter_announced();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		announced = false;
}

/*
 * audit_announce() returns void
 *
 * Has every process read the registry anew, and the launcher start a worker,
 * when this transaction has committed.
 */
Datum
fraiseql_obs_audit_announce(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);

	CacheInvalidateRelcacheByRelid(get_relname_relid("audit_registry",
													 schema));
	if (!registered)
	{
		RegisterXactCallback(transaction_ended, NULL);
		registered = true;
	}
	copy_name(announced_name, get_database_name(MyDatabaseId));
	announced = true;
	PG_RETURN_VOID();
}
