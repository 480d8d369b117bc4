-- Spans of a sampled request: what they are, as a tree and as OTLP/JSON.
-- Identifiers and times differ from run to run and are not shown.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
CREATE TABLE obs_span (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION obs_span(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO obs_span SELECT g FROM generate_series(1, n) AS g;
    BEGIN
        EXECUTE 'SELECT 1 / 0';
    EXCEPTION WHEN division_by_zero THEN
        NULL;
    END;
    RETURN (SELECT count(*) FROM obs_span);
END $$;

SET fraiseql_obs.operation_name = 'saveSpan';
SET fraiseql_obs.operation_type = 'mutation';
SET fraiseql_obs.request_id = 'request-1';
SET fraiseql_obs.user_id = 'user-1';
SET fraiseql_obs.tenant_id = 'tenant-1';
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SET fraiseql_obs.track = 'all';
BEGIN;
SELECT obs_span(3);
UPDATE obs_span SET a = a + 10 WHERE a > 1;
COMMIT;
-- fails at COMMIT, in execution, in planning
BEGIN;
INSERT INTO obs_span VALUES (1);
COMMIT;
SELECT 1 / (a - 12) FROM obs_span;
SELECT 1 / 0;
CREATE TABLE obs_span (a int);
SET fraiseql_obs.traceparent = '';
SET fraiseql_obs.track = 'top';

SELECT span, rows, sqlstate, query FROM fraiseql_obs.trace_tree('4bf92f3577b34da6a3ce929d0e0e4736');
SELECT count(*) FROM fraiseql_obs.trace_tree('4BF92F3577B34DA6A3CE929D0E0E4736');
SELECT count(*) FROM fraiseql_obs.trace_tree('no such trace');
SELECT count(*) FROM fraiseql_obs.trace_tree(NULL);

-- what they have in common, and what they do not
SELECT kind, count(*), count(DISTINCT span_id) = count(*) AS distinct,
       bool_and(parent_span_id = '00f067aa0ba902b7') AS child_of_caller,
       bool_and(duration_ms >= 0 AND busy_ms IS DISTINCT FROM -1) AS has_times,
       bool_and(shared_blks_hit IS NOT NULL) AS has_blocks,
       bool_and((queryid IS NOT NULL)) AS has_queryid,
       bool_and(pid = pg_backend_pid() AND datname = current_database() AND usename = current_user) AS mine,
       min(operation || operation_type || user_id || tenant_id || request_id) AS request,
       bool_and(sampled) AS sampled, min(kept_as) AS kept_as
FROM fraiseql_obs.spans('4bf92f3577b34da6a3ce929d0e0e4736')
GROUP BY kind ORDER BY kind;

-- children begin and end within their parents
SELECT count(*) AS outside
FROM fraiseql_obs.spans('4bf92f3577b34da6a3ce929d0e0e4736') AS child
JOIN fraiseql_obs.spans('4bf92f3577b34da6a3ce929d0e0e4736') AS parent
  ON parent.span_id = child.parent_span_id
WHERE child.started_at < parent.started_at
   OR child.started_at + child.duration_ms * interval '1 ms' >
      parent.started_at + parent.duration_ms * interval '1 ms' + interval '2 us';

-- filters; planning and execution count for the limit
SELECT count(*) FROM fraiseql_obs.spans(operation => 'saveSpan', "limit" => 5);
SELECT count(*) FROM fraiseql_obs.spans(operation => 'otherOperation');
SELECT count(*) > 5 AS since FROM fraiseql_obs.spans(since => now() - interval '1 hour');
SELECT count(*) AS until FROM fraiseql_obs.spans(until => now() - interval '1 hour');
SELECT count(*) AS none FROM fraiseql_obs.spans(since => 'infinity');
SELECT count(*) AS none FROM fraiseql_obs.spans(until => '-infinity');
SELECT count(*) AS all FROM fraiseql_obs.spans(since => '-infinity', until => 'infinity', "limit" => 3);
SELECT count(*) FROM fraiseql_obs.spans("limit" => -1);
SELECT count(*) FROM fraiseql_obs.spans("limit" => NULL);

-- the text, if it is asked for; that of utility statements never shows
SET fraiseql_obs.include_query_bodies = on;
SET fraiseql_obs.traceparent = '00-000000000000000000000000000000b0-00f067aa0ba902b7-01';
SELECT 'a "quoted" text' AS one\; SELECT 2 AS two;
ALTER ROLE regress_fraiseql_app PASSWORD 'secret';
SET fraiseql_obs.traceparent = '';
RESET fraiseql_obs.include_query_bodies;
SELECT span, rows, query FROM fraiseql_obs.trace_tree('000000000000000000000000000000b0');

-- OTLP
CREATE FUNCTION masked(spans json) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(jsonb_pretty(spans::jsonb),
        '("(spanId|parentSpanId)": )"(?!00f067aa0ba902b7)[0-9a-f]{16}"', '\1"<id>"', 'g'),
        '("(startTimeUnixNano|endTimeUnixNano)": )"\d{19}"', '\1"<time>"', 'g'),
        '(\{\s+"key": "(?:fraiseql_obs.(?:queryid|busy_ms|shared_blks_\w+)|service.version)",\s+"value": \{\s+"\w+Value": )"?-?[^\n]+', '\1<masked>', 'g')
