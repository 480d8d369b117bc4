-- Audit tables that stand already, read besides the log: those of FraiseQL by
-- name, others by a mapping
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.create_audit_log() IS NOT NULL AS log;
SET client_min_messages = notice;
SET TimeZone = 'UTC';
CREATE FUNCTION pg_temp.entries(text) RETURNS TABLE (created_at timestamptz, tenant text, who text, operation text, entity text, result text, rest jsonb)
LANGUAGE sql AS $$
    SELECT e.created_at, left(e.tenant_id, 8), left(e.user_id, 8), e.operation, concat_ws(' ', e.entity_type, left(e.entity_id, 8)), e.result,
        jsonb_strip_nulls(to_jsonb(e) - '{id,created_at,occurred_at,tenant_id,user_id,operation,entity_type,entity_id,result}'::text[])
    FROM fraiseql_obs.recent_operations(100, until => '2020-01-01') e WHERE e.operation LIKE $1 ORDER BY 1 DESC, 4
$$;
\set u1 '''11111111-1111-4111-8111-111111111111'''
\set u2 '''22222222-2222-4222-8222-222222222222'''

-- FraiseQL's change log
CREATE SCHEMA core;
CREATE TABLE core.tb_entity_change_log (
    pk_entity_change_log bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(), object_type text NOT NULL, modification_type text NOT NULL, tenant_id uuid,
    fk_customer_org bigint, fk_contact bigint, object_id uuid, object_data jsonb, object_data_before jsonb, updated_fields text[],
    cascade jsonb, duration_ms integer, started_at timestamptz, commit_time timestamptz, seq bigint,
    actor_type text CHECK (actor_type IN ('human_user', 'service_account', 'ai_agent', 'system_job')), acting_for uuid,
    schema_version text, trace_id text, trace_context jsonb, change_status text, extra_metadata jsonb, nats_published_at timestamptz, nats_event_id uuid);
INSERT INTO core.tb_entity_change_log (created_at, object_type, modification_type, tenant_id, fk_contact, object_id, object_data, updated_fields, duration_ms, actor_type, trace_id, change_status)
VALUES ('2019-01-01 10:00', 'Order', 'INSERT', :u1, 7, :u2, '{"total": 5}', NULL, 12, 'human_user', 'abc', NULL),
       ('2019-01-01 11:00', 'Order', 'UPDATE', :u1, 7, :u2, '{"total": 6}', '{total}', NULL, 'ai_agent', NULL, 'noop:unchanged'),
       ('2019-01-01 12:00', 'Order', 'CUSTOM', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'failed:validation');
SELECT fraiseql_obs.adopt_audit_source('core.tb_entity_change_log');
SELECT * FROM pg_temp.entries('%');
SELECT operation, new_data FROM fraiseql_obs.by_entity('Order', :u2);
SELECT operation FROM fraiseql_obs.by_user('7', until => '2020-01-01');

-- the others of FraiseQL
CREATE TABLE audit_events (id uuid PRIMARY KEY, event_type varchar(100) NOT NULL, event_data jsonb NOT NULL, user_id uuid, tenant_id uuid,
    "timestamp" timestamptz NOT NULL, ip_address inet, previous_hash varchar(64), event_hash varchar(64) NOT NULL, signature varchar(128) NOT NULL, created_at timestamptz DEFAULT now());
INSERT INTO audit_events VALUES (:u1, 'v1.auth.failure', '{"reason": "password"}', :u1, :u2, '2018-01-01', '10.0.0.1', NULL, 'h', 's'),
    (:u2, 'v1.data.read', '{"result": "denied"}', NULL, NULL, '2018-01-02', NULL, 'h', 'h', 's');
SELECT fraiseql_obs.adopt_audit_source('audit_events');
SELECT * FROM pg_temp.entries('v1.%');
SELECT fraiseql_obs.forget_audit_source('audit_events');
SELECT * FROM pg_temp.entries('v1.%');
DROP TABLE audit_events;
CREATE TABLE audit_events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL, user_id uuid, entity_type text NOT NULL, entity_id uuid,
    operation_type text NOT NULL, operation_subtype text, changed_fields text[], old_data jsonb, new_data jsonb, metadata jsonb DEFAULT '{}', ip_address inet,
    correlation_id uuid, "timestamp" timestamptz NOT NULL, created_at timestamptz DEFAULT now(), previous_hash varchar(64), event_hash varchar(64), signature varchar(128));
