-- What happens at COMMIT belongs to no statement: its errors are counted, and
-- the statements that led to them succeeded.
CREATE TABLE obs_item (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE obs_whole (id int PRIMARY KEY);
CREATE TABLE obs_part (id int REFERENCES obs_whole DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE obs_seen (id int);
CREATE FUNCTION obs_trigger() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN INSERT INTO obs_seen VALUES (new.id); RETURN NULL; END';
GRANT ALL ON obs_item, obs_seen TO regress_fraiseql_app;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

BEGIN;
INSERT INTO obs_item VALUES (1), (1) /*action='1 duplicate'*/;
COMMIT;
BEGIN;
INSERT INTO obs_part VALUES (1) /*action='2 reference'*/;
COMMIT;
INSERT INTO obs_part VALUES (2) /*action='3 reference, no block'*/;
BEGIN;
INSERT INTO obs_part VALUES (3) /*action='4 reference, checked early'*/;
SET CONSTRAINTS ALL IMMEDIATE;
COMMIT;
SELECT * FROM counted;
SELECT * FROM failed;

-- The statements of a deferred trigger are nested.
CREATE CONSTRAINT TRIGGER obs_trigger AFTER INSERT ON obs_item
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION obs_trigger();
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET ROLE regress_fraiseql_app;
BEGIN;
INSERT INTO obs_item VALUES (1), (2);
COMMIT;
RESET ROLE;
SELECT count(*) FROM obs_seen;
SELECT * FROM counted_by_role;

SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.track = 'all';
SET ROLE regress_fraiseql_app;
BEGIN;
INSERT INTO obs_item VALUES (3), (4);
COMMIT;
RESET ROLE;
RESET fraiseql_obs.track;
SELECT toplevel, calls, rows FROM counted_by_role;

DROP TABLE obs_part, obs_whole, obs_item, obs_seen;
DROP FUNCTION obs_trigger();
