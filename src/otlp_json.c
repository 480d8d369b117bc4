/*-------------------------------------------------------------------------
 *
 * otlp_json.c
 *	  Spans in, OTLP/JSON out.
 *
 * An ExportTraceServiceRequest of the OpenTelemetry protocol 1.x, as one POSTs
 * it to /v1/traces with Content-Type: application/json.  The mapping is that
 * of protobuf to JSON with what OTLP says otherwise: names in lowerCamelCase,
 * identifiers of traces and spans in hexadecimal, 64-bit integers as strings,
 * enumerations as numbers.
 *
 * Names of attributes are those of OpenTelemetry's semantic conventions for
 * databases where there are any, else they begin with "fraiseql_obs.".  Those
 * conventions speak of the client of a database; this is the server, whence
 * the kind of a client's statement.
 *
 * Pure formatting: no shared memory and no catalogs.  Allocates in the current
 * memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"

#include "compat.h"
#include "conditions.h"
#include "label.h"
#include "otlp_json.h"

/* SpanKind of opentelemetry/proto/trace/v1/trace.proto */
#define SPAN_KIND_INTERNAL	1
#define SPAN_KIND_SERVER	2

/* SpanFlags: whether it is known if the parent is remote, and if it is */
#define FLAGS_HAS_IS_REMOTE 0x100
#define FLAGS_IS_REMOTE		0x200

/* Status.StatusCode */
#define STATUS_CODE_ERROR	2

static void
put_string(FobsOtlpRequest *request, const char *text)
{
	escape_json(request->out, request->translate != NULL ?
				request->translate(text) : text);
}

/* Begins an attribute; what was written before ends in one or in a bracket. */
static void
put_key(FobsOtlpRequest *request, const char *key)
{
	StringInfo	out = request->out;

	if (out->data[out->len - 1] != '[')
		appendStringInfoChar(out, ',');
	appendStringInfo(out, "{\"key\":\"%s\",\"value\":", key);
}

/* An attribute that is left out where it is not known */
static void
put_text_attribute(FobsOtlpRequest *request, const char *key,
				   const char *value)
{
	if (value[0] == '\0')
		return;
	put_key(request, key);
	appendStringInfoString(request->out, "{\"stringValue\":");
	put_string(request, value);
	appendStringInfoString(request->out, "}}");
}

static void
put_int_attribute(FobsOtlpRequest *request, const char *key, int64 value)
{
	put_key(request, key);
	appendStringInfo(request->out, "{\"intValue\":\"" INT64_FORMAT "\"}}",
					 value);
}

static void
put_double_attribute(FobsOtlpRequest *request, const char *key, double value)
{
	put_key(request, key);
	appendStringInfo(request->out, "{\"doubleValue\":%.6f}}", value);
}

static void
put_id(FobsOtlpRequest *request, const char *name, const void *id, int size)
{
	char		digits[FOBS_TRACE_ID_SIZE];

	fobs_trace_format_id(id, size, digits);
	appendStringInfo(request->out, "\"%s\":\"%s\",", name, digits);
}

