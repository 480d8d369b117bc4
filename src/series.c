/*-------------------------------------------------------------------------
 *
 * series.c
 *	  Bounded stores of labelled series, in shared memory.
 *
 * A store holds up to "limit" series, each with a key of a fixed size, and one
 * more, "other", that takes what has no series of its own.  What a series
 * holds is only ever added to, by atomic operations, and nothing is lost when
 * a series gives way to another: its counters are folded into "other".  So
 * the sum over a store never goes backwards.
 *
 * Finding.  Series are chained in buckets, which are divided into partitions
 * with a lock each.  Callers keep a FobsSeriesRef to where they last found a
 * series, so that the usual case takes no lock at all: see below.  Adding a
 * series takes it from the free list (a spinlock, held for a few
 * instructions) and takes its partition's lock exclusively.
 *
 * Evicting.  When the free list is empty, a clock sweep through one partition
 * evicts a few series that were not used lately.  It holds fold_lock
 * exclusively, then that partition's lock.  Readers of a whole store hold
 * fold_lock shared, so they see each observation once: in its series or in
 * "other".  A statement never waits for a reader: if it cannot have fold_lock
 * at once, it does not evict, and is itself counted as "other".  Order of
 * locks: fold_lock, a partition's lock, the spinlock.
 *
 * Counting without a lock.  A process that counts through a ref first
 * announces the series in its "pin", which only it writes, and then compares
 * the series' generation with that in the ref.  Who evicts changes the
 * generation first and then looks at all pins.  With a full memory barrier
 * between the two steps on both sides, either the process sees the new
 * generation and searches anew, or the evictor sees the pin and leaves the
 * series alone.  A pin is held for a few dozen instructions, in which nothing
 * can raise an error or wait.
 *
 * Caveats:
 * - The counters of one observation are not added as one: a reader may see
 *   the call and not yet its duration.
 * - A new series may be missing from a read that runs at the same time; it
 *   is in the next one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "series.h"

#define SERIES_PARTITIONS	32

/* Series evicted by one sweep, so that its price is shared by as many */
#define EVICT_BATCH			8

struct FobsSeriesStore
{
	char		family[NAMEDATALEN];
	Size		key_size;
	int			limit;
	int			nbuckets;		/* a multiple of SERIES_PARTITIONS */

	LWLock	   *fold_lock;
	LWLockPadded *partition_locks;

	pg_atomic_uint32 sweep_partition;	/* next one to sweep */
	uint32		sweep_bucket[SERIES_PARTITIONS];	/* partition's lock */

	slock_t		free_mutex;		/* protects the next two */
	FobsSeries *free_list;
	int			nused;

	pg_atomic_uint64 overflow;
	pg_atomic_uint64 evicted;
	FobsSeriesCounters other;

	FobsSeries **buckets;		/* each under its partition's lock */
	char	   *series;			/* limit of them, series_size() apart */
};

/* Of all stores, as a process counts for one series at a time */
static FobsSeriesPin *pins = NULL;
FobsSeriesPin *fobs_series_my_pin = NULL;

static Size
series_size(Size key_size)
{
	return TYPEALIGN(PG_CACHE_LINE_SIZE, offsetof(FobsSeries, key) + key_size);
}

/* About one series a bucket, in whole partitions */
static int
bucket_count(int limit)
{
	return TYPEALIGN(SERIES_PARTITIONS, limit);
}

static Size
shmem_size(Size key_size, int limit)
{
	Size		size = CACHELINEALIGN(sizeof(FobsSeriesStore));

	size = add_size(size, CACHELINEALIGN(mul_size(bucket_count(limit),
												  sizeof(FobsSeries *))));
	return add_size(size, mul_size(limit, series_size(key_size)));
}

/* Asks for the pins' shared memory; from the shmem_request hook. */
void
fobs_series_pins_shmem_request(void)
{
	RequestAddinShmemSpace(mul_size(MaxBackends, sizeof(FobsSeriesPin)));
}

