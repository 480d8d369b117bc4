-- track = top counts what clients send, all also what functions and triggers
-- run, none nothing.  Operations count what clients send in any case.
CREATE TABLE obs_item (id int PRIMARY KEY, name text);
CREATE TABLE obs_seen (id int);
CREATE FUNCTION obs_sql(n int) RETURNS bigint LANGUAGE sql AS
'INSERT INTO obs_item SELECT g FROM generate_series(1, n) AS g; SELECT count(*) FROM obs_item';
CREATE FUNCTION obs_loop(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    FOR r IN SELECT g FROM generate_series(1, n) AS g LOOP END LOOP;
    EXECUTE 'CREATE TABLE obs_made (id int)';
    EXECUTE 'DROP TABLE obs_made';
    RETURN n;
END $$;
CREATE FUNCTION obs_trigger() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN INSERT INTO obs_seen VALUES (new.id); RETURN NULL; END';
CREATE TRIGGER obs_trigger AFTER UPDATE ON obs_item
FOR EACH ROW EXECUTE FUNCTION obs_trigger();
GRANT ALL ON obs_item, obs_seen TO regress_fraiseql_app;

PREPARE run AS SELECT obs_sql(5) /*action='1 sql'*/;
\set workload 'SET ROLE regress_fraiseql_app; DELETE FROM obs_item /*action=\'0 delete\'*/; EXECUTE run; SELECT obs_loop(100) /*action=\'2 loop\'*/; UPDATE obs_item SET name = id WHERE id > 3 /*action=\'3 trigger\'*/; RESET ROLE;'

SET fraiseql_obs.track = 'top';
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
:workload
SELECT * FROM counted;
SELECT toplevel, calls, errors, rows FROM counted_by_role;
TRUNCATE obs_seen;

SET fraiseql_obs.track = 'all';
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
:workload
SELECT * FROM counted;
SET fraiseql_obs.enabled = off;
SELECT toplevel, calls, errors, rows FROM counted_by_role;
SELECT calls, errors, rows FROM fraiseql_obs.query_stats()
WHERE NOT toplevel AND userid = 'regress_fraiseql_app'::regrole
ORDER BY rows, calls;
RESET fraiseql_obs.enabled;
TRUNCATE obs_seen;

SET fraiseql_obs.track = 'none';
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
:workload
SELECT * FROM counted;
SELECT * FROM counted_by_role;
RESET fraiseql_obs.track;

DEALLOCATE run;
DROP TABLE obs_seen, obs_item;
DROP FUNCTION obs_sql(int), obs_loop(int), obs_trigger();
