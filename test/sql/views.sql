-- The views have an id that is unique and data in snake_case keys.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.slow_query_threshold = '0.001ms';
SELECT 1 AS one /*action='viewed'*/;
SELECT 1 / 0 /*action='viewed'*/;
SELECT count(*) > 1 AS some, count(*) = count(DISTINCT id) AS is_unique, bool_and(jsonb_typeof(data) = 'object') AS object
FROM fraiseql_obs.v_query_stats;
SELECT count(*) > 0 AS some, count(*) = count(DISTINCT id) AS is_unique, bool_and(jsonb_typeof(data) = 'object') AS object
FROM fraiseql_obs.v_operation_stats;
SELECT count(*) > 0 AS some, count(*) = count(DISTINCT id) AS is_unique, bool_and(jsonb_typeof(data) = 'object') AS object
FROM fraiseql_obs.v_error_stats;
SELECT count(*) > 1 AS some, count(*) = count(DISTINCT id) AS is_unique, bool_and(jsonb_typeof(data) = 'object') AS object
FROM fraiseql_obs.v_slow_queries;
RESET fraiseql_obs.slow_query_threshold;

SELECT view, array_agg(DISTINCT key ORDER BY key) AS keys
FROM (SELECT 'query_stats' AS view, jsonb_object_keys(data) AS key FROM fraiseql_obs.v_query_stats
      UNION ALL SELECT 'operation_stats', jsonb_object_keys(data) FROM fraiseql_obs.v_operation_stats
      UNION ALL SELECT 'error_stats', jsonb_object_keys(data) FROM fraiseql_obs.v_error_stats
      UNION ALL SELECT 'slow_queries', jsonb_object_keys(data) FROM fraiseql_obs.v_slow_queries) AS k
GROUP BY view ORDER BY view;
SELECT data ->> 'operation' AS operation, data -> 'calls' AS calls, data -> 'errors' AS errors
FROM fraiseql_obs.v_operation_stats;
