/*-------------------------------------------------------------------------
 *
 * app_series.c
 *	  Series of the metrics that the application keeps, in shared memory.
 *
 * Families have a name and a kind, and each a series for each set of labels.
 * There is room for so many families and series; first come keep theirs.  A
 * family has in itself what finds no room for a series: its "other", which
 * takes counters, histograms and the hits of caches.  Of gauges there is
 * none, as a sum of them would mean nothing.  Each observation that finds no
 * room is counted, those of families for which there is none, too, and that
 * is all that is left of these.
 *
 * Counters and histograms stay until they are reset.  A gauge that nobody has
 * set for fraiseql_obs.gauge_expiry is not shown any more, and gives way when
 * room is needed: a look for such, at most once a second.
 *
 * Recording.  A series is only added to (or, a gauge, set) by atomic
 * operations.  Who records keeps a FobsAppRef to where a series was, and the
 * usual case takes no lock: it announces the series in the process's pin and
 * then compares generations, as series.c describes.  Else the lock is taken
 * shared, to find the series, and exclusively only to add one.  So it is not
 * taken exclusively where there is no room.
 *
 * Caveats:
 * - The numbers of one observation are not added as one: a reader may see the
 *   bucket and not yet the sum.
 * - Sums saturate: a counter that would be infinite stays at the greatest
 *   number that there is, so that an export is valid whatever is added.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "app_series.h"
#include "compat.h"
#include "guc.h"
#include "label.h"

#define TRANCHE "fraiseql_obs_app_series"

/* With those that are our own */
#define MAX_FAMILIES	(FOBS_MAX_APP_NAMES + 4)

/* No family, or no series */
#define NONE			(-1)

/* Between two looks for gauges that have expired */
#define SWEEP_US		USECS_PER_SEC

/* Up to here, whole numbers are added as such, which nobody has to repeat */
#define WHOLE_MAX		1048576.0	/* 2^20 */

/* Where counts stop, far from where so small additions could turn them over */
#define COUNT_MAX		(UINT64CONST(1) << 63)

/* Label of "other" in a family that has begun without labels */
#define OTHER_LABEL		"series"

typedef struct AppValues
{
	pg_atomic_uint64 counts[FOBS_APP_COUNTS];
	pg_atomic_uint64 number;	/* the bytes of a double */
	pg_atomic_uint64 set_at;	/* TimestampTz */
} AppValues;

/* What is in use is changed under the lock, but for the values */
typedef struct AppSeries
{
	pg_atomic_uint32 generation;	/* changes before the series does */
	uint32		hash;
	int32		bucket;			/* in the nth: first series of nth bucket */
	int32		next;			/* in bucket, or in the free list */
	int32		family;			/* NONE: free */
	bool		expired;		/* of a sweep: its refs are invalid */
	int16		nlabels;
	int16		labels_size;
	AppValues	values;
	char		labels[FOBS_APP_LABELS_SIZE];
} AppSeries;

/* Likewise, under the lock but for the values */
typedef struct AppFamily
{
	char		name[FOBS_APP_NAME_SIZE];
	int32		base_len;		/* of the name without _total; 0: free */
	FobsAppKind kind;
	bool		own;
	int32		nbounds;
	int32		nseries;
	int32		other_nlabels;
	int32		other_size;
	double		bounds[FOBS_APP_BOUNDS];
	AppValues	other;
	char		other_labels[FOBS_APP_LABELS_SIZE];
} AppFamily;

typedef struct AppShared
{
	LWLock	   *lock;
	int			limit;
	int			nseries;
	int			nnames;			/* families that are not our own */
	int32		free_list;
	TimestampTz swept_at;
	pg_atomic_uint64 overflow;
	pg_atomic_uint64 overflow_names;
	pg_atomic_uint64 truncated;
	uint32		hashes[MAX_FAMILIES];	/* of names in use */
	AppFamily	families[MAX_FAMILIES];
} AppShared;

typedef enum RecordResult
{
	RECORDED,
	NEEDS_ROOM,					/* try again under the exclusive lock */
	OTHER_KIND,
	OTHER_BOUNDS
} RecordResult;

int			fobs_gauge_expiry_s;

static AppShared *shared = NULL;
static char *series_start = NULL;

#define SERIES_SIZE		TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(AppSeries))

