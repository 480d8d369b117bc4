/*-------------------------------------------------------------------------
 *
 * counters.c
 *	  Statement counters by database, in shared memory.
 *
 * Each process has a slot, found by its process number, that it alone writes:
 * counting is a few plain additions, with no lock and no cache line shared
 * with another writer.  A process stays in one database for its life, so its
 * slot belongs to that database.  When it exits it adds its slot to what its
 * database has "departed", and leaves the slot empty for the next owner.
 *
 * A reader sums the departed counters and the slots in use.  The lock makes
 * that exact as to who is where: attaching, folding at exit and resetting take
 * it exclusively, reading takes it shared, so a slot is never seen both folded
 * and in use, and no total ever goes backwards.  Counting takes no lock.
 *
 * A reset does not touch slots, which it does not own.  It remembers the
 * totals of that moment as a baseline, which readers subtract.
 *
 * Caveats:
 * - The counters of one statement are not written as one: a reader may see
 *   the duration of a statement whose rows come a few nanoseconds later.
 * - FOBS_MAX_DATABASES databases are told apart, first come; statements of
 *   later ones count for "other".  A database that is created anew under an
 *   old name goes on with the counters of that name, because two series of
 *   one name would make an export invalid.
 * - Nothing is written to disk: counters start at zero with the server, also
 *   after a crash of one of its processes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "label.h"

/* FobsCounters seen as what it is: a row of 64-bit numbers */
#define COUNTERS_FIELDS		((int) (sizeof(FobsCounters) / sizeof(uint64)))
#define COUNTERS_FIELD(f) \
	((int) (offsetof(FobsCounters, f) / sizeof(uint64)))

StaticAssertDecl(sizeof(FobsCounters) % sizeof(uint64) == 0,
				 "FobsCounters must hold nothing but 64-bit numbers");

/* One process's counters; fields are written by the process alone */
typedef struct CounterSlot
{
	int32		database;		/* entry + 1, 0: not in use; under lock */
	pg_atomic_uint64 fields[COUNTERS_FIELDS];
} CounterSlot;

/* A slot that shares no cache line with the next one */
typedef union PaddedCounterSlot
{
	CounterSlot slot;
	char		padding[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(CounterSlot))];
} PaddedCounterSlot;

/* One database; everything under lock */
typedef struct DatabaseEntry
{
	Oid			oid;			/* InvalidOid: its name was taken over */
	char		name[FOBS_DATNAME_SIZE];	/* UTF-8, unique */
	FobsCounters departed;		/* of processes that have exited */
	FobsCounters baseline;		/* totals at the last reset */
} DatabaseEntry;

typedef struct CountersShared
{
	LWLock	   *lock;
	TimestampTz reset_at;		/* under lock */
	int			ndatabases;		/* under lock */
	DatabaseEntry databases[FOBS_MAX_DATABASES];
	/* the slots follow, MaxBackends of them */
} CountersShared;

static CountersShared *shared = NULL;
static PaddedCounterSlot *slots = NULL;

/* This process's slot, once it has attached */
static CounterSlot *my_slot = NULL;
bool		fobs_counters_attached = false;

#define SLOTS_OFFSET	TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(CountersShared))

static Size
shmem_size(void)
{
	return add_size(SLOTS_OFFSET,
					mul_size(MaxBackends, sizeof(PaddedCounterSlot)));
}

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_counters_shmem_request(void)
{
	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche("fraiseql_obs_counters", 1);
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_counters_shmem_startup(void)
{
	bool		found;
	char	   *start;

	my_slot = NULL;
	start = ShmemInitStruct("fraiseql_obs_counters", shmem_size(), &found);
	shared = (CountersShared *) start;
	slots = (PaddedCounterSlot *) (start + SLOTS_OFFSET);
	if (found)
		return;

	memset(shared, 0, sizeof(CountersShared));
	shared->lock = &GetNamedLWLockTranche("fraiseql_obs_counters")->lock;
	shared->reset_at = GetCurrentTimestamp();
	shared->ndatabases = 1;
	strlcpy(shared->databases[FOBS_DATABASE_OTHER].name, "other",
			FOBS_DATNAME_SIZE);
	for (int i = 0; i < MaxBackends; i++)
	{
		slots[i].slot.database = 0;
		for (int field = 0; field < COUNTERS_FIELDS; field++)
			pg_atomic_init_u64(&slots[i].slot.fields[field], 0);
	}
}

/* Raises the error that says the library must be preloaded, if it is not. */
void
fobs_counters_require(void)
{
	if (shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("fraiseql_obs must be loaded via \"shared_preload_libraries\"")));
}

