-- Errors that somebody handles: a savepoint is the client's business, which
-- was sent the error; an EXCEPTION block is the function's.
CREATE TABLE obs_item (id int PRIMARY KEY);
GRANT ALL ON obs_item TO regress_fraiseql_app;
CREATE FUNCTION obs_trap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO obs_item VALUES (1);
    RETURN 'inserted';
EXCEPTION WHEN unique_violation THEN
    RETURN 'trapped';
END $$;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

BEGIN;
INSERT INTO obs_item VALUES (1) /*action='1 first'*/;
SAVEPOINT s;
INSERT INTO obs_item VALUES (1) /*action='2 second'*/;
ROLLBACK TO s;
INSERT INTO obs_item VALUES (2) /*action='3 third'*/;
COMMIT;
SELECT * FROM counted;
SELECT * FROM failed;

-- A trapped error is no error of the client's statement.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET ROLE regress_fraiseql_app;
SELECT obs_trap() /*action='trap'*/;
RESET ROLE;
SELECT * FROM counted;
SELECT * FROM failed;
SELECT * FROM counted_by_role;

-- With nested statements, it is one of the nested statement.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.track = 'all';
SET ROLE regress_fraiseql_app;
SELECT obs_trap() /*action='trap'*/;
RESET ROLE;
RESET fraiseql_obs.track;
SELECT * FROM counted;
SELECT * FROM failed;
SELECT * FROM counted_by_role;

-- An error that passes through counts for both.
CREATE OR REPLACE FUNCTION obs_trap() RETURNS text LANGUAGE plpgsql AS
'BEGIN INSERT INTO obs_item VALUES (1); RETURN 1; END';
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.track = 'all';
SET ROLE regress_fraiseql_app;
SELECT obs_trap() /*action='pass'*/;
RESET ROLE;
RESET fraiseql_obs.track;
SELECT * FROM counted;
SELECT * FROM failed;
SELECT * FROM counted_by_role;

DROP FUNCTION obs_trap();
DROP TABLE obs_item;
