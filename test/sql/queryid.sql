-- Statements without a query identifier are counted everywhere but among the
-- queries; with one, it is the one that everybody else shows.
CREATE TABLE obs_item (id int);
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

SELECT id FROM obs_item WHERE id > 1;
SELECT count(*) AS same
FROM fraiseql_obs.query_stats() AS o
JOIN pg_stat_statements AS s USING (userid, dbid, toplevel, queryid)
WHERE s.query LIKE 'SELECT id FROM obs_item%' AND o.calls = s.calls AND o.query = s.query;

-- constants make no difference, tables do
SELECT id FROM obs_item WHERE id > 2;
SELECT calls FROM fraiseql_obs.query_stats() WHERE query LIKE 'SELECT id FROM obs_item%';

SET compute_query_id = off;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET ROLE regress_fraiseql_app;
SELECT 1 AS one /*action='without'*/;
SELECT 1 / 0 /*action='without'*/;
RESET ROLE;
SELECT * FROM counted;
SELECT * FROM failed;
SELECT count(*) FROM fraiseql_obs.query_stats() WHERE queryid = 0 AND calls = 0;
RESET compute_query_id;
DROP TABLE obs_item;