/* Bounds of a histogram for which none are given: those of histogram.c */
static const double default_bounds[FOBS_APP_BOUNDS] = {
	0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
	5.0, 10.0
};

static const char *const kind_names[] = {
	"counter", "gauge", "histogram", "cache", "pool"
};

static Size
shmem_size(void)
{
	return add_size(CACHELINEALIGN(sizeof(AppShared)),
					mul_size(fobs_max_app_series, SERIES_SIZE));
}

static AppSeries *
nth_series(int n)
{
	return (AppSeries *) (series_start + n * SERIES_SIZE);
}

static int
number_of(const AppSeries *series)
{
	return ((const char *) series - series_start) / SERIES_SIZE;
}

static void
init_values(AppValues *values)
{
	for (int i = 0; i < FOBS_APP_COUNTS; i++)
		pg_atomic_init_u64(&values->counts[i], 0);
	pg_atomic_init_u64(&values->number, 0);
	pg_atomic_init_u64(&values->set_at, 0);
}

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_app_series_shmem_request(void)
{
	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche(TRANCHE, 1);
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_app_series_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct(TRANCHE, shmem_size(), &found);
	series_start = (char *) shared + CACHELINEALIGN(sizeof(AppShared));
	if (found)
		return;

	memset(shared, 0, shmem_size());
	shared->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
	shared->limit = fobs_max_app_series;
	pg_atomic_init_u64(&shared->overflow, 0);
	pg_atomic_init_u64(&shared->overflow_names, 0);
	pg_atomic_init_u64(&shared->truncated, 0);
	for (int i = 0; i < MAX_FAMILIES; i++)
		init_values(&shared->families[i].other);
	for (int i = 0; i < shared->limit; i++)
	{
		AppSeries  *series = nth_series(i);

		pg_atomic_init_u32(&series->generation, 1);
		series->bucket = NONE;
		series->family = NONE;
		series->next = i + 1 < shared->limit ? i + 1 : NONE;
		init_values(&series->values);
	}
}

static double
as_double(uint64 bytes)
{
	double		number;

	memcpy(&number, &bytes, sizeof(number));
	return number;
}

static uint64
as_bytes(double number)
{
	uint64		bytes;

	memcpy(&bytes, &number, sizeof(bytes));
	return bytes;
}

static void
add_number(pg_atomic_uint64 *cell, double number)
{
	uint64		current = pg_atomic_read_u64(cell);
	double		sum;

	do
	{
		sum = as_double(current) + number;
		if (isinf(sum))
			sum = DBL_MAX;
	} while (!pg_atomic_compare_exchange_u64(cell, &current, as_bytes(sum)));
}

static void
add_count(pg_atomic_uint64 *cell, uint64 n)
{
	uint64		current = pg_atomic_read_u64(cell);
	uint64		sum;

	do
	{
		sum = current >= COUNT_MAX || n >= COUNT_MAX - current ?
			COUNT_MAX : current + n;
	} while (!pg_atomic_compare_exchange_u64(cell, &current, sum));
}

/* The bucket of a value: the first one whose bound it does not exceed */
static int
bucket_of(const AppFamily *family, double number)
{
	int			bucket = 0;

	while (bucket < family->nbounds && number > family->bounds[bucket])
		bucket++;
	return bucket;
}

/* Adds or sets what was observed. */
static void
apply(const AppFamily *family, AppValues *values,
	  const FobsAppObservation *observation)
{
	double		number = observation->number;
	const uint64 *counts = observation->counts;

	switch (family->kind)
	{
		case FOBS_APP_COUNTER:
			if (number <= WHOLE_MAX && number == floor(number))
				pg_atomic_fetch_add_u64(&values->counts[0], (uint64) number);
			else
				add_number(&values->number, number);
			return;
		case FOBS_APP_GAUGE:
			pg_atomic_write_u64(&values->number, as_bytes(number));
			break;
		case FOBS_APP_HISTOGRAM:
			pg_atomic_fetch_add_u64(&values->counts[bucket_of(family, number)],
									1);
			add_number(&values->number, number);
			return;
		case FOBS_APP_CACHE:
			add_count(&values->counts[FOBS_CACHE_HITS],
					  counts[FOBS_CACHE_HITS]);
			add_count(&values->counts[FOBS_CACHE_MISSES],
					  counts[FOBS_CACHE_MISSES]);
			if (!observation->measured)
				return;
			pg_atomic_write_u64(&values->counts[FOBS_CACHE_SIZE],
								counts[FOBS_CACHE_SIZE]);
			break;
		case FOBS_APP_POOL:
			for (int i = 0; i < FOBS_POOL_PARTS; i++)
				pg_atomic_write_u64(&values->counts[i], counts[i]);
			break;
	}
	pg_write_barrier();
	pg_atomic_write_u64(&values->set_at, (uint64) observation->at);
}

