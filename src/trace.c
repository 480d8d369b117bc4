/*-------------------------------------------------------------------------
 *
 * trace.c
 *	  The trace of the request that is being served.
 *
 * A request comes with headers, and its answer and the requests that it makes
 * go with headers.  Between the two the trace is in settings of the
 * transaction (fraiseql_obs.traceparent and its kin).
 *
 * What a statement is recorded with is the trace that it started with
 * (context.c).  Functions that it calls want the trace of now: a function may
 * set it and log an operation, all in one statement.  So they look at the
 * settings again, unless the statement's comment has a trace, which comes
 * before those.
 *
 * The trace is that of a valid traceparent, else that of an identifier in
 * X-Trace-ID or X-Request-ID, else a new one.  An identifier that is no trace
 * id has one made of it, always the same.  It goes on itself as a member of
 * tracestate, percent-encoded, so that whoever gets that member can tell it
 * (and the client, who knows nothing else, gets it back as X-Trace-ID).
 *
 * No input raises an error: what is of no use is as if it were not there.
 * Everything here works without shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "context.h"
#include "guc.h"
#include "hooks.h"
#include "label.h"
#include "sha256.h"
#include "trace.h"

PG_FUNCTION_INFO_V1(fraiseql_obs_extract_trace_context);
PG_FUNCTION_INFO_V1(fraiseql_obs_set_trace_context);
PG_FUNCTION_INFO_V1(fraiseql_obs_inject_trace_context);

/* Our member of tracestate: the request's own identifier */
#define OWN_KEY		"fraiseql_obs"

/* The headers that are read, and then in which order */
typedef enum HeaderName
{
	HEADER_TRACEPARENT,
	HEADER_TRACE_ID,
	HEADER_REQUEST_ID,
	HEADER_TRACESTATE,
	N_HEADERS
} HeaderName;

static const char *const header_names[N_HEADERS] = {
	[HEADER_TRACEPARENT] = "traceparent",
	[HEADER_TRACE_ID] = "x-trace-id",
	[HEADER_REQUEST_ID] = "x-request-id",
	[HEADER_TRACESTATE] = "tracestate",
};

/* What the lines of a header say */
typedef struct Header
{
	int			lines;
	StringInfoData text;		/* all of them, with commas between them */
	char	   *first;			/* that is not blank, without white space */
} Header;

/* A request, by its headers */
typedef struct Request
{
	FobsTrace	trace;			/* parent_id is zero if it starts here */
	char		tracestate[FOBS_TRACESTATE_SIZE];
	const char *source;			/* name of a header, or "new" */
	const char *id;				/* of its own, NULL if it has none */
} Request;

/*
 * The trace of now, and its tracestate in FOBS_TRACESTATE_SIZE bytes.  Returns
 * false if there is none.  Works without shared memory.
 */
bool
fobs_trace_now(FobsTrace *trace, char *tracestate)
{
	const FobsContext *context = fobs_hooks_context();

	if (context == NULL || context->carrier != FOBS_CARRIER_COMMENT)
		return fobs_context_session_trace(trace, tracestate);
	*trace = context->trace;
	strlcpy(tracestate, context->tracestate, FOBS_TRACESTATE_SIZE);
	return true;
}

/*
 * Identifiers
 */

static void
make_random(uint8_t *bytes, int size)
{
	if (pg_strong_random(bytes, size))
		return;
	for (int i = 0; i < size; i++)
		bytes[i] = (uint8_t) pg_prng_uint64(&pg_global_prng_state);
}

static bool
is_span(const uint8_t *span_id)
{
	static const uint8_t none[FOBS_SPAN_ID_BYTES];

	return memcmp(span_id, none, FOBS_SPAN_ID_BYTES) != 0;
}

/* A new span, which is never all zero. */
static void
make_span_id(uint8_t *span_id)
{
	do
		make_random(span_id, FOBS_SPAN_ID_BYTES);
	while (memcmp(span_id, "\0\0\0\0\0\0\0", 8) == 0);
}

/* Decides about a trace that starts here. */
static void
decide_sampling(FobsTrace *trace)
{
	if (fobs_tracing &&
		fobs_trace_sampled_by_rate(trace->trace_id, fobs_trace_sample_rate))
		trace->flags |= FOBS_TRACE_SAMPLED;
}

static void
make_trace(FobsTrace *trace)
{
	memset(trace, 0, sizeof(FobsTrace));
	do
		make_random(trace->trace_id, FOBS_TRACE_ID_BYTES);
	while (!fobs_trace_is_set(trace));
	trace->flags = FOBS_TRACE_RANDOM;
	decide_sampling(trace);
}

/* The text in UTF-8, whatever the server's encoding; valid if that is. */
static const char *
to_utf8(const char *text)
{
	size_t		size;
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
		return text;
	fobs_label_prepare();
	size = strlen(text) * MAX_CONVERSION_GROWTH + 1;
	utf8 = MemoryContextAllocHuge(CurrentMemoryContext, size);
	fobs_label_copy(utf8, size, text, strlen(text));
	return utf8;
}

