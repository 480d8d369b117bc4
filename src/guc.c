/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings.
 *
 * Some settings have an environment variable (FRAISEQL_...), read when the
 * postmaster starts.  A valid value becomes the setting's boot value and is
 * then set with source "environment variable", so that postgresql.conf, ALTER
 * SYSTEM and SET override it, and taking those away brings it back.
 *
 * The request context (operation_name and its kin) is the application's word
 * for what it is doing: anybody may set it, nothing is ever refused, and
 * context.c bounds and cleans it on use.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "app_series.h"
#include "audit_guard.h"
#include "audit_worker.h"
#include "caches.h"
#include "canary.h"
#include "context.h"
#include "endpoint.h"
#include "guc.h"
#include "health_facts.h"
#include "otlp_sender.h"

/*
 * The main switch, and the one of metrics.  With either off, statements are
 * not counted; what was counted stays and can be read.
 */
static bool enabled;
static bool metrics_enabled;
bool		fobs_counting = false;
bool		fobs_not_counting = true;

/*
 * The switch of tracing.  With it off, no trace is taken in, whatever carries
 * it; functions that read and make headers work on.
 */
static bool tracing_enabled;
bool		fobs_tracing = false;

/* Statements are looked at for the one or for the other. */
bool		fobs_observing = false;

/*
 * Which part of the traces that start here is sampled.  For a trace that comes
 * from elsewhere, its traceparent says.
 */
double		fobs_trace_sample_rate;

/*
 * From which duration on a statement is slow.  Administrators who want to see
 * everything in slow_queries() for a moment set it to 0.001 in one session or
 * role; the ring is small, so not for long.
 */
static double slow_query_threshold_ms;
uint64		fobs_slow_query_threshold_ns;

/*
 * Whether the text of slow and failed statements is kept and logged.  It holds
 * whatever literals the application puts into it, hence off by default.
 */
bool		fobs_include_query_bodies;

/*
 * Lines a second that slow statements may add to the server log; what is
 * over is counted.  0 logs none.
 */
int			fobs_slow_query_log_rate;

/*
 * Which statements are told apart by query: those that clients send (top),
 * also those inside of functions (all), or none, which counts nothing.
 */
int			fobs_track;

/* How many series each store holds before the least used give way. */
int			fobs_max_queries;
int			fobs_max_operations;

/* How many series the application has, of which none gives way. */
int			fobs_max_app_series;

/* How many spans are kept; the newest replace the oldest. */
int			fobs_max_spans;

/*
 * How long the audit log is kept, in minutes, because those are the largest
 * unit that a setting can have.  create_audit_log() and reports read it.
 */
static int	audit_log_retention_min;

/*
 * How many operations of the audit log can be in transactions that go on, or
 * rolled back and not yet written; and what is done when there are more: they
 * go on and may be lost (but counted), wait for so many milliseconds and are
 * refused then, or are refused at once.
 */
int			fobs_audit_ring_slots;
int			fobs_audit_on_failure;
int			fobs_audit_block_timeout;

/*
 * Whether statements that fail leave an entry in the audit log, though the
 * application has logged nothing, if it has named its operation.
 */
bool		fobs_audit_failures;

/* The request context, as the application sets it. */
char	   *fobs_operation_name;
char	   *fobs_operation_type;
char	   *fobs_request_id;
char	   *fobs_user_id;
char	   *fobs_tenant_id;
char	   *fobs_traceparent;
char	   *fobs_tracestate;

/*
 * Settings of the application that name its user and tenant, taken in order
 * where ours are empty.
 */
static char *user_id_sources;
static char *tenant_id_sources;

uint64		fobs_context_generation = 1;