/* The same for a family's "other", which has nothing that is set */
static void
apply_to_other(AppFamily *family, const FobsAppObservation *observation)
{
	FobsAppObservation added = *observation;

	added.measured = false;
	if (family->kind != FOBS_APP_GAUGE && family->kind != FOBS_APP_POOL)
		apply(family, &family->other, &added);
}

/* Records through a ref, if it still leads to the series it was made for. */
bool
fobs_app_record_by_ref(const FobsAppRef *ref,
					   const FobsAppObservation *observation)
{
	AppSeries  *series;
	FobsSeriesPin *pin;
	bool		valid;

	if (ref->series == 0 ||
		(fobs_series_my_pin == NULL && !fobs_series_find_pin()))
		return false;

	series = nth_series(ref->series - 1);
	pin = fobs_series_my_pin;
	pg_atomic_write_u64(&pin->series, (uint64) (uintptr_t) series);
	pg_memory_barrier();
	valid = pg_atomic_read_u32(&series->generation) == ref->generation;
	if (valid)
		apply(&shared->families[series->family], &series->values,
			  observation);
	pg_write_barrier();
	pg_atomic_write_u64(&pin->series, 0);
	return valid;
}

/*
 * The length of a name without _total: what OpenMetrics takes for the name of
 * a counter, so no other metric may have it.
 */
static int
base_length(const FobsAppFamily *family)
{
	return family->name_len -
		(family->kind == FOBS_APP_COUNTER ? strlen("_total") : 0);
}

/* Finds a family; caller holds the lock. */
static int
find_family(const FobsAppFamily *family, uint32 hash)
{
	int			base_len = base_length(family);

	for (int i = 0; i < MAX_FAMILIES; i++)
	{
		AppFamily  *entry = &shared->families[i];

		if (shared->hashes[i] == hash && entry->base_len == base_len &&
			memcmp(entry->name, family->name, base_len) == 0)
			return i;
	}
	return NONE;
}

/* Finds a series; caller holds the lock. */
static AppSeries *
find_series(int family, const FobsAppLabels *labels, uint32 hash)
{
	int			n = nth_series(hash % shared->limit)->bucket;

	while (n != NONE)
	{
		AppSeries  *series = nth_series(n);

		if (series->hash == hash && series->family == family &&
			series->labels_size == labels->size &&
			memcmp(series->labels, labels->text, labels->size) == 0)
			return series;
		n = series->next;
	}
	return NULL;
}

/*
 * Is it time to look for gauges that have expired?  It is, too, if the clock
 * was set back.  Caller holds the lock.
 */
static bool
is_sweep_due(void)
{
	TimestampTz since;

	if (fobs_gauge_expiry_s == 0)
		return false;
	since = GetCurrentTimestamp() - shared->swept_at;
	return since >= SWEEP_US || since < 0;
}

static bool
is_gauge(FobsAppKind kind)
{
	return kind == FOBS_APP_GAUGE || kind == FOBS_APP_POOL;
}

static bool
has_expired(TimestampTz set_at, TimestampTz now)
{
	return fobs_gauge_expiry_s > 0 &&
		now - set_at > fobs_gauge_expiry_s * USECS_PER_SEC;
}

/* Is a series in use one of gauges that nobody sets any more? */
static bool
is_stale(AppSeries *series, TimestampTz now)
{
	return is_gauge(shared->families[series->family].kind) &&
		has_expired((TimestampTz) pg_atomic_read_u64(&series->values.set_at),
					now);
}

/* Does a process count for some series just now? */
static bool
is_pinned(AppSeries *series)
{
	return fobs_series_any_pinned(series, (char *) series + SERIES_SIZE);
}

