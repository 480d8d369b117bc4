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

extern void fobs_series_snapshot_add(FobsSeriesSnapshot *to,
									 const FobsSeriesSnapshot *from);

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
extern void fobs_series_shmem_request(Size key_size, int limit,
									  const char *tranche);
extern FobsSeriesStore *fobs_series_shmem_startup(const char *family,
												  Size key_size, int limit,
												  const char *tranche);
extern void fobs_series_count(FobsSeriesStore *store, const void *key,
							  FobsSeriesRef *ref,
							  const FobsObservation *observation);

/* key is NULL for "other" */
typedef void (*FobsSeriesVisitor) (const void *key,
								   const FobsSeriesSnapshot *snapshot,
								   void *arg);
extern void fobs_series_visit(FobsSeriesStore *store,
							  FobsSeriesVisitor visitor, void *arg);
extern void fobs_series_reset(FobsSeriesStore *store);
extern FobsSeriesStoreInfo fobs_series_store_info(FobsSeriesStore *store);

#endif							/* FRAISEQL_OBS_SERIES_H */
