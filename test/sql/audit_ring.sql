-- What an operation that was rolled back leaves: the entry that it would have
-- had, with how it ended, written once by who drains the ring.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.create_audit_log() IS NOT NULL AS log;
SET client_min_messages = notice;
SELECT fraiseql_obs.audit_drain_ring() >= 0 AS emptied;

-- all that was given, and who it was, as if it had been committed
SELECT fraiseql_obs.grant_audit_writer('regress_fraiseql_app');
SET SESSION AUTHORIZATION regress_fraiseql_app;
SET application_name = 'the application';
CREATE FUNCTION pg_temp.log_all(operation text) RETURNS boolean LANGUAGE sql AS $$
    SELECT fraiseql_obs.log_operation(operation, 'Order', 'ö-1', 'success', '{"a": [1, 2.50, "x"]}',
        NULL, 'acme', '{"b": 1}', '{"b": 2}', '{b,"c d"}', NULL, NULL, 12.5,
        '2026-01-02 03:04:05+00', 'request', 'trace', 'span', 'ai_agent', 'alice') > 0
$$;
BEGIN;
SET LOCAL fraiseql_obs.user_id = 'bob';
SELECT pg_temp.log_all('all committed');
COMMIT;
BEGIN;
SET LOCAL fraiseql_obs.user_id = 'bob';
SELECT pg_temp.log_all('all rolled back');
ROLLBACK;
SET application_name = 'another';
SELECT fraiseql_obs.audit_drain_ring();
RESET SESSION AUTHORIZATION;
SELECT fraiseql_obs.audit_drain_ring();
SELECT fraiseql_obs.audit_drain_ring();
SELECT count(*), count(DISTINCT to_jsonb(e) - '{id,xact,created_at,operation,result,details,error_message,personal_salt,personal_digest}'::text[]) AS different,
       count(DISTINCT e.details - '_failed') AS documents, bool_and(e.db_role = 'regress_fraiseql_app') AS role