/* Creates or finds the pins; caller holds AddinShmemInitLock. */
void
fobs_series_pins_shmem_startup(void)
{
	Size		size = mul_size(MaxBackends, sizeof(FobsSeriesPin));
	bool		found;

	fobs_series_my_pin = NULL;
	pins = ShmemInitStruct("fraiseql_obs_pins", size, &found);
	for (int i = 0; !found && i < MaxBackends; i++)
		pg_atomic_init_u64(&pins[i].series, 0);
}

/* Asks for the shared memory of a store; from the shmem_request hook. */
void
fobs_series_shmem_request(Size key_size, int limit, const char *tranche)
{
	RequestAddinShmemSpace(shmem_size(key_size, limit));
	RequestNamedLWLockTranche(tranche, SERIES_PARTITIONS + 1);
}

static void
init_counters(FobsSeriesCounters *counters)
{
	for (int cell = 0; cell < FOBS_HISTOGRAM_CELLS; cell++)
		pg_atomic_init_u64(&counters->cells[cell], 0);
	pg_atomic_init_u64(&counters->errors, 0);
	pg_atomic_init_u64(&counters->slow, 0);
	pg_atomic_init_u64(&counters->rows, 0);
	pg_atomic_init_u64(&counters->duration_ns, 0);
	pg_atomic_init_u64(&counters->planning_ns, 0);
	pg_atomic_init_u64(&counters->min_ns, PG_UINT64_MAX);
	pg_atomic_init_u64(&counters->max_ns, 0);
	pg_atomic_init_u64(&counters->last_call, 0);
}

static FobsSeries *
nth_series(FobsSeriesStore *store, int n)
{
	return (FobsSeries *) (store->series + n * series_size(store->key_size));
}

/*
 * Creates or finds a store; caller holds AddinShmemInitLock.  The tranche's
 * name is also that of the shared memory.
 */
FobsSeriesStore *
fobs_series_shmem_startup(const char *family, Size key_size, int limit,
						  const char *tranche)
{
	FobsSeriesStore *store;
	bool		found;
	char	   *next;

	store = ShmemInitStruct(tranche, shmem_size(key_size, limit), &found);
	if (found)
		return store;

	memset(store, 0, sizeof(FobsSeriesStore));
	strlcpy(store->family, family, NAMEDATALEN);
	store->key_size = key_size;
	store->limit = limit;
	store->nbuckets = bucket_count(limit);
	store->partition_locks = GetNamedLWLockTranche(tranche);
	store->fold_lock = &store->partition_locks[SERIES_PARTITIONS].lock;
	pg_atomic_init_u32(&store->sweep_partition, 0);
	SpinLockInit(&store->free_mutex);
	pg_atomic_init_u64(&store->overflow, 0);
	pg_atomic_init_u64(&store->evicted, 0);
	init_counters(&store->other);

	next = (char *) store + CACHELINEALIGN(sizeof(FobsSeriesStore));
	store->buckets = (FobsSeries **) next;
	memset(store->buckets, 0, store->nbuckets * sizeof(FobsSeries *));
	store->series = next +
		CACHELINEALIGN(store->nbuckets * sizeof(FobsSeries *));
	for (int i = limit - 1; i >= 0; i--)
	{
		FobsSeries *series = nth_series(store, i);

		pg_atomic_init_u32(&series->generation, 1);
		series->usage = 0;
		init_counters(&series->counters);
		series->next = store->free_list;
		store->free_list = series;
	}
	return store;
}

static FobsSeries **
bucket_of(FobsSeriesStore *store, uint32 hash)
{
	return &store->buckets[hash % store->nbuckets];
}

/* Bucket b is in partition b % SERIES_PARTITIONS. */
static LWLock *
partition_lock(FobsSeriesStore *store, uint32 hash)
{
	uint32		partition = (hash % store->nbuckets) % SERIES_PARTITIONS;

	return &store->partition_locks[partition].lock;
}

