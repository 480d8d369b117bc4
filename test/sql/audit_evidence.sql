-- Test vectors of the audit log's hashes: whoever implements them anew can
-- compare.  They do not depend on any setting.
\set SHOW_CONTEXT never

-- Merkle trees: those of Certificate Transparency's own tests, by size
CREATE TEMP TABLE leaves AS
SELECT n, sha256('\x00' || data) AS hash
FROM unnest(ARRAY['\x', '\x00', '\x10', '\x2021', '\x3031', '\x40414243',
                  '\x5051525354555657', '\x606162636465666768696a6b6c6d6e6f']::bytea[])
     WITH ORDINALITY AS l (data, n);
SELECT size, encode(fraiseql_obs.audit_tree_root(
    fraiseql_obs.audit_tree_append('{}', 0, ARRAY(SELECT hash FROM leaves WHERE n <= size ORDER BY n)),
    size), 'hex') AS root
FROM generate_series(0, 8) size;
-- appended at once or one after the other
SELECT bool_and(fraiseql_obs.audit_tree_append(
    fraiseql_obs.audit_tree_append('{}', 0, ARRAY(SELECT hash FROM leaves WHERE n <= size ORDER BY n)),
    size, ARRAY(SELECT hash FROM leaves WHERE n > size ORDER BY n))
    = fraiseql_obs.audit_tree_append('{}', 0, ARRAY(SELECT hash FROM leaves ORDER BY n))) AS same
FROM generate_series(0, 8) size;
SELECT fraiseql_obs.audit_tree_root('{}', 1);
SELECT fraiseql_obs.audit_tree_append('{}', 0, '{NULL}');
SELECT fraiseql_obs.audit_tree_append('{}', 0, '{abc}');

-- Leaves of rows
CREATE TEMP TABLE vectors (n integer GENERATED ALWAYS AS IDENTITY, name text, event fraiseql_obs.audit_event);
INSERT INTO vectors (name, event) VALUES
    ('least', ROW(1, '2000-01-01 00:00:00+00', '2000-01-01 00:00:00+00', '3', NULL, NULL, 'login', NULL, NULL, 'success',
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'app', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)),
    ('all columns', ROW(4711, '2026-11-25 12:34:56.789012+00', '2026-11-25 12:34:56+00', '18446744073709551615', 'tenant', 'ann', 'update', 'Order', '7', 'failure',
        '{"a": 1.00, "b": [true, null, "x"]}', '{"z": 1, "aa": 2}', '[]', '{a,b}', '23505', 'duplicate key', 0.1, 'app', '192.168.0.1/24', 'psql',
        'request', 'trace', 'span', '\x000102', '\x2f6b', 'human_user', 'bob')),
    ('personal columns alone differ', ROW(4711, '2026-11-25 12:34:56.789012+00', '2026-11-25 12:34:56+00', '18446744073709551615', 'tenant', NULL, 'update', 'Order', '7', 'failure',
        NULL, NULL, NULL, '{a,b}', '23505', NULL, 0.1, 'app', NULL, 'psql',
        'request', 'trace', 'span', NULL, '\x2f6b', 'human_user', NULL)),
    ('empty is not null', ROW(1, '2000-01-01 00:00:00+00', '2000-01-01 00:00:00+00', '3', '', NULL, 'login', NULL, NULL, 'success',
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'app', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)),
    ('text beyond ASCII', ROW(-1, '1999-12-31 23:59:59.999999+00', '0044-03-15 12:00:00+00 BC', '3', U&'caf\00e9 \20ac \+01f600', NULL, U&'\00e9', NULL, NULL, 'success',
        NULL, NULL, NULL, ARRAY[U&'\00fc', ''], NULL, NULL, NULL, 'app', NULL, E'tab\t, "quote", back\\slash', NULL, NULL, NULL, NULL, NULL, NULL, NULL));
CREATE FUNCTION pg_temp.event(occurred_at timestamptz, changed_fields text[], duration float8)
RETURNS fraiseql_obs.audit_event
LANGUAGE sql AS $$
    SELECT 1, '2000-01-01 00:00:00+00'::timestamptz, occurred_at, '3'::xid8, NULL::text, NULL::text, 'login', NULL::text, NULL::text, 'success',
        NULL::jsonb, NULL::jsonb, NULL::jsonb, changed_fields, NULL::text, NULL::text, duration, 'app', NULL::inet, NULL::text, NULL::text, NULL::text,
        NULL::text, NULL::bytea, NULL::bytea, NULL::text, NULL::text