/*
 * Finds or makes the entry of a database; caller holds the lock exclusively.
 * The entry keeps its number for ever, because others count by that number.
 */
static int
register_database(Oid oid, const char *name)
{
	DatabaseEntry *entry;
	int			by_oid = -1;
	int			by_name = -1;

	for (int i = 0; i < shared->ndatabases; i++)
	{
		if (strcmp(shared->databases[i].name, name) == 0)
			by_name = i;
		else if (shared->databases[i].oid == oid)
			by_oid = i;
	}

	/* a real database called "other" is not told apart from the rest */
	if (by_name == FOBS_DATABASE_OTHER)
		return FOBS_DATABASE_OTHER;

	/* created anew under an old name, or renamed to one */
	if (by_name >= 0)
	{
		if (by_oid >= 0)
			shared->databases[by_oid].oid = InvalidOid;
		shared->databases[by_name].oid = oid;
		return by_name;
	}

	/* renamed to a new name */
	if (by_oid >= 0)
	{
		strlcpy(shared->databases[by_oid].name, name, FOBS_DATNAME_SIZE);
		return by_oid;
	}

	if (shared->ndatabases == FOBS_MAX_DATABASES)
		return FOBS_DATABASE_OTHER;
	entry = &shared->databases[shared->ndatabases];
	entry->oid = oid;
	strlcpy(entry->name, name, FOBS_DATNAME_SIZE);
	return shared->ndatabases++;
}

/*
 * The name of our database: the one the client asked for, which takes no
 * catalog access and is known in any state; without a client, the catalog's.
 * False if it is not known, or cannot be told exactly as long as its
 * conversion to UTF-8 has not been looked up.
 */
static bool
my_database_name(char *name)
{
	const char *source;

	if (MyProcPort != NULL && MyProcPort->database_name != NULL)
		source = MyProcPort->database_name;
	else if (IsTransactionState())
		source = get_database_name(MyDatabaseId);
	else
		return false;
	if (source == NULL || !fobs_label_is_exact(source))
		return false;

	fobs_label_copy(name, FOBS_DATNAME_SIZE, source, strlen(source));
	fobs_label_clear_controls(name);
	return true;
}

static void
add_field(CounterSlot *slot, int field, uint64 n)
{
	pg_atomic_write_u64(&slot->fields[field],
						pg_atomic_read_u64(&slot->fields[field]) + n);
}

/* Hands a process's counters over to its database when it exits. */
static void
fold_slot(int code, Datum arg)
{
	CounterSlot *slot = my_slot;
	uint64	   *departed;

	if (slot == NULL)
		return;
	my_slot = NULL;
	fobs_counters_attached = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	departed = (uint64 *) &shared->databases[slot->database - 1].departed;
	for (int field = 0; field < COUNTERS_FIELDS; field++)
	{
		departed[field] += pg_atomic_read_u64(&slot->fields[field]);
		pg_atomic_write_u64(&slot->fields[field], 0);
	}
	slot->database = 0;
	LWLockRelease(shared->lock);
}

