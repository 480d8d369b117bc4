-- Each statement is counted once, with the rows that it read or changed.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

CREATE TABLE obs_item (id int PRIMARY KEY, name text) /*action='01 create'*/;
INSERT INTO obs_item SELECT g, 'item ' || g FROM generate_series(1, 20) AS g /*action='02 insert'*/;
INSERT INTO obs_item VALUES (21, 'a'), (22, 'b') RETURNING id /*action='03 insert returning'*/;
SELECT count(*) FROM obs_item /*action='04 select'*/;
SELECT id FROM obs_item WHERE id < 0 /*action='05 select nothing'*/;
UPDATE obs_item SET name = 'x' WHERE id > 18 /*action='06 update'*/;
DELETE FROM obs_item WHERE id > 20 /*action='07 delete'*/;
MERGE INTO obs_item AS i USING (VALUES (20), (30)) AS v (id) ON i.id = v.id
WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'y') /*action='08 merge'*/;
WITH gone AS (DELETE FROM obs_item WHERE id > 18 RETURNING id)
SELECT id FROM gone ORDER BY id /*action='09 modifying with'*/;
VALUES (1), (2), (3) /*action='10 values'*/;
TABLE obs_item LIMIT 2 /*action='11 table'*/;
SELECT id INTO obs_copy FROM obs_item /*action='12 select into'*/;
CREATE TABLE obs_copy2 AS SELECT id FROM obs_item /*action='13 create table as'*/;
CREATE MATERIALIZED VIEW obs_view AS SELECT id FROM obs_item WHERE id > 10 /*action='14 create view'*/;
REFRESH MATERIALIZED VIEW obs_view /*action='15 refresh'*/;
SELECT id FROM obs_item ORDER BY id LIMIT 1 FOR UPDATE /*action='16 for update'*/;
TRUNCATE obs_copy /*action='17 truncate'*/;
DROP TABLE obs_copy /*action='18 drop'*/;

-- twice, with other constants
SELECT name FROM obs_item WHERE id = 1 /*action='19 again'*/;
SELECT name FROM obs_item WHERE id = 2 /*action='19 again'*/;
SELECT * FROM counted;

DROP MATERIALIZED VIEW obs_view;
DROP TABLE obs_item, obs_copy2;
