/*-------------------------------------------------------------------------
 *
 * pools.c
 *	  Connection pools of the application.
 *
 * record_pool() says how a pool stands, now and then; a series of app_series.c
 * has what was said last.  Connections are active or idle, and their sum is
 * the size of the pool.  Who waits for one is no connection, and the most that
 * a pool may have is a limit: these are families of their own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "app_labels.h"
#include "app_metrics.h"
#include "app_refs.h"
#include "app_series.h"
#include "compat.h"
#include "pools.h"

#define STORE	"fraiseql_obs_pool"

PG_FUNCTION_INFO_V1(fraiseql_obs_record_pool);

static const FobsAppFamily pools = {
	STORE, sizeof(STORE) - 1, FOBS_APP_POOL, true
};

/* Indexed by FobsAppPoolPart: the parameters, and where each is shown */
static const char *const part_names[] = {"active", "idle", "waiting", "max"};

static const FobsFamily connections_family = {
	"fraiseql_obs_pool_connections", FOBS_GAUGE, NULL,
	"Connections of the application's pools, by state."
};
static const FobsFamily waiting_family = {
	"fraiseql_obs_pool_waiting", FOBS_GAUGE, NULL,
	"Requests that wait for a connection of a pool."
};
static const FobsFamily max_family = {
	"fraiseql_obs_pool_connections_max", FOBS_GAUGE, NULL,
	"Connections that a pool may have."
};

/* record_pool(pool, active, idle, waiting, max); the last two may be NULL */
Datum
fraiseql_obs_record_pool(PG_FUNCTION_ARGS)
{
	FobsAppObservation observation = {0};
	text	   *pool;
	FobsAppKey	key;
	FobsAppRefs *found;

	if (!fobs_app_is_recording())
		PG_RETURN_VOID();
	fobs_app_require(fcinfo, 0, "pool");
	fobs_app_require(fcinfo, 1, "number of active connections");
	fobs_app_require(fcinfo, 2, "number of idle connections");
	pool = PG_GETARG_TEXT_PP(0);
	if (VARSIZE_ANY_EXHDR(pool) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a pool must not be empty")));
	for (int i = 0; i < FOBS_POOL_PARTS; i++)
	{
		int32		n;

		if (PG_ARGISNULL(i + 1))
			continue;
		n = PG_GETARG_INT32(i + 1);
		if (n < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"%s\" of a pool is negative",
							part_names[i]),
					 errhint("What is not known is NULL.")));
		observation.counts[i] = (uint64) n + 1;
	}
	observation.at = GetCurrentTimestamp();

	key.len = 0;
	fobs_app_key_add(&key, "pool", 4);
	fobs_app_key_add(&key, VARDATA_ANY(pool), VARSIZE_ANY_EXHDR(pool));
	found = fobs_app_refs_find(&key);
	if (!fobs_app_record_by_ref(&found->refs[0], &observation))
	{
		FobsAppLabels labels = {0};

		fobs_app_labels_add(&labels, "pool", VARDATA_ANY(pool),
							VARSIZE_ANY_EXHDR(pool));
		found->truncated = labels.truncated;
		fobs_app_record(&pools, &labels, &found->refs[0], &observation);
	}
	if (found->truncated)
		fobs_app_series_count_truncated();
	PG_RETURN_VOID();
}

static void
write_part(FobsWriter *writer, const FobsAppSeriesCopy *series,
		   FobsAppPoolPart part, bool with_state)
{
	FobsLabel	labels[FOBS_MAX_LABELS];
	int			n = series->nlabels;

	if (series->counts[part] == 0)
		return;
	fobs_app_labels_unpack(series->labels, n, labels);
	if (with_state)
	{
		labels[n].name = "state";
		labels[n++].value = part_names[part];
	}
	fobs_write_sample(writer, labels, n, series->counts[part] - 1);
}

/* Writes the families about pools, as far as there are any. */
void
fobs_pools_write(FobsWriter *writer, const FobsAppSnapshot *snapshot)
{
	const FobsAppFamilyCopy *copy = fobs_app_family(snapshot, STORE);
	int			n = copy != NULL ? copy->nseries : 0;

	fobs_write_family(writer, &connections_family);
	for (int i = 0; i < n; i++)
	{
		write_part(writer, copy->series[i], FOBS_POOL_ACTIVE, true);
		write_part(writer, copy->series[i], FOBS_POOL_IDLE, true);
	}
	fobs_write_family(writer, &waiting_family);
	for (int i = 0; i < n; i++)
		write_part(writer, copy->series[i], FOBS_POOL_WAITING, false);
	fobs_write_family(writer, &max_family);
	for (int i = 0; i < n; i++)
		write_part(writer, copy->series[i], FOBS_POOL_MAX, false);
}
