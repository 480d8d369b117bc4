--
-- Spans
--
-- Their columns are those of src/spans.c, in its order.  Who may not read all
-- statistics finds those of its own statements alone.
--

CREATE FUNCTION spans(
    trace_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    operation text DEFAULT NULL,
    "limit" integer DEFAULT 1000)
RETURNS TABLE (
    trace_id text,
    span_id text,
    parent_span_id text,
    kind text,
    name text,
    started_at timestamptz,
    duration_ms double precision,
    busy_ms double precision,
    rows bigint,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    failed boolean,
    sqlstate text,
    queryid bigint,
    query text,
    datname text,
    usename text,
    pid integer,
    operation text,
    operation_type text,
    user_id text,
    tenant_id text,
    request_id text,
    sampled boolean,
    kept_as text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_spans'
LANGUAGE C VOLATILE PARALLEL SAFE
ROWS 1000;

COMMENT ON FUNCTION spans(text, timestamptz, timestamptz, text, integer) IS
'The latest spans, newest first: of a trace, of a time, of an operation, or all';

CREATE FUNCTION spans_otlp(
    trace_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    operation text DEFAULT NULL,
    "limit" integer DEFAULT 1000)
RETURNS json
AS 'MODULE_PATHNAME', 'fraiseql_obs_spans_otlp'
LANGUAGE C VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION spans_otlp(text, timestamptz, timestamptz, text, integer) IS
'The same spans as an OTLP/JSON request, to be posted to /v1/traces';

-- A span whose parent is not among them is a root: the parent is the caller's,
-- or was overwritten.
CREATE FUNCTION trace_tree(trace_id text)
RETURNS TABLE (
    span text,
    start_ms numeric,
    duration_ms numeric,
    rows bigint,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    sqlstate text,
    query text)
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
ROWS 100
AS $$
    WITH RECURSIVE found AS MATERIALIZED (
        SELECT s.*, to_char(s.started_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')
                    || (s.kind = 'execution') || s.span_id COLLATE "C" AS place
        FROM @extschema@.spans($1, "limit" => 2147483647) s
    ), tree AS (
        SELECT f.span_id, 0 AS depth, ARRAY[f.place] AS place
        FROM found f
        WHERE NOT EXISTS (SELECT FROM found p WHERE p.span_id = f.parent_span_id)
        UNION ALL
        SELECT f.span_id, t.depth + 1, t.place || f.place
        FROM tree t JOIN found f ON f.parent_span_id = t.span_id
        WHERE t.depth < 1000
    )
    SELECT repeat('  ', t.depth) || f.name,
           round(extract(epoch FROM f.started_at - min(f.started_at) OVER ()) * 1000, 3),
           round(f.duration_ms::numeric, 3), f.rows, f.shared_blks_hit, f.shared_blks_read,
           coalesce(f.sqlstate, CASE WHEN f.failed THEN 'failed' END), f.query
    FROM tree t JOIN found f USING (span_id)
    ORDER BY t.place
$$;
COMMENT ON FUNCTION trace_tree(text) IS
'The spans of a trace as an indented tree, times in milliseconds since the first began';

--
-- What belongs to one request, wherever it was recorded
--

CREATE TYPE timeline_event AS (
    at timestamptz,
    source text,
    what text,
    duration_ms double precision,
    result text,
    sqlstate text,
    user_id text,
    tenant_id text,
    trace_id text,
    span_id text,
    request_id text,
    details jsonb);
COMMENT ON TYPE timeline_event IS
'What request_timeline() returns';

-- Of a statement that is in both, what the span tells: it is told more.  They
-- are known to be the same by their time, which is exact to the nanosecond.
CREATE FUNCTION timeline_statements(request text, traces text[])
RETURNS SETOF timeline_event
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
    WITH s AS MATERIALIZED (
        SELECT * FROM @extschema@.spans("limit" => 2147483647)
        WHERE kind IN ('statement', 'nested', 'commit')
          AND (request_id = $1 OR trace_id = ANY ($2))
    ), q AS MATERIALIZED (
        SELECT *, finished_at - duration_ms * interval '1 millisecond' AS started_at
        FROM @extschema@.slow_queries(2147483647)
        WHERE request_id = $1 OR trace_id = ANY ($2)
    )
    SELECT s.started_at,
           CASE WHEN s.failed THEN 'failed statement'
                WHEN EXISTS (SELECT FROM q WHERE q.duration_ms = s.busy_ms
                                             AND q.queryid IS NOT DISTINCT FROM s.queryid)
                THEN 'slow statement'
                ELSE s.kind END,
           s.name, s.duration_ms, CASE WHEN s.failed THEN 'failure' ELSE 'success' END, s.sqlstate,
           s.user_id, s.tenant_id, s.trace_id, s.span_id, s.request_id,
           jsonb_strip_nulls(jsonb_build_object(
               'datname', s.datname, 'queryid', s.queryid::text, 'query', s.query,
               'rows', s.rows, 'pid', s.pid))
    FROM s
    UNION ALL
    SELECT q.started_at, CASE WHEN q.sqlstate IS NOT NULL THEN 'failed statement' ELSE 'slow statement' END,
           q.operation, q.duration_ms, CASE WHEN q.sqlstate IS NOT NULL THEN 'failure' ELSE 'success' END, q.sqlstate,
           q.user_id, q.tenant_id, q.trace_id, NULL, q.request_id,
           jsonb_strip_nulls(jsonb_build_object(
               'datname', q.datname, 'queryid', q.queryid::text, 'query', q.query, 'rows', q.rows))
    FROM q
    WHERE NOT EXISTS (SELECT FROM s WHERE s.busy_ms = q.duration_ms
                                      AND s.queryid IS NOT DISTINCT FROM q.queryid)
$$;
COMMENT ON FUNCTION timeline_statements(text, text[]) IS
'Spans, slow and failed statements of a request or of traces';

-- Where there is no audit log, or the caller may not read it, nothing.  The
-- handler of exceptions is what parallel queries cannot have.
CREATE FUNCTION timeline_audit(request text, traces text[], since timestamptz)
RETURNS SETOF timeline_event
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
ROWS 10
AS $$
DECLARE
    log regclass;
BEGIN
    IF NOT has_function_privilege('@extschema@.by_request(text, text, integer, timestamptz, timestamptz)', 'EXECUTE')
       OR NOT has_function_privilege('@extschema@.audit_log()', 'EXECUTE') THEN
        RETURN;
    END IF;
    BEGIN
        log := @extschema@.audit_log();
    EXCEPTION WHEN undefined_table THEN
        RETURN;
    END;
    IF NOT has_table_privilege(log, 'SELECT') THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT coalesce(e.occurred_at, e.created_at), 'audit', e.operation, e.duration_ms, e.result, e.sqlstate,
           e.user_id, e.tenant_id, e.trace_id, e.span_id, e.request_id,
           jsonb_strip_nulls(jsonb_build_object(
               'id', e.id::text, 'entity_type', e.entity_type, 'entity_id', e.entity_id,
               'error_message', e.error_message))
    FROM (SELECT DISTINCT ON (b.created_at, b.id) b.*
          FROM (SELECT r.* FROM @extschema@.by_request(request, NULL, 2147483647, since) r WHERE request IS NOT NULL
                UNION ALL
                SELECT r.* FROM unnest(traces) AS t (trace),
                    LATERAL @extschema@.by_request(NULL, trace, 2147483647, since) r) b
          ORDER BY b.created_at, b.id) e;
END
$$;
COMMENT ON FUNCTION timeline_audit(text, text[], timestamptz) IS
'Entries of the audit log of a request or of traces';

-- A table that lacks one of them, or has it as something else, is not the error
-- tracker's, whatever its name.  Texts may be of any type for strings.
CREATE FUNCTION timeline_wrong_columns(
    error_table regclass,
    has_occurrences boolean,
    OUT missing text,
    OUT mistyped text)
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('"%s"', w.name), ', ' ORDER BY w.place) FILTER (WHERE t.oid IS NULL),
           string_agg(format('"%s" is of type %s and not %s', w.name, format_type(a.atttypid, NULL), w.type),
                      ', ' ORDER BY w.place) FILTER (WHERE w.type NOT IN ('any', format_type(t.oid, NULL))
                                                       AND NOT (w.type = 'text' AND t.typcategory = 'S'))
    FROM (VALUES (1, 'error_id', 'any', NULL), (2, 'error_type', 'text', false),
                 (3, 'error_message', 'text', false), (4, 'severity', 'text', false),
                 (5, 'status', 'text', false), (6, 'last_seen', 'timestamp with time zone', false),
                 (7, 'occurred_at', 'timestamp with time zone', true), (8, 'trace_id', 'text', NULL),
                 (9, 'span_id', 'text', NULL), (10, 'request_context', 'jsonb', NULL),
                 (11, 'user_context', 'jsonb', NULL)) AS w (place, name, type, of_occurrences)
    LEFT JOIN pg_attribute a ON a.attrelid = error_table AND a.attname = w.name AND NOT a.attisdropped
    LEFT JOIN LATERAL (
        WITH RECURSIVE types AS (
            SELECT a.atttypid AS oid
            UNION ALL
            SELECT d.typbasetype FROM types JOIN pg_type d USING (oid) WHERE d.typtype = 'd')
        SELECT oid, typcategory FROM types JOIN pg_type USING (oid) WHERE typtype <> 'd') AS t ON true
    WHERE coalesce(w.of_occurrences, has_occurrences) = has_occurrences
$$;
COMMENT ON FUNCTION timeline_wrong_columns(regclass, boolean) IS
'Columns that request_timeline() reads and a log of errors, or a table of their occurrences, lacks or has of another type; NULL if there are none';

-- Tables of FraiseQL's error tracker.  To read a table is to run what its owner
-- has attached to it, so those that were not named must belong to somebody who
-- is trusted, and who cannot be asked to filter them has them left out.
CREATE FUNCTION timeline_error_logs()
RETURNS SETOF regclass
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 1
AS $$
    SELECT c.oid::regclass
    FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    WHERE c.relname = 'tb_error_log' AND c.relkind = 'r'
      AND (r.rolsuper OR r.rolname = current_user
           OR r.oid = (SELECT datdba FROM pg_database WHERE datname = current_database()))
      AND has_schema_privilege(c.relnamespace, 'USAGE')
      AND has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)
      AND (@extschema@.timeline_wrong_columns(c.oid, false)) IS NULL
