/*-------------------------------------------------------------------------
 *
 * fraiseql_obs.c
 *	  Module entry.
 *
 * Loaded by shared_preload_libraries, it defines the settings, reserves shared
 * memory and installs the hooks.  Loaded in any other way it does nothing, and
 * functions that need shared memory say so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "app_series.h"
#include "audit_databases.h"
#include "audit_guard.h"
#include "audit_worker.h"
#include "audit_ring.h"
#include "canary.h"
#include "compat.h"
#include "context.h"
#include "counters.h"
#include "endpoint.h"
#include "errors.h"
#include "guc.h"
#include "health_facts.h"
#include "histogram.h"
#include "hooks.h"
#include "metrics.h"
#include "operations.h"
#include "otlp_sender.h"
#include "queries.h"
#include "slowlog.h"
#include "spans.h"

PG_MODULE_MAGIC_EXT(.name = "fraiseql_obs",.version = FRAISEQL_OBS_VERSION);

PGDLLEXPORT void _PG_init(void);

static shmem_request_hook_type prev_shmem_request = NULL;
static shmem_startup_hook_type prev_shmem_startup = NULL;

static void
shmem_request(void)
{
	if (prev_shmem_request)
		prev_shmem_request();

	fobs_counters_shmem_request();
	fobs_series_pins_shmem_request();
	fobs_queries_shmem_request();
	fobs_operations_shmem_request();
	fobs_app_series_shmem_request();
	fobs_errors_shmem_request();
	fobs_slowlog_shmem_request();
	fobs_spans_shmem_request();
	fobs_context_shmem_request();
	fobs_metrics_shmem_request();
	fobs_audit_databases_shmem_request();
	fobs_audit_ring_shmem_request();
	fobs_health_shmem_request();
	fobs_endpoint_shmem_request();
	fobs_otlp_sender_shmem_request();
	fobs_canary_shmem_request();
}

static void
shmem_startup(void)
{
	if (prev_shmem_startup)
		prev_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	fobs_counters_shmem_startup();
	fobs_series_pins_shmem_startup();
	fobs_queries_shmem_startup();
	fobs_operations_shmem_startup();
	fobs_app_series_shmem_startup();
	fobs_errors_shmem_startup();
	fobs_slowlog_shmem_startup();
	fobs_spans_shmem_startup();
	fobs_context_shmem_startup();
	fobs_metrics_shmem_startup();
	fobs_audit_databases_shmem_startup();
	fobs_audit_ring_shmem_startup();
	fobs_health_shmem_startup();
	fobs_endpoint_shmem_startup();
	fobs_otlp_sender_shmem_startup();
	fobs_canary_shmem_startup();
	LWLockRelease(AddinShmemInitLock);
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	fobs_guc_init();
	fobs_histogram_init();

	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;

	fobs_hooks_install();
	fobs_audit_guard_install();

	/* the servers of pg_upgrade are no servers for anybody else */
	if (IsBinaryUpgrade)
		return;
	fobs_audit_launcher_register();
	fobs_endpoint_register();
	fobs_otlp_sender_register();
	fobs_canary_register();
}
