-- audit_table(): which changes of rows are in the audit log, and how
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.create_audit_log() IS NOT NULL AS log;
SET client_min_messages = notice;
-- what the log has of the statements since the last call
CREATE TEMP TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM fraiseql_audit.fraiseql_audit_log;
CREATE FUNCTION pg_temp.captured() RETURNS TABLE (operation text, entity text, old_data jsonb, new_data jsonb, changed text[])
LANGUAGE sql AS $$
    WITH news AS (SELECT * FROM fraiseql_audit.fraiseql_audit_log WHERE id > (SELECT id FROM seen)),
    forward AS (UPDATE seen SET id = greatest(seen.id, (SELECT max(id) FROM news)))
    SELECT operation, concat_ws(' ', entity_type, entity_id), old_data, new_data, changed_fields
    FROM news ORDER BY id
$$;

CREATE TABLE capture_customer (id integer PRIMARY KEY, name text, email text, secret text, seen_at timestamp, org text);
SELECT fraiseql_obs.audit_table('capture_customer', exclude => '{seen_at}', mask => '{secret}',
                                entity_type => 'Customer', tenant_column => 'org');
INSERT INTO capture_customer VALUES (1, 'Ann', 'ann@example.org', 's1', now(), 'acme'), (2, 'Bob', NULL, NULL, NULL, NULL);
SELECT * FROM pg_temp.captured();
UPDATE capture_customer SET name = upper(name);
SELECT * FROM pg_temp.captured();
-- secrets are told apart, and not told; what is excluded, and no change, is nothing
UPDATE capture_customer SET secret = 'changed' WHERE id = 1;
UPDATE capture_customer SET seen_at = '2026-01-01', name = name;
SELECT * FROM pg_temp.captured();
-- keys that change, all at once
UPDATE capture_customer SET id = id + 10;
SELECT * FROM pg_temp.captured();
INSERT INTO capture_customer (id, name) VALUES (11, 'new'), (13, 'Carl') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
SELECT operation, entity, changed FROM pg_temp.captured();
MERGE INTO capture_customer c USING (VALUES (11), (12), (14)) AS v (id) ON c.id = v.id
    WHEN MATCHED AND c.id = 11 THEN DELETE WHEN MATCHED THEN UPDATE SET name = 'merged'
    WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'inserted');
SELECT operation, entity, changed FROM pg_temp.captured();
WITH gone AS (DELETE FROM capture_customer WHERE id = 12 RETURNING *)
INSERT INTO capture_customer SELECT id + 100, name FROM gone;
SELECT operation, entity FROM pg_temp.captured() ORDER BY 1;
COPY capture_customer (id, name) FROM STDIN;
20	copied
\.
DELETE FROM capture_customer WHERE id = 999;
SELECT operation, entity FROM pg_temp.captured();
TRUNCATE capture_customer;
SELECT * FROM pg_temp.captured();
-- gone with their transaction
BEGIN;
INSERT INTO capture_customer VALUES (1);
ROLLBACK;
SELECT * FROM pg_temp.captured();
-- the tenant is the row's
INSERT INTO capture_customer (id, org) VALUES (1, 'umbrella');
SELECT tenant_id, user_id, db_role = session_user AS own, result FROM fraiseql_obs.by_entity('Customer', '1', 1);

-- other options, then none
SELECT fraiseql_obs.audit_table('capture_customer', exclude => '{name,email,secret,seen_at}');
UPDATE capture_customer SET org = 'x', email = 'y';
SELECT * FROM pg_temp.captured();
SELECT fraiseql_obs.unaudit_table('capture_customer');
SELECT fraiseql_obs.unaudit_table('capture_customer');
DELETE FROM capture_customer;
SELECT * FROM pg_temp.captured();

-- all kinds of columns, odd names, dropped and generated ones, a key of two
CREATE TYPE pg_temp.pair AS (a integer, b text);
CREATE TABLE "capture odd" (b text, gone text, a integer, "q""uo,te" bytea, n numeric, t timestamptz, j jsonb,
    list text[], c pg_temp.pair, g integer GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (b, a));