INSERT INTO audit_events (tenant_id, user_id, entity_type, entity_id, operation_type, operation_subtype, changed_fields, old_data, new_data, ip_address, correlation_id, "timestamp")
VALUES (:u1, :u2, 'v2', :u1, 'UPDATE', NULL, '{a}', '{"a": 1}', '{"a": 2}', '10.0.0.2', :u2, '2018-02-01'),
       (:u1, :u2, 'v2', NULL, 'NOOP', 'v2.nothing', NULL, NULL, NULL, NULL, NULL, '2018-02-02');
SELECT fraiseql_obs.adopt_audit_source('audit_events');
SELECT * FROM pg_temp.entries('%') WHERE entity LIKE 'v2%';
CREATE TABLE fraiseql_audit_logs (id bigserial PRIMARY KEY, "timestamp" timestamptz NOT NULL, level text CHECK (level IN ('INFO', 'WARN', 'ERROR')),
    user_id bigint NOT NULL, tenant_id bigint NOT NULL, operation text CHECK (operation IN ('query', 'mutation')), query text, variables jsonb,
    ip_address text, user_agent text, error text, duration_ms integer, created_at timestamptz DEFAULT now());
INSERT INTO fraiseql_audit_logs ("timestamp", level, user_id, tenant_id, operation, query, ip_address, error, duration_ms)
VALUES ('2018-03-01', 'INFO', 5, 6, 'query', '{ a }', 'not an address', NULL, 3), ('2018-03-02', 'ERROR', 0, 0, 'mutation', NULL, NULL, 'broken', NULL);
SELECT fraiseql_obs.adopt_audit_source('fraiseql_audit_logs');
SELECT * FROM pg_temp.entries('%') WHERE operation IN ('query', 'mutation');
CREATE TABLE tb_audit_log (pk_audit_log bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid DEFAULT gen_random_uuid(), identifier text, "timestamp" timestamptz NOT NULL,
    level text, event_type text NOT NULL, user_id uuid, tenant_id uuid, operation text, resource text, details jsonb, ip_address inet, user_agent text, request_id uuid, duration_ms integer);
INSERT INTO tb_audit_log ("timestamp", event_type, user_id, resource, details, request_id) VALUES ('2018-04-01', 'doc.login.failure', :u1, 'User:42', '{}', :u2),
    ('2018-04-02', 'doc.access.denied', :u1, 'invoice', NULL, NULL);
SELECT fraiseql_obs.adopt_audit_source('tb_audit_log');
SELECT * FROM pg_temp.entries('doc.%');
CREATE SCHEMA tenant;
CREATE TABLE tenant.tb_audit_log (pk_audit_log uuid PRIMARY KEY DEFAULT gen_random_uuid(), pk_organization uuid, user_id uuid, entity_type text, entity_id uuid, operation_type text,
    operation_subtype text, changed_fields text[], old_data jsonb, new_data jsonb, metadata jsonb, created_at timestamptz, correlation_id uuid);
INSERT INTO tenant.tb_audit_log (pk_organization, operation_type, operation_subtype, entity_type, created_at) VALUES (:u2, 'INSERT', 'bridge.add', 'Bridge', '2018-05-01');
SELECT fraiseql_obs.adopt_audit_source('tenant.tb_audit_log');
SELECT * FROM pg_temp.entries('bridge.%');
CREATE TABLE audit_log (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "timestamp" timestamptz NOT NULL, event_type varchar(100) NOT NULL, user_id varchar(255), username varchar(255),
    ip_address inet, resource_type varchar(100), resource_id varchar(255), action varchar(50), before_state jsonb, after_state jsonb,
    status varchar(20) CHECK (status IN ('success', 'failure', 'denied')), error_message text, tenant_id uuid, metadata jsonb, created_at timestamptz DEFAULT now());
