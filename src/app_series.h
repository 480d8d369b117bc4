/*-------------------------------------------------------------------------
 *
 * app_series.h
 *	  Series of the metrics that the application keeps, in shared memory.
 *
 * See app_series.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_APP_SERIES_H
#define FRAISEQL_OBS_APP_SERIES_H

#include "datatype/timestamp.h"

#include "app_labels.h"
#include "series.h"

/* Metric names of the application that are told apart */
#define FOBS_MAX_APP_NAMES	252

/* Bounds of a histogram, +Inf not counted */
#define FOBS_APP_BOUNDS		FOBS_EXPORT_BOUNDS

/* Whole numbers that a series holds */
#define FOBS_APP_COUNTS		(FOBS_APP_BOUNDS + 1)

/* What a family holds of each set of labels */
typedef enum FobsAppKind
{
	FOBS_APP_COUNTER,			/* counts[0] and, of fractions, number */
	FOBS_APP_GAUGE,				/* number */
	FOBS_APP_HISTOGRAM,			/* counts[] by bucket, number is the sum */
	FOBS_APP_CACHE,				/* counts[] by FobsAppCachePart */
	FOBS_APP_POOL				/* counts[] by FobsAppPoolPart, plus 1 */
} FobsAppKind;

typedef enum FobsAppCachePart
{
	FOBS_CACHE_HITS,
	FOBS_CACHE_MISSES,
	FOBS_CACHE_SIZE,
	FOBS_CACHE_PARTS
} FobsAppCachePart;

/* Of a pool, 0 stands for what was not measured */
typedef enum FobsAppPoolPart
{
	FOBS_POOL_ACTIVE,
	FOBS_POOL_IDLE,
	FOBS_POOL_WAITING,
	FOBS_POOL_MAX,
	FOBS_POOL_PARTS
} FobsAppPoolPart;

/* A family as who records something wants it to be */
typedef struct FobsAppFamily
{
	const char *name;
	size_t		name_len;
	FobsAppKind kind;
	bool		own;			/* one of the extension's own names */
	int			nbounds;		/* histogram: 0 is "whatever it has" */
	double		bounds[FOBS_APP_BOUNDS];
} FobsAppFamily;

/* What is recorded */
typedef struct FobsAppObservation
{
	double		number;			/* counter, gauge, histogram */
	uint64		counts[FOBS_POOL_PARTS];	/* cache, pool */
	bool		measured;		/* cache: the size is in counts, too */
	TimestampTz at;				/* of what is set rather than added */
} FobsAppObservation;

/* Where a backend last found a series; valid as long as both fields agree. */
typedef struct FobsAppRef
{
	int32		series;			/* its number, from 1 on; 0: none */
	uint32		generation;
} FobsAppRef;

/* A series as a private copy */
typedef struct FobsAppSeriesCopy
{
	int			family;			/* entry in shared memory */
	bool		other;			/* what found no room */
	int			nlabels;
	int			labels_size;
	uint64		counts[FOBS_APP_COUNTS];
	double		number;
	TimestampTz set_at;			/* 0: never, or too long ago */
	char		labels[FOBS_APP_LABELS_SIZE];
} FobsAppSeriesCopy;

typedef struct FobsAppFamilyCopy
{
	char		name[FOBS_APP_NAME_SIZE];
	FobsAppKind kind;
	bool		own;
	int			nbounds;
	double		bounds[FOBS_APP_BOUNDS];
	int			nseries;
	FobsAppSeriesCopy **series; /* in the order of their labels, "other" last */
} FobsAppFamilyCopy;

/* In the order of the families' names */
typedef struct FobsAppSnapshot
{
	int			nfamilies;
	FobsAppFamilyCopy *families;
} FobsAppSnapshot;

/* The setting "gauge_expiry", in seconds; 0 is never */
extern int	fobs_gauge_expiry_s;

extern void fobs_app_series_shmem_request(void);
extern void fobs_app_series_shmem_startup(void);

extern bool fobs_app_record_by_ref(const FobsAppRef *ref,
								   const FobsAppObservation *observation);
extern void fobs_app_record(const FobsAppFamily *family,
							const FobsAppLabels *labels,
							FobsAppRef *ref,
							const FobsAppObservation *observation);
extern void fobs_app_series_count_truncated(void);

extern FobsAppSnapshot *fobs_app_series_snapshot(void);
extern const FobsAppFamilyCopy *fobs_app_family(const FobsAppSnapshot *from,
												const char *name);
extern FobsSeriesStoreInfo fobs_app_series_info(void);
extern FobsSeriesStoreInfo fobs_app_names_info(void);
extern uint64 fobs_app_series_truncated(void);
extern void fobs_app_series_reset(void);

#endif							/* FRAISEQL_OBS_APP_SERIES_H */
