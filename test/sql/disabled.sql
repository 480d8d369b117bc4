-- Nothing is counted while it is off; what was counted before stays.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT 1 AS one /*action='1 before'*/;
SET fraiseql_obs.enabled = off;
SELECT 1 AS one /*action='2 while off'*/;
SELECT 1 / 0 /*action='2 while off'*/;
SELEC /*action='2 while off'*/;
SET fraiseql_obs.enabled = on;
SELECT 1 AS one /*action='3 on again'*/;
SET fraiseql_obs.metrics_enabled = off;
SELECT 1 AS one /*action='4 metrics off'*/;
DROP TABLE no_such_table /*action='4 metrics off'*/;
SET fraiseql_obs.metrics_enabled = on;
SELECT 1 AS one /*action='5 on again'*/;
SELECT * FROM counted;
SELECT * FROM failed;

-- In the middle of a statement and of a portal: it is as when it started.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT set_config('fraiseql_obs.enabled', 'off', false) /*action='1 turns off'*/;
SELECT set_config('fraiseql_obs.enabled', 'on', false) /*action='2 turns on'*/;
DO $$ BEGIN PERFORM set_config('fraiseql_obs.enabled', 'off', true); END $$ /*action='3 do turns off'*/;
SELECT 1 AS one /*action='4 after'*/;
BEGIN;
DECLARE c CURSOR FOR SELECT generate_series(1, 4) AS g /*action='5 declare'*/;
SET LOCAL fraiseql_obs.enabled = off;
FETCH 2 FROM c /*action='6 fetch while off'*/;
COMMIT;
SELECT 1 AS one /*action='7 local is over'*/;
SELECT * FROM counted;

-- Only who may is able to.
SET ROLE regress_fraiseql_app;
SET fraiseql_obs.enabled = off;
SET fraiseql_obs.metrics_enabled = off;
SET fraiseql_obs.track = 'none';
SET fraiseql_obs.slow_query_threshold = '1h';
SET fraiseql_obs.include_query_bodies = on;
SET fraiseql_obs.slow_query_log_rate = 0;
RESET ROLE;