/* The rarer part of fobs_counters_attach(). */
bool
fobs_counters_attach_slot(void)
{
	char		name[FOBS_DATNAME_SIZE];

	if (shared == NULL || MyProc == NULL || !OidIsValid(MyDatabaseId) ||
		MyProcNumber < 0 || MyProcNumber >= MaxBackends ||
		proc_exit_inprogress || !my_database_name(name))
		return false;

	before_shmem_exit(fold_slot, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot = &slots[MyProcNumber].slot;
	my_slot->database = register_database(MyDatabaseId, name) + 1;
	LWLockRelease(shared->lock);
	fobs_counters_attached = true;
	return true;
}

/* The entry of this process's database; it must have attached. */
int
fobs_counters_database(void)
{
	Assert(my_slot != NULL);
	return my_slot->database - 1;
}

/* Counts one statement that ended; this process must have attached. */
void
fobs_counters_count(const FobsObservation *observation)
{
	CounterSlot *slot = my_slot;

	add_field(slot, COUNTERS_FIELD(durations) + observation->cell, 1);
	add_field(slot, COUNTERS_FIELD(duration_ns), observation->duration_ns);
	add_field(slot, COUNTERS_FIELD(rows), observation->rows);
	if (observation->slow)
		add_field(slot, COUNTERS_FIELD(slow), 1);
}

/* Counts time spent on planning; this process must have attached. */
void
fobs_counters_count_planning(uint64 planning_ns)
{
	add_field(my_slot, COUNTERS_FIELD(planning_ns), planning_ns);
}

/*
 * All that a database has counted since the server started, resets
 * notwithstanding; caller holds the lock.
 */
static void
sum_database(int database, FobsCounters *counters)
{
	uint64	   *total = (uint64 *) counters;

	*counters = shared->databases[database].departed;
	for (int i = 0; i < MaxBackends; i++)
	{
		CounterSlot *slot = &slots[i].slot;

		if (slot->database != database + 1)
			continue;
		for (int field = 0; field < COUNTERS_FIELDS; field++)
			total[field] += pg_atomic_read_u64(&slot->fields[field]);
	}
}

/*
 * Copies the counters of all databases since the last reset into an array of
 * FOBS_MAX_DATABASES; returns how many there are.
 */
int
fobs_counters_snapshot(FobsDatabaseSnapshot *snapshot)
{
	int			ndatabases;

	LWLockAcquire(shared->lock, LW_SHARED);
	ndatabases = shared->ndatabases;
	for (int i = 0; i < ndatabases; i++)
	{
		DatabaseEntry *entry = &shared->databases[i];
		uint64	   *total = (uint64 *) &snapshot[i].counters;
		const uint64 *baseline = (const uint64 *) &entry->baseline;

		strlcpy(snapshot[i].name, entry->name, FOBS_DATNAME_SIZE);
		sum_database(i, &snapshot[i].counters);
		for (int field = 0; field < COUNTERS_FIELDS; field++)
			total[field] -= baseline[field];
	}
	LWLockRelease(shared->lock);
	return ndatabases;
}

/*
 * Copies names and OIDs of the databases into arrays of FOBS_MAX_DATABASES;
 * returns how many there are.  Either array may be NULL.
 */
int
fobs_counters_databases(char (*names)[FOBS_DATNAME_SIZE], Oid *oids)
{
	int			ndatabases;

	LWLockAcquire(shared->lock, LW_SHARED);
	ndatabases = shared->ndatabases;
	for (int i = 0; i < ndatabases; i++)
	{
		if (names != NULL)
			strlcpy(names[i], shared->databases[i].name, FOBS_DATNAME_SIZE);
		if (oids != NULL)
			oids[i] = shared->databases[i].oid;
	}
	LWLockRelease(shared->lock);
	return ndatabases;
}

/* Starts the counters of all databases anew. */
void
fobs_counters_reset(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->ndatabases; i++)
		sum_database(i, &shared->databases[i].baseline);
	LWLockRelease(shared->lock);
}

/* Remembers that everything was reset now; returns the time. */
TimestampTz
fobs_counters_reset_mark(void)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->reset_at = now;
	LWLockRelease(shared->lock);
	return now;
}

/* When counting began: the last reset, or the start of the server. */
TimestampTz
fobs_counters_reset_at(void)
{
	TimestampTz reset_at;

	LWLockAcquire(shared->lock, LW_SHARED);
	reset_at = shared->reset_at;
	LWLockRelease(shared->lock);
	return reset_at;
}
