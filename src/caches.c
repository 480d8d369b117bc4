/*-------------------------------------------------------------------------
 *
 * caches.c
 *	  How well caches answer: those of the application, and shared buffers.
 *
 * record_cache() adds the hits and misses since it was called before, and says
 * how large a cache is now; a series of app_series.c has that.  What is known
 * of shared buffers comes from the collector.  All of them are exported as the
 * same families, told apart by cache_type.
 *
 * With fraiseql_obs.cache_log_interval they are written to the server log,
 * too, a line for each.  The audit launcher does so: a process of the server
 * that is there in any case, whether there are audit logs or not, and has
 * time.  It is not there on a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "app_labels.h"
#include "app_metrics.h"
#include "app_refs.h"
#include "app_series.h"
#include "caches.h"
#include "compat.h"

#define STORE			"fraiseql_obs_cache"
#define SHARED_BUFFERS	"shared_buffers"

/* Longer than anything waits */
#define NOT_DUE			LONG_MAX

PG_FUNCTION_INFO_V1(fraiseql_obs_record_cache);

int			fobs_cache_log_interval_s;

/* When the launcher has logged for the last time, or begun to wait */
static TimestampTz logged_at = 0;

/* One cache of either sort */
typedef struct Cache
{
	FobsLabel	label;
	uint64		hits;
	uint64		misses;
	bool		has_size;
	uint64		size;
} Cache;

static const FobsAppFamily caches = {
	STORE, sizeof(STORE) - 1, FOBS_APP_CACHE, true
};

static const FobsFamily hits_family = {
	"fraiseql_obs_cache_hits_total", FOBS_COUNTER, NULL,
	"Look-ups that a cache could answer."
};
static const FobsFamily misses_family = {
	"fraiseql_obs_cache_misses_total", FOBS_COUNTER, NULL,
	"Look-ups that a cache could not answer."
};
static const FobsFamily ratio_family = {
	"fraiseql_obs_cache_hit_ratio", FOBS_GAUGE, "ratio",
	"Share of a cache's look-ups that it could answer, of all so far."
};
static const FobsFamily size_family = {
	"fraiseql_obs_cache_size_bytes", FOBS_GAUGE, "bytes",
	"Size of a cache."
};

/* Reads a number of a cache, which must not be negative. */
static uint64
read_part(FunctionCallInfo fcinfo, int n, const char *what)
{
	int64		part = PG_GETARG_INT64(n);

	if (part < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s of a cache is negative", what),
				 errhint("Hits and misses are those since the last call; a size that is not known is NULL.")));
	return part;
}

/* record_cache(cache_type, hits, misses, size_bytes); the last may be NULL */
Datum
fraiseql_obs_record_cache(PG_FUNCTION_ARGS)
{
	FobsAppObservation observation = {0};
	text	   *type;
	const char *name;
	size_t		len;
	FobsAppKey	key;
	FobsAppRefs *found;

	if (!fobs_app_is_recording())
		PG_RETURN_VOID();
	fobs_app_require(fcinfo, 0, "type of a cache");
	fobs_app_require(fcinfo, 1, "number of hits");
	fobs_app_require(fcinfo, 2, "number of misses");
	type = PG_GETARG_TEXT_PP(0);
	name = VARDATA_ANY(type);
	len = VARSIZE_ANY_EXHDR(type);
	if (len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type of a cache must not be empty")));
	if (len == strlen(SHARED_BUFFERS) &&
		memcmp(name, SHARED_BUFFERS, len) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("cache type \"%s\" is reserved", SHARED_BUFFERS),
				 errhint("The extension measures that cache itself.")));
	observation.counts[FOBS_CACHE_HITS] = read_part(fcinfo, 1, "number of hits");
	observation.counts[FOBS_CACHE_MISSES] =
		read_part(fcinfo, 2, "number of misses");
	if (!PG_ARGISNULL(3))
	{
		observation.counts[FOBS_CACHE_SIZE] = read_part(fcinfo, 3, "size");
		observation.measured = true;
		observation.at = GetCurrentTimestamp();
	}

	key.len = 0;
	fobs_app_key_add(&key, "cache", 5);
	fobs_app_key_add(&key, name, len);
	found = fobs_app_refs_find(&key);
	if (!fobs_app_record_by_ref(&found->refs[0], &observation))
	{
		FobsAppLabels labels = {0};

		fobs_app_labels_add(&labels, "cache_type", name, len);
		found->truncated = labels.truncated;
		fobs_app_record(&caches, &labels, &found->refs[0],
						&observation);
	}
	if (found->truncated)
		fobs_app_series_count_truncated();
	PG_RETURN_VOID();
}