ALTER TABLE "capture odd" DROP COLUMN gone;
SELECT fraiseql_obs.audit_table('"capture odd"');
SET TimeZone = 'UTC';
INSERT INTO "capture odd" VALUES ('x"y', 1, '\x00ff', 1.50, '2026-01-01', '{"k": [1]}', '{a,NULL}', (1, 'b'));
UPDATE "capture odd" SET "q""uo,te" = '\x01', n = 1.5, a = 2;
SELECT * FROM pg_temp.captured();
DROP TABLE "capture odd";

-- partitions: through the parent, from one to another, and by themselves
CREATE TABLE capture_part (id integer, part integer, v text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
CREATE TABLE capture_part_1 PARTITION OF capture_part FOR VALUES IN (1);
CREATE TABLE capture_part_2 (v text, part integer NOT NULL, extra integer, id integer NOT NULL);
ALTER TABLE capture_part_2 DROP COLUMN extra;
ALTER TABLE capture_part ATTACH PARTITION capture_part_2 FOR VALUES IN (2);
SELECT fraiseql_obs.audit_table('capture_part');
INSERT INTO capture_part VALUES (1, 1, 'a'), (2, 2, 'b');
INSERT INTO capture_part_2 (part, id, v) VALUES (2, 3, 'c');
UPDATE capture_part SET part = 3 - part, v = v || '!';
SELECT * FROM pg_temp.captured();
SELECT fraiseql_obs.audit_table('capture_part_1');
DROP TABLE capture_part;

-- what a foreign key does
SELECT * FROM pg_temp.captured() WHERE false;
CREATE TABLE capture_parent (id integer PRIMARY KEY);
CREATE TABLE capture_child (id integer PRIMARY KEY, parent integer REFERENCES capture_parent ON DELETE CASCADE);
SELECT fraiseql_obs.audit_table('capture_child');
INSERT INTO capture_parent VALUES (1);
INSERT INTO capture_child VALUES (1, 1), (2, 1);
DELETE FROM capture_parent;
SELECT operation, entity FROM pg_temp.captured();

-- by users who have no right on the audit log, whose own triggers read the rows, too
CREATE ROLE regress_capture_user;
GRANT ALL ON capture_child, capture_parent TO regress_capture_user;
CREATE FUNCTION capture_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% rows', (SELECT count(*) FROM new_rows);
    RETURN NULL;
END $$;
CREATE TRIGGER a_count AFTER INSERT ON capture_child REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION capture_count();
CREATE TRIGGER z_count AFTER INSERT ON capture_child REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION capture_count();
SET ROLE regress_capture_user;
INSERT INTO capture_child VALUES (5), (6), (7);
RESET ROLE;
SELECT operation, entity FROM pg_temp.captured();
-- casts that users have made run with the user's rights
CREATE TYPE capture_mood AS ENUM ('calm');
CREATE FUNCTION capture_mood_json(capture_mood) RETURNS json LANGUAGE sql AS $$ SELECT to_json(current_user) $$;
CREATE CAST (capture_mood AS json) WITH FUNCTION capture_mood_json(capture_mood);
ALTER TABLE capture_child ADD mood capture_mood;
SET ROLE regress_capture_user;
INSERT INTO capture_child VALUES (8, NULL, 'calm');
RESET ROLE;
SELECT new_data FROM pg_temp.captured();
DROP TABLE capture_child, capture_parent;
DROP TYPE capture_mood CASCADE;
DROP FUNCTION capture_count();

-- rows that are too large for the log, keys that are long
CREATE TABLE capture_large (id text PRIMARY KEY, v text);
SELECT fraiseql_obs.audit_table('capture_large');
INSERT INTO capture_large VALUES (repeat('k', 2000), NULL), ('large', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 50000) i));
UPDATE capture_large SET v = 'small';
SELECT operation, left(entity, 17) AS entity, length(entity), substr(old_data::text, 1, 40) AS old_data,
       substr(new_data::text, 1, 40) AS new_data, changed
FROM pg_temp.captured();
DROP TABLE capture_large;
DROP TABLE capture_customer;
DROP ROLE regress_capture_user;

-- a key that is JSON's null
CREATE TABLE capture_json (id jsonb PRIMARY KEY);
SELECT fraiseql_obs.audit_table('capture_json');
INSERT INTO capture_json VALUES ('null');
SELECT * FROM pg_temp.captured();
CREATE TABLE capture_json_two (id jsonb, n integer, PRIMARY KEY (id, n));
SELECT fraiseql_obs.audit_table('capture_json_two');
INSERT INTO capture_json_two VALUES ('null', 1);
SELECT * FROM pg_temp.captured();

