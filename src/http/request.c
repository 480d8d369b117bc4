/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Requests of the HTTP endpoint, and their answers.
 *
 * libmicrohttpd has read the request and calls us for an answer.  That is made
 * in a memory context of its own, which lives until the answer is sent.
 * Whatever is raised on the way is caught here, is in the server log, and
 * becomes status 500: no longjmp may cross libmicrohttpd's frames.
 *
 * libmicrohttpd calls twice, before and after the body.  As nothing here takes
 * a body, a request with one is answered at the first call, which makes
 * libmicrohttpd close the connection.
 *
 * Paths are compared as they were sent, without any decoding.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef FRAISEQL_OBS_HAVE_ZLIB
#include <zlib.h>
#endif

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "accept.h"
#include "compat.h"
#include "connection.h"
#include "disks.h"
#include "request.h"
#include "status_page.h"
#include "token.h"

/* From which size on an answer is a large one, and is worth compressing */
#define LARGE_SIZE		(64 * 1024)
#define GZIP_SIZE		1024

#define PLAIN_TYPE		"text/plain; charset=utf-8"
#define MAX_HEADERS		6

/* A request under way */
typedef struct Request
{
	struct MHD_Connection *http;
	FobsConnection *connection;
	const char *method;
	FobsEndpointPath path;
} Request;

/* Its answer, in the current memory context */
typedef struct Answer
{
	FobsEndpointStatus status;
	StringInfoData body;
	const char *type;
	const char *caching;		/* NULL: no-store */
	int			nheaders;
	const char *headers[MAX_HEADERS][2];	/* more of them */
} Answer;

/* The paths that there are; one has several names */
static const struct
{
	const char *url;
	FobsEndpointPath path;
}			urls[] =

{
	{"/metrics", FOBS_PATH_METRICS},
	{"/healthz", FOBS_PATH_LIVE},
	{"/livez", FOBS_PATH_LIVE},
	{"/health/ready", FOBS_PATH_READY},
	{"/readyz", FOBS_PATH_READY},
	{"/readiness", FOBS_PATH_READY},
	{"/health/startup", FOBS_PATH_STARTUP},
	{"/health", FOBS_PATH_HEALTH},
	{"/", FOBS_PATH_PAGE},
	{"/queries", FOBS_PATH_QUERIES},
};

static const char *const reasons[FOBS_N_STATUSES] = {
	"OK", "not modified", "bad request", "unauthorized", "not found", "method not allowed",
	"content too large", "internal server error", "service unavailable"
};

/* The formats of /metrics, and what each is called in HTTP */
static const struct
{
	const char *name;
	FobsFormat	format;
	const char *type;
}			formats[] =

{
	{"prometheus", FOBS_FORMAT_PROMETHEUS,
	"text/plain; version=0.0.4; charset=utf-8"},
	{"openmetrics", FOBS_FORMAT_OPENMETRICS,
	"application/openmetrics-text; version=1.0.0; charset=utf-8"},
	{"json", FOBS_FORMAT_JSON, "application/json"},
};

static const FobsEndpoint *endpoint;
static MemoryContext request_parent;

void
fobs_requests_init(const FobsEndpoint *the_endpoint)
{
	endpoint = the_endpoint;
	request_parent = AllocSetContextCreate(TopMemoryContext,
										   "fraiseql_obs requests",
										   ALLOCSET_SMALL_SIZES);
}

static const char *
header_of(const Request *request, const char *name)
{
	const char *value = MHD_lookup_connection_value(request->http,
													MHD_HEADER_KIND, name);

	return value != NULL ? value : "";
}

/* A parameter of the URL, NULL if it is not there */
static const char *
argument_of(const Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->http, MHD_GET_ARGUMENT_KIND,
									   name);
}

static void
add_header(Answer *answer, const char *name, const char *value)
{
	Assert(answer->nheaders < MAX_HEADERS);
	answer->headers[answer->nheaders][0] = name;
	answer->headers[answer->nheaders][1] = value;
	answer->nheaders++;
}