static inline void
add_to(pg_atomic_uint64 *counter, uint64 n)
{
	if (n != 0)
		pg_atomic_fetch_add_u64(counter, n);
}

static void
lower_to(pg_atomic_uint64 *counter, uint64 n)
{
	uint64		current = pg_atomic_read_u64(counter);

	while (n < current &&
		   !pg_atomic_compare_exchange_u64(counter, &current, n))
		;
}

static void
raise_to(pg_atomic_uint64 *counter, uint64 n)
{
	uint64		current = pg_atomic_read_u64(counter);

	while (n > current &&
		   !pg_atomic_compare_exchange_u64(counter, &current, n))
		;
}

/* What most observations have nothing of */
void
fobs_series_count_rare(FobsSeriesCounters *counters,
					   const FobsObservation *observation)
{
	add_to(&counters->planning_ns, observation->planning_ns);
	add_to(&counters->slow, observation->slow);
	add_to(&counters->errors, observation->failed);
	lower_to(&counters->min_ns, observation->duration_ns);
	raise_to(&counters->max_ns, observation->duration_ns);
}

/* The same at the end of what counts through a ref */
void
fobs_series_count_rare_pinned(FobsSeriesCounters *counters,
							  const FobsObservation *observation)
{
	fobs_series_count_rare(counters, observation);
	fobs_series_unpin();
}

static void
count_observation(FobsSeriesCounters *counters,
				  const FobsObservation *observation)
{
	if (fobs_series_count_usual(counters, observation))
		fobs_series_count_rare(counters, observation);
}

/* Finds this process's pin; false if it has none. */
bool
fobs_series_find_pin(void)
{
	if (MyProcNumber < 0 || MyProcNumber >= MaxBackends)
		return false;
	fobs_series_my_pin = &pins[MyProcNumber];
	return true;
}

/*
 * Does a process count just now for something in this piece of memory?
 * Whoever asks has made the refs to it invalid before.
 */
bool
fobs_series_any_pinned(const void *start, const void *end)
{
	bool		pinned = false;

	pg_memory_barrier();
	for (int i = 0; i < MaxBackends && !pinned; i++)
	{
		uint64		pin = pg_atomic_read_u64(&pins[i].series);

		pinned = pin >= (uint64) (uintptr_t) start &&
			pin < (uint64) (uintptr_t) end;
	}
	pg_memory_barrier();
	return pinned;
}

/* Finds a series; caller holds its partition's lock. */
static FobsSeries *
find_series(FobsSeriesStore *store, const void *key, uint32 hash)
{
	FobsSeries *series = *bucket_of(store, hash);

	while (series != NULL &&
		   (series->hash != hash ||
			memcmp(series->key, key, store->key_size) != 0))
		series = series->next;
	return series;
}

/* Counts for a series that exists, and makes a ref to it. */
static bool
count_by_key(FobsSeriesStore *store, const void *key, uint32 hash,
			 FobsSeriesRef *ref, const FobsObservation *observation)
{
	LWLock	   *lock = partition_lock(store, hash);
	FobsSeries *series;

	LWLockAcquire(lock, LW_SHARED);
	series = find_series(store, key, hash);
	if (series != NULL)
	{
		ref->series = series;
		ref->generation = pg_atomic_read_u32(&series->generation);
		fobs_series_note_use(series);
		count_observation(&series->counters, observation);
	}
	LWLockRelease(lock);
	return series != NULL;
}

static FobsSeries *
pop_free(FobsSeriesStore *store)
{
	FobsSeries *series;

	SpinLockAcquire(&store->free_mutex);
	series = store->free_list;
	if (series != NULL)
	{
		store->free_list = series->next;
		store->nused++;
	}
	SpinLockRelease(&store->free_mutex);
	return series;
}

