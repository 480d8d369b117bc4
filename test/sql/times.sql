-- The times of a statement agree with each other and with the clock.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
CREATE FUNCTION obs_sleep(ms int) RETURNS int LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(ms / 1000.0); RETURN ms; END';
CREATE TABLE obs_item (id int);
CREATE FUNCTION obs_trigger() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END';
CREATE TRIGGER obs_trigger AFTER INSERT ON obs_item
FOR EACH STATEMENT EXECUTE FUNCTION obs_trigger();

SELECT obs_sleep(10) /*action='sleep'*/;
SELECT obs_sleep(100) /*action='sleep'*/;
SELECT obs_sleep(500) /*action='sleep'*/;
SELECT calls, min_exec_time >= 10 AND min_exec_time < 100 AS min,
       max_exec_time >= 500 AS max, total_exec_time >= 610 AS total,
       abs(mean_exec_time - total_exec_time / calls) < 0.001 AS mean,
       p50_exec_time >= 85 AND p50_exec_time < 500 AS p50,
       p50_exec_time <= p95_exec_time AND p95_exec_time <= p99_exec_time AS ordered,
       p99_exec_time >= 0.85 * max_exec_time AND p99_exec_time <= max_exec_time AS p99,
       total_plan_time > 0 AND total_plan_time < total_exec_time AS plan,
       now() - last_call < interval '1 minute' AS last
FROM fraiseql_obs.operation_stats() WHERE operation = 'sleep';

-- AFTER triggers are part of the statement, and so is a utility statement's
-- own work.
INSERT INTO obs_item VALUES (1) /*action='trigger'*/;
DO 'BEGIN PERFORM pg_sleep(0.05); END' /*action='utility'*/;
SELECT operation, total_exec_time BETWEEN 50 AND 5000 AS time
FROM fraiseql_obs.operation_stats() WHERE operation IN ('trigger', 'utility')
ORDER BY operation;

-- What the client does between two parts of a portal is not.
BEGIN;
DECLARE c CURSOR FOR SELECT generate_series(1, 10) AS g;
FETCH 2 FROM c /*action='fetch'*/;
SELECT pg_sleep(0.1);
FETCH 2 FROM c /*action='fetch'*/;
COMMIT;
SELECT calls, rows, total_exec_time < 50 AS time
FROM fraiseql_obs.operation_stats() WHERE operation = 'fetch';

-- a failed statement has its time, too
DO 'BEGIN PERFORM pg_sleep(0.05); RAISE ''late''; END' /*action='failed'*/;
SELECT errors, max_exec_time BETWEEN 50 AND 5000 AS time
FROM fraiseql_obs.operation_stats() WHERE operation = 'failed';

DROP TABLE obs_item;
DROP FUNCTION obs_sleep(int), obs_trigger();
