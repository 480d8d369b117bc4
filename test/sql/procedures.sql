-- Procedures and DO blocks that commit are one statement each.
CREATE TABLE obs_item (id int PRIMARY KEY);
CREATE PROCEDURE obs_commit(n int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. n LOOP
        INSERT INTO obs_item VALUES (i);
        IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
    END LOOP;
END $$;
CREATE PROCEDURE obs_fail() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO obs_item VALUES (100);
    COMMIT;
    PERFORM 1 / (id - 100) FROM obs_item;
END $$;
GRANT ALL ON obs_item TO regress_fraiseql_app;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

CALL obs_commit(4) /*action='1 call'*/;
SELECT count(*) FROM obs_item /*action='2 after'*/;
DO $$ BEGIN DELETE FROM obs_item; COMMIT; PERFORM 1; ROLLBACK; END $$ /*action='3 do'*/;
CALL obs_fail() /*action='4 fails after commit'*/;
CALL obs_fail() /*action='5 fails before'*/;
BEGIN;
CALL obs_commit(1) /*action='6 in a transaction'*/;
ROLLBACK;
SELECT count(*) FROM obs_item /*action='7 at last'*/;
SELECT * FROM counted;
SELECT * FROM failed;

-- with nested statements
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.track = 'all';
SET ROLE regress_fraiseql_app;
CALL obs_commit(4);
RESET ROLE;
RESET fraiseql_obs.track;
SELECT toplevel, calls, errors, rows FROM counted_by_role;

DROP PROCEDURE obs_commit(int), obs_fail();
DROP TABLE obs_item;