/* Begins a request. */
void
fobs_otlp_begin(FobsOtlpRequest *request)
{
	const char *name = GetConfigOption("cluster_name", true, false);

	request->any_span = false;
	appendStringInfoString(request->out,
						   "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
	put_text_attribute(request, "service.name",
					   name != NULL && name[0] != '\0' ? name : "postgresql");
	put_text_attribute(request, "service.version",
					   GetConfigOption("server_version", false, false));
	appendStringInfoString(request->out,
						   "]},\"scopeSpans\":[{\"scope\":{\"name\":\"fraiseql_obs\","
						   "\"version\":\"" FRAISEQL_OBS_VERSION "\"},\"spans\":[");
}

/* Completes a request. */
void
fobs_otlp_end(FobsOtlpRequest *request)
{
	appendStringInfoString(request->out, "]}]}]}");
}

/* What was done */
static void
put_statement(FobsOtlpRequest *request, const FobsSpan *span,
			  const FobsSpanPart *part)
{
	const FobsSpanHeader *header = &span->header;

	put_text_attribute(request, "db.operation.name", fobs_spans_command(span));
	put_text_attribute(request, "db.query.summary", part->name);
	put_text_attribute(request, "db.query.text",
					   fobs_spans_text(span, FOBS_SPAN_QUERY));
	if (header->queryid != 0)
		put_int_attribute(request, "fraiseql_obs.queryid", header->queryid);
	if (header->kind != FOBS_SPAN_COMMIT)
	{
		put_int_attribute(request, "fraiseql_obs.rows",
						  (int64) header->rows);
		put_double_attribute(request, "fraiseql_obs.busy_ms",
							 header->busy_ns / 1000000.0);
	}
	if (header->measured)
	{
		put_int_attribute(request, "fraiseql_obs.shared_blks_hit",
						  (int64) header->blocks_hit);
		put_int_attribute(request, "fraiseql_obs.shared_blks_read",
						  (int64) header->blocks_read);
	}
	if (header->failed)
	{
		const char *sqlstate = header->sqlstate != 0 ?
		unpack_sql_state(header->sqlstate) : "";

		put_text_attribute(request, "db.response.status_code", sqlstate);
		put_text_attribute(request, "error.type",
						   sqlstate[0] != '\0' ? sqlstate : "_OTHER");
	}
}

/* Whose it is */
static void
put_request(FobsOtlpRequest *request, const FobsSpan *span)
{
	static const char *const keys[] = {
		[FOBS_SPAN_OPERATION] = "fraiseql_obs.operation",
		[FOBS_SPAN_OPERATION_TYPE] = "fraiseql_obs.operation_type",
		[FOBS_SPAN_USER_ID] = "fraiseql_obs.user_id",
		[FOBS_SPAN_TENANT_ID] = "fraiseql_obs.tenant_id",
		[FOBS_SPAN_REQUEST_ID] = "fraiseql_obs.request_id"
	};

	for (int which = 0; which < lengthof(keys); which++)
		put_text_attribute(request, keys[which],
						   fobs_spans_text(span, which));
}

static void
put_status(FobsOtlpRequest *request, const FobsSpanHeader *header)
{
	const char *condition = NULL;

	if (header->sqlstate != 0)
		condition = fobs_condition_name(unpack_sql_state(header->sqlstate));
	appendStringInfo(request->out, "\"status\":{\"code\":%d",
					 STATUS_CODE_ERROR);
	if (condition != NULL)
		appendStringInfo(request->out, ",\"message\":\"%s\"", condition);
	appendStringInfoString(request->out, "}");
}

/* What its identifiers and its parent are */
static void
put_identity(FobsOtlpRequest *request, const FobsSpan *span,
			 const FobsSpanPart *part)
{
	const FobsTrace *trace = &span->header.trace;
	uint32		flags = trace->flags | FLAGS_HAS_IS_REMOTE;

	put_id(request, "traceId", trace->trace_id, sizeof(trace->trace_id));
	put_id(request, "spanId", &part->span_id, sizeof(part->span_id));
	if (!part->is_root)
		put_id(request, "parentSpanId", part->parent_id,
			   sizeof(part->parent_id));
	if (part->parent_is_remote && !part->is_root)
		flags |= FLAGS_IS_REMOTE;
	appendStringInfo(request->out, "\"flags\":%u,", flags);
}

/* Adds a part of a span; its attributes are those of the statement itself. */
void
fobs_otlp_span(FobsOtlpRequest *request, const FobsSpan *span,
			   const FobsSpanPart *part)
{
	StringInfo	out = request->out;
	bool		is_statement = part->kind == span->header.kind;

	if (request->any_span)
		appendStringInfoChar(out, ',');
	request->any_span = true;
	appendStringInfoChar(out, '{');
	put_identity(request, span, part);
	appendStringInfoString(out, "\"name\":");
	put_string(request, part->name);
	appendStringInfo(out, ",\"kind\":%d,"
					 "\"startTimeUnixNano\":\"" INT64_FORMAT "\","
					 "\"endTimeUnixNano\":\"" INT64_FORMAT "\","
					 "\"attributes\":[",
					 part->kind == FOBS_SPAN_STATEMENT ?
					 SPAN_KIND_SERVER : SPAN_KIND_INTERNAL,
					 part->start_ns, part->end_ns);
	put_text_attribute(request, "db.system.name", "postgresql");
	put_text_attribute(request, "db.namespace",
					   request->databases[span->header.database]);
	if (is_statement)
	{
		put_statement(request, span, part);
		put_request(request, span);
	}
	appendStringInfoString(out, "],");
	if (is_statement && span->header.failed)
		put_status(request, &span->header);
	else
		appendStringInfoString(out, "\"status\":{}");
	appendStringInfoChar(out, '}');
}

PG_FUNCTION_INFO_V1(fraiseql_obs_spans_otlp);

/*
 * spans_otlp(trace_id, since, until, operation, limit): the spans that spans()
 * would return, as one request in the server's encoding.
 */
Datum
fraiseql_obs_spans_otlp(PG_FUNCTION_ARGS)
{
	FobsSpanScan scan;
	FobsSpan	span;
	FobsSpanPart parts[FOBS_SPAN_PARTS];
	FobsOtlpRequest request;
	StringInfoData out;
	int			n;

	fobs_spans_scan_begin(&scan, fcinfo);
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	request.out = &out;
	request.translate = fobs_label_to_server;
	request.databases = palloc(FOBS_MAX_DATABASES *
							   sizeof(*request.databases));
	fobs_counters_databases(request.databases, NULL);
	fobs_otlp_begin(&request);
	while ((n = fobs_spans_scan_next(&scan, &span, parts)) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			fobs_otlp_span(&request, &span, &parts[i]);
	}
	fobs_otlp_end(&request);
	SET_VARSIZE(out.data, out.len);
	PG_RETURN_TEXT_P(out.data);
}