INSERT INTO audit_log ("timestamp", event_type, user_id, resource_type, resource_id, action, status, error_message) VALUES ('2018-06-01', 'rbac', 'ann', 'Role', 'admin', 'server.grant', 'denied', 'no');
SELECT fraiseql_obs.adopt_audit_source('audit_log');
SELECT * FROM pg_temp.entries('server.%');

-- one that is nobody's, by a mapping
CREATE TABLE own_log (n integer, at timestamp, what varchar(20), who integer, outcome text, changed varchar[], took numeric, addr cidr, note text);
INSERT INTO own_log SELECT i, timestamp '2017-01-01' + (i / 3) * interval '1 hour', 'own.act', i % 2, CASE i % 2 WHEN 0 THEN 'Error' ELSE 'OK' END, '{x}', 1.5, '10.0.0.0/8', 'it''s ' || i FROM generate_series(1, 10) i;
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"id": "n", "created_at": "at", "operation": "what", "user_id": "who", "result": "outcome",
    "changed_fields": "changed", "duration_ms": "took", "client_addr": "addr", "details": "note"}');
SELECT * FROM pg_temp.entries('own.%') LIMIT 2;
-- pages, over sources and the log
WITH RECURSIVE pages AS (
    SELECT 1 AS page, ARRAY(SELECT (created_at, id)::fraiseql_obs.audit_position FROM fraiseql_obs.recent_operations(3, until => '2020-01-01')) AS rows
    UNION ALL
    SELECT page + 1, ARRAY(SELECT (created_at, id)::fraiseql_obs.audit_position
        FROM fraiseql_obs.recent_operations(3, until => '2020-01-01', before => rows[cardinality(rows)]))
    FROM pages WHERE cardinality(rows) > 0)
SELECT count(DISTINCT r) AS different, count(*) AS rows, max(page) AS pages,
       (SELECT count(*) FROM fraiseql_obs.recent_operations(1000, until => '2020-01-01')) AS all_rows
FROM pages, unnest(rows) r;
SELECT count(*) FROM fraiseql_obs.recent_operations(1000, since => '2017-01-01 01:00', until => '2017-01-01 03:00');
SELECT fraiseql_obs.log_operation('sources.newest') > 0 AS logged;
SELECT operation FROM fraiseql_obs.recent_operations(1);
-- reports count them, too
SELECT r->'summary'->'own.act' AS own, r->'coverage'->'sources' AS sources, r->'by_user' AS users
FROM fraiseql_obs.compliance_report('2017-01-01', '2017-02-01') r;

-- a reader needs SELECT on the table as well
CREATE ROLE regress_source_reader;
SELECT fraiseql_obs.grant_audit_reader('regress_source_reader');
SET ROLE regress_source_reader;
SELECT count(*) FROM fraiseql_obs.by_operation('own.act');
RESET ROLE;
CREATE FUNCTION tried(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE format('SELECT count(*) FROM fraiseql_obs.%s', call);
    RETURN 'done';
EXCEPTION WHEN insufficient_privilege THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN format('%s: %s', SQLERRM, hint);
END
$$;
SET ROLE regress_source_reader;
SELECT tried(call), string_agg(split_part(call, '(', 1), ' ' ORDER BY n) AS by
FROM unnest('{"recent_operations(1)","compliance_report(''2017-01-01'', ''2017-02-01'')","audit_counts(''total'', ''2017-01-01'', ''2017-02-01'')",
              audit_statistics(),most_active_users(),most_active_entities(),slow_operations(),repeated_denials(),new_actors(),off_hours(),
              volume_spikes(),failure_spikes(),silence()}'::text[]) WITH ORDINALITY AS c (call, n)
GROUP BY 1;
RESET ROLE;
GRANT USAGE ON SCHEMA core, tenant TO regress_source_reader;
GRANT SELECT ON core.tb_entity_change_log, tenant.tb_audit_log, audit_events, fraiseql_audit_logs, tb_audit_log, audit_log, own_log TO regress_source_reader;
SET ROLE regress_source_reader;
SELECT count(*) FROM fraiseql_obs.by_operation('own.act');
SELECT fraiseql_obs.forget_audit_source('own_log');
RESET ROLE;
DROP FUNCTION tried(text);

-- what is refused, and leaves all as it was
SELECT fraiseql_obs.adopt_audit_source('own_log');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "nothing"}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": 5}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "what", "colour": "note"}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "note", "operation": "what"}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "what", "client_addr": "note"}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "what", "xact": "n"}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at"}');
SELECT fraiseql_obs.adopt_audit_source('own_log', '[]');
SELECT fraiseql_obs.adopt_audit_source('fraiseql_audit.fraiseql_audit_log', '{"created_at": "created_at", "operation": "operation"}');
SELECT fraiseql_obs.adopt_audit_source(NULL);
SELECT fraiseql_obs.forget_audit_source(NULL);
SELECT fraiseql_obs.adopt_audit_source('no_such_table');
SELECT count(*) FROM fraiseql_obs.by_operation('own.act');
DROP TABLE own_log;