$$;
INSERT INTO vectors (name, event)
SELECT 'array ' || a::text, pg_temp.event('2000-01-01 00:00:00+00', a, NULL)
FROM (VALUES ('{}'::text[]), ('{NULL}'), ('{"NULL"}'), ('{""}'), ('{a,b}'), ('{{a},{b}}'), ('[0:1]={a,b}'), ('{"a,b"}')) AS v (a);
INSERT INTO vectors (name, event)
SELECT 'duration ' || d, pg_temp.event('2000-01-01 00:00:00+00', NULL, d)
FROM unnest('{0,-0,NaN,Infinity,-Infinity,1e-310,1.7976931348623157e308,0.30000000000000004}'::float8[]) AS v (d);
SET TimeZone = 'UTC'; SET DateStyle = 'ISO';
INSERT INTO vectors (name, event)
SELECT 'occurred at ' || at, pg_temp.event(at, NULL, NULL)
FROM unnest('{infinity,-infinity,294276-12-31 23:59:59.999999+00,4714-11-24 00:00:00+00 BC}'::timestamptz[]) AS v (at);
SELECT name, encode(fraiseql_obs.audit_leaf_hash(event), 'hex') AS leaf FROM vectors ORDER BY n;

-- whatever the settings are
SELECT fraiseql_obs.audit_leaf_hash(event) AS leaf INTO TEMP leaves_before FROM vectors;
SET client_encoding = 'LATIN1';
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SELECT count(*) FROM vectors WHERE fraiseql_obs.audit_leaf_hash(event) NOT IN (SELECT leaf FROM leaves_before);
RESET ALL;

-- what a row of the log says of its personal columns
\set regression :DBNAME
CREATE DATABASE regress_evidence;
\c regress_evidence
\set SHOW_CONTEXT never
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log() \g /dev/null
SELECT fraiseql_obs.log_operation('personal', details => '{"b": 1.0, "aa": "é"}', user_id => 'ann', error_message => '', acting_for => 'bob') \g /dev/null
SELECT personal_digest = sha256(personal_salt
    || '\x01' || '\x06' || '\x00000003' || 'ann'
    || '\x0b' || '\x00000016' || convert_to('{"b": 1.0, "aa": "é"}', 'UTF8')
    || '\x10' || '\x00000000'
    || CASE WHEN client_addr IS NULL THEN '' ELSE '\x13' || int4send(length(client_addr::text)) || client_addr::text::bytea END
    || '\x1b' || '\x00000003' || 'bob') AS digest
FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'personal';

-- a seal's hash, from its columns
SELECT fraiseql_obs.seal_audit_log() > 0 AS sealed;
SELECT seal_no, kind, n, results, octet_length(root) AS root, octet_length(rollup_root) AS rollup_root,
       hash = fraiseql_obs.audit_seal_hash(s) AS its_hash,
       previous = coalesce(lag(hash) OVER (ORDER BY seal_no), decode(repeat('00', 32), 'hex')) AS the_one_before
FROM fraiseql_audit.fraiseql_audit_seals s ORDER BY seal_no;
SELECT hash = sha256('\x0002'::bytea
    || '\x01' || '\x00000008' || int8send(seal_no)
    || '\x02' || '\x00000010' || uuid_send(incarnation)
    || '\x03' || '\x00000008' || 'baseline'
    || '\x04' || '\x00000008' || timestamptz_send(sealed_at)
    || '\x07' || int4send(length(snapshot::text)) || snapshot::text::bytea
    || '\x08' || '\x00000008' || int8send(after_id)
    || '\x09' || '\x00000008' || int8send(until_id)
    || '\x0a' || '\x00000008' || int8send(seen_id)
    || '\x0d' || '\x00000008' || int8send(n)
    || '\x13' || '\x00000020' || root
    || '\x15' || '\x00000020' || previous) AS first_seal
FROM fraiseql_audit.fraiseql_audit_seals WHERE seal_no = 1;
SELECT root = (SELECT fraiseql_obs.audit_leaf_hash(r) FROM fraiseql_obs.by_operation('personal') r) AS one_row
FROM fraiseql_audit.fraiseql_audit_seals WHERE n = 1;
SELECT regexp_replace(regexp_replace(fraiseql_obs.audit_checkpoint(), '/[0-9a-f-]{36}/.*?\n', '/UUID/DATABASE' || E'\n'), E'\n[^\n]{44}\n', E'\nROOT\n') AS checkpoint;
SELECT severity, kind FROM fraiseql_obs.verify_audit_log(anchor => fraiseql_obs.audit_checkpoint());
SELECT * FROM fraiseql_obs.verify_audit_log(anchor => 'nonsense');

\c :regression
DROP DATABASE regress_evidence;
