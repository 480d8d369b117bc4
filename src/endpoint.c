/*-------------------------------------------------------------------------
 *
 * endpoint.c
 *	  What the server and its HTTP endpoint know of each other.
 *
 * The endpoint is a background worker whose code is in a module of its own
 * (src/http, with libmicrohttpd), see worker_module.c.  It needs no connection
 * slot, so it answers when nobody can connect, and until the last session of a
 * smart shutdown has gone.
 *
 * The module has no symbol of ours and we have none of it.  What it needs
 * stands in a FobsEndpoint, which it finds by a rendezvous variable: its
 * process is the postmaster's child and so has us loaded, wherever from.
 *
 * The worker is registered at server start if a port is set, and stays until
 * the server stops.  Where none was set then, it is started later: by the
 * audit launcher, which notices that the configuration has changed, or by
 * http_restart(), also where there is no launcher (on a standby).  So it can
 * happen that two are started, of which the second leaves.
 *
 * What the worker counts is in shared memory, with one writer and any number
 * of readers, so that a server whose endpoint does not answer says so in SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/shmem.h"

#include "compat.h"
#include "counters.h"
#include "endpoint.h"
#include "health_facts.h"
#include "metrics.h"
#include "probes.h"
#include "query_metrics.h"
#include "worker_module.h"

FobsEndpointSettings fobs_endpoint_settings;

static const char *const path_names[FOBS_N_PATHS] = {
	"/metrics", "/healthz", "/health/ready", "/health/startup", "/health",
	"/", "/queries", "other"
};

static const int status_codes[FOBS_N_STATUSES] = {
	200, 304, 400, 401, 404, 405, 413, 500, 503
};

static const char *const reason_names[FOBS_N_REASONS] = {
	"deadline", "idle", "limit"
};

static const FobsFamily listener_family = {
	"fraiseql_obs_endpoint_listener_up", FOBS_GAUGE, NULL,
	"1 if the HTTP endpoint listens where its settings say, 0 if not."
};
static const FobsFamily connections_family = {
	"fraiseql_obs_endpoint_connections", FOBS_GAUGE, NULL,
	"Open connections of the HTTP endpoint."
};
static const FobsFamily requests_family = {
	"fraiseql_obs_endpoint_requests_total", FOBS_COUNTER, NULL,
	"Requests that the HTTP endpoint answered, by path and status."
};
static const FobsFamily closed_family = {
	"fraiseql_obs_endpoint_connections_closed_total", FOBS_COUNTER, NULL,
	"Connections that the HTTP endpoint closed on its own, by reason."
};

static FobsEndpoint endpoint = {
	.version = FRAISEQL_OBS_VERSION,
	.settings = &fobs_endpoint_settings,
	.status_codes = status_codes,
	.probe_timeout_ms = &fobs_health_check_timeout_ms,
	.unanswered_s = &fobs_health_unanswered_s,
	.export_metrics = fobs_metrics_export,
	.export_queries = fobs_query_metrics_export,
	.probe_role = fobs_probe_role,
	.probe_max_lag = fobs_probe_max_lag,
	.probe_answer = fobs_probe_answer,
};

static const FobsWorkerModule worker = {
	.name = "fraiseql_obs HTTP endpoint",
	.module = FOBS_ENDPOINT_MODULE,
	.function = FOBS_ENDPOINT_MAIN,
	.setting = "fraiseql_obs.http_port",
	.library = "libmicrohttpd"
};

PG_FUNCTION_INFO_V1(fraiseql_obs_http_restart);

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_endpoint_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(FobsEndpointShared));
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_endpoint_shmem_startup(void)
{
	FobsEndpointShared *shared;
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_endpoint",
							 sizeof(FobsEndpointShared), &found);
	endpoint.shared = shared;
	if (found)
		return;
	memset(shared, 0, sizeof(FobsEndpointShared));
	pg_atomic_init_u32(&shared->pid, 0);
	pg_atomic_init_u32(&shared->restart, 0);
	pg_atomic_init_u32(&shared->listening, 0);
	pg_atomic_init_u32(&shared->connections, 0);
	for (int path = 0; path < FOBS_N_PATHS; path++)
	{
		for (int status = 0; status < FOBS_N_STATUSES; status++)
			pg_atomic_init_u64(&shared->requests[path][status], 0);
	}
	for (int reason = 0; reason < FOBS_N_REASONS; reason++)
		pg_atomic_init_u64(&shared->closed[reason], 0);
}

/* Registers the worker with the postmaster, if a port is set. */
void
fobs_endpoint_register(void)
{
	*find_rendezvous_variable(FOBS_ENDPOINT_RENDEZVOUS) = &endpoint;
	if (fobs_endpoint_settings.port != 0)
		fobs_worker_module_register(&worker);
}

