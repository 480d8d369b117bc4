-- Whoever it is, superuser included: the audit log's tables are changed by its
-- own functions alone.
\set SHOW_CONTEXT never
\set main :DBNAME
SET client_min_messages = warning;
CREATE DATABASE regress_guard;
\c regress_guard
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log(guard_triggers => false) AS log;
SELECT fraiseql_obs.log_operation('create', user_id => 'alice') > 0 AS logged;
SELECT 'fraiseql_audit.fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') AS partition \gset
SELECT 'fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') AS name \gset
-- today's name is not for the expected output
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN regexp_replace(format('%s %s', SQLSTATE, SQLERRM), '\d{8}', 'TODAY');
END
$$;
\pset format unaligned
\pset tuples_only on
CREATE TABLE part (LIKE fraiseql_audit.fraiseql_audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
CREATE TABLE seals (LIKE fraiseql_audit.fraiseql_audit_seals INCLUDING ALL);
CREATE TABLE refs (a bigint, at timestamptz);
CREATE FUNCTION audit_hold_on(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE OPERATOR CLASS own_ops FOR TYPE text USING btree AS OPERATOR 3 =, FUNCTION 1 bttextcmp(text, text);

-- rows
SELECT pg_temp.try($$INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged')$$);
SELECT pg_temp.try($$UPDATE fraiseql_audit.fraiseql_audit_log SET user_id = 'bob'$$);
SELECT pg_temp.try($$UPDATE fraiseql_audit.fraiseql_audit_log SET user_id = NULL, personal_salt = NULL$$);
SELECT pg_temp.try($$DELETE FROM fraiseql_audit.fraiseql_audit_log$$);
SELECT pg_temp.try($$WITH gone AS (DELETE FROM fraiseql_audit.fraiseql_audit_log RETURNING 1) SELECT count(*) FROM gone$$);
SELECT pg_temp.try($$MERGE INTO fraiseql_audit.fraiseql_audit_log USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE$$);
SELECT pg_temp.try($$TRUNCATE fraiseql_audit.fraiseql_audit_log$$);
SELECT pg_temp.try(format($$DELETE FROM %s$$, :'partition'));
SELECT pg_temp.try(format($$INSERT INTO %s (operation) VALUES ('forged')$$, :'partition'));
SELECT pg_temp.try(format($$TRUNCATE %s$$, :'partition'));
SELECT pg_temp.try($$UPDATE fraiseql_audit.fraiseql_audit_counts SET n = 0$$);
SELECT pg_temp.try($$UPDATE fraiseql_audit.fraiseql_audit_settings SET retention = '1 day'$$);
SELECT pg_temp.try($$DELETE FROM fraiseql_obs.audit_registry$$);
SELECT pg_temp.try($$EXPLAIN DELETE FROM fraiseql_audit.fraiseql_audit_log$$);
SELECT pg_temp.try($$COPY fraiseql_audit.fraiseql_audit_log (operation) FROM '/dev/null'$$);

-- tables
SELECT pg_temp.try($$DROP TABLE fraiseql_audit.fraiseql_audit_log$$);
SELECT pg_temp.try(format($$DROP TABLE %s$$, :'partition'));
SELECT pg_temp.try($$DROP SCHEMA fraiseql_audit CASCADE$$);
SELECT pg_temp.try($$DROP TABLE fraiseql_audit.fraiseql_audit_counts$$);
SELECT pg_temp.try($$DROP TABLE fraiseql_obs.audit_registry$$);
SELECT pg_temp.try(format($$ALTER TABLE fraiseql_audit.fraiseql_audit_log DETACH PARTITION %s$$, :'partition'));
SELECT pg_temp.try(format($$ALTER TABLE %s DISABLE TRIGGER ALL$$, :'partition'));
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_log DROP COLUMN details$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_log RENAME COLUMN details TO d$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_log RENAME TO other$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_log SET SCHEMA public$$);
SELECT pg_temp.try($$ALTER SCHEMA fraiseql_audit RENAME TO other$$);
SELECT pg_temp.try($$CREATE TABLE part PARTITION OF fraiseql_audit.fraiseql_audit_log FOR VALUES FROM ('2000-01-01') TO ('2000-01-02')$$);
SELECT pg_temp.try($$CREATE RULE swallow AS ON INSERT TO fraiseql_audit.fraiseql_audit_log DO INSTEAD NOTHING$$);
SELECT pg_temp.try($$CREATE TRIGGER swallow BEFORE INSERT ON fraiseql_audit.fraiseql_audit_log FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()$$);
SELECT pg_temp.try($$CREATE POLICY hide ON fraiseql_audit.fraiseql_audit_log USING (false)$$);
SELECT pg_temp.try($$DROP POLICY fraiseql_audit_all_rows ON fraiseql_audit.fraiseql_audit_counts$$);
SELECT pg_temp.try($$ALTER EXTENSION fraiseql_obs ADD TABLE fraiseql_audit.fraiseql_audit_log$$);
SELECT pg_temp.try($$CREATE INDEX ON fraiseql_audit.fraiseql_audit_counts (abs(n))$$);
SELECT pg_temp.try($$CREATE INDEX ON fraiseql_audit.fraiseql_audit_counts (n) WHERE n > 1$$);
SELECT pg_temp.try($$CREATE INDEX ON fraiseql_audit.fraiseql_audit_counts (key own_ops)$$);
SELECT pg_temp.try($$CREATE UNIQUE INDEX ON fraiseql_audit.fraiseql_audit_seals (kind)$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_counts REPLICA IDENTITY NOTHING$$);
SELECT pg_temp.try($$ALTER SEQUENCE fraiseql_audit.fraiseql_audit_log_id_seq RESTART$$);
SELECT pg_temp.try($$ALTER SEQUENCE fraiseql_audit.fraiseql_audit_holds_hold_id_seq CYCLE$$);
SELECT pg_temp.try($$ALTER SEQUENCE fraiseql_audit.fraiseql_audit_log_id_seq RENAME TO other$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_log_id_seq RENAME TO other$$);

-- what would make others' rows the log's, or the log's those of others
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_log ATTACH PARTITION part FOR VALUES FROM ('2000-01-01') TO ('2000-01-02')$$);
SELECT pg_temp.try($$ALTER TABLE seals INHERIT fraiseql_audit.fraiseql_audit_seals$$);
SELECT pg_temp.try($$CREATE TABLE child () INHERITS (fraiseql_audit.fraiseql_audit_holds)$$);
SELECT pg_temp.try($$CREATE FOREIGN TABLE child () INHERITS (fraiseql_audit.fraiseql_audit_holds) SERVER nowhere$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_audit.fraiseql_audit_seals INHERIT seals$$);
SELECT pg_temp.try($$CREATE TABLE fraiseql_audit.fraiseql_audit_log_20000101 (a int)$$);
SELECT pg_temp.try($$CREATE VIEW fraiseql_audit.fraiseql_audit_log_20000101 AS SELECT 1 AS a$$);
SELECT pg_temp.try($$CREATE TABLE fraiseql_audit.own (a int); ALTER TABLE fraiseql_audit.own RENAME TO fraiseql_audit_own$$);
SELECT pg_temp.try($$CREATE TABLE fraiseql_audit_own (a int); ALTER TABLE fraiseql_audit_own SET SCHEMA fraiseql_audit$$);
-- what would keep its rows from being written or removed
SELECT pg_temp.try($$CREATE TABLE child (a bigint REFERENCES fraiseql_audit.fraiseql_audit_seals)$$);
SELECT pg_temp.try($$ALTER TABLE refs ADD FOREIGN KEY (a) REFERENCES fraiseql_audit.fraiseql_audit_holds$$);
SELECT pg_temp.try($$ALTER TABLE refs ADD COLUMN b bigint REFERENCES fraiseql_audit.fraiseql_audit_holds$$);
SELECT pg_temp.try(format($$ALTER TABLE refs ADD FOREIGN KEY (at, a) REFERENCES %s$$, :'partition'));
SELECT pg_temp.try($$ALTER TABLE refs ADD PRIMARY KEY (a); ALTER TABLE fraiseql_audit.fraiseql_audit_seals ADD FOREIGN KEY (seal_no) REFERENCES refs (a)$$);

-- the extension: its members, its schema, and who stands beside its functions
SELECT pg_temp.try($$ALTER EXTENSION fraiseql_obs ADD SCHEMA fraiseql_audit$$);
SELECT pg_temp.try($$ALTER EXTENSION fraiseql_obs ADD SEQUENCE fraiseql_audit.fraiseql_audit_log_id_seq$$);
SELECT pg_temp.try($$ALTER EXTENSION fraiseql_obs DROP TABLE fraiseql_obs.audit_registry$$);
SELECT pg_temp.try($$ALTER EXTENSION fraiseql_obs DROP FUNCTION fraiseql_obs.audit_do_seal_audit_log(interval)$$);
SELECT pg_temp.try($$ALTER EXTENSION plpgsql ADD SCHEMA fraiseql_audit$$);
SELECT pg_temp.try($$ALTER EXTENSION plpgsql ADD TABLE fraiseql_audit.fraiseql_audit_holds$$);
SELECT pg_temp.try($$DROP EXTENSION fraiseql_obs, plpgsql CASCADE$$);
SELECT pg_temp.try($$ALTER SCHEMA fraiseql_obs RENAME TO other$$);
SELECT pg_temp.try($$ALTER TABLE fraiseql_obs.audit_registry SET SCHEMA public$$);
SELECT pg_temp.try($$ALTER TYPE fraiseql_obs.audit_event DROP ATTRIBUTE user_id$$);
SELECT pg_temp.try($$ALTER TYPE fraiseql_obs.audit_event RENAME TO other$$);
SELECT pg_temp.try($$CREATE FUNCTION fraiseql_obs.audit_hold_on(regclass, timestamp, timestamp) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'$$);
SELECT pg_temp.try($$CREATE AGGREGATE fraiseql_obs.audit_sum(bigint) (sfunc = int8pl, stype = bigint)$$);
SELECT pg_temp.try($$ALTER FUNCTION audit_hold_on(regclass) SET SCHEMA fraiseql_obs$$);
-- our functions, and their work without them
SELECT pg_temp.try($$CREATE OR REPLACE FUNCTION fraiseql_obs.audit_do_index_audit_partitions() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'$$);
SELECT pg_temp.try($$ALTER FUNCTION fraiseql_obs.audit_do_index_audit_partitions() OWNER TO CURRENT_USER$$);
SELECT pg_temp.try($$ALTER FUNCTION fraiseql_obs.audit_do_index_audit_partitions() RESET ALL$$);
SELECT pg_temp.try($$SELECT fraiseql_obs.audit_do_refresh_audit_rollups()$$);

-- what serves storage, indexes and other tables
SELECT pg_temp.try(format($$ALTER TABLE %s SET (autovacuum_enabled = false)$$, :'partition'));
SELECT pg_temp.try(format($$CREATE INDEX further ON %s (request_id)$$, :'partition'));
SELECT pg_temp.try(format($$CREATE INDEX ON %s (operation text_pattern_ops)$$, :'partition'));
SELECT pg_temp.try(format($$REINDEX TABLE %s$$, :'partition'));
SELECT pg_temp.try($$DROP INDEX fraiseql_audit.further$$);
SELECT pg_temp.try($$CREATE TABLE fraiseql_audit.own (a int); INSERT INTO fraiseql_audit.own VALUES (1); DROP TABLE fraiseql_audit.own$$);
VACUUM FULL fraiseql_audit.fraiseql_audit_log;
SELECT fraiseql_obs.refresh_audit_rollups();
SELECT operation, user_id FROM fraiseql_obs.recent_operations();

-- the extension may go, which is an entry; and once it has gone nothing guards
DROP EXTENSION fraiseql_obs CASCADE;
SELECT operation FROM fraiseql_audit.fraiseql_audit_log ORDER BY id;
CREATE EXTENSION fraiseql_obs;
SELECT pg_temp.try($$DROP SCHEMA fraiseql_audit CASCADE$$);

\c :main
DROP DATABASE regress_guard;