/* Makes a trace id of an identifier that is none: always the same. */
static void
derive_trace_id(const char *id, uint8_t *trace_id)
{
	const char *utf8 = to_utf8(id);
	MerkleHash	hash;

	fobs_sha256(utf8, strlen(utf8), &hash);
	memcpy(trace_id, hash.bytes, FOBS_TRACE_ID_BYTES);
}

/*
 * Reading headers
 */

/* The header of this name in any case, N_HEADERS if it is none of ours. */
static HeaderName
find_header(const JsonbValue *key)
{
	int			i;

	for (i = 0; i < N_HEADERS; i++)
	{
		if (key->val.string.len == strlen(header_names[i]) &&
			pg_strncasecmp(key->val.string.val, header_names[i],
						   key->val.string.len) == 0)
			break;
	}
	return (HeaderName) i;
}

/* Adds a line, if the value is one. */
static void
add_line(Header *header, const JsonbValue *value)
{
	const char *start;
	const char *end;

	if (value->type != jbvString)
		return;
	start = value->val.string.val;
	end = start + value->val.string.len;
	if (header->lines++ == 0)
		initStringInfo(&header->text);
	else
		appendStringInfoChar(&header->text, ',');
	appendBinaryStringInfo(&header->text, start, end - start);

	while (start < end && scanner_isspace(*start))
		start++;
	while (start < end && scanner_isspace(end[-1]))
		end--;
	if (header->first == NULL && start < end)
		header->first = pnstrdup(start, end - start);
}

/* Adds the lines of an array, or the only one. */
static void
add_lines(Header *header, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	element;

	if (value->type != jbvBinary)
	{
		add_line(header, value);
		return;
	}
	it = JsonbIteratorInit(value->val.binary.data);
	if (JsonbIteratorNext(&it, &element, true) != WJB_BEGIN_ARRAY)
		return;
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
		add_line(header, &element);
}

/* Reads the headers of an object; anything else has none. */
static void
read_headers(Jsonb *object, Header *headers)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	HeaderName	name = N_HEADERS;

	memset(headers, 0, N_HEADERS * sizeof(Header));
	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		return;
	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = find_header(&value);
		else if (token == WJB_VALUE && name != N_HEADERS)
			add_lines(&headers[name], &value);
	}
}

/* Takes a traceparent, which has one line, and the tracestate with it. */
static bool
continue_trace(Request *request, const Header *headers)
{
	const Header *parent = &headers[HEADER_TRACEPARENT];
	const Header *state = &headers[HEADER_TRACESTATE];

	if (parent->lines != 1 ||
		!fobs_traceparent_parse(parent->text.data, parent->text.len,
								&request->trace))
		return false;
	if (state->lines > 0)
		fobs_tracestate_normalize(state->text.data, state->text.len,
								  request->tracestate);
	return true;
}

/* An identifier, cut to what the request context holds */
static char *
clip_id(const char *id)
{
	return pnstrdup(id, pg_mbcliplen(id, strlen(id), FOBS_ID_SIZE - 1));
}

/* Starts a trace that has the identifier that the client knows. */
static void
start_trace(Request *request, const char *id)
{
	char		value[FOBS_TRACESTATE_VALUE_SIZE];

	memset(&request->trace, 0, sizeof(FobsTrace));
	if (!fobs_trace_id_parse(id, request->trace.trace_id))
		derive_trace_id(id, request->trace.trace_id);
	decide_sampling(&request->trace);
	if (!fobs_trace_id_is_plain(id))
	{
		fobs_tracestate_encode(to_utf8(clip_id(id)), value);
		fobs_tracestate_put(request->tracestate, OWN_KEY, value);
	}
}

static void
read_request(FunctionCallInfo fcinfo, Request *request)
{
	Header		headers[N_HEADERS];
	const char *trace_id;
	const char *request_id;

	read_headers(PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0), headers);
	trace_id = headers[HEADER_TRACE_ID].first;
	request_id = headers[HEADER_REQUEST_ID].first;

	request->tracestate[0] = '\0';
	request->source = "new";
	if (continue_trace(request, headers))
		request->source = header_names[HEADER_TRACEPARENT];
	else if (trace_id != NULL)
	{
		start_trace(request, trace_id);
		request->source = header_names[HEADER_TRACE_ID];
	}
	else if (request_id != NULL)
	{
		start_trace(request, request_id);
		request->source = header_names[HEADER_REQUEST_ID];
	}
	else
		make_trace(&request->trace);

	request->id = NULL;
	if (request_id != NULL)
		request->id = clip_id(request_id);
	else if (trace_id != NULL && !fobs_trace_id_is_plain(trace_id))
		request->id = clip_id(trace_id);
}

