--
-- Statistics
--
-- The columns from calls to last_call are those of src/statistics.c, in its
-- order.

CREATE FUNCTION query_counters(
    OUT userid oid,
    OUT dbid oid,
    OUT toplevel boolean,
    OUT queryid bigint,
    OUT calls bigint,
    OUT errors bigint,
    OUT slow_calls bigint,
    OUT rows bigint,
    OUT total_exec_time double precision,
    OUT min_exec_time double precision,
    OUT max_exec_time double precision,
    OUT mean_exec_time double precision,
    OUT p50_exec_time double precision,
    OUT p95_exec_time double precision,
    OUT p99_exec_time double precision,
    OUT total_plan_time double precision,
    OUT last_call timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'fraiseql_obs_query_counters'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
ROWS 1000;

COMMENT ON FUNCTION query_counters() IS
'What was counted for each query, times in milliseconds: query_stats() without the text';

CREATE FUNCTION query_texts(
    OUT userid oid,
    OUT dbid oid,
    OUT toplevel boolean,
    OUT queryid bigint,
    OUT query text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'fraiseql_obs_query_texts'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
ROWS 5000;

COMMENT ON FUNCTION query_texts() IS
'The normalised text of each query, where pg_stat_statements has it; toplevel is NULL if its version does not tell it';

-- Reading the texts is what costs.
CREATE FUNCTION query_stats(
    OUT userid oid,
    OUT dbid oid,
    OUT toplevel boolean,
    OUT queryid bigint,
    OUT query text,
    OUT calls bigint,
    OUT errors bigint,
    OUT slow_calls bigint,
    OUT rows bigint,
    OUT total_exec_time double precision,
    OUT min_exec_time double precision,
    OUT max_exec_time double precision,
    OUT mean_exec_time double precision,
    OUT p50_exec_time double precision,
    OUT p95_exec_time double precision,
    OUT p99_exec_time double precision,
    OUT total_plan_time double precision,
    OUT last_call timestamptz)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.userid, c.dbid, c.toplevel, c.queryid, t.query,
           c.calls, c.errors, c.slow_calls, c.rows, c.total_exec_time,
           c.min_exec_time, c.max_exec_time, c.mean_exec_time,
           c.p50_exec_time, c.p95_exec_time, c.p99_exec_time,
           c.total_plan_time, c.last_call
    FROM @extschema@.query_counters() c
    LEFT JOIN (SELECT DISTINCT ON (userid, dbid, toplevel, queryid) *
               FROM @extschema@.query_texts()) t
        ON t.userid = c.userid AND t.dbid = c.dbid AND t.queryid = c.queryid
        AND (t.toplevel = c.toplevel OR t.toplevel IS NULL)
$$;

COMMENT ON FUNCTION query_stats() IS
'Calls, errors, rows and times in milliseconds of each query, with its normalised text where pg_stat_statements has it';

CREATE FUNCTION operation_stats(
    OUT datname text,
    OUT operation text,
    OUT type text,
    OUT calls bigint,
    OUT errors bigint,
    OUT slow_calls bigint,
    OUT rows bigint,
    OUT total_exec_time double precision,
    OUT min_exec_time double precision,
    OUT max_exec_time double precision,
    OUT mean_exec_time double precision,
    OUT p50_exec_time double precision,
    OUT p95_exec_time double precision,
    OUT p99_exec_time double precision,
    OUT total_plan_time double precision,
    OUT last_call timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'fraiseql_obs_operation_stats'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
ROWS 100;

COMMENT ON FUNCTION operation_stats() IS
'Calls, errors, rows and times in milliseconds of each operation of the application';

CREATE FUNCTION error_stats(
    OUT datname text,
    OUT sqlstate text,
    OUT condition_name text,
    OUT errors bigint,
    OUT last_error timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'fraiseql_obs_error_stats'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
ROWS 20;

COMMENT ON FUNCTION error_stats() IS
'Errors that clients were sent, by database and SQLSTATE';

CREATE FUNCTION slow_queries(
    "limit" integer DEFAULT 50,
    OUT finished_at timestamptz,
    OUT datname text,
    OUT usename text,
    OUT application_name text,
    OUT queryid bigint,
    OUT query text,
    OUT duration_ms double precision,
    OUT rows bigint,
    OUT sqlstate text,
    OUT operation text,
    OUT user_id text,
    OUT tenant_id text,
    OUT request_id text,
    OUT trace_id text,
    OUT span_id text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'fraiseql_obs_slow_queries'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
ROWS 50;

COMMENT ON FUNCTION slow_queries(integer) IS
'The latest statements that were slow or failed, newest first; query is NULL unless include_query_bodies is on';

CREATE FUNCTION reset_metrics(target text DEFAULT 'all')
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'fraiseql_obs_reset_metrics'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION reset_metrics(text) IS
'Starts counting anew: all, databases, queries, operations, errors, slow_queries, app or spans';

--
-- Metrics
--

CREATE FUNCTION metrics(
    OUT name text,
    OUT type text,
    OUT help text,
    OUT labels jsonb,
    OUT value double precision)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'fraiseql_obs_metrics'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION metrics() IS
'All metrics, one row per sample';

CREATE FUNCTION export_metrics(format text DEFAULT 'prometheus')
RETURNS text
AS 'MODULE_PATHNAME', 'fraiseql_obs_export_metrics'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION export_metrics(text) IS
'All metrics as text: prometheus, openmetrics or json';

--
-- Views in the shape that FraiseQL takes as a type's sql_source.  64-bit
-- identifiers are strings in data, as JavaScript would round them.
--

CREATE VIEW v_query_stats AS
SELECT jsonb_build_array(s.dbid, s.userid, s.queryid::text, s.toplevel,
                         -- several may have an identifier that is not shown
                         CASE WHEN s.queryid IS NULL AND s.userid IS NOT NULL
                              THEN row_number() OVER () END
                        )::text AS id,
       to_jsonb(s) || jsonb_build_object('queryid', s.queryid::text) AS data
FROM query_stats() s;

COMMENT ON VIEW v_query_stats IS 'query_stats() as id and data';

CREATE VIEW v_operation_stats AS
SELECT jsonb_build_array(s.datname, s.type, s.operation)::text AS id,
       to_jsonb(s) AS data
FROM operation_stats() s;

COMMENT ON VIEW v_operation_stats IS 'operation_stats() as id and data';

CREATE VIEW v_error_stats AS
SELECT jsonb_build_array(s.datname, s.sqlstate)::text AS id,
       to_jsonb(s) AS data
FROM error_stats() s;

COMMENT ON VIEW v_error_stats IS 'error_stats() as id and data';

CREATE VIEW v_slow_queries AS
SELECT md5(to_jsonb(s)::text) AS id,
       to_jsonb(s) || jsonb_build_object('queryid', s.queryid::text) AS data
FROM slow_queries(512) s;

COMMENT ON VIEW v_slow_queries IS 'slow_queries() as id and data';

--
-- Privileges: nothing for PUBLIC, monitoring for pg_monitor, and what shows
-- the statements of others for pg_read_all_stats, which pg_monitor is part of.
--

GRANT USAGE ON SCHEMA @extschema@ TO pg_monitor, pg_read_all_stats;

GRANT EXECUTE ON FUNCTION query_counters() TO pg_monitor, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION query_texts() TO pg_monitor, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION query_stats() TO pg_monitor, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION operation_stats() TO pg_monitor;
GRANT EXECUTE ON FUNCTION error_stats() TO pg_monitor;
GRANT EXECUTE ON FUNCTION metrics() TO pg_monitor;
GRANT EXECUTE ON FUNCTION export_metrics(text) TO pg_monitor;
GRANT EXECUTE ON FUNCTION slow_queries(integer) TO pg_read_all_stats;

GRANT SELECT ON v_query_stats TO pg_monitor, pg_read_all_stats;
GRANT SELECT ON v_operation_stats, v_error_stats TO pg_monitor;
GRANT SELECT ON v_slow_queries TO pg_read_all_stats;