static bool
is_running(void)
{
	return pg_atomic_read_u32(&endpoint.shared->pid) != 0;
}

/*
 * The configuration was read anew: starts the worker if it asks for one that
 * is not there.
 */
void
fobs_endpoint_reloaded(void)
{
	if (fobs_endpoint_settings.port != 0 && !is_running())
		(void) fobs_worker_module_start(&worker);
}

static void
write_requests(FobsWriter *writer)
{
	fobs_write_family(writer, &requests_family);
	for (int path = 0; path < FOBS_N_PATHS; path++)
	{
		for (int status = 0; status < FOBS_N_STATUSES; status++)
		{
			uint64		n =
			pg_atomic_read_u64(&endpoint.shared->requests[path][status]);
			char		code[12];
			FobsLabel	labels[] = {
				{"path", path_names[path]}, {"status", code}
			};

			/* of most pairs there will never be one */
			if (n == 0 && (status != FOBS_HTTP_OK || path >= FOBS_PATH_PAGE))
				continue;
			snprintf(code, sizeof(code), "%d", status_codes[status]);
			fobs_write_sample(writer, labels, lengthof(labels), n);
		}
	}
}

/* Writes the families about the endpoint, where there is to be one. */
void
fobs_endpoint_metrics_write(FobsWriter *writer)
{
	FobsEndpointShared *shared = endpoint.shared;

	if (fobs_endpoint_settings.port == 0)
		return;
	fobs_write_family(writer, &listener_family);
	fobs_write_sample(writer, NULL, 0,
					  pg_atomic_read_u32(&shared->listening));
	fobs_write_family(writer, &connections_family);
	fobs_write_sample(writer, NULL, 0,
					  pg_atomic_read_u32(&shared->connections));
	write_requests(writer);
	fobs_write_family(writer, &closed_family);
	for (int reason = 0; reason < FOBS_N_REASONS; reason++)
	{
		FobsLabel	label = {"reason", reason_names[reason]};

		fobs_write_sample(writer, &label, 1,
						  pg_atomic_read_u64(&shared->closed[reason]));
	}
}

/*
 * http_restart() returns boolean
 *
 * Has the worker begin anew, or starts it if it is not there.  Nobody else
 * can: as it has no database, pg_terminate_backend() refuses it.  False if it
 * cannot be started, which a warning explains.
 */
Datum
fraiseql_obs_http_restart(PG_FUNCTION_ARGS)
{
	Latch	   *latch;

	fobs_counters_require();
	if (fobs_endpoint_settings.port == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the HTTP endpoint is turned off"),
				 errhint("Set \"fraiseql_obs.http_port\" in the server's configuration and reload it.")));
	if (!is_running())
		PG_RETURN_BOOL(fobs_worker_module_start(&worker));
	pg_atomic_write_u32(&endpoint.shared->restart, 1);

	/* the first worker to begin has not told it yet */
	latch = endpoint.shared->latch;
	if (latch != NULL)
		SetLatch(latch);
	PG_RETURN_BOOL(true);
}