static bool
any_pinned(void)
{
	return fobs_series_any_pinned(series_start,
								  series_start + shared->limit * SERIES_SIZE);
}

/*
 * Frees a series whose refs are invalid and that nobody counts for.  Caller
 * holds the lock exclusively.
 */
static void
remove_series(AppSeries *series)
{
	int			n = number_of(series);
	int32	   *link = &nth_series(series->hash % shared->limit)->bucket;

	while (*link != n)
		link = &nth_series(*link)->next;
	*link = series->next;
	init_values(&series->values);
	shared->families[series->family].nseries--;
	series->family = NONE;
	series->next = shared->free_list;
	shared->free_list = n;
	shared->nseries--;
}

/* Frees a family without series; caller holds the lock exclusively. */
static void
remove_family(int family)
{
	AppFamily  *entry = &shared->families[family];

	if (!entry->own)
		shared->nnames--;
	entry->base_len = 0;
	shared->hashes[family] = 0;
}

/*
 * Frees gauges that have expired, and families that have nothing else.  One
 * that is being set at this moment stays.  Caller holds the lock exclusively.
 */
static void
sweep(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		pinned;

	shared->swept_at = now;
	for (int i = 0; i < shared->limit; i++)
	{
		AppSeries  *series = nth_series(i);

		series->expired = series->family != NONE && is_stale(series, now);
		if (series->expired)
			pg_atomic_fetch_add_u32(&series->generation, 1);
	}
	pinned = any_pinned();
	for (int i = 0; i < shared->limit; i++)
	{
		AppSeries  *series = nth_series(i);

		/* one that looks stale since may have been set with an old time */
		if (series->expired && is_stale(series, now) &&
			!(pinned && is_pinned(series)))
			remove_series(series);
	}
	for (int i = 0; i < MAX_FAMILIES; i++)
	{
		AppFamily  *family = &shared->families[i];

		if (family->base_len > 0 && family->nseries == 0 &&
			is_gauge(family->kind))
			remove_family(i);
	}
}

/* Is there room for a family?  Caller holds the lock. */
static bool
has_room_for(const FobsAppFamily *family)
{
	return family->own || shared->nnames < FOBS_MAX_APP_NAMES;
}

/*
 * Names the labels of a family's "other" after those of its first series, so
 * that it is the same family for whoever sums over a label.
 */
static void
set_other_labels(AppFamily *entry, const FobsAppLabels *labels)
{
	FobsLabel	unpacked[FOBS_MAX_LABELS];
	char	   *at = entry->other_labels;

	fobs_app_labels_unpack(labels->text, labels->n, unpacked);
	entry->other_nlabels = Max(labels->n, 1);
	for (int i = 0; i < entry->other_nlabels; i++)
	{
		at = stpcpy(at, labels->n > 0 ? unpacked[i].name : OTHER_LABEL) + 1;
		at = stpcpy(at, FOBS_LABEL_OTHER) + 1;
	}
	entry->other_size = at - entry->other_labels;
}

/* Adds a family, as there is room; caller holds the lock exclusively. */
static int
add_family(const FobsAppFamily *family, const FobsAppLabels *labels,
		   uint32 hash)
{
	AppFamily  *entry;
	int			n = 0;

	while (shared->families[n].base_len > 0)
		n++;
	Assert(n < MAX_FAMILIES);

	entry = &shared->families[n];
	memcpy(entry->name, family->name, family->name_len);
	entry->name[family->name_len] = '\0';
	entry->kind = family->kind;
	entry->own = family->own;
	entry->nbounds = family->nbounds;
	memcpy(entry->bounds, family->bounds, sizeof(entry->bounds));
	if (family->kind == FOBS_APP_HISTOGRAM && family->nbounds == 0)
	{
		entry->nbounds = FOBS_APP_BOUNDS;
		memcpy(entry->bounds, default_bounds, sizeof(entry->bounds));
	}
	entry->nseries = 0;
	init_values(&entry->other);
	set_other_labels(entry, labels);
	entry->base_len = base_length(family);
	shared->hashes[n] = hash;
	if (!family->own)
		shared->nnames++;
	return n;
}

