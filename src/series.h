/*-------------------------------------------------------------------------
 *
 * series.h
 *	  Bounded stores of labelled series, in shared memory.
 *
 * See series.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SERIES_H
#define FRAISEQL_OBS_SERIES_H

#include "datatype/timestamp.h"
#include "port/atomics.h"

#include "histogram.h"
#include "observation.h"

typedef struct FobsSeriesStore FobsSeriesStore;
typedef struct FobsSeries FobsSeries;

/* Where a backend last found a series; valid as long as both fields agree. */
typedef struct FobsSeriesRef
{
	FobsSeries *series;
	uint32		generation;
} FobsSeriesRef;

/* What a series holds, as a private copy */
typedef struct FobsSeriesSnapshot
{
	FobsHistogram durations;
	uint64		calls;
	uint64		errors;
	uint64		slow;
	uint64		rows;
	uint64		duration_ns;
	uint64		planning_ns;
	uint64		min_ns;
	uint64		max_ns;
	TimestampTz last_call;
} FobsSeriesSnapshot;

/* What exports tell of a series, as a private copy */
typedef struct FobsSeriesSummary
{
	uint64		counts[FOBS_EXPORT_BOUNDS + 1]; /* see histogram.h */
	uint64		errors;
	uint64		rows;
	uint64		duration_ns;
} FobsSeriesSummary;

extern void fobs_series_summary_add(FobsSeriesSummary *to,
									const FobsSeriesSummary *from);

/* How many calls it is of */
static inline uint64
fobs_series_summary_calls(const FobsSeriesSummary *summary)
{
	return summary->counts[FOBS_EXPORT_BOUNDS];
}

/* About a store itself */
typedef struct FobsSeriesStoreInfo
{
	const char *family;			/* "queries", "operations" */
	uint64		series;			/* in use */
	uint64		limit;
	uint64		overflow;		/* observations that went to "other" */
	uint64		evicted;		/* series folded into "other" */
} FobsSeriesStoreInfo;

extern void fobs_series_pins_shmem_request(void);
extern void fobs_series_pins_shmem_startup(void);
extern bool fobs_series_any_pinned(const void *start, const void *end);
extern void fobs_series_shmem_request(Size key_size, int limit,
									  const char *tranche);
extern FobsSeriesStore *fobs_series_shmem_startup(const char *family,
												  Size key_size, int limit,
												  const char *tranche);

/* key is NULL for "other" */
typedef void (*FobsSeriesVisitor) (const void *key,
								   const FobsSeriesSnapshot *snapshot,
								   void *arg);
extern void fobs_series_visit(FobsSeriesStore *store,
							  FobsSeriesVisitor visitor, void *arg);
typedef void (*FobsSeriesSummaryVisitor) (const void *key,
										  FobsSeriesSummary *summary,
										  void *arg);
extern void fobs_series_visit_summaries(FobsSeriesStore *store,
										FobsSeriesSummaryVisitor visitor,
										void *arg);
extern void fobs_series_reset(FobsSeriesStore *store);
extern FobsSeriesStoreInfo fobs_series_store_info(FobsSeriesStore *store);

/*
 * The rest is for fobs_series_count() alone, which every statement calls.
 */

/* How many sweeps a series survives without being used, at most */
#define FOBS_SERIES_MAX_USAGE	4

typedef struct FobsSeriesCounters
{
	pg_atomic_uint64 cells[FOBS_HISTOGRAM_CELLS];
	pg_atomic_uint64 errors;
	pg_atomic_uint64 slow;
	pg_atomic_uint64 rows;
	pg_atomic_uint64 duration_ns;
	pg_atomic_uint64 planning_ns;
	pg_atomic_uint64 min_ns;	/* PG_UINT64_MAX: none yet */
	pg_atomic_uint64 max_ns;
	pg_atomic_uint64 last_call; /* TimestampTz, 0: none yet */
} FobsSeriesCounters;

