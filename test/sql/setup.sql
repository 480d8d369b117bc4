-- The extensions, and views that show counts without what differs from run to
-- run.  Statements that a test looks at name themselves in a comment; the
-- views show what was counted under these names.
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION fraiseql_obs;

CREATE VIEW counted AS
SELECT operation, calls, errors, rows
FROM fraiseql_obs.operation_stats()
WHERE datname = current_database()
ORDER BY operation COLLATE "C";

CREATE VIEW failed AS
SELECT sqlstate, condition_name, errors
FROM fraiseql_obs.error_stats()
WHERE datname = current_database()
ORDER BY sqlstate COLLATE "C";

-- Statements of a role, apart by whether a client or a function ran them
CREATE VIEW counted_by_role AS
SELECT toplevel, count(*) AS queries, sum(calls) AS calls,
       sum(errors) AS errors, sum(rows) AS rows
FROM fraiseql_obs.query_stats()
WHERE userid = (SELECT oid FROM pg_roles
                WHERE rolname = 'regress_fraiseql_app')
GROUP BY toplevel ORDER BY toplevel DESC;

CREATE ROLE regress_fraiseql_app;
GRANT CREATE, USAGE ON SCHEMA public TO regress_fraiseql_app;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT * FROM counted;
SELECT * FROM failed;