/* Adds a series, as there is room; caller holds the lock exclusively. */
static AppSeries *
add_series(int family, const FobsAppLabels *labels, uint32 hash)
{
	int			n = shared->free_list;
	AppSeries  *series;
	int32	   *bucket;

	series = nth_series(n);
	shared->free_list = series->next;
	series->hash = hash;
	series->family = family;
	series->nlabels = labels->n;
	series->labels_size = labels->size;
	memcpy(series->labels, labels->text, labels->size);
	bucket = &nth_series(hash % shared->limit)->bucket;
	series->next = *bucket;
	*bucket = n;
	shared->families[family].nseries++;
	shared->nseries++;
	return series;
}

static bool
has_bounds(const AppFamily *entry, const FobsAppFamily *family)
{
	return family->nbounds == 0 ||
		(family->nbounds == entry->nbounds &&
		 memcmp(family->bounds, entry->bounds,
				family->nbounds * sizeof(double)) == 0);
}

/*
 * Finds the series and records; caller holds the lock.  Only where it is held
 * exclusively, a series is added that is missing.  Sets "kind" to what the
 * family of this name is.
 */
static RecordResult
record_locked(const FobsAppFamily *family, const FobsAppLabels *labels,
			  FobsAppRef *ref, const FobsAppObservation *observation,
			  bool exclusive, FobsAppKind *kind)
{
	uint32		name_hash = hash_bytes((const unsigned char *) family->name,
									   base_length(family));
	int			n = find_family(family, name_hash);
	AppFamily  *entry;
	AppSeries  *series;
	uint32		hash;

	if (n == NONE && !exclusive && (has_room_for(family) || is_sweep_due()))
		return NEEDS_ROOM;
	if (n == NONE && exclusive && has_room_for(family))
		n = add_family(family, labels, name_hash);
	if (n == NONE)
	{
		pg_atomic_fetch_add_u64(&shared->overflow_names, 1);
		return RECORDED;
	}

	entry = &shared->families[n];
	*kind = entry->kind;
	if (entry->kind != family->kind)
		return OTHER_KIND;
	if (!has_bounds(entry, family))
		return OTHER_BOUNDS;

	/* a real series of these labels is not told apart from the rest */
	if (!is_gauge(entry->kind) && labels->size == entry->other_size &&
		memcmp(labels->text, entry->other_labels, labels->size) == 0)
	{
		apply_to_other(entry, observation);
		return RECORDED;
	}

	hash = hash_combine(name_hash,
						hash_bytes((const unsigned char *) labels->text,
								   labels->size));
	series = find_series(n, labels, hash);
	if (series == NULL && !exclusive &&
		(shared->free_list != NONE || is_sweep_due()))
		return NEEDS_ROOM;
	if (series == NULL && exclusive && shared->free_list != NONE)
		series = add_series(n, labels, hash);
	if (series == NULL)
	{
		apply_to_other(entry, observation);
		pg_atomic_fetch_add_u64(&shared->overflow, 1);
		return RECORDED;
	}
	apply(entry, &series->values, observation);
	ref->series = number_of(series) + 1;
	ref->generation = pg_atomic_read_u32(&series->generation);
	return RECORDED;
}

/*
 * Records for the series with these labels, which is added if it is new, and
 * makes a ref to it.  Raises an error if the name is of another kind of
 * metric.  Names and labels must have been checked.
 */
void
fobs_app_record(const FobsAppFamily *family,
				const FobsAppLabels *labels, FobsAppRef *ref,
				const FobsAppObservation *observation)
{
	RecordResult result;
	FobsAppKind kind = family->kind;

	ref->series = 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	result = record_locked(family, labels, ref, observation, false, &kind);
	if (result == NEEDS_ROOM)
	{
		LWLockRelease(shared->lock);
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);

		/* before anything is looked up, as it may go */
		if ((shared->free_list == NONE || !has_room_for(family)) &&
			is_sweep_due())
			sweep();
		result = record_locked(family, labels, ref, observation, true, &kind);
	}
	LWLockRelease(shared->lock);

	if (result == OTHER_KIND)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%.*s\" is the name of a %s", base_length(family),
						family->name, kind_names[kind]),
				 errhint("Use another name; reset_metrics('app') forgets all metrics of the application.")));
	if (result == OTHER_BOUNDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("histogram \"%.*s\" has other buckets",
						(int) family->name_len, family->name),
				 errhint("Leave them out, or use another name; reset_metrics('app') forgets all metrics of the application.")));
}