FROM fraiseql_obs.recent_operations() e WHERE operation LIKE 'all %';
SELECT result, sqlstate, error_message, details - '_failed' AS details,
       (details->'_failed'->>'pid')::integer = pg_backend_pid() AS pid,
       (details->'_failed'->>'id')::bigint < id AS id,
       (details->'_failed'->>'xact')::xid8 < xact AS xact,
       (details->'_failed'->>'backend_start')::timestamptz =
           (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS backend_start
FROM fraiseql_obs.by_operation('all rolled back');
SELECT personal_digest = sha256(
           personal_salt || '\x01'::bytea
           || '\x06'::bytea || int4send(octet_length(user_id)) || convert_to(user_id, 'UTF8')
           || '\x0b'::bytea || int4send(octet_length(details::text)) || convert_to(details::text, 'UTF8')
           || '\x0c'::bytea || int4send(octet_length(old_data::text)) || convert_to(old_data::text, 'UTF8')
           || '\x0d'::bytea || int4send(octet_length(new_data::text)) || convert_to(new_data::text, 'UTF8')
           || '\x10'::bytea || int4send(octet_length(error_message)) || convert_to(error_message, 'UTF8')
           || '\x1b'::bytea || int4send(octet_length(acting_for)) || convert_to(acting_for, 'UTF8')) AS digest
FROM fraiseql_obs.by_operation('all rolled back');

-- what the application said of a failure stands
BEGIN;
SELECT fraiseql_obs.log_operations('[
    {"operation": "bulk", "entity_id": "1"},
    {"operation": "bulk", "entity_id": "2", "result": "noop", "details": [1, null]},
    {"operation": "bulk", "entity_id": "3", "result": "denied", "sqlstate": "28P01", "error_message": "wrong password", "details": "x"},
    {"operation": "bulk", "entity_id": "4", "result": "error"}]');
SELECT 1 / 0;
ROLLBACK;
SELECT fraiseql_obs.audit_drain_ring();
SELECT entity_id, result, sqlstate, error_message, details - '_failed' AS details,
       details->'_failed'->'sqlstate' AS "_failed"
FROM fraiseql_obs.by_operation('bulk') ORDER BY entity_id;

-- what is too large gives way: the longest texts, then documents
BEGIN;
SELECT fraiseql_obs.log_operation('large', 'document', '1', details => '{"a": 1}',
    old_data => jsonb_build_object('x', repeat('ä', 1000)), new_data => jsonb_build_object('x', repeat('y', 1000))) > 0 AS logged;
SELECT fraiseql_obs.log_operation('large', 'texts', repeat('ä', 512), error_message => repeat('ö', 4096),
    details => '{"a": 1}', user_id => 'alice', changed_fields => array_fill('column'::text, ARRAY[500])) > 0 AS logged;
SELECT fraiseql_obs.log_operation(repeat('ä', 512), 'all texts', repeat('ä', 512), 'denied', jsonb_build_object('x', repeat('y', 100000)),
    repeat('ä', 512), repeat('ä', 512), jsonb_build_object('x', repeat('ä', 100000)), jsonb_build_object('x', repeat('y', 100000)),
    array_fill('column'::text, ARRAY[500]), repeat('ä', 512), repeat('ä', 4096), 1, now(),
    repeat('ä', 512), repeat('ä', 512), repeat('ä', 512), repeat('ä', 512), repeat('ä', 512)) > 0 AS logged;
ROLLBACK;
SELECT fraiseql_obs.audit_drain_ring();
SELECT entity_type, user_id = 'alice' AS alice, length(entity_id) AS entity_id, length(operation) AS operation,
       length(request_id) AS request_id, length(acting_for) AS acting_for, length(error_message) AS error_message,
       details - '_failed' AS details, old_data, left(new_data::text, 40) AS new_data, cardinality(changed_fields) AS changed,
       details->'_failed'->'truncated' AS truncated
FROM fraiseql_obs.recent_operations(3) ORDER BY details->'_failed'->'id';

-- a drain that is rolled back has not been
BEGIN;
SELECT fraiseql_obs.log_operation('drained') > 0 AS logged;
ROLLBACK;
BEGIN;
SELECT fraiseql_obs.audit_drain_ring();
SELECT fraiseql_obs.audit_drain_ring();
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT fraiseql_obs.audit_drain_ring();
SELECT fraiseql_obs.log_operation('and more') > 0 AS logged;
ROLLBACK TO s;
SELECT fraiseql_obs.audit_drain_ring();
SELECT fraiseql_obs.audit_drain_ring();
COMMIT;
SELECT operation, result FROM fraiseql_obs.recent_operations(2);

-- who may write to the log may not drain it
SET ROLE regress_fraiseql_app;
SELECT fraiseql_obs.audit_drain_ring();
SELECT fraiseql_obs.audit_announce_start();
RESET ROLE;

-- nor is it anybody's who may yet be rolled back
BEGIN;
SELECT fraiseql_obs.log_operation('unprepared') > 0 AS logged;
ROLLBACK;
BEGIN;
SELECT fraiseql_obs.audit_drain_ring();
PREPARE TRANSACTION 'drained';
SELECT fraiseql_obs.audit_drain_ring();

-- a change of a row that was rolled back is no change
CREATE TABLE captured (id integer PRIMARY KEY);
SELECT fraiseql_obs.audit_table('captured');
BEGIN;
INSERT INTO captured VALUES (1);
ROLLBACK;
SELECT fraiseql_obs.audit_drain_ring();
DROP TABLE captured;

-- how it looks from outside
SELECT name, labels, value FROM fraiseql_obs.metrics()
WHERE name = 'fraiseql_obs_audit_ring_slots' ORDER BY labels->>'state';
SELECT labels, value FROM fraiseql_obs.metrics()
WHERE name = 'fraiseql_obs_audit_lost_total' AND labels->>'cause' <> 'database_dropped'
ORDER BY labels->>'cause';
