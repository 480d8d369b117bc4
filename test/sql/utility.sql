-- Utility statements: what is counted, and what is not.
CREATE TABLE obs_item (id int PRIMARY KEY);
INSERT INTO obs_item SELECT generate_series(1, 20);
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

-- Session and transaction control is not counted.
BEGIN /*action='begin'*/;
SAVEPOINT s /*action='savepoint'*/;
ROLLBACK TO s /*action='rollback to'*/;
RELEASE s /*action='release'*/;
COMMIT /*action='commit'*/;
SET work_mem = '5MB' /*action='set'*/;
RESET work_mem /*action='reset'*/;
DISCARD PLANS /*action='discard'*/;
PREPARE p (int) AS SELECT id FROM obs_item WHERE id < $1 /*action='01 prepared'*/;
SELECT * FROM counted;

-- EXECUTE is the statement that it executes.
EXECUTE p (3) /*action='execute'*/;
EXECUTE p (2) /*action='execute'*/;
DEALLOCATE p /*action='deallocate'*/;

-- EXPLAIN counts when it executes.
EXPLAIN (COSTS OFF) SELECT 1 /*action='explain'*/;
EXPLAIN (ANALYZE off, COSTS OFF) SELECT 1 /*action='explain'*/;
EXPLAIN SELECT 1 / 0 /*action='explain'*/;
EXPLAIN (ANALYZE) SELECT 1 /*action='02 explain analyze'*/ \g /dev/null

COPY obs_item TO PROGRAM 'cat > /dev/null' /*action='03 copy to'*/;
COPY (SELECT id FROM obs_item WHERE id < 6) TO PROGRAM 'cat > /dev/null' /*action='04 copy query'*/;
COPY obs_item FROM STDIN /*action='05 copy from'*/;
31
32
33
\.
COPY obs_item FROM STDIN /*action='06 copy fails'*/;
41
41
\.
DO 'BEGIN PERFORM id FROM obs_item; END' /*action='07 do'*/;
SHOW transaction_isolation /*action='08 show'*/;
VACUUM obs_item /*action='09 vacuum'*/;
ANALYZE obs_item /*action='10 analyze'*/;
CREATE INDEX CONCURRENTLY obs_index ON obs_item (id) /*action='11 create index'*/;
COMMENT ON TABLE obs_item IS 'x' /*action='12 comment'*/;
LOCK TABLE no_such_table /*action='13 lock fails'*/;
SELECT * FROM counted;

DROP TABLE obs_item;