static void
push_free(FobsSeriesStore *store, FobsSeries *series)
{
	SpinLockAcquire(&store->free_mutex);
	series->next = store->free_list;
	store->free_list = series;
	store->nused--;
	SpinLockRelease(&store->free_mutex);
}

/*
 * Makes all refs to some series invalid, and says which of them a process is
 * counting for just now.  Caller holds the partition's lock exclusively.
 */
static void
invalidate(FobsSeries **victims, int nvictims, bool *pinned)
{
	for (int i = 0; i < nvictims; i++)
	{
		pg_atomic_fetch_add_u32(&victims[i]->generation, 1);
		pinned[i] = false;
	}
	pg_memory_barrier();

	for (int i = 0; i < MaxBackends; i++)
	{
		uint64		pin = pg_atomic_read_u64(&pins[i].series);

		for (int j = 0; pin != 0 && j < nvictims; j++)
		{
			if (pin == (uint64) (uintptr_t) victims[j])
				pinned[j] = true;
		}
	}
	pg_memory_barrier();
}

/* Empties counters; what they held is added to "into", unless that is NULL. */
static void
drain_counters(FobsSeriesCounters *from, FobsSeriesCounters *into)
{
	FobsSeriesCounters nowhere;

	if (into == NULL)
	{
		init_counters(&nowhere);
		into = &nowhere;
	}
	for (int cell = 0; cell < FOBS_HISTOGRAM_CELLS; cell++)
		add_to(&into->cells[cell],
			   pg_atomic_exchange_u64(&from->cells[cell], 0));
	add_to(&into->errors, pg_atomic_exchange_u64(&from->errors, 0));
	add_to(&into->slow, pg_atomic_exchange_u64(&from->slow, 0));
	add_to(&into->rows, pg_atomic_exchange_u64(&from->rows, 0));
	add_to(&into->duration_ns, pg_atomic_exchange_u64(&from->duration_ns, 0));
	add_to(&into->planning_ns, pg_atomic_exchange_u64(&from->planning_ns, 0));
	lower_to(&into->min_ns,
			 pg_atomic_exchange_u64(&from->min_ns, PG_UINT64_MAX));
	raise_to(&into->max_ns, pg_atomic_exchange_u64(&from->max_ns, 0));
	raise_to(&into->last_call, pg_atomic_exchange_u64(&from->last_call, 0));
}

/*
 * Takes an invalidated series that nobody counts for out of its bucket and
 * frees it.  Caller holds the partition's lock exclusively.
 */
static void
remove_series(FobsSeriesStore *store, FobsSeries *series,
			  FobsSeriesCounters *into)
{
	FobsSeries **link = bucket_of(store, series->hash);

	while (*link != series)
		link = &(*link)->next;
	*link = series->next;
	drain_counters(&series->counters, into);
	push_free(store, series);
}

/*
 * Collects series of one partition that were not used for a while, and makes
 * the others look a little older.  Caller holds its lock exclusively.
 */
static int
sweep_partition(FobsSeriesStore *store, int partition, FobsSeries **victims)
{
	int			nbuckets = store->nbuckets / SERIES_PARTITIONS;
	int			nvictims = 0;

	for (int i = 0; i < nbuckets; i++)
	{
		uint32		n = store->sweep_bucket[partition]++ % nbuckets;
		FobsSeries *series = store->buckets[n * SERIES_PARTITIONS + partition];

		for (; series != NULL; series = series->next)
		{
			if (series->usage > 0)
				series->usage--;
			else if (nvictims < EVICT_BATCH)
				victims[nvictims++] = series;
		}
		if (nvictims == EVICT_BATCH)
			break;
	}
	return nvictims;
}

/*
 * Makes room by folding some series into "other".  Returns false if that is
 * not to be had now: the store is being read, or somebody else is evicting, or
 * every series is being counted for at this moment.
 */