static Datum
id_datum(const uint8_t *id, int size)
{
	char		text[FOBS_TRACE_ID_SIZE];

	fobs_trace_format_id(id, size, text);
	return CStringGetTextDatum(text);
}

/*
 * extract_trace_context(headers): trace_id, span_id (a new one, for the span
 * that the service makes of the request), parent_span_id (the caller's, NULL
 * if the trace starts here), sampled, tracestate (NULL if there is none),
 * source.
 */
Datum
fraiseql_obs_extract_trace_context(PG_FUNCTION_ARGS)
{
	Request		request;
	TupleDesc	tupdesc;
	uint8_t		span_id[FOBS_SPAN_ID_BYTES];
	Datum		values[6] = {0};
	bool		nulls[6] = {0};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	read_request(fcinfo, &request);
	make_span_id(span_id);

	values[0] = id_datum(request.trace.trace_id,
						 FOBS_TRACE_ID_BYTES);
	values[1] = id_datum(span_id, FOBS_SPAN_ID_BYTES);
	nulls[2] = !is_span(request.trace.parent_id);
	if (!nulls[2])
		values[2] = id_datum(request.trace.parent_id,
							 FOBS_SPAN_ID_BYTES);
	values[3] = BoolGetDatum(fobs_trace_is_sampled(&request.trace));
	nulls[4] = request.tracestate[0] == '\0';
	if (!nulls[4])
		values[4] = CStringGetTextDatum(request.tracestate);
	values[5] = CStringGetTextDatum(request.source);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values,
													  nulls)));
}

/* As set_config(name, value, true) */
static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * set_trace_context(headers): sets, for this transaction, the trace that
 * extract_trace_context() would say, and the request's identifier if it has
 * one.  Statements are children of the caller's span, if there is one.
 */
Datum
fraiseql_obs_set_trace_context(PG_FUNCTION_ARGS)
{
	Request		request;
	char		traceparent[FOBS_TRACEPARENT_SIZE];

	read_request(fcinfo, &request);
	if (!is_span(request.trace.parent_id))
		make_span_id(request.trace.parent_id);
	fobs_traceparent_format(&request.trace, traceparent);
	set_local("fraiseql_obs.traceparent", traceparent);
	set_local("fraiseql_obs.tracestate", request.tracestate);
	if (request.id != NULL)
		set_local("fraiseql_obs.request_id", request.id);
	PG_RETURN_TEXT_P(cstring_to_text(traceparent));
}

/*
 * Writing headers
 */

static void
append_header(StringInfo json, const char *name, const char *value)
{
	appendStringInfoString(json, json->len > 1 ? ", " : "");
	escape_json(json, name);
	appendStringInfoString(json, ": ");
	escape_json(json, value);
}

/* The identifier that the client knows the trace by */
static void
append_trace_id(StringInfo json, const FobsTrace *trace,
				const char *tracestate)
{
	char		value[FOBS_TRACESTATE_VALUE_SIZE];
	char		id[FOBS_TRACESTATE_VALUE_SIZE];

	if (fobs_tracestate_value(tracestate, OWN_KEY, value))
		fobs_tracestate_decode(value, id);
	else
		fobs_trace_format_id(trace->trace_id, FOBS_TRACE_ID_BYTES, id);
	append_header(json, "X-Trace-ID", id);
}

/* The identifier of the request, as far as it may stand in a header */
static void
append_request_id(StringInfo json)
{
	const char *setting = GetConfigOption("fraiseql_obs.request_id", true,
										  false);
	char		value[FOBS_TRACESTATE_VALUE_SIZE];
	char		id[FOBS_TRACESTATE_VALUE_SIZE];

	if (setting == NULL || setting[0] == '\0')
		return;
	fobs_tracestate_encode(to_utf8(clip_id(setting)), value);
	fobs_tracestate_decode(value, id);
	append_header(json, "X-Request-ID", id);
}

/*
 * inject_trace_context(): headers for one message, which is a span of its own
 * of the current trace, or of a new one if there is none.
 */
Datum
fraiseql_obs_inject_trace_context(PG_FUNCTION_ARGS)
{
	FobsTrace	trace;
	char		tracestate[FOBS_TRACESTATE_SIZE];
	char		traceparent[FOBS_TRACEPARENT_SIZE];
	StringInfoData json;

	if (!fobs_trace_now(&trace, tracestate))
	{
		make_trace(&trace);
		tracestate[0] = '\0';
	}
	make_span_id(trace.parent_id);
	fobs_traceparent_format(&trace, traceparent);

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	append_header(&json, "traceparent", traceparent);
	if (tracestate[0] != '\0')
		append_header(&json, "tracestate", tracestate);
	append_trace_id(&json, &trace, tracestate);
	append_request_id(&json);
	appendStringInfoChar(&json, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}
