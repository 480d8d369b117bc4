/*-------------------------------------------------------------------------
 *
 * otlp_sender.c
 *	  What the server and its sender of spans know of each other.
 *
 * The sender is a background worker whose code is in a module of its own
 * (src/otlp, with libcurl), see worker_module.c.  The module has no symbol of
 * ours and we have none of it.  What it needs stands in a FobsOtlpSender,
 * which it finds by a rendezvous variable: its process is the postmaster's
 * child and so has us loaded, wherever from.
 *
 * The worker is registered at server start if an endpoint is set, and stays
 * until the server stops, asleep while there is none.  Where none was set at
 * start, the audit launcher, which notices that the configuration has changed,
 * starts it.  It can happen that two are started, of which the second leaves.
 *
 * Backends know nothing of it: they write spans into a ring (spans.c), which
 * the worker reads (otlp_batch.c).  What it counts is in shared memory, with
 * one writer and any number of readers, so that a server whose spans do not
 * arrive says so in its metrics.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "storage/shmem.h"

#include "compat.h"
#include "guc.h"
#include "otlp_sender.h"
#include "spans.h"
#include "worker_module.h"

/* Longest endpoint, and what is appended to it */
#define ENDPOINT_MAX	1000
#define TRACES_PATH		"/v1/traces"

FobsOtlpSettings fobs_otlp_settings;

static const FobsWorkerModule worker = {
	.name = "fraiseql_obs span sender",
	.module = FOBS_OTLP_MODULE,
	.function = FOBS_OTLP_MAIN,
	.setting = "fraiseql_obs.otlp_endpoint",
	.library = "libcurl",
};

static const char *const outcome_names[FOBS_OTLP_N_OUTCOMES] = {
	"accepted", "rejected", "failed"
};

static const char *const answer_names[FOBS_OTLP_N_ANSWERS] = {
	"none", "2xx", "3xx", "4xx", "5xx"
};

static const FobsFamily spans_family = {
	"fraiseql_obs_otlp_spans_total", FOBS_COUNTER, NULL,
	"Spans that were sent to the OpenTelemetry endpoint, those of planning and execution included, by what became of them."
};
static const FobsFamily missed_family = {
	"fraiseql_obs_otlp_missed_total", FOBS_COUNTER, NULL,
	"Statements and commits whose spans were overwritten before they could be sent."
};
static const FobsFamily pending_family = {
	"fraiseql_obs_otlp_pending", FOBS_GAUGE, NULL,
	"Statements and commits whose spans have not been sent yet."
};
static const FobsFamily requests_family = {
	"fraiseql_obs_otlp_requests_total", FOBS_COUNTER, NULL,
	"Requests to the OpenTelemetry endpoint, tries included, by the answer's status."
};

static FobsOtlpSender sender = {
	.version = FRAISEQL_OBS_VERSION,
	.settings = &fobs_otlp_settings,
	.max_spans = &fobs_max_spans,
	.spans_begin = fobs_spans_begin,
	.spans_end = fobs_spans_end,
	.read_batch = fobs_otlp_batch_read,
};

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_otlp_sender_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(FobsOtlpShared));
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_otlp_sender_shmem_startup(void)
{
	FobsOtlpShared *shared;
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_otlp_sender",
							 sizeof(FobsOtlpShared), &found);
	sender.shared = shared;
	if (found)
		return;
	pg_atomic_init_u32(&shared->pid, 0);
	pg_atomic_init_u64(&shared->next, 0);
	pg_atomic_init_u64(&shared->missed, 0);
	for (int outcome = 0; outcome < FOBS_OTLP_N_OUTCOMES; outcome++)
		pg_atomic_init_u64(&shared->spans[outcome], 0);
	for (int answer = 0; answer < FOBS_OTLP_N_ANSWERS; answer++)
		pg_atomic_init_u64(&shared->requests[answer], 0);
}

static bool
is_wanted(void)
{
	return fobs_otlp_settings.endpoint[0] != '\0';
}

/* Registers the worker with the postmaster, if an endpoint is set. */
void
fobs_otlp_sender_register(void)
{
	*find_rendezvous_variable(FOBS_OTLP_RENDEZVOUS) = &sender;
	if (is_wanted())
		fobs_worker_module_register(&worker);
}

/*
 * The configuration was read anew: starts the worker if it asks for one that
 * is not there.
 */