static bool
evict(FobsSeriesStore *store)
{
	int			nevicted = 0;

	if (!LWLockConditionalAcquire(store->fold_lock, LW_EXCLUSIVE))
		return false;

	/* in the worst case, every series looks new on the first few rounds */
	for (int i = 0;
		 i < SERIES_PARTITIONS * (FOBS_SERIES_MAX_USAGE + 1) &&
		 nevicted == 0 && store->free_list == NULL;
		 i++)
	{
		FobsSeries *victims[EVICT_BATCH];
		bool		pinned[EVICT_BATCH];
		int			nvictims;
		int			partition;
		LWLock	   *lock;

		partition = pg_atomic_fetch_add_u32(&store->sweep_partition, 1) %
			SERIES_PARTITIONS;
		lock = &store->partition_locks[partition].lock;
		LWLockAcquire(lock, LW_EXCLUSIVE);
		nvictims = sweep_partition(store, partition, victims);
		if (nvictims > 0)
			invalidate(victims, nvictims, pinned);
		for (int j = 0; j < nvictims; j++)
		{
			if (pinned[j])
				continue;
			remove_series(store, victims[j], &store->other);
			nevicted++;
		}
		LWLockRelease(lock);
	}
	pg_atomic_fetch_add_u64(&store->evicted, nevicted);

	LWLockRelease(store->fold_lock);
	return nevicted > 0;
}

/* Adds a series unless it has appeared meanwhile; false: there is no room. */
static bool
add_series(FobsSeriesStore *store, const void *key, uint32 hash)
{
	FobsSeries *series = pop_free(store);
	LWLock	   *lock = partition_lock(store, hash);

	while (series == NULL)
	{
		if (!evict(store) && store->free_list == NULL)
			return false;
		series = pop_free(store);
	}

	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (find_series(store, key, hash) == NULL)
	{
		FobsSeries **bucket = bucket_of(store, hash);

		memcpy(series->key, key, store->key_size);
		series->hash = hash;
		series->usage = 1;
		series->next = *bucket;
		*bucket = series;
		series = NULL;
	}
	LWLockRelease(lock);

	if (series != NULL)
		push_free(store, series);
	return true;
}

/* Counts for a series that has to be found or added first. */
void
fobs_series_count_searching(FobsSeriesStore *store, const void *key,
							FobsSeriesRef *ref,
							const FobsObservation *observation)
{
	uint32		hash = hash_bytes(key, store->key_size);

	if (fobs_series_my_pin == NULL)
		(void) fobs_series_find_pin();
	for (int attempt = 0; attempt < 3; attempt++)
	{
		if (count_by_key(store, key, hash, ref, observation))
			return;
		if (!add_series(store, key, hash))
			break;
	}

	/* no room, or evicted as soon as it was added */
	ref->series = NULL;
	count_observation(&store->other, observation);
	pg_atomic_fetch_add_u64(&store->overflow, 1);
}

static void
copy_snapshot(FobsSeriesCounters *counters, void *copy)
{
	FobsSeriesSnapshot *snapshot = copy;

	for (int cell = 0; cell < FOBS_HISTOGRAM_CELLS; cell++)
		snapshot->durations.cells[cell] =
			pg_atomic_read_u64(&counters->cells[cell]);
	snapshot->calls = fobs_histogram_count(&snapshot->durations);
	snapshot->errors = pg_atomic_read_u64(&counters->errors);
	snapshot->slow = pg_atomic_read_u64(&counters->slow);
	snapshot->rows = pg_atomic_read_u64(&counters->rows);
	snapshot->duration_ns = pg_atomic_read_u64(&counters->duration_ns);
	snapshot->planning_ns = pg_atomic_read_u64(&counters->planning_ns);
	snapshot->min_ns = pg_atomic_read_u64(&counters->min_ns);
	snapshot->max_ns = pg_atomic_read_u64(&counters->max_ns);
	snapshot->last_call =
		(TimestampTz) pg_atomic_read_u64(&counters->last_call);
}