/* Counts an observation of which a label's value was cut. */
void
fobs_app_series_count_truncated(void)
{
	pg_atomic_fetch_add_u64(&shared->truncated, 1);
}

static void
copy_values(AppValues *values, FobsAppSeriesCopy *copy, TimestampTz now)
{
	copy->set_at = (TimestampTz) pg_atomic_read_u64(&values->set_at);
	pg_read_barrier();
	for (int i = 0; i < FOBS_APP_COUNTS; i++)
		copy->counts[i] = pg_atomic_read_u64(&values->counts[i]);
	copy->number = as_double(pg_atomic_read_u64(&values->number));
	if (has_expired(copy->set_at, now))
		copy->set_at = 0;
}

static bool
is_empty(const FobsAppSeriesCopy *copy)
{
	for (int i = 0; i < FOBS_APP_COUNTS; i++)
	{
		if (copy->counts[i] > 0)
			return false;
	}
	return copy->number == 0;
}

static void
copy_labels(FobsAppSeriesCopy *copy, const char *labels, int size, int n)
{
	memcpy(copy->labels, labels, size);
	copy->labels_size = size;
	copy->nlabels = n;
}

/* Copies what is to be seen; caller holds the lock.  Returns how much. */
static int
copy_series(FobsAppSeriesCopy *copies)
{
	TimestampTz now = GetCurrentTimestamp();
	int			n = 0;

	for (int i = 0; i < shared->limit; i++)
	{
		AppSeries  *series = nth_series(i);

		if (series->family == NONE || is_stale(series, now))
			continue;
		copies[n].family = series->family;
		copies[n].other = false;
		copy_labels(&copies[n], series->labels, series->labels_size,
					series->nlabels);
		copy_values(&series->values, &copies[n++], now);
	}
	for (int i = 0; i < MAX_FAMILIES; i++)
	{
		AppFamily  *entry = &shared->families[i];

		if (entry->base_len == 0)
			continue;
		copy_values(&entry->other, &copies[n], now);
		if (is_empty(&copies[n]))
			continue;
		copies[n].family = i;
		copies[n].other = true;
		copy_labels(&copies[n++], entry->other_labels, entry->other_size,
					entry->other_nlabels);
	}
	return n;
}

/* Copies all families, those without series, too; caller holds the lock. */
static void
copy_families(FobsAppFamilyCopy *copies)
{
	for (int i = 0; i < MAX_FAMILIES; i++)
	{
		AppFamily  *entry = &shared->families[i];

		if (entry->base_len == 0)
			continue;
		strlcpy(copies[i].name, entry->name, FOBS_APP_NAME_SIZE);
		copies[i].kind = entry->kind;
		copies[i].own = entry->own;
		copies[i].nbounds = entry->nbounds;
		memcpy(copies[i].bounds, entry->bounds, sizeof(entry->bounds));
	}
}

static int
compare_series(const void *a, const void *b)
{
	const FobsAppSeriesCopy *left = *(FobsAppSeriesCopy *const *) a;
	const FobsAppSeriesCopy *right = *(FobsAppSeriesCopy *const *) b;
	int			order;

	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	if (left->other != right->other)
		return left->other ? 1 : -1;
	order = memcmp(left->labels, right->labels,
				   Min(left->labels_size, right->labels_size));
	return order != 0 ? order : left->labels_size - right->labels_size;
}

static int
compare_families(const void *a, const void *b)
{
	return strcmp(((const FobsAppFamilyCopy *) a)->name,
				  ((const FobsAppFamilyCopy *) b)->name);
}

/* Gives each family its series, and leaves out those without. */
static FobsAppSnapshot *
sort_snapshot(FobsAppFamilyCopy *families, FobsAppSeriesCopy *copies,
			  int ncopies)
{
	FobsAppSnapshot *snapshot = palloc(sizeof(FobsAppSnapshot));
	FobsAppSeriesCopy **sorted =
	MemoryContextAllocHuge(CurrentMemoryContext,
						   (ncopies + 1) * sizeof(FobsAppSeriesCopy *));

	for (int i = 0; i < ncopies; i++)
		sorted[i] = &copies[i];
	qsort(sorted, ncopies, sizeof(FobsAppSeriesCopy *), compare_series);
	for (int i = 0; i < ncopies; i++)
	{
		FobsAppFamilyCopy *family = &families[sorted[i]->family];

		if (family->nseries++ == 0)
			family->series = &sorted[i];
	}

	snapshot->families = families;
	snapshot->nfamilies = 0;
	for (int i = 0; i < MAX_FAMILIES; i++)
	{
		if (families[i].nseries > 0)
			families[snapshot->nfamilies++] = families[i];
	}
	qsort(families, snapshot->nfamilies, sizeof(FobsAppFamilyCopy),
		  compare_families);
	return snapshot;
}