/* Answers with a status and what that is called. */
static void
answer_status(Answer *answer, FobsEndpointStatus status)
{
	answer->status = status;
	answer->type = PLAIN_TYPE;
	resetStringInfo(&answer->body);
	appendStringInfo(&answer->body, "%s\n", reasons[status]);
}

/* Which format of /metrics is asked for; -1 if it does not exist */
static int
wanted_format(const Request *request)
{
	const char *name = argument_of(request, "format");

	if (name == NULL)
		return fobs_accept_openmetrics(header_of(request, "Accept")) ? 1 : 0;
	for (int i = 0; i < lengthof(formats); i++)
	{
		if (strcmp(name, formats[i].name) == 0)
			return i;
	}
	return -1;
}

#ifdef FRAISEQL_OBS_HAVE_ZLIB

/* Compresses the body; false, and it is as it was, if that cannot be. */
static bool
compress_body(StringInfo body)
{
	z_stream	stream = {0};
	char	   *compressed;
	uLong		bound;
	bool		done;

	/* 15 + 16: the largest window, and the framing of gzip */
	if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8,
					 Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	bound = deflateBound(&stream, body->len);
	compressed = palloc_extended(bound,
								 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (compressed == NULL)
	{
		deflateEnd(&stream);
		return false;
	}
	stream.next_in = (Bytef *) body->data;
	stream.avail_in = body->len;
	stream.next_out = (Bytef *) compressed;
	stream.avail_out = bound;
	done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
	if (done)
	{
		pfree(body->data);
		body->data = compressed;
		body->len = (int) stream.total_out;
	}
	deflateEnd(&stream);
	return done;
}

#else

static bool
compress_body(StringInfo body)
{
	return false;
}

#endif							/* FRAISEQL_OBS_HAVE_ZLIB */

/* Do file systems answer, so that it is no risk to look at files? */
static bool
can_read_files(void)
{
	*endpoint->unanswered_s =
		fobs_disks_unanswered_s(*endpoint->probe_timeout_ms);
	return *endpoint->unanswered_s == 0;
}

/* Compresses a body that is worth it, for who takes it. */
static void
compress_for(const Request *request, Answer *answer)
{
	/* on the machine itself it costs more than it saves */
	if (answer->body.len >= GZIP_SIZE &&
		!fobs_connection_is_local(request->connection) &&
		fobs_accept_gzip(header_of(request, "Accept-Encoding")) &&
		compress_body(&answer->body))
		add_header(answer, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
}

static void
answer_metrics(const Request *request, Answer *answer)
{
	int			format = wanted_format(request);

	if (!can_read_files())
	{
		answer_status(answer, FOBS_HTTP_UNAVAILABLE);
		appendStringInfo(&answer->body,
						 "a file system has not answered for %.0f s\n",
						 *endpoint->unanswered_s);
		return;
	}
	if (format < 0)
	{
		answer_status(answer, FOBS_HTTP_BAD_REQUEST);
		appendStringInfoString(&answer->body,
							   "format is one of prometheus, openmetrics, json\n");
		return;
	}
	endpoint->export_metrics(formats[format].format, &answer->body);
	answer->type = formats[format].type;
	add_header(answer, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
	compress_for(request, answer);
}

/* The queries that the status page shows */
static void
answer_queries(const Request *request, Answer *answer)
{
	endpoint->export_queries(&answer->body);
	answer->type = "application/json";
	add_header(answer, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
	compress_for(request, answer);
}

/* The status page; who has it is told so. */
static void
answer_page(const Request *request, Answer *answer)
{
	const FobsStatusPage *page = fobs_status_page();
	const char *known = header_of(request, MHD_HTTP_HEADER_IF_NONE_MATCH);

	answer->type = "text/html; charset=utf-8";
	answer->caching = "no-cache";
	add_header(answer, MHD_HTTP_HEADER_ETAG, page->etag);
	add_header(answer, "Content-Security-Policy", page->policy);
	add_header(answer, "Referrer-Policy", "no-referrer");
	add_header(answer, "Cross-Origin-Opener-Policy", "same-origin");
	if (strstr(known, page->etag) != NULL || strcmp(known, "*") == 0)
		answer->status = FOBS_HTTP_NOT_MODIFIED;
	appendBinaryStringInfo(&answer->body, page->html, page->len);
}

/* What readiness is asked for in the URL; false if it makes no sense */
static bool
read_question(const Request *request, FobsHealthQuestion *question)
{
	const char *role = argument_of(request, "role");
	const char *max_lag = argument_of(request, "lag");

	question->role = FOBS_ROLE_ANY;
	question->max_lag = -1;
	return (role == NULL || endpoint->probe_role(role, question)) &&
		(max_lag == NULL || endpoint->probe_max_lag(max_lag, question));
}

/*
 * Probes are told the verdict and which checks fail, but nothing of what these
 * have found, as anybody may ask.
 */
static void
answer_probe(const Request *request, Answer *answer)
{
	static const FobsProbe probes[FOBS_N_PATHS] = {
		[FOBS_PATH_LIVE] = FOBS_PROBE_LIVENESS,
		[FOBS_PATH_READY] = FOBS_PROBE_READINESS,
		[FOBS_PATH_STARTUP] = FOBS_PROBE_STARTUP,
		[FOBS_PATH_HEALTH] = FOBS_PROBE_HEALTH
	};
	FobsHealthQuestion question;

	if (!read_question(request, &question))
	{
		answer_status(answer, FOBS_HTTP_BAD_REQUEST);
		appendStringInfoString(&answer->body,
							   "role is one of any, primary, replica; lag is a number of bytes, such as 16MB\n");
		return;
	}
	if (request->path != FOBS_PATH_LIVE)
		(void) can_read_files();
	answer->type = "application/json";
	answer->status =
		endpoint->probe_answer(probes[request->path], &question,
							   request->path == FOBS_PATH_HEALTH,
							   &answer->body) ?
		FOBS_HTTP_OK : FOBS_HTTP_UNAVAILABLE;
	appendStringInfoChar(&answer->body, '\n');
}

/* The status page, and what it alone asks for, is there if it is to be. */
static bool
is_served(FobsEndpointPath path)
{
	return endpoint->settings->status_page ||
		(path != FOBS_PATH_PAGE && path != FOBS_PATH_QUERIES);
}

/* The path; a client of a proxy says in front of it whose it is. */
static FobsEndpointPath
path_of(const char *url)
{
	const char *authority = url[0] == '/' ? NULL : strstr(url, "://");

	if (authority != NULL)
		url = authority + 3 + strcspn(authority + 3, "/");
	for (int i = 0; i < lengthof(urls); i++)
	{
		if (strcmp(url, urls[i].url) == 0)
			return is_served(urls[i].path) ? urls[i].path : FOBS_PATH_OTHER;
	}
	return FOBS_PATH_OTHER;
}

/* Probes are for everybody, and so is the status page without its figures. */
static bool
is_permitted(const Request *request)
{
	return request->path == FOBS_PATH_PAGE ||
		request->path == FOBS_PATH_LIVE ||
		request->path == FOBS_PATH_READY ||
		request->path == FOBS_PATH_STARTUP ||
		!fobs_tokens_are_asked() ||
		fobs_token_is_valid(header_of(request, "Authorization"));
}

static bool
has_body(const Request *request)
{
	const char *length = header_of(request, "Content-Length");

	return length[strspn(length, "0")] != '\0' ||
		header_of(request, "Transfer-Encoding")[0] != '\0';
}

static void
find_answer(const Request *request, Answer *answer)
{
	if (strcmp(request->method, "GET") != 0 &&
		strcmp(request->method, "HEAD") != 0)
	{
		answer_status(answer, FOBS_HTTP_METHOD_NOT_ALLOWED);
		add_header(answer, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	}
	else if (has_body(request))
		answer_status(answer, FOBS_HTTP_TOO_LARGE);
	else if (!is_permitted(request))
	{
		answer_status(answer, FOBS_HTTP_UNAUTHORIZED);
		add_header(answer, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	}
	else if (request->path == FOBS_PATH_OTHER)
		answer_status(answer, FOBS_HTTP_NOT_FOUND);
	else if (request->path == FOBS_PATH_METRICS)
		answer_metrics(request, answer);
	else if (request->path == FOBS_PATH_QUERIES)
		answer_queries(request, answer);
	else if (request->path == FOBS_PATH_PAGE)
		answer_page(request, answer);
	else
		answer_probe(request, answer);
}

/* Takes back what a request may have left behind when it was cut short. */
static void
recover(void)
{
	HOLD_INTERRUPTS();
	EmitErrorReport();
	FlushErrorState();
	LWLockReleaseAll();
	pgstat_report_wait_end();
	AtEOXact_Files(false);
	RESUME_INTERRUPTS();
}

static void
count_answer(FobsEndpointPath path, FobsEndpointStatus status)
{
	pg_atomic_fetch_add_u64(&endpoint->shared->requests[path][status], 1);
}

/* The answer has been sent, or will not be. */
static void
delete_context(void *context)
{
	MemoryContextDelete(context);
}

/*
 * Hands the answer to libmicrohttpd, which frees it together with the memory
 * context when it is done with it.  May not raise.
 */
static enum MHD_Result
send_answer(const Request *request, const Answer *answer,
			MemoryContext context)
{
	struct MHD_Response *response =
	MHD_create_response_from_buffer_with_free_callback_cls(answer->body.len,
														   answer->body.data,
														   delete_context,
														   context);
	enum MHD_Result result = MHD_YES;

	if (response == NULL)
	{
		delete_context(context);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
								answer->type) != MHD_YES ||
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
								answer->caching != NULL ?
								answer->caching : "no-store") != MHD_YES ||
		MHD_add_response_header(response, "X-Content-Type-Options",
								"nosniff") != MHD_YES)
		result = MHD_NO;
	for (int i = 0; i < answer->nheaders && result == MHD_YES; i++)
		result = MHD_add_response_header(response, answer->headers[i][0],
										 answer->headers[i][1]);
	if (result == MHD_YES)
	{
		if (answer->body.len >= LARGE_SIZE)
			fobs_connection_answers_much(request->connection);
		result = MHD_queue_response(request->http,
									endpoint->status_codes[answer->status],
									response);
	}
	MHD_destroy_response(response);
	count_answer(request->path, answer->status);
	return result;
}

static enum MHD_Result
answer_request(const Request *request)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext volatile context = NULL;
	Answer		answer = {0};

	PG_TRY();
	{
		context = AllocSetContextCreate(request_parent,
										"fraiseql_obs request",
										ALLOCSET_SMALL_SIZES);
		MemoryContextSwitchTo(context);
		initStringInfo(&answer.body);
		find_answer(request, &answer);
	}
	PG_CATCH();
	{
		static char text[] = "internal server error\n";

		MemoryContextSwitchTo(outer);
		recover();
		answer.status = FOBS_HTTP_ERROR;
		answer.type = PLAIN_TYPE;
		answer.caching = NULL;
		answer.nheaders = 0;
		answer.body.data = text;
		answer.body.len = sizeof(text) - 1;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer);
	if (context == NULL)
		return MHD_NO;
	return send_answer(request, &answer, context);
}

/* What libmicrohttpd calls for each request, see MHD_AccessHandlerCallback */
enum MHD_Result
fobs_request_handle(void *cls, struct MHD_Connection *http, const char *url,
					const char *method, const char *version,
					const char *upload, size_t *upload_size, void **state)
{
	const union MHD_ConnectionInfo *info =
	MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	Request		request = {
		.http = http,
		.connection = info->socket_context,
		.method = method,
		.path = path_of(url),
	};

	if (request.connection == NULL)
		return MHD_NO;
	if (*state == NULL)
	{
		*state = request.connection;	/* anything but NULL */
		fobs_connection_answers(request.connection);
		if (!has_body(&request))
			return MHD_YES;
	}
	return answer_request(&request);
}