/* Cells are added up where they are: to copy them costs more than the rest. */
static void
copy_summary(FobsSeriesCounters *counters, void *copy)
{
	FobsSeriesSummary *summary = copy;
	uint64		seen = 0;
	int			cell = 0;

	for (int bound = 0; bound <= FOBS_EXPORT_BOUNDS; bound++)
	{
		while (cell < fobs_histogram_export_end[bound])
			seen += pg_atomic_read_u64(&counters->cells[cell++]);
		summary->counts[bound] = seen;
	}
	summary->errors = pg_atomic_read_u64(&counters->errors);
	summary->rows = pg_atomic_read_u64(&counters->rows);
	summary->duration_ns = pg_atomic_read_u64(&counters->duration_ns);
}

/* Adds what one series holds to another. */
void
fobs_series_summary_add(FobsSeriesSummary *to, const FobsSeriesSummary *from)
{
	for (int bound = 0; bound <= FOBS_EXPORT_BOUNDS; bound++)
		to->counts[bound] += from->counts[bound];
	to->errors += from->errors;
	to->rows += from->rows;
	to->duration_ns += from->duration_ns;
}

/* Copies of a store's series in use, and of "other" behind them */
typedef struct SeriesCopies
{
	void		(*copy) (FobsSeriesCounters *counters, void *copy);
	Size		key_size;		/* aligned: behind the key is the copy */
	Size		size;			/* of both */
	int			n;				/* without "other", which has no key */
	int			max;			/* likewise: how many there is room for */
	char	   *data;
} SeriesCopies;

static void *
nth_key(const SeriesCopies *copies, int n)
{
	return copies->data + n * copies->size;
}

static void *
nth_copy(const SeriesCopies *copies, int n)
{
	return (char *) nth_key(copies, n) + copies->key_size;
}

/* Copies the series in use; caller holds fold_lock. */
static void
copy_series(FobsSeriesStore *store, SeriesCopies *copies)
{
	copies->n = 0;
	for (int partition = 0; partition < SERIES_PARTITIONS; partition++)
	{
		LWLock	   *lock = &store->partition_locks[partition].lock;

		LWLockAcquire(lock, LW_SHARED);
		for (int b = partition; b < store->nbuckets; b += SERIES_PARTITIONS)
		{
			FobsSeries *series = store->buckets[b];

			for (; series != NULL && copies->n < copies->max;
				 series = series->next)
			{
				memcpy(nth_key(copies, copies->n), series->key,
					   store->key_size);
				copies->copy(&series->counters, nth_copy(copies, copies->n));
				copies->n++;
			}
		}
		LWLockRelease(lock);
	}
}

/* Copies a store in the current memory context. */
static void
copy_store(FobsSeriesStore *store, SeriesCopies *copies, Size size)
{
	int			max = store->nused;

	copies->key_size = MAXALIGN(store->key_size);
	copies->size = copies->key_size + MAXALIGN(size);
	copies->data = NULL;

	/* series may appear meanwhile; if there is no room for all, start over */
	do
	{
		if (copies->data != NULL)
			pfree(copies->data);
		max = Min(max + max / 4 + SERIES_PARTITIONS, store->limit);
		copies->max = max;
		copies->data = MemoryContextAllocHuge(CurrentMemoryContext,
											  mul_size(max + 1,
													   copies->size));

		LWLockAcquire(store->fold_lock, LW_SHARED);
		copy_series(store, copies);
		copies->copy(&store->other, nth_copy(copies, copies->n));
		LWLockRelease(store->fold_lock);
	} while (copies->n == max && max < store->limit);
}

/*
 * Calls a visitor for each series that has been called, and last for "other"
 * (key NULL), also if nothing is in it.  All copies are taken before the first
 * call, in the current memory context; no lock is held while visiting.
 */