$$;
COMMENT ON FUNCTION timeline_error_logs() IS
'The tables of FraiseQL''s error tracker that request_timeline() reads without being told';

-- Occurrences with what the log says of their error, and what the log has of
-- errors without such an occurrence.
CREATE FUNCTION timeline_errors(request text, traces text[], since timestamptz, error_log regclass)
RETURNS SETOF timeline_event
LANGUAGE plpgsql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 10
AS $$
DECLARE
    log regclass;
    occurrences regclass;
    occurred text;
BEGIN
    FOR log IN SELECT error_log WHERE error_log IS NOT NULL
               UNION SELECT l FROM @extschema@.timeline_error_logs() l WHERE error_log IS NULL
    LOOP
        SELECT o.oid INTO occurrences
        FROM pg_class c JOIN pg_class o USING (relnamespace, relowner)
        WHERE c.oid = log AND o.relname = 'tb_error_occurrence' AND o.relkind IN ('r', 'p')
          AND has_table_privilege(o.oid, 'SELECT')
          AND (@extschema@.timeline_wrong_columns(o.oid, true)) IS NULL
          AND (SELECT count(DISTINCT atttypid) FROM pg_attribute
               WHERE attrelid IN (log, o.oid) AND attname = 'error_id') = 1;
        occurred := CASE WHEN occurrences IS NULL THEN '' ELSE format(
            'SELECT o.occurred_at, e.error_type::text, e.error_message, e.severity, e.status, e.error_id,
                    o.trace_id::text, o.span_id::text, o.request_context, o.user_context
             FROM %s o LEFT JOIN %s e USING (error_id)
             WHERE o.occurred_at >= $3
               AND (o.trace_id = ANY ($2) OR o.request_context ->> ''request_id'' = $1)
             UNION ALL ', occurrences, log) END;
        RETURN QUERY EXECUTE format($query$
            SELECT f.at, 'error', f.error_type, NULL::double precision, 'failure', NULL,
                   f.user_context ->> 'user_id', NULL, f.trace_id, f.span_id, f.request_context ->> 'request_id',
                   jsonb_strip_nulls(jsonb_build_object(
                       'error_id', f.error_id, 'message', f.error_message,
                       'severity', f.severity, 'status', f.status))
            FROM (%s
                SELECT e.last_seen, e.error_type::text, e.error_message, e.severity, e.status, e.error_id,
                       e.trace_id::text, e.span_id::text, e.request_context, e.user_context
                FROM %s e
                WHERE e.last_seen >= $3
                  AND (e.trace_id = ANY ($2) OR e.request_context ->> 'request_id' = $1)
                  %s) AS f (at, error_type, error_message, severity, status, error_id,
                            trace_id, span_id, request_context, user_context)
            $query$, occurred, log,
            CASE WHEN occurrences IS NOT NULL THEN format(
                'AND NOT EXISTS (SELECT FROM %s o WHERE o.error_id = e.error_id AND o.occurred_at >= $3
                     AND (o.trace_id = ANY ($2) OR o.request_context ->> ''request_id'' = $1))', occurrences)
            ELSE '' END)
        USING request, traces, since;
    END LOOP;
END
$$;
COMMENT ON FUNCTION timeline_errors(text, text[], timestamptz, regclass) IS
'Errors that FraiseQL''s error tracker has of a request or of traces';

-- A request may have more than one trace, and those are looked for wherever the
-- identifier of the request stands beside them.
CREATE FUNCTION request_timeline(
    id text,
    since timestamptz DEFAULT now() - interval '1 day',
    error_log regclass DEFAULT NULL)
RETURNS SETOF timeline_event
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
DECLARE
    traces text[];
    wrong record;
BEGIN
    IF id IS NULL OR since IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'id and since must not be null',
            HINT = 'Give the identifier of a trace or of a request, as request_timeline(''7f3c'').';
    END IF;
    SELECT * INTO wrong FROM @extschema@.timeline_wrong_columns(error_log, false);
    IF wrong.missing IS NOT NULL THEN
        RAISE undefined_column USING
            MESSAGE = format('relation "%s" lacks columns of a log of errors', error_log),
            DETAIL = format('Missing: %s.', wrong.missing),
            HINT = 'Give a view that has the columns of FraiseQL''s tb_error_log.';
    END IF;
    IF wrong.mistyped IS NOT NULL THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('relation "%s" has columns of other types than those of a log of errors', error_log),
            DETAIL = format('Column %s.', wrong.mistyped),
            HINT = 'Give a view that has the columns of FraiseQL''s tb_error_log.';
    END IF;
    SELECT array_agg(DISTINCT f.trace_id) INTO traces
    FROM (SELECT trace_id FROM @extschema@.timeline_statements(id, NULL)
          UNION ALL SELECT trace_id FROM @extschema@.timeline_audit(id, NULL, since)
          UNION ALL SELECT trace_id FROM @extschema@.timeline_errors(id, NULL, since, error_log)
          UNION ALL SELECT lower(id) WHERE id ~* '^[0-9a-f]{32}$') f
    WHERE f.trace_id IS NOT NULL;
    RETURN QUERY
    SELECT f.*
    FROM (SELECT * FROM @extschema@.timeline_statements(id, traces)
          UNION ALL SELECT * FROM @extschema@.timeline_audit(id, traces, since)
          UNION ALL SELECT * FROM @extschema@.timeline_errors(id, traces, since, error_log)) f
    WHERE f.at >= since
    ORDER BY f.at, f.source, f.span_id;
END
$$;
COMMENT ON FUNCTION request_timeline(text, timestamptz, regclass) IS
'What is known of a request or of a trace, in the order of time: spans, slow and failed statements, entries of the audit log, errors of FraiseQL''s error tracker';

CREATE VIEW v_spans AS
SELECT s.trace_id || '-' || s.span_id AS id,
       to_jsonb(s) || jsonb_build_object('queryid', s.queryid::text) AS data
FROM spans("limit" => 2147483647) s;

COMMENT ON VIEW v_spans IS 'spans() as id and data';

GRANT EXECUTE ON FUNCTION
    spans(text, timestamptz, timestamptz, text, integer),
    spans_otlp(text, timestamptz, timestamptz, text, integer),
    trace_tree(text),
    timeline_statements(text, text[]),
    timeline_audit(text, text[], timestamptz),
    timeline_wrong_columns(regclass, boolean),
    timeline_error_logs(),
    timeline_errors(text, text[], timestamptz, regclass),
    request_timeline(text, timestamptz, regclass)
TO pg_read_all_stats;
GRANT SELECT ON v_spans TO pg_read_all_stats;