$$;
SET fraiseql_obs.traceparent = '00-000000000000000000000000000000b1-00f067aa0ba902b7-01';
SELECT 1 / (a - 12) FROM obs_span;
SET fraiseql_obs.traceparent = '';
\pset format unaligned
SELECT masked(fraiseql_obs.spans_otlp('000000000000000000000000000000b1'));
SELECT masked(fraiseql_obs.spans_otlp('000000000000000000000000000000b2'));
\pset format aligned

-- not sampled, or no trace at all: no span, unless it fails or is slow
SELECT fraiseql_obs.reset_metrics('spans') IS NOT NULL AS reset;
SELECT 1 AS one;
SELECT 1 / 0;
SET fraiseql_obs.traceparent = '00-000000000000000000000000000000b3-00f067aa0ba902b7-00';
SELECT 1 AS one;
SELECT 1 / 0;
SET fraiseql_obs.slow_query_threshold = '5ms';
SELECT pg_sleep(0.01) IS NULL AS slow;
RESET fraiseql_obs.slow_query_threshold;
-- nor with tracing off
SET fraiseql_obs.tracing_enabled = off;
SET fraiseql_obs.traceparent = '00-000000000000000000000000000000b4-00f067aa0ba902b7-01';
SELECT 1 AS one;
SELECT 1 / 0;
RESET fraiseql_obs.tracing_enabled;
SET fraiseql_obs.traceparent = '';
SELECT kind, parent_span_id, trace_id = '000000000000000000000000000000b3' AS of_request,
       shared_blks_hit IS NOT NULL AS measured, sqlstate, sampled, kept_as
FROM fraiseql_obs.spans() WHERE kind = 'statement' AND name ~ '^SELECT';

-- with metrics off, spans go on
SET fraiseql_obs.metrics_enabled = off;
SET fraiseql_obs.operation_name = 'withoutMetrics';
SET fraiseql_obs.traceparent = '00-000000000000000000000000000000b5-00f067aa0ba902b7-01';
SELECT 1 AS one;
SELECT 1 / 0;
SET fraiseql_obs.traceparent = '';
RESET fraiseql_obs.operation_name;
RESET fraiseql_obs.metrics_enabled;
SELECT span, rows, sqlstate FROM fraiseql_obs.trace_tree('000000000000000000000000000000b5');
SELECT operation, calls FROM counted WHERE operation = 'withoutMetrics';

RESET ALL;
DROP FUNCTION masked(json), obs_span(int);
DROP TABLE obs_span;