void
fobs_series_visit(FobsSeriesStore *store, FobsSeriesVisitor visitor, void *arg)
{
	SeriesCopies copies = {.copy = copy_snapshot};

	copy_store(store, &copies, sizeof(FobsSeriesSnapshot));
	for (int i = 0; i < copies.n; i++)
	{
		const FobsSeriesSnapshot *snapshot = nth_copy(&copies, i);

		if (snapshot->calls > 0)
			visitor(nth_key(&copies, i), snapshot, arg);
	}
	visitor(NULL, nth_copy(&copies, copies.n), arg);
	pfree(copies.data);
}

/*
 * The same with summaries, which are an eighth of the size.  What the visitor
 * is given is its own to keep and to change, until the memory context is
 * reset.
 */
void
fobs_series_visit_summaries(FobsSeriesStore *store,
							FobsSeriesSummaryVisitor visitor, void *arg)
{
	SeriesCopies copies = {.copy = copy_summary};

	copy_store(store, &copies, sizeof(FobsSeriesSummary));
	for (int i = 0; i < copies.n; i++)
	{
		FobsSeriesSummary *summary = nth_copy(&copies, i);

		if (fobs_series_summary_calls(summary) > 0)
			visitor(nth_key(&copies, i), summary, arg);
	}
	visitor(NULL, nth_copy(&copies, copies.n), arg);
}

/*
 * Removes some series at a reset.  If a process is in the midst of counting
 * for one, waits for a moment; should the process have been stopped right
 * there, leaves the series in place and empties it.  Caller holds the
 * partition's lock exclusively.
 */
static void
discard_series(FobsSeriesStore *store, FobsSeries **victims, int nvictims)
{
	bool		pinned[EVICT_BATCH];
	bool		any = true;

	for (int i = 0; any && i < 1000; i++)
	{
		if (i > 0)
			pg_usleep(100);
		invalidate(victims, nvictims, pinned);
		any = false;
		for (int j = 0; j < nvictims; j++)
			any = any || pinned[j];
	}
	for (int j = 0; j < nvictims; j++)
	{
		if (pinned[j])
			drain_counters(&victims[j]->counters, NULL);
		else
			remove_series(store, victims[j], NULL);
	}
}

/* Empties one partition; caller holds its lock exclusively. */
static void
reset_partition(FobsSeriesStore *store, int partition)
{
	FobsSeries *victims[EVICT_BATCH];
	int			nvictims = 0;

	for (int b = partition; b < store->nbuckets; b += SERIES_PARTITIONS)
	{
		FobsSeries *series = store->buckets[b];

		while (series != NULL)
		{
			FobsSeries *next = series->next;

			victims[nvictims++] = series;
			if (nvictims == EVICT_BATCH)
			{
				discard_series(store, victims, nvictims);
				nvictims = 0;
			}
			series = next;
		}
	}
	discard_series(store, victims, nvictims);
}

/* Empties a store, the counters about it included. */
void
fobs_series_reset(FobsSeriesStore *store)
{
	LWLockAcquire(store->fold_lock, LW_EXCLUSIVE);
	for (int partition = 0; partition < SERIES_PARTITIONS; partition++)
	{
		LWLock	   *lock = &store->partition_locks[partition].lock;

		LWLockAcquire(lock, LW_EXCLUSIVE);
		reset_partition(store, partition);
		LWLockRelease(lock);
	}
	drain_counters(&store->other, NULL);
	pg_atomic_write_u64(&store->overflow, 0);
	pg_atomic_write_u64(&store->evicted, 0);
	LWLockRelease(store->fold_lock);
}

/* Tells about a store itself. */
FobsSeriesStoreInfo
fobs_series_store_info(FobsSeriesStore *store)
{
	FobsSeriesStoreInfo info;

	info.family = store->family;
	info.series = store->nused;
	info.limit = store->limit;
	info.overflow = pg_atomic_read_u64(&store->overflow);
	info.evicted = pg_atomic_read_u64(&store->evicted);
	return info;
}