-- what has no jsonb can be left out; it may be whose the row is
CREATE TABLE capture_odd (id integer PRIMARY KEY, odd json, other json, org text);
SELECT fraiseql_obs.audit_table('capture_odd', exclude => '{odd,org}', mask => '{other}', tenant_column => 'org');
INSERT INTO capture_odd VALUES (1, '{"a": "\u0000"}', '1e400000', 'acme');
SELECT * FROM pg_temp.captured();
SELECT tenant_id FROM fraiseql_obs.by_entity('capture_odd', '1', 1);
UPDATE capture_odd SET other = '1e500000';
SELECT * FROM pg_temp.captured();

-- the same whatever the session's settings are
CREATE TABLE capture_time (at timestamptz, d date, i interval, b bytea, f float8, PRIMARY KEY (at, i, b));
SELECT fraiseql_obs.audit_table('capture_time');
INSERT INTO capture_time VALUES ('2026-01-01 00:00Z', '2026-01-02', '1 day 02:03', 'a', 0.1::float8 + 0.2);
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';
SET intervalstyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = 0;
DELETE FROM capture_time;
SHOW timezone;
RESET timezone;
RESET datestyle;
RESET intervalstyle;
RESET bytea_output;
RESET extra_float_digits;
SELECT * FROM pg_temp.captured();
DROP TABLE capture_json, capture_json_two, capture_odd, capture_time;

-- what has no jsonb is text, and the statement is well
CREATE TYPE capture_pair AS (a integer, j json);
CREATE DOMAIN capture_document AS json;
CREATE TYPE capture_mood AS ENUM ('calm', 'cross');
CREATE FUNCTION capture_mood_json(capture_mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    IF $1 = 'cross' THEN
        RAISE EXCEPTION 'no';
    END IF;
    RETURN to_json('calm'::text);
END $$;
CREATE CAST (capture_mood AS json) WITH FUNCTION capture_mood_json(capture_mood);
CREATE TABLE capture_unstorable (id integer PRIMARY KEY, "the json" json, n json, list json[], pair capture_pair,
    doc capture_document, mood capture_mood, f float8, m numeric, t timestamptz, note text);
SELECT fraiseql_obs.audit_table('capture_unstorable', tenant_column => 'note');
INSERT INTO capture_unstorable VALUES (1, '{"a": "\u0000"}', '1e200000', ARRAY['1', '"\ud800"']::json[], (1, '"\u0000"'),
    '"\udc00"', 'cross', 'NaN', 'Infinity', 'infinity', 'acme');
INSERT INTO capture_unstorable VALUES (2, '{"a": "\u0001"}', '1e20', ARRAY['1', '"\ud83d\ude00"']::json[], (1, '"\\u0000"'),
    '"x"', 'calm', '-Infinity', 'NaN', '-infinity', 'acme');
UPDATE capture_unstorable SET n = '1' WHERE id = 1;
SELECT jsonb_pretty(to_jsonb(l)) AS captured FROM (
    SELECT operation, entity_id, tenant_id, details, old_data, new_data, changed_fields
    FROM fraiseql_audit.fraiseql_audit_log WHERE id > (SELECT id FROM seen) ORDER BY id) l;
SELECT FROM pg_temp.captured();
-- a server's or a session's trouble is not the value's
CREATE OR REPLACE FUNCTION capture_mood_json(capture_mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    RAISE query_canceled USING MESSAGE = 'stop';
END $$;
DELETE FROM capture_unstorable;
DROP TABLE capture_unstorable;
DROP TYPE capture_pair, capture_mood CASCADE;
DROP DOMAIN capture_document;

-- nor has what is too large for it
CREATE TABLE capture_huge (id integer PRIMARY KEY, v text);
SELECT fraiseql_obs.audit_table('capture_huge');
INSERT INTO capture_huge VALUES (1, repeat('x', 270000000));
SELECT operation, entity_id, details, new_data FROM fraiseql_obs.by_entity('capture_huge', '1');
DROP TABLE capture_huge;