static const struct config_enum_entry track_options[] = {
	{"none", FOBS_TRACK_NONE, false},
	{"top", FOBS_TRACK_TOP, false},
	{"all", FOBS_TRACK_ALL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry on_failure_options[] = {
	{"continue", FOBS_ON_FAILURE_CONTINUE, false},
	{"block", FOBS_ON_FAILURE_BLOCK, false},
	{"fail_operation", FOBS_ON_FAILURE_FAIL_OPERATION, false},
	{NULL, 0, false}
};

static const struct config_enum_entry compression_options[] = {
	{"none", FOBS_OTLP_COMPRESSION_NONE, false},
	{"gzip", FOBS_OTLP_COMPRESSION_GZIP, false},
	{NULL, 0, false}
};

#define THRESHOLD_MIN_MS	0.001
#define THRESHOLD_MAX_MS	((double) INT_MAX)

static void
assign_slow_query_threshold(double newval, void *extra)
{
	fobs_slow_query_threshold_ns = (uint64) (newval * 1000000.0);
}

static void
assign_counting(bool newval)
{
	fobs_counting = newval;
	fobs_not_counting = !newval;
	fobs_observing = fobs_counting || fobs_tracing;
}

static void
assign_tracing(bool newval)
{
	fobs_tracing = newval;
	fobs_observing = fobs_counting || fobs_tracing;
	fobs_context_generation++;
	fobs_context_stale = true;
}

static void
assign_enabled(bool newval, void *extra)
{
	assign_counting(newval && metrics_enabled);
	assign_tracing(newval && tracing_enabled);
}

static void
assign_metrics_enabled(bool newval, void *extra)
{
	assign_counting(newval && enabled);
}

static void
assign_tracing_enabled(bool newval, void *extra)
{
	assign_tracing(newval && enabled);
}

static void
assign_context(const char *newval, void *extra)
{
	fobs_context_generation++;
	fobs_context_stale = true;
}

static bool
check_sources(char **newval, void **extra, GucSource source)
{
	return fobs_context_sources_check(*newval);
}

static void
assign_user_id_sources(const char *newval, void *extra)
{
	fobs_context_sources_assign(FOBS_SOURCE_USER, newval);
}

static void
assign_tenant_id_sources(const char *newval, void *extra)
{
	fobs_context_sources_assign(FOBS_SOURCE_TENANT, newval);
}

/* Reads an environment variable; NULL unless it is there and not empty. */
static const char *
env_value(const char *variable)
{
	const char *value = getenv(variable);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

static void
warn_environment(const char *variable, const char *value, const char *range)
{
	ereport(WARNING,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%s\" for environment variable \"%s\"",
					value, variable),
			 errdetail("The value must be %s; the default is used instead.",
					   range)));
}

/*
 * Defines a boolean setting with a default that an environment variable may
 * change.
 */
static void
define_bool(const char *name, const char *variable,
			const char *description, bool *storage, bool boot_value,
			GucBoolAssignHook assign)
{
	const char *value = env_value(variable);
	bool		seeded = value != NULL;

	if (seeded)
	{
		bool		parsed;

		if (parse_bool(value, &parsed))
			boot_value = parsed;
		else
		{
			warn_environment(variable, value, "a Boolean");
			seeded = false;
		}
	}

	DefineCustomBoolVariable(name, description, NULL, storage, boot_value,
							 PGC_SUSET, 0, NULL, assign, NULL);
	if (seeded)
		SetConfigOption(name, boot_value ? "on" : "off",
						PGC_POSTMASTER, PGC_S_ENV_VAR);
}

/* Likewise, a real number; "range" says in words what may be set. */
static void
define_real(const char *name, const char *variable, const char *description,
			double *storage, double boot_value, double min, double max,
			const char *range, int unit, GucRealAssignHook assign)
{
	const char *value = env_value(variable);
	bool		seeded = value != NULL;

	if (seeded)
	{
		double		parsed;

		if (parse_real(value, &parsed, unit, NULL) &&
			parsed >= min && parsed <= max)
			boot_value = parsed;
		else
		{
			warn_environment(variable, value, range);
			seeded = false;
		}
	}

	DefineCustomRealVariable(name, description, NULL, storage,
							 boot_value, min, max,
							 PGC_SUSET, unit, NULL, assign, NULL);
	if (seeded)
		SetConfigOption(name, psprintf("%.17g", boot_value),
						PGC_POSTMASTER, PGC_S_ENV_VAR);
}

/*
 * Takes a whole number from an environment variable, if that is set; true if
 * so.  A value that is not valid is a warning; "range" says in words what is.
 */
static bool
seed_int(const char *variable, int *boot_value, int min, int max, int unit,
		 const char *range)
{
	const char *value = env_value(variable);
	int			parsed;

	if (value == NULL)
		return false;
	if (!parse_int(value, &parsed, unit, NULL) || parsed < min || parsed > max)
	{
		warn_environment(variable, value, range);
		return false;
	}
	*boot_value = parsed;
	return true;
}

#define MINUTES_PER_DAY		(24 * 60)
#define RETENTION_MAX_DAYS	36500

static void
define_audit_log_retention(void)
{
	const char *name = "fraiseql_obs.audit_log_retention";
	int			days = 90;
	bool		seeded = seed_int("FRAISEQL_AUDIT_LOG_RETENTION_DAYS", &days,
								  1, RETENTION_MAX_DAYS, 0,
								  "days from 1 to 36500");

	DefineCustomIntVariable(name,
							"Sets how long the audit log is kept.",
							NULL,
							&audit_log_retention_min,
							days * MINUTES_PER_DAY, MINUTES_PER_DAY,
							RETENTION_MAX_DAYS * MINUTES_PER_DAY,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	if (seeded)
		SetConfigOption(name, psprintf("%dd", days),
						PGC_POSTMASTER, PGC_S_ENV_VAR);
}

static void
define_health_check_timeout(void)
{
	const char *name = "fraiseql_obs.health_check_timeout";
	int			boot_value = 5000;
	bool		seeded = seed_int("FRAISEQL_HEALTH_CHECK_TIMEOUT_MS",
								  &boot_value, 1, INT_MAX, GUC_UNIT_MS,
								  "milliseconds from 1 to 2147483647");

	DefineCustomIntVariable(name,
							"Sets how long health checks may take.",
							NULL,
							&fobs_health_check_timeout_ms,
							boot_value, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	if (seeded)
		SetConfigOption(name, psprintf("%d", boot_value),
						PGC_POSTMASTER, PGC_S_ENV_VAR);
}

/* From when on a health check warns or fails; zero is never. */
static void
define_limit(const char *name, const char *description, int *storage,
			 int boot_value, int max, int unit)
{
	DefineCustomIntVariable(name, description, "Zero disables the check.",
							storage, boot_value, 0, max,
							PGC_SIGHUP, unit, NULL, NULL, NULL);
}

static void
define_health_limits(void)
{
	FobsHealthLimits *limits = &fobs_health_limits;

	define_limit("fraiseql_obs.health_connections_warning",
				 "Sets the percentage of connections in use that degrades the server's health.",
				 &limits->connections_warning, 80, 100, 0);
	define_limit("fraiseql_obs.health_connections_failure",
				 "Sets the percentage of connections in use that makes the server not ready.",
				 &limits->connections_failure, 0, 100, 0);
	define_limit("fraiseql_obs.health_lag_warning",
				 "Sets the lag of replication that degrades the server's health.",
				 &limits->lag_warning, 256 * 1024, INT_MAX, GUC_UNIT_KB);
	define_limit("fraiseql_obs.health_lag_failure",
				 "Sets the lag of replication that makes a replica not ready.",
				 &limits->lag_failure, 0, INT_MAX, GUC_UNIT_KB);
	define_limit("fraiseql_obs.health_replay_warning",
				 "Sets for how long replay must not advance to degrade the server's health.",
				 &limits->replay_warning, 300, INT_MAX, GUC_UNIT_S);
	define_limit("fraiseql_obs.health_transaction_warning",
				 "Sets the age of an open transaction that degrades the server's health.",
				 &limits->transaction_warning, 3600, INT_MAX, GUC_UNIT_S);
	define_limit("fraiseql_obs.health_xid_age_warning",
				 "Sets how many transactions back one that is not frozen degrades the server's health.",
				 &limits->xid_age_warning, 1000000000, 2000000000, 0);
	define_limit("fraiseql_obs.health_disk_warning",
				 "Sets the percentage of disk space below which the server's health is degraded.",
				 &limits->disk_warning, 10, 100, 0);
	define_limit("fraiseql_obs.health_disk_failure",
				 "Sets the percentage of disk space below which the server is not ready.",
				 &limits->disk_failure, 0, 100, 0);
	define_limit("fraiseql_obs.health_seal_lag_warning",
				 "Sets for how long an audit log must not be sealed to degrade the server's health.",
				 &limits->seal_lag_warning, 300, INT_MAX, GUC_UNIT_S);
	define_limit("fraiseql_obs.health_canary_warning",
				 "Sets for how long the canary must not have succeeded to degrade the server's health.",
				 &limits->canary_warning, 60, INT_MAX, GUC_UNIT_S);
	define_limit("fraiseql_obs.health_canary_failure",
				 "Sets for how long the canary must not have succeeded to make the server not ready.",
				 &limits->canary_failure, 0, INT_MAX, GUC_UNIT_S);
	define_limit("fraiseql_obs.health_crash_warning",
				 "Sets for how long a crash degrades the server's health.",
				 &limits->crash_warning, 3600, INT_MAX, GUC_UNIT_S);
}

static void
define_canary(void)
{
	DefineCustomIntVariable("fraiseql_obs.health_canary_interval",
							"Sets how often a background worker tries to read and write.",
							"Zero disables the worker.",
							&fobs_canary_interval_s, 0, 0, 3600,
							PGC_POSTMASTER, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.health_canary_database",
							   "Sets the database that this worker connects to.",
							   NULL,
							   &fobs_canary_database, "postgres",
							   PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

static void
define_context(const char *name, const char *description, char **storage)
{
	DefineCustomStringVariable(name, description, NULL, storage, "",
							   PGC_USERSET, 0, NULL, assign_context, NULL);
}

/* Those of the HTTP endpoint; its worker reads them anew at SIGHUP. */
static void
define_endpoint(void)
{
	FobsEndpointSettings *settings = &fobs_endpoint_settings;

	DefineCustomIntVariable("fraiseql_obs.http_port",
							"Sets the port of the HTTP endpoint.",
							"0 turns the endpoint off.",
							&settings->port, 0, 0, 65535,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.http_listen_addresses",
							   "Lists where the HTTP endpoint listens: addresses, host names and absolute paths of Unix-domain sockets.",
							   NULL,
							   &settings->listen_addresses, "127.0.0.1",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.http_token_file",
							   "Sets the file with the tokens that the HTTP endpoint asks for.",
							   NULL,
							   &settings->token_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.http_tls_cert_file",
							   "Sets the file with the certificate of the HTTP endpoint.",
							   "Without one, it does not speak TLS.",
							   &settings->tls_cert_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.http_tls_key_file",
							   "Sets the file with the private key of the HTTP endpoint.",
							   NULL,
							   &settings->tls_key_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomBoolVariable("fraiseql_obs.http_status_page",
							 "Enables the status page of the HTTP endpoint.",
							 NULL,
							 &settings->status_page, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* Those of the sender of spans; its worker reads them anew at SIGHUP. */
static void
define_otlp(void)
{
	FobsOtlpSettings *settings = &fobs_otlp_settings;

	DefineCustomStringVariable("fraiseql_obs.otlp_endpoint",
							   "Sets the base URL of the OpenTelemetry endpoint that spans are sent to.",
							   "An empty string turns sending off.",
							   &settings->endpoint, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   fobs_otlp_endpoint_check, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.otlp_headers_file",
							   "Sets the file with headers that identify the sender of spans to the endpoint.",
							   NULL,
							   &settings->headers_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.otlp_ca_file",
							   "Sets the file with the certificates that the OpenTelemetry endpoint's must be signed by.",
							   "Without one, those that the system trusts.",
							   &settings->ca_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomEnumVariable("fraiseql_obs.otlp_compression",
							 "Sets how spans are compressed that are sent.",
							 NULL,
							 &settings->compression,
							 FOBS_OTLP_COMPRESSION_NONE, compression_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.otlp_interval",
							"Sets how long spans may wait to be sent together.",
							NULL,
							&settings->interval_ms, 1000, 10, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.otlp_timeout",
							"Sets how long the OpenTelemetry endpoint may take to answer.",
							NULL,
							&settings->timeout_ms, 10000, 100, 600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * Defines all settings.  Only in the postmaster (or a process that it started
 * by exec), because some of them size shared memory.
 */
void
fobs_guc_init(void)
{
	define_bool("fraiseql_obs.enabled", "FRAISEQL_OBSERVABILITY_ENABLED",
				"Enables everything that this extension observes.",
				&enabled, true, assign_enabled);
	define_bool("fraiseql_obs.metrics_enabled", "FRAISEQL_METRICS_ENABLED",
				"Enables counting statements and errors, and recording metrics of the application.",
				&metrics_enabled, true, assign_metrics_enabled);
	define_bool("fraiseql_obs.tracing_enabled", "FRAISEQL_TRACING_ENABLED",
				"Enables following requests by their trace context.",
				&tracing_enabled, true, assign_tracing_enabled);
	define_real("fraiseql_obs.trace_sample_rate", "FRAISEQL_TRACE_SAMPLE_RATE",
				"Sets which part of the traces that start here is sampled.",
				&fobs_trace_sample_rate, 1.0, 0.0, 1.0,
				"a number from 0 to 1", 0, NULL);
	define_real("fraiseql_obs.slow_query_threshold",
				"FRAISEQL_SLOW_QUERY_THRESHOLD_MS",
				"Sets the duration from which on a statement is slow.",
				&slow_query_threshold_ms, 100.0,
				THRESHOLD_MIN_MS, THRESHOLD_MAX_MS,
				"milliseconds from 0.001 to 2147483647", GUC_UNIT_MS,
				assign_slow_query_threshold);
	define_bool("fraiseql_obs.include_query_bodies",
				"FRAISEQL_INCLUDE_QUERY_BODIES",
				"Enables keeping and logging the text of slow and failed statements.",
				&fobs_include_query_bodies, false, NULL);
	DefineCustomIntVariable("fraiseql_obs.slow_query_log_rate",
							"Sets how many slow statements a second are logged.",
							NULL,
							&fobs_slow_query_log_rate, 10, 0, 10000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("fraiseql_obs.track",
							 "Sets which statements are counted.",
							 NULL,
							 &fobs_track, FOBS_TRACK_TOP, track_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.max_queries",
							"Sets how many queries are told apart.",
							NULL,
							&fobs_max_queries, 1000, 100, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.max_operations",
							"Sets how many operations are told apart.",
							NULL,
							&fobs_max_operations, 500, 10, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.max_app_series",
							"Sets how many series of the application's own metrics are told apart.",
							NULL,
							&fobs_max_app_series, 2000, 10, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.gauge_expiry",
							"Sets how long a gauge of the application is shown after it was last set.",
							"Zero shows it for ever.",
							&fobs_gauge_expiry_s, 900, 0, 30 * SECS_PER_DAY,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.cache_log_interval",
							"Sets how often hit ratio and size of caches are logged.",
							"Zero logs none.",
							&fobs_cache_log_interval_s, 0, 0, 7 * SECS_PER_DAY,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomIntVariable("fraiseql_obs.max_spans",
							"Sets how many statements and commits are kept as spans.",
							NULL,
							&fobs_max_spans, 4096, 16, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);

	define_audit_log_retention();
	DefineCustomBoolVariable("fraiseql_obs.audit_guard",
							 "Enables that the audit log is append-only for superusers, too.",
							 NULL,
							 &fobs_audit_guard, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("fraiseql_obs.audit_worker",
							 "Enables the background workers that keep audit logs.",
							 NULL,
							 &fobs_audit_worker, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.audit_seal_interval",
							"Sets how often new rows of an audit log are sealed.",
							NULL,
							&fobs_audit_seal_interval_s, 10, 1, 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.audit_ring_slots",
							"Sets how many operations of the audit log are kept until their outcome is written.",
							NULL,
							&fobs_audit_ring_slots, 1024, 64, 65536,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("fraiseql_obs.audit_on_failure",
							 "Sets what happens to an operation that the audit ring has no slot for.",
							 NULL,
							 &fobs_audit_on_failure, FOBS_ON_FAILURE_CONTINUE,
							 on_failure_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fraiseql_obs.audit_block_timeout",
							"Sets how long an operation waits for a slot of the audit ring.",
							NULL,
							&fobs_audit_block_timeout, 1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("fraiseql_obs.audit_failures",
							 "Enables audit log entries of failed statements that log none themselves.",
							 NULL,
							 &fobs_audit_failures, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("fraiseql_obs.audit_signing_key_file",
							   "Sets the file with the private key that signs checkpoints of audit logs.",
							   NULL,
							   &fobs_audit_signing_key_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	define_health_check_timeout();
	define_health_limits();
	define_endpoint();
	define_otlp();
	define_canary();
	define_context("fraiseql_obs.operation_name",
				   "Sets the name of the operation that the application performs.",
				   &fobs_operation_name);
	define_context("fraiseql_obs.operation_type",
				   "Sets the type of the operation, such as query or mutation.",
				   &fobs_operation_type);
	define_context("fraiseql_obs.request_id",
				   "Sets the application's identifier of the current request.",
				   &fobs_request_id);
	define_context("fraiseql_obs.user_id",
				   "Sets the application's user behind the current request.",
				   &fobs_user_id);
	define_context("fraiseql_obs.tenant_id",
				   "Sets the application's tenant behind the current request.",
				   &fobs_tenant_id);
	define_context("fraiseql_obs.traceparent",
				   "Sets the trace of the current request, as a W3C traceparent.",
				   &fobs_traceparent);
	define_context("fraiseql_obs.tracestate",
				   "Sets what else the trace of the current request carries, as a W3C tracestate.",
				   &fobs_tracestate);
	DefineCustomStringVariable("fraiseql_obs.user_id_sources",
							   "Lists settings that hold the user where \"fraiseql_obs.user_id\" is empty.",
							   NULL,
							   &user_id_sources,
							   "app.user_id, app.contact_id",
							   PGC_SUSET, 0,
							   check_sources, assign_user_id_sources, NULL);
	DefineCustomStringVariable("fraiseql_obs.tenant_id_sources",
							   "Lists settings that hold the tenant where \"fraiseql_obs.tenant_id\" is empty.",
							   NULL,
							   &tenant_id_sources,
							   "app.tenant_id, fraiseql.tenant_id",
							   PGC_SUSET, 0,
							   check_sources, assign_tenant_id_sources, NULL);

	MarkGUCPrefixReserved("fraiseql_obs");
}