/* All caches: shared buffers, and those of the application; palloc'd */
static Cache *
list_caches(const FobsAppSnapshot *snapshot, const FobsBufferUse *buffers,
			int *ncaches)
{
	const FobsAppFamilyCopy *copy = fobs_app_family(snapshot, STORE);
	int			n = copy != NULL ? copy->nseries : 0;
	Cache	   *list = palloc0((n + 1) * sizeof(Cache));

	list[0].label.name = "cache_type";
	list[0].label.value = SHARED_BUFFERS;
	list[0].hits = buffers->hits;
	list[0].misses = buffers->misses;
	list[0].has_size = true;
	list[0].size = buffers->size_bytes;
	for (int i = 0; i < n; i++)
	{
		const FobsAppSeriesCopy *series = copy->series[i];
		Cache	   *cache = &list[i + 1];

		fobs_app_labels_unpack(series->labels, 1, &cache->label);
		cache->hits = series->counts[FOBS_CACHE_HITS];
		cache->misses = series->counts[FOBS_CACHE_MISSES];
		cache->has_size = series->set_at != 0;
		cache->size = series->counts[FOBS_CACHE_SIZE];
	}
	*ncaches = n + 1;
	return list;
}

/* The share of hits; there must have been look-ups. */
static double
hit_ratio(const Cache *cache)
{
	return cache->hits / ((double) cache->hits + cache->misses);
}

/* Writes the families about caches. */
void
fobs_caches_write(FobsWriter *writer, const FobsAppSnapshot *snapshot,
				  const FobsBufferUse *buffers)
{
	int			n;
	Cache	   *list = list_caches(snapshot, buffers, &n);

	fobs_write_family(writer, &hits_family);
	for (int i = 0; i < n; i++)
		fobs_write_sample(writer, &list[i].label, 1, list[i].hits);
	fobs_write_family(writer, &misses_family);
	for (int i = 0; i < n; i++)
		fobs_write_sample(writer, &list[i].label, 1, list[i].misses);
	fobs_write_family(writer, &ratio_family);
	for (int i = 0; i < n; i++)
	{
		if (list[i].hits > 0 || list[i].misses > 0)
			fobs_write_sample(writer, &list[i].label, 1, hit_ratio(&list[i]));
	}
	fobs_write_family(writer, &size_family);
	for (int i = 0; i < n; i++)
	{
		if (list[i].has_size)
			fobs_write_sample(writer, &list[i].label, 1, list[i].size);
	}
	pfree(list);
}

static void
log_cache(const Cache *cache)
{
	char		ratio[32] = "not known";
	char		size[32] = "not known";

	if (cache->hits > 0 || cache->misses > 0)
		snprintf(ratio, sizeof(ratio), "%.4f", hit_ratio(cache));
	if (cache->has_size)
		snprintf(size, sizeof(size), UINT64_FORMAT " bytes", cache->size);
	ereport(LOG,
			(errmsg("cache \"%s\": hit ratio %s of " UINT64_FORMAT
					" look-ups, size %s",
					cache->label.value, ratio, cache->hits + cache->misses,
					size)));
}

static void
log_caches(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "fraiseql_obs caches",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);
	FobsBufferUse buffers;
	int			n;
	Cache	   *list;

	fobs_collector_read_buffers(&buffers);
	list = list_caches(fobs_app_series_snapshot(), &buffers, &n);
	for (int i = 0; i < n; i++)
		log_cache(&list[i]);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

/*
 * Writes the caches to the server log, if it is time to.  Returns in how many
 * milliseconds it is time again; a setting that is changed may change that.
 */
long
fobs_caches_log_if_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		interval = fobs_cache_log_interval_s * USECS_PER_SEC;

	if (interval == 0)
	{
		logged_at = 0;
		return NOT_DUE;
	}
	if (logged_at == 0 || logged_at > now)
		logged_at = now;
	else if (logged_at + interval <= now)
	{
		log_caches();
		logged_at = now;
	}
	return TimestampDifferenceMilliseconds(now, logged_at + interval);
}
