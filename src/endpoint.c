/*-------------------------------------------------------------------------
 *
 * endpoint.c
 *	  What the server and its HTTP endpoint know of each other.
 *
 * The endpoint is a background worker whose code is in a module of its own
 * (src/http), so that no HTTP or TLS code stands in the postmaster or in a
 * user's backend.  It has shared memory and no database, and needs no
 * connection slot, so it answers when nobody can connect: it runs from the
 * moment that the postmaster does, through recovery, on any standby, and
 * until the last session of a smart shutdown has gone.
 *
 * The module has no symbol of ours and we have none of it.  What it needs
 * stands in a FobsEndpoint, which it finds by a rendezvous variable: its
 * process is the postmaster's child and so has us loaded, wherever from.
 * Only where the module's file is do we know: beside our own.
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

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/shmem.h"

#include "compat.h"
#include "counters.h"
#include "endpoint.h"
#include "metrics.h"
#include "probes.h"

#define RESTART_S		1

FobsEndpointSettings fobs_endpoint_settings;

static const char *const path_names[FOBS_N_PATHS] = {
	"/metrics", "/healthz", "/health/ready", "/health/startup", "/health",
	"other"
};

static const int status_codes[FOBS_N_STATUSES] = {
	200, 400, 401, 404, 405, 413, 500, 503
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
	.export_metrics = fobs_metrics_export,
	.probe_role = fobs_probe_role,
	.probe_max_lag = fobs_probe_max_lag,
	.probe_answer = fobs_probe_answer,
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

/* Sets the path of the endpoint's module, without suffix; false: no module */
static bool
find_module(char *path)
{
	Dl_info		self;
	struct stat status;
	char		file[MAXPGPATH];

	if (dladdr(&fobs_endpoint_settings, &self) == 0 ||
		self.dli_fname == NULL)
		return false;
	strlcpy(path, self.dli_fname, MAXPGPATH);
	get_parent_directory(path);
	join_path_components(path, path, FOBS_ENDPOINT_MODULE);
	snprintf(file, MAXPGPATH, "%s%s", path, DLSUFFIX);
	return stat(file, &status) == 0;
}

/* Fills in what is registered; false, with a warning, if there is no module */
static bool
describe_worker(BackgroundWorker *worker)
{
	char		module[MAXPGPATH];

	if (!find_module(module))
	{
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("there is no HTTP endpoint, because module \"%s\" is not installed",
						FOBS_ENDPOINT_MODULE),
				 errdetail("\"fraiseql_obs.http_port\" asks for it."),
				 errhint("Install fraiseql_obs built where pkg-config finds libmicrohttpd.")));
		return false;
	}
	memset(worker, 0, sizeof(BackgroundWorker));
	strlcpy(worker->bgw_name, "fraiseql_obs HTTP endpoint", BGW_MAXLEN);
	strlcpy(worker->bgw_type, worker->bgw_name, BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker->bgw_start_time = BgWorkerStart_PostmasterStart;
	worker->bgw_restart_time = RESTART_S;
	strlcpy(worker->bgw_function_name, FOBS_ENDPOINT_MAIN, BGW_MAXLEN);

	/* a path that is too long may still be among dynamic_library_path */
	if (strlen(module) < sizeof(worker->bgw_library_name))
		strcpy(worker->bgw_library_name, module);
	else
		strlcpy(worker->bgw_library_name, FOBS_ENDPOINT_MODULE, BGW_MAXLEN);
	return true;
}

/* Registers the worker with the postmaster, if a port is set. */
void
fobs_endpoint_register(void)
{
	BackgroundWorker worker;

	*find_rendezvous_variable(FOBS_ENDPOINT_RENDEZVOUS) = &endpoint;
	if (fobs_endpoint_settings.port != 0 && describe_worker(&worker))
		RegisterBackgroundWorker(&worker);
}

/* Starts the worker from a process that is not the postmaster. */
static bool
start_worker(void)
{
	BackgroundWorker worker;

	if (!describe_worker(&worker))
		return false;
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not start process \"%s\"", worker.bgw_name),
			 errhint("Increase \"max_worker_processes\".")));
	return false;
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
		(void) start_worker();
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
			if (n == 0 && (status != FOBS_HTTP_OK || path == FOBS_PATH_OTHER))
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
		PG_RETURN_BOOL(start_worker());
	pg_atomic_write_u32(&endpoint.shared->restart, 1);

	/* the first worker to begin has not told it yet */
	latch = endpoint.shared->latch;
	if (latch != NULL)
		SetLatch(latch);
	PG_RETURN_BOOL(true);
}
