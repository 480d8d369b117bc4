-- A failed statement is a call and an error; what never became a statement is
-- an error alone.  Each error is counted once, as it was sent.
CREATE TABLE obs_item (id int PRIMARY KEY);
CREATE TABLE obs_secret (id int);
INSERT INTO obs_item VALUES (1);
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

-- no statement yet
SELEC 1 /*action='syntax'*/;
SELECT no_such_column /*action='column'*/;
SELECT 1 FROM no_such_table /*action='table'*/;
SELECT 'x'::int /*action='literal'*/;
EXECUTE no_such_statement /*action='execute'*/;
SELECT * FROM counted;
SELECT * FROM failed;

-- in the planner, at the start, running, at the end, in a utility statement
SELECT 1 / 0 /*action='1 planner'*/;
SET ROLE regress_fraiseql_app;
SELECT id FROM obs_secret /*action='2 executor start'*/;
RESET ROLE;
SELECT 1 / (id - 1) FROM obs_item /*action='3 executor run'*/;
INSERT INTO obs_item VALUES (2), (1) /*action='4 duplicate key'*/;
DROP TABLE no_such_table /*action='5 utility'*/;
SELECT * FROM counted;
SELECT * FROM failed;

-- The one in the planner stands under its query, whose constants do not matter.
SELECT 1 / 1 AS works;
SELECT calls, errors FROM fraiseql_obs.query_stats()
WHERE toplevel AND query LIKE 'SELECT $1 / $2%';

-- in a transaction that has failed
SELECT fraiseql_obs.reset_metrics('errors') IS NOT NULL AS reset;
BEGIN;
SELECT 1 / 0;
SELECT 1 /*action='refused'*/;
SELECT 2 /*action='refused'*/;
ROLLBACK;
SELECT * FROM failed;

DROP TABLE obs_item, obs_secret;
