-- Slow and failed statements are remembered, the latest first; their text only
-- if it is asked for.
CREATE VIEW remembered AS
SELECT query, rows, sqlstate, queryid IS NOT NULL AS has_queryid,
       duration_ms > 0 AS has_duration, usename = current_user AS me,
       application_name, now() - finished_at < interval '1 hour' AS recent
FROM fraiseql_obs.slow_queries() WHERE datname = current_database();
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.slow_query_threshold = '50ms';

SELECT 1 AS fast;
SELECT 1 / 0 AS failed;
SELECT pg_sleep(0.06), generate_series(1, 3) AS slow;
SELECT * FROM remembered;

SELECT fraiseql_obs.reset_metrics('slow_queries') IS NOT NULL AS reset;
SET fraiseql_obs.include_query_bodies = on;
SELECT pg_sleep(0.06), 'body' AS slow;
SELECT 1 AS one\; SELECT 1 / 0 AS second_of_two\; SELECT 3 AS three;
SELECT query, sqlstate FROM remembered;

-- A utility statement may hold a password: its text never shows.
SET fraiseql_obs.slow_query_threshold = '1h';
SELECT fraiseql_obs.reset_metrics('slow_queries') IS NOT NULL AS reset;
ALTER ROLE regress_fraiseql_nobody PASSWORD 'secret';
SELECT query, sqlstate FROM remembered;
RESET fraiseql_obs.include_query_bodies;

-- what is slow is counted as such
SELECT calls, slow_calls, errors FROM fraiseql_obs.query_stats()
WHERE query LIKE 'SELECT pg_sleep($1), generate_series%';

-- the limit
SELECT count(*) FROM fraiseql_obs.slow_queries(0);
SELECT count(*) FROM fraiseql_obs.slow_queries(1);
SELECT count(*) FROM fraiseql_obs.slow_queries(1000000);
SELECT * FROM fraiseql_obs.slow_queries(-1);
SELECT count(*) FROM fraiseql_obs.slow_queries(NULL);

RESET fraiseql_obs.slow_query_threshold;
DROP VIEW remembered;
