-- The extension goes and comes; counting does not need it.
CREATE DATABASE regress_fraiseql_other;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
\set main :DBNAME
\c regress_fraiseql_other
SELECT 1 AS one /*action='other database'*/;
CREATE EXTENSION fraiseql_obs;
SELECT datname = current_database() AS here, operation, calls
FROM fraiseql_obs.operation_stats() WHERE operation = 'other database';

-- without pg_stat_statements in the database there is no text
SELECT count(query) AS texts, count(*) > 1 AS queries FROM fraiseql_obs.query_stats();
DROP EXTENSION fraiseql_obs;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'fraiseql_obs'::regnamespace;

-- it has its schema for itself
CREATE EXTENSION fraiseql_obs SCHEMA public;
CREATE EXTENSION fraiseql_obs;
ALTER EXTENSION fraiseql_obs SET SCHEMA public;
\c :main

-- a database that is gone keeps its name or goes, and nothing fails
DROP DATABASE regress_fraiseql_other;
SELECT count(*) > 0 AS works FROM fraiseql_obs.operation_stats();
SELECT count(*) > 0 AS works FROM fraiseql_obs.metrics();
SELECT octet_length(fraiseql_obs.export_metrics()) > 0 AS works;