-- again changes nothing but the mapping; then none
SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "note"}');
SELECT count(*) FROM fraiseql_obs.recent_operations(1000, until => '2018-01-01') WHERE operation LIKE 'it''s%';
SELECT fraiseql_obs.forget_audit_source(fraiseql_obs.audit_source_table(s)::regclass) FROM fraiseql_obs.audit_sources(fraiseql_obs.audit_log()) s;
SELECT fraiseql_obs.forget_audit_source('own_log');
SELECT count(*) FROM fraiseql_obs.recent_operations(1000, until => '2020-01-01');
SET client_min_messages = warning;
DROP SCHEMA core, tenant CASCADE;
DROP TABLE own_log, audit_log, tb_audit_log, fraiseql_audit_logs, audit_events;
DROP OWNED BY regress_source_reader;
DROP ROLE regress_source_reader;

-- what is not there in a row is said, and a row of no time is none
CREATE TABLE source_gaps (at timestamptz, what text, how text);
INSERT INTO source_gaps VALUES ('2010-01-01', NULL, NULL), (NULL, 'never', 'denied'), ('2010-01-02', 'known', 'denied');
SELECT fraiseql_obs.adopt_audit_source('source_gaps', '{"created_at": "at", "operation": "what", "result": "how"}');
SELECT operation, result FROM fraiseql_obs.recent_operations(until => '2010-02-01');
SELECT fraiseql_obs.compliance_report('2010-01-01', '2010-02-01')->'summary' AS summary;
SELECT fraiseql_obs.forget_audit_source('source_gaps');
DROP TABLE source_gaps;

-- a result that is none of the log's is in totals alone, which reports say
CREATE TABLE source_results (at timestamptz, what text, how text);
INSERT INTO source_results VALUES ('2010-01-01', 'op', 'Approved'), ('2010-01-01', 'op', 'approved'), ('2010-01-01', 'op', 'held'), ('2010-01-01', 'op', 'ok');
SELECT fraiseql_obs.adopt_audit_source('source_results', '{"created_at": "at", "operation": "what", "result": "how"}');
SELECT r->'by_result' AS by_result, r#>>'{coverage,notes,2}' AS note,
       fraiseql_obs.audit_result_counts(r->'by_result') AS columns
FROM fraiseql_obs.compliance_report('2010-01-01', '2010-02-01') r;
SELECT count(*) FROM fraiseql_obs.recent_operations(result => 'approved');
SELECT fraiseql_obs.forget_audit_source('source_results');
DROP TABLE source_results;

