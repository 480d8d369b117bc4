-- Each target is reset for itself, and "all" resets them all.
CREATE VIEW counts AS
SELECT (SELECT count(*) FROM fraiseql_obs.query_stats() WHERE query LIKE '%obs_marked%') AS queries,
       (SELECT count(*) FROM fraiseql_obs.operation_stats() WHERE operation = 'reset me') AS operations,
       (SELECT count(*) FROM fraiseql_obs.error_stats() WHERE sqlstate = '42P07') AS errors,
       (SELECT count(*) FROM fraiseql_obs.slow_queries() WHERE sqlstate = '42P07') AS slow_queries,
       (SELECT sum(value) FROM fraiseql_obs.metrics()
        WHERE name = 'fraiseql_obs_db_query_duration_seconds_count'
          AND labels ->> 'datname' = current_database()) > 2 AS databases;
\set workload 'SELECT 1 AS one; CREATE TABLE obs_marked (id int) /*action=\'reset me\'*/; CREATE TABLE obs_marked (id int) /*action=\'reset me\'*/; SELECT id FROM obs_marked; DROP TABLE obs_marked;'

SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
:workload
SELECT queries > 0 AS queries, operations, errors, slow_queries, databases FROM counts;
SELECT fraiseql_obs.reset_metrics('queries') <= clock_timestamp() AS reset;
SELECT * FROM counts;
SELECT fraiseql_obs.reset_metrics('operations') IS NOT NULL AS reset;
SELECT * FROM counts;
SELECT fraiseql_obs.reset_metrics('errors') IS NOT NULL AS reset;
SELECT * FROM counts;
SELECT fraiseql_obs.reset_metrics('slow_queries') IS NOT NULL AS reset;
SELECT * FROM counts;
SELECT fraiseql_obs.reset_metrics('databases') IS NOT NULL AS reset;
SELECT * FROM counts;

:workload
SELECT queries > 0 AS queries, operations, errors, slow_queries, databases FROM counts;
SELECT fraiseql_obs.reset_metrics('all') IS NOT NULL AS reset;
SELECT * FROM counts;

-- what is no target
SELECT fraiseql_obs.reset_metrics('everything');
SELECT fraiseql_obs.reset_metrics('');
SELECT fraiseql_obs.reset_metrics('ALL');
SELECT fraiseql_obs.reset_metrics(NULL) IS NULL AS nothing;
SELECT sum(errors) FROM failed;
DROP VIEW counts;