struct FobsSeries
{
	pg_atomic_uint32 generation;	/* changes before the series does */
	uint32		hash;			/* of the key; under partition's lock */
	FobsSeries *next;			/* in bucket: partition's lock; in free list:
								 * spinlock */
	uint8		usage;			/* hint for the sweep, written by anyone */
	FobsSeriesCounters counters;	/* atomic */
	char		key[FLEXIBLE_ARRAY_MEMBER]; /* under partition's lock */
};

/* What a process is counting for at the moment; written by it alone */
typedef union FobsSeriesPin
{
	pg_atomic_uint64 series;	/* a FobsSeries, or 0 */
	char		padding[PG_CACHE_LINE_SIZE];
} FobsSeriesPin;

#pragma GCC visibility push(hidden)
extern FobsSeriesPin *fobs_series_my_pin;
#pragma GCC visibility pop

extern bool fobs_series_find_pin(void);
extern void fobs_series_count_rare(FobsSeriesCounters *counters,
								   const FobsObservation *observation);
extern void fobs_series_count_rare_pinned(FobsSeriesCounters *counters,
										  const FobsObservation *observation);
extern void fobs_series_count_searching(FobsSeriesStore *store,
										const void *key, FobsSeriesRef *ref,
										const FobsObservation *observation);

/* What every observation has; true if this one has more than that */
static inline bool
fobs_series_count_usual(FobsSeriesCounters *counters,
						const FobsObservation *observation)
{
	uint64		duration_ns = observation->duration_ns;
	uint64		called_at = (uint64) observation->called_at;

	pg_atomic_fetch_add_u64(&counters->cells[observation->cell], 1);
	pg_atomic_fetch_add_u64(&counters->duration_ns, duration_ns);
	if (observation->rows != 0)
		pg_atomic_fetch_add_u64(&counters->rows, observation->rows);

	/* of two at the same moment, either may win */
	if (called_at > pg_atomic_read_u64(&counters->last_call))
		pg_atomic_write_u64(&counters->last_call, called_at);
	return (observation->planning_ns | observation->slow |
			observation->failed) != 0 ||
		duration_ns < pg_atomic_read_u64(&counters->min_ns) ||
		duration_ns > pg_atomic_read_u64(&counters->max_ns);
}

static inline void
fobs_series_note_use(FobsSeries *series)
{
	if (series->usage < FOBS_SERIES_MAX_USAGE)
		series->usage++;
}

static inline void
fobs_series_unpin(void)
{
	pg_write_barrier();
	pg_atomic_write_u64(&fobs_series_my_pin->series, 0);
}

/*
 * Counts through a ref, if it still leads to the series it was made for.  What
 * it calls it calls last, and so it needs no registers of its caller's: this
 * is what every statement runs.
 */
static inline bool
fobs_series_count_by_ref(const FobsSeriesRef *ref,
						 const FobsObservation *observation)
{
	FobsSeries *series = ref->series;

	if (unlikely(series == NULL || fobs_series_my_pin == NULL))
		return false;

	pg_atomic_write_u64(&fobs_series_my_pin->series,
						(uint64) (uintptr_t) series);
	pg_memory_barrier();
	if (unlikely(pg_atomic_read_u32(&series->generation) != ref->generation))
	{
		fobs_series_unpin();
		return false;
	}
	fobs_series_note_use(series);
	if (unlikely(fobs_series_count_usual(&series->counters, observation)))
		fobs_series_count_rare_pinned(&series->counters, observation);
	else
		fobs_series_unpin();
	return true;
}

/*
 * Counts one observation for the series with a key, which is added if it is
 * new.  "ref" is where the caller found this very key the last time, or
 * zeroes; it is brought up to date.  Never raises an error and allocates
 * nothing, so it may be called while an error is being handled.
 */
static inline void
fobs_series_count(FobsSeriesStore *store, const void *key, FobsSeriesRef *ref,
				  const FobsObservation *observation)
{
	if (unlikely(!fobs_series_count_by_ref(ref, observation)))
		fobs_series_count_searching(store, key, ref, observation);
}

#endif							/* FRAISEQL_OBS_SERIES_H */
