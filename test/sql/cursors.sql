-- DECLARE, FETCH, MOVE and CLOSE are statements of their own; the query of the
-- cursor is counted once, as nested, when nested statements are.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
BEGIN;
DECLARE c CURSOR FOR SELECT generate_series(1, 10) AS g /*action='1 declare'*/;
FETCH 3 FROM c /*action='2 fetch'*/;
FETCH 3 FROM c /*action='2 fetch'*/;
MOVE 2 IN c /*action='3 move'*/;
FETCH ALL FROM c /*action='4 rest'*/;
FETCH ALL FROM c /*action='5 empty'*/;
CLOSE c /*action='6 close'*/;
COMMIT;
SELECT * FROM counted;

-- WITH HOLD, materialised at COMMIT
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 10) AS g /*action='1 declare'*/;
FETCH 3 FROM h /*action='2 inside'*/;
COMMIT;
FETCH 3 FROM h /*action='3 outside'*/;
CLOSE h /*action='4 close'*/;
SELECT * FROM counted;

-- what a function does meanwhile is nested
CREATE FUNCTION obs_nested(g int) RETURNS bigint LANGUAGE plpgsql AS
'BEGIN RETURN (SELECT count(*) FROM pg_am WHERE oid = g); END';
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.operation_name = 'hold';
BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT obs_nested(g) FROM generate_series(1, 5) AS g;
COMMIT;
FETCH ALL FROM h \g /dev/null
CLOSE h; RESET fraiseql_obs.operation_name;
SELECT * FROM counted;
DROP FUNCTION obs_nested(int);

-- one that fails, and one whose query fails while it is materialised
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
BEGIN;
DECLARE c CURSOR FOR SELECT 1 / (3 - generate_series(1, 10)) AS g /*action='1 declare'*/;
FETCH 2 FROM c /*action='2 works'*/;
FETCH 2 FROM c /*action='3 fails'*/;
FETCH 2 FROM c /*action='refused'*/;
ROLLBACK;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT 1 / (3 - generate_series(1, 10)) AS g /*action='4 hold'*/;
COMMIT;
FETCH 1 FROM h /*action='5 not there'*/;
SELECT * FROM counted;
SELECT * FROM failed;

-- the query itself, as nested
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.track = 'all'; SET ROLE regress_fraiseql_app;
BEGIN;
DECLARE c CURSOR FOR SELECT generate_series(1, 10) AS g;
FETCH 3 FROM c;
FETCH ALL FROM c;
COMMIT;
RESET ROLE; RESET fraiseql_obs.track;
SELECT toplevel, calls, rows FROM counted_by_role;
