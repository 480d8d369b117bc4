-- Who may call the functions but not see the statistics of others gets their
-- numbers without their text.
CREATE ROLE regress_fraiseql_granted;
GRANT USAGE ON SCHEMA fraiseql_obs TO regress_fraiseql_granted;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fraiseql_obs TO regress_fraiseql_granted;
CREATE TABLE obs_item (id int);
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.include_query_bodies = on;

SELECT id FROM obs_item WHERE id = 42;
SET fraiseql_obs.user_id = 'u1';
SET fraiseql_obs.tenant_id = 't1';
SET fraiseql_obs.request_id = 'r1';
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT 1 / (id - 42) FROM obs_item UNION SELECT 1 / 0 /*action='of another'*/;
RESET fraiseql_obs.user_id;
RESET fraiseql_obs.tenant_id;
RESET fraiseql_obs.request_id;
RESET fraiseql_obs.traceparent;

SET ROLE regress_fraiseql_granted;
SELECT count(*) FROM fraiseql_obs.query_stats() WHERE query LIKE '%obs_item%';
SELECT query, user_id, tenant_id, request_id, trace_id, span_id, sqlstate
FROM fraiseql_obs.slow_queries() WHERE sqlstate = '22012';

-- its own text it sees
SELECT 2 / 0 AS my_own;
SELECT query FROM fraiseql_obs.slow_queries() WHERE query LIKE '%my_own%';
RESET ROLE;

-- and with the right role, that of others
GRANT pg_read_all_stats TO regress_fraiseql_granted;
SET ROLE regress_fraiseql_granted;
SELECT count(*) FROM fraiseql_obs.query_stats() WHERE query LIKE 'SELECT id FROM obs_item%';
SELECT query, user_id, tenant_id, request_id, trace_id, span_id, sqlstate
FROM fraiseql_obs.slow_queries() WHERE operation = 'of another';
RESET ROLE;
RESET fraiseql_obs.include_query_bodies;

DROP TABLE obs_item;
DROP OWNED BY regress_fraiseql_granted;
DROP ROLE regress_fraiseql_granted;