void
fobs_otlp_sender_reloaded(void)
{
	if (is_wanted() && pg_atomic_read_u32(&sender.shared->pid) == 0)
		(void) fobs_worker_module_start(&worker);
}

/* The rest of a URL after its scheme, or NULL if that is not one of ours */
static const char *
skip_scheme(const char *url)
{
	if (pg_strncasecmp(url, "http://", 7) == 0)
		return url + 7;
	if (pg_strncasecmp(url, "https://", 8) == 0)
		return url + 8;
	return NULL;
}

static bool
is_printable(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text <= ' ' || *text > '~')
			return false;
	}
	return true;
}

static bool
ends_with(const char *text, size_t len, const char *end)
{
	size_t		end_len = strlen(end);

	return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

/* Can the port be that of a host, if there is one behind it? */
static bool
has_valid_port(const char *host, size_t host_len)
{
	const char *end = host + host_len;
	const char *at = end;
	int			port = 0;

	while (at > host && at[-1] != ':' && at[-1] != ']')
		at--;
	if (at == host || at[-1] == ']' || at == end)
		return true;
	for (; at < end; at++)
	{
		if (*at < '0' || *at > '9')
			return false;
		port = port * 10 + (*at - '0');
		if (port > 65535)
			return false;
	}
	return port > 0;
}

/*
 * What is wrong with an endpoint, or NULL.  Some mistakes would be a puzzle
 * later on, and a password would stand where others read it.
 */
static const char *
endpoint_mistake(const char *url)
{
	const char *rest = skip_scheme(url);
	size_t		host_len;
	size_t		len;

	if (rest == NULL)
		return "It must begin with \"http://\" or \"https://\".";
	if (strlen(url) > ENDPOINT_MAX)
		return "It is too long.";
	if (!is_printable(rest))
		return "It has characters that must be percent-encoded, or a host name that must be in Punycode.";
	host_len = strcspn(rest, "/?#");
	if (host_len == 0 || rest[0] == ':')
		return "It has no host.";
	if (memchr(rest, '@', host_len) != NULL)
		return "It must have no user and no password: what identifies the sender belongs into the file of \"fraiseql_obs.otlp_headers_file\".";
	if (!has_valid_port(rest, host_len))
		return "Its port is not a number from 1 to 65535.";
	if (strpbrk(rest, "?#") != NULL)
		return "It must have neither a query nor a fragment.";
	for (len = strlen(rest); len > host_len && rest[len - 1] == '/'; len--)
		;
	if (ends_with(rest, len, TRACES_PATH))
		return "It must be without \"" TRACES_PATH "\", which is appended.";
	return NULL;
}

/* Checks a value of fraiseql_obs.otlp_endpoint. */
bool
fobs_otlp_endpoint_check(char **newval, void **extra, GucSource source)
{
	const char *mistake;

	if ((*newval)[0] == '\0')
		return true;
	mistake = endpoint_mistake(*newval);
	if (mistake != NULL)
		GUC_check_errdetail("%s", mistake);
	return mistake == NULL;
}

/* Writes samples of one family that differ in one label. */
static void
write_by(FobsWriter *writer, const FobsFamily *family, const char *name,
		 const char *const *values, pg_atomic_uint64 *counts, int n)
{
	fobs_write_family(writer, family);
	for (int i = 0; i < n; i++)
	{
		FobsLabel	label = {name, values[i]};

		fobs_write_sample(writer, &label, 1, pg_atomic_read_u64(&counts[i]));
	}
}

/* How many of the spans that are there have not been sent */
static uint64
pending(void)
{
	uint64		next = pg_atomic_read_u64(&sender.shared->next);
	uint64		begin = fobs_spans_begin();
	uint64		end = fobs_spans_end();

	return end - Min(Max(next, begin), end);
}

/* Writes the families about sending spans, where they are to be sent. */
void
fobs_otlp_metrics_write(FobsWriter *writer)
{
	FobsOtlpShared *shared = sender.shared;

	if (!is_wanted())
		return;
	write_by(writer, &spans_family, "outcome", outcome_names, shared->spans,
			 FOBS_OTLP_N_OUTCOMES);
	fobs_write_family(writer, &missed_family);
	fobs_write_sample(writer, NULL, 0, pg_atomic_read_u64(&shared->missed));
	fobs_write_family(writer, &pending_family);
	fobs_write_sample(writer, NULL, 0, pending());
	write_by(writer, &requests_family, "status", answer_names,
			 shared->requests, FOBS_OTLP_N_ANSWERS);
}
