
--
-- Request tracing: from the headers of a request, and into those of its
-- answer and of the requests that it makes.  No input is an error.
--

CREATE FUNCTION extract_trace_context(
    headers jsonb,
    OUT trace_id text,
    OUT span_id text,
    OUT parent_span_id text,
    OUT sampled boolean,
    OUT tracestate text,
    OUT source text)
RETURNS record
AS 'MODULE_PATHNAME', 'fraiseql_obs_extract_trace_context'
LANGUAGE C VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION extract_trace_context(jsonb) IS
'The trace that a request belongs to by its headers, an object of names to values, or a new one; source says which header told';

CREATE FUNCTION set_trace_context(headers jsonb)
RETURNS text
AS 'MODULE_PATHNAME', 'fraiseql_obs_set_trace_context'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION set_trace_context(jsonb) IS
'Has the current transaction belong to the trace of a request, by its headers; returns what fraiseql_obs.traceparent was set to';

CREATE FUNCTION inject_trace_context()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_inject_trace_context'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION inject_trace_context() IS
'Headers for one message that belongs to the current trace: a response, or a request to another service';
