-- What audit_table() refuses, and what an audited table does when it cannot be
-- recorded
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.create_audit_log() IS NOT NULL AS log;
SET client_min_messages = notice;
CREATE TABLE refused_no_key (id integer);
CREATE TABLE refused_key (id integer PRIMARY KEY, v text);
CREATE TABLE refused_deferred (id integer PRIMARY KEY DEFERRABLE);
CREATE TEMP TABLE refused_temp (id integer PRIMARY KEY);
CREATE VIEW refused_view AS SELECT * FROM refused_key;
CREATE SEQUENCE refused_sequence;
CREATE TABLE refused_part (id integer PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE refused_part_1 PARTITION OF refused_part DEFAULT;

SELECT fraiseql_obs.audit_table('refused_no_key');
SELECT fraiseql_obs.audit_table('refused_deferred');
SELECT fraiseql_obs.audit_table('refused_temp');
SELECT fraiseql_obs.audit_table('refused_view');
SELECT fraiseql_obs.audit_table('refused_sequence');
SELECT fraiseql_obs.audit_table('refused_part_1');
SELECT fraiseql_obs.audit_table('pg_class');
SELECT fraiseql_obs.audit_table('information_schema.sql_features');
SELECT fraiseql_obs.audit_table('fraiseql_audit.fraiseql_audit_log');
SELECT fraiseql_obs.audit_table('fraiseql_audit.fraiseql_audit_settings');
SELECT fraiseql_obs.audit_table('no_such_table');
SELECT fraiseql_obs.audit_table(0);
CREATE TABLE refused_child () INHERITS (refused_key);
ALTER TABLE refused_child ADD PRIMARY KEY (id);
SELECT fraiseql_obs.audit_table('refused_key');
SELECT fraiseql_obs.audit_table('refused_child');
DROP TABLE refused_child;
SELECT fraiseql_obs.audit_table(NULL);
SELECT fraiseql_obs.unaudit_table(NULL);
SELECT fraiseql_obs.audit_table('refused_key', exclude => '{v,w}');
SELECT fraiseql_obs.audit_table('refused_key', mask => '{"odd \" name"}');
SELECT fraiseql_obs.audit_table('refused_key', mask => '{NULL}');
SELECT fraiseql_obs.audit_table('refused_key', tenant_column => 'tenant');
SELECT fraiseql_obs.audit_table('refused_key', tenant_column => 'ctid');
SELECT fraiseql_obs.audit_table('refused_key', exclude => '{id}');
SELECT fraiseql_obs.audit_table('refused_key', mask => '{id}');
SELECT fraiseql_obs.audit_table('refused_key', exclude => '{v}', mask => '{v}');
SELECT fraiseql_obs.audit_table('refused_key', entity_type => repeat('x', 1025));
SELECT count(*) AS nothing_half_done FROM pg_trigger WHERE tgname LIKE 'fraiseql_audit_%' AND tgrelid IN ('refused_key'::regclass, 'refused_no_key'::regclass);

-- only by an owner
CREATE ROLE regress_refused;
GRANT ALL ON refused_key TO regress_refused;
SET ROLE regress_refused;
SELECT fraiseql_obs.audit_table('refused_key');
RESET ROLE;
GRANT USAGE ON SCHEMA fraiseql_obs TO regress_refused;
GRANT EXECUTE ON FUNCTION fraiseql_obs.audit_table, fraiseql_obs.unaudit_table, fraiseql_obs.audit_capture,
    fraiseql_obs.audit_log, fraiseql_obs.audit_check_table, fraiseql_obs.audit_check_columns TO regress_refused;
SET ROLE regress_refused;
SELECT fraiseql_obs.audit_table('refused_key');
RESET ROLE;

-- by other ways than audit_table()
CREATE TRIGGER by_hand AFTER INSERT ON refused_key FOR EACH ROW EXECUTE FUNCTION fraiseql_obs.audit_capture();
INSERT INTO refused_key VALUES (1);
DROP TRIGGER by_hand ON refused_key;
CREATE TRIGGER by_hand AFTER INSERT ON refused_key FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_obs.audit_capture('x');
INSERT INTO refused_key VALUES (1);
DROP TRIGGER by_hand ON refused_key;
CREATE TRIGGER by_hand AFTER INSERT ON refused_key REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION fraiseql_obs.audit_capture('x', '', '{NULL}', '{}');
INSERT INTO refused_key VALUES (1);
DROP TRIGGER by_hand ON refused_key;
SELECT fraiseql_obs.audit_capture();

-- a table that has lost its key, and a column
SELECT fraiseql_obs.audit_table('refused_key', mask => '{v}');
ALTER TABLE refused_key RENAME COLUMN v TO w;
INSERT INTO refused_key VALUES (1, 'secret');
SELECT fraiseql_obs.audit_table('refused_key', mask => '{w}');
INSERT INTO refused_key VALUES (1, 'secret');
SELECT new_data FROM fraiseql_obs.by_entity('refused_key', '1');
-- whose tenant nobody would be, or by whose key no entry would be found
SELECT fraiseql_obs.audit_table('refused_key', exclude => '{w}', tenant_column => 'w');
ALTER TABLE refused_key RENAME COLUMN w TO v;
SELECT fraiseql_obs.audit_table('refused_key', tenant_column => 'v');
ALTER TABLE refused_key RENAME COLUMN v TO w;
UPDATE refused_key SET w = 'other';
SELECT fraiseql_obs.audit_table('refused_key', mask => '{w}');
ALTER TABLE refused_key DROP CONSTRAINT refused_key_pkey, ADD PRIMARY KEY (id, w);
UPDATE refused_key SET w = 'other';
ALTER TABLE refused_key DROP CONSTRAINT refused_key_pkey;
ALTER TABLE refused_key ALTER w DROP NOT NULL;
INSERT INTO refused_key VALUES (2);
SELECT fraiseql_obs.unaudit_table('refused_key');
INSERT INTO refused_key VALUES (3);
SELECT * FROM refused_key;
-- a row that a trigger keeps from the partition it is to move to
CREATE TABLE refused_list (id integer, part integer, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE refused_list_1 PARTITION OF refused_list FOR VALUES IN (1);
CREATE TABLE refused_list_2 PARTITION OF refused_list FOR VALUES IN (2);
CREATE FUNCTION pg_temp.keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 1 THEN RETURN NULL; END IF; RETURN NEW; END';
CREATE TRIGGER keep_out BEFORE INSERT ON refused_list_2 FOR EACH ROW EXECUTE FUNCTION pg_temp.keep_out();
INSERT INTO refused_list VALUES (1, 1), (3, 1);
SELECT fraiseql_obs.audit_table('refused_list');
UPDATE refused_list SET part = 2;
UPDATE refused_list SET part = 2 WHERE id = 3;
SELECT * FROM refused_list ORDER BY id;
DROP TABLE refused_list;
DROP VIEW refused_view;
DROP TABLE refused_no_key, refused_key, refused_deferred, refused_temp, refused_part;
DROP SEQUENCE refused_sequence;
REVOKE ALL ON SCHEMA fraiseql_obs FROM regress_refused;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fraiseql_obs FROM regress_refused;
DROP ROLE regress_refused;