-- names that are alike, odd, or the log's
CREATE SCHEMA regress_a;
CREATE SCHEMA regress_a_b;
CREATE SCHEMA "regress ""Odd";
CREATE TABLE regress_a.b_c (at timestamptz, what text);
CREATE TABLE regress_a_b.c (at timestamptz, what text);
CREATE TABLE "regress ""Odd".fraiseql_audit_log (at timestamptz, what text);
INSERT INTO regress_a.b_c VALUES ('2009-01-01', 'a.b_c');
INSERT INTO regress_a_b.c VALUES ('2009-01-02', 'a_b.c');
INSERT INTO "regress ""Odd".fraiseql_audit_log VALUES ('2009-01-03', 'odd');
\set mapping '{"created_at": "at", "operation": "what"}'
SELECT count(fraiseql_obs.adopt_audit_source(r, :'mapping'))
FROM unnest('{regress_a.b_c,regress_a_b.c,"\"regress \"\"Odd\".fraiseql_audit_log"}'::regclass[]) r;
SELECT operation FROM fraiseql_obs.recent_operations(until => '2010-01-01');
SELECT fraiseql_obs.adopt_audit_source('"regress ""Odd".fraiseql_audit_log', :'mapping');
SELECT fraiseql_obs.forget_audit_source(r)
FROM unnest('{regress_a.b_c,regress_a_b.c,"\"regress \"\"Odd\".fraiseql_audit_log"}'::regclass[]) r;
SELECT operation FROM fraiseql_obs.recent_operations(until => '2010-01-01');
SET client_min_messages = warning;
DROP SCHEMA regress_a, regress_a_b, "regress ""Odd" CASCADE;
RESET client_min_messages;

-- what has no jsonb is text
CREATE TYPE source_pair AS (a integer, j json);
CREATE TABLE source_json (at timestamptz, what text, j json, list json[], pair source_pair);
INSERT INTO source_json VALUES
    ('2008-01-01', 'zero', '{"a": "\u0000"}', ARRAY['"\ud800"']::json[], (1, '"\u0000"')),
    ('2008-01-02', 'number', '[1, -1.5E+200000]', ARRAY['1e200000']::json[], (1, '1e-20000')),
    ('2008-01-03', 'half', '"\ud83d\ud83d\ude00"', ARRAY['"\udc00"']::json[], (1, '"\\\u0000"')),
    ('2008-01-04', 'well', '["\ud83d\ude00\\u0000", "3e123456", 1e2]', ARRAY['"\n"', '2']::json[], (1, '"\\u0000"')),
    ('2008-01-05', 'none', NULL, NULL, NULL);
SELECT fraiseql_obs.adopt_audit_source('source_json',
    '{"created_at": "at", "operation": "what", "details": "j", "old_data": "list", "new_data": "pair"}');
SELECT operation, details, old_data, new_data FROM fraiseql_obs.recent_operations(until => '2009-01-01') ORDER BY created_at;
SELECT fraiseql_obs.forget_audit_source('source_json');
DROP TABLE source_json;
DROP TYPE source_pair;

-- rows without an id have a place as well, also where all are of one time
CREATE TABLE source_ties (at timestamptz, what text, n integer);
INSERT INTO source_ties SELECT '2010-01-01', 'same', nullif(i, 5) FROM generate_series(1, 5) i;
CREATE VIEW source_ties_view AS SELECT '2010-01-02'::timestamptz AS at, what, n FROM source_ties;
SELECT fraiseql_obs.adopt_audit_source(s, '{"created_at": "at", "operation": "what"}') FROM unnest('{source_ties,source_ties_view}'::regclass[]) s;
WITH RECURSIVE pages AS (
    SELECT ARRAY(SELECT (created_at, id)::fraiseql_obs.audit_position FROM fraiseql_obs.recent_operations(2, until => '2010-02-01')) AS rows
    UNION ALL
    SELECT ARRAY(SELECT (created_at, id)::fraiseql_obs.audit_position
        FROM fraiseql_obs.recent_operations(2, until => '2010-02-01', before => rows[cardinality(rows)]))
    FROM pages WHERE cardinality(rows) > 0)
SELECT count(DISTINCT r) AS different, count(*) AS rows FROM pages, unnest(rows) r;
SELECT fraiseql_obs.adopt_audit_source('source_ties', '{"id": "n", "created_at": "at", "operation": "what"}');
SELECT count(DISTINCT id) FROM fraiseql_obs.recent_operations(until => '2010-01-02');
SELECT * FROM fraiseql_obs.recent_operations(before => ('2010-01-01', NULL));
SELECT fraiseql_obs.forget_audit_source(s) FROM unnest('{source_ties,source_ties_view}'::regclass[]) s;
DROP TABLE source_ties CASCADE;