/*
 * A copy of all series, in the current memory context, which the caller is to
 * reset.
 */
FobsAppSnapshot *
fobs_app_series_snapshot(void)
{
	FobsAppFamilyCopy *families =
	palloc0(MAX_FAMILIES * sizeof(FobsAppFamilyCopy));
	FobsAppSeriesCopy *copies = NULL;
	int			room = shared->nseries;
	int			ncopies = 0;
	bool		enough = false;

	/* series may appear meanwhile; if there is no room for all, start over */
	while (!enough)
	{
		if (copies != NULL)
			pfree(copies);
		room = Min(room + room / 4 + 16, shared->limit);
		copies = MemoryContextAllocHuge(CurrentMemoryContext,
										(room + MAX_FAMILIES) *
										sizeof(FobsAppSeriesCopy));
		LWLockAcquire(shared->lock, LW_SHARED);
		enough = shared->nseries <= room;
		if (enough)
		{
			ncopies = copy_series(copies);
			copy_families(families);
		}
		LWLockRelease(shared->lock);
	}
	return sort_snapshot(families, copies, ncopies);
}

/* The family of a name, or NULL if nothing was recorded for it. */
const FobsAppFamilyCopy *
fobs_app_family(const FobsAppSnapshot *from, const char *name)
{
	for (int i = 0; i < from->nfamilies; i++)
	{
		if (strcmp(from->families[i].name, name) == 0)
			return &from->families[i];
	}
	return NULL;
}

/* Tells about series. */
FobsSeriesStoreInfo
fobs_app_series_info(void)
{
	FobsSeriesStoreInfo info = {
		.family = "app",
		.series = shared->nseries,
		.limit = shared->limit,
		.overflow = pg_atomic_read_u64(&shared->overflow)
	};

	return info;
}

/* Tells about names of metrics. */
FobsSeriesStoreInfo
fobs_app_names_info(void)
{
	FobsSeriesStoreInfo info = {
		.family = "app_names",
		.series = shared->nnames,
		.limit = FOBS_MAX_APP_NAMES,
		.overflow = pg_atomic_read_u64(&shared->overflow_names)
	};

	return info;
}

/* Observations of which a label's value was cut */
uint64
fobs_app_series_truncated(void)
{
	return pg_atomic_read_u64(&shared->truncated);
}

/*
 * Makes all refs invalid, and waits for a moment for those who count through
 * one just now.  False if somebody still does.  Caller holds the lock
 * exclusively.
 */
static bool
invalidate_all(void)
{
	for (int i = 0; i < shared->limit; i++)
		pg_atomic_fetch_add_u32(&nth_series(i)->generation, 1);
	for (int i = 0; i < 1000; i++)
	{
		if (!any_pinned())
			return true;
		pg_usleep(100);
	}
	return false;
}

/*
 * Forgets all series and families, and starts the counters about them anew.
 * A series for which a process is stopped in the midst of counting stays, and
 * is emptied.
 */
void
fobs_app_series_reset(void)
{
	bool		quiet;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	quiet = invalidate_all();
	for (int i = 0; i < shared->limit; i++)
	{
		AppSeries  *series = nth_series(i);

		if (series->family == NONE)
			continue;
		if (quiet || !is_pinned(series))
			remove_series(series);
		else
			init_values(&series->values);
	}
	for (int i = 0; i < MAX_FAMILIES; i++)
	{
		if (shared->families[i].base_len == 0)
			continue;
		init_values(&shared->families[i].other);
		if (shared->families[i].nseries == 0)
			remove_family(i);
	}
	pg_atomic_write_u64(&shared->overflow, 0);
	pg_atomic_write_u64(&shared->overflow_names, 0);
	LWLockRelease(shared->lock);
}
