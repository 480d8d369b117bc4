-- One call makes an audit log, one function writes to it, and what the caller
-- may not choose is set for it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.log_operation('create');
SELECT * FROM fraiseql_obs.recent_operations();
CREATE ROLE regress_fraiseql_keeper NOLOGIN;
SELECT fraiseql_obs.create_audit_log(owner => 'regress_fraiseql_keeper');
SET client_min_messages = notice;

-- again: nothing changes
SELECT fraiseql_obs.create_audit_log();
SELECT fraiseql_obs.create_audit_log(owner => 'regress_fraiseql_keeper');
SELECT fraiseql_obs.create_audit_log(owner => CURRENT_USER, retention => '400 days', indexes => 'lean',
                                     tenant_isolation => true, guard_triggers => false, distribute_by => 'tenant_id');
SELECT fraiseql_obs.create_audit_log(schema => 'elsewhere');
SELECT fraiseql_obs.create_audit_log(indexes => 'many');
SELECT fraiseql_obs.create_audit_log(distribute_by => 'color');
SELECT fraiseql_obs.create_audit_log(retention => '1 hour');
SELECT fraiseql_obs.create_audit_log(retention => '1001 years');
SELECT fraiseql_obs.create_audit_log(schema => NULL);

-- context of the request where the caller says nothing
BEGIN;
SET LOCAL fraiseql_obs.user_id = 'alice';
SET LOCAL app.tenant_id = 'acme';
SET LOCAL fraiseql_obs.request_id = 'r-1';
SELECT fraiseql_obs.log_operation('update', 'Order', E'O''Brien "1"\\', details => '{"total": 3}') > 0 AS logged;
SELECT fraiseql_obs.log_operation('update', 'Order', '2', user_id => 'bob', result => 'error',
                                  sqlstate => '23505', error_message => 'duplicate', duration_ms => 1.5) > 0 AS logged;
COMMIT;
SELECT tenant_id, user_id, operation, entity_type, entity_id, result, details,
       sqlstate, error_message, duration_ms, request_id,
       db_role = session_user AS role, client_addr IS NULL AS local,
       created_at = occurred_at AS now,
       created_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS in_time,
       length(personal_salt) AS salt
FROM fraiseql_obs.recent_operations();

-- SHA-256 of salt, version and each erasable column with tag and length
SELECT personal_digest = sha256(
           personal_salt || '\x01'::bytea
           || '\x06'::bytea || int4send(octet_length(user_id)) || convert_to(user_id, 'UTF8')
           || coalesce('\x0b'::bytea || int4send(octet_length(details::text))
                       || convert_to(details::text, 'UTF8'), '')
           || coalesce('\x10'::bytea || int4send(octet_length(error_message))
                       || convert_to(error_message, 'UTF8'), '')) AS digest
FROM fraiseql_obs.recent_operations();

-- a transaction that fails takes its rows along
BEGIN;
SELECT fraiseql_obs.log_operation('lost') > 0 AS logged;
ROLLBACK;
SELECT count(*) FROM fraiseql_obs.by_operation('lost');

-- bad input
SELECT fraiseql_obs.log_operation(NULL);
SELECT fraiseql_obs.log_operation('');
SELECT fraiseql_obs.log_operation(E' \t\n');
SELECT fraiseql_obs.log_operation('x', result => NULL);
SELECT fraiseql_obs.log_operation('x', result => 'great');
SELECT fraiseql_obs.log_operation('x', entity_id => repeat('x', 1025));
SELECT fraiseql_obs.log_operation('x', details => jsonb_build_object('a', repeat('x', 10 * 1024 * 1024)));
SELECT fraiseql_obs.log_operation('x', duration_ms => 'NaN');
SELECT fraiseql_obs.log_operation('x', duration_ms => -1);
SELECT fraiseql_obs.log_operation('x', occurred_at => '-infinity');
SELECT count(*) AS nothing_half_done FROM fraiseql_obs.by_operation('x');
BEGIN READ ONLY;
SELECT fraiseql_obs.log_operation('x');
ROLLBACK;

-- many at once, all or none
SELECT fraiseql_obs.log_operations('[{"operation": "login", "user_id": "carol"},
                                     {"operation": "login", "user_id": "dave", "result": "denied"},
                                     {"operation": "export", "details": {"rows": 5}, "changed_fields": ["a", "b"]}]');
SELECT operation, user_id, result, details, changed_fields FROM fraiseql_obs.recent_operations(3);
SELECT fraiseql_obs.log_operations('[{"operation": "good"}, {"operation": "bad", "result": "great"}]');
SELECT fraiseql_obs.log_operations('[{"operation": "good"}, {"operation": "good", "duration_ms": "slow"}]');
SELECT fraiseql_obs.log_operations('[{"operation": "good"}, {"operation": "good"}, {"user_id": "nobody"}]');
SELECT fraiseql_obs.log_operations('[{"operation": "good", "colour": "red"}]');
SELECT fraiseql_obs.log_operations('{"operation": "good"}');
SELECT fraiseql_obs.log_operations('["good"]');
SELECT fraiseql_obs.log_operations(NULL);
SELECT count(*) FROM fraiseql_obs.by_operation('good');
SELECT fraiseql_obs.log_operations('[]');

-- nothing else writes: not by INSERT, not to a partition, not a superuser
INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged');
UPDATE fraiseql_audit.fraiseql_audit_log SET user_id = 'nobody' WHERE false;
DELETE FROM fraiseql_audit.fraiseql_audit_log;
TRUNCATE fraiseql_audit.fraiseql_audit_log;
SELECT format('%I.%I', n.nspname, c.relname) AS partition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relname = 'fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') \gset
\set VERBOSITY sqlstate
UPDATE :partition SET user_id = 'nobody';
DELETE FROM :partition;
TRUNCATE :partition;
SET session_replication_role = replica;
DELETE FROM :partition;
TRUNCATE :partition;
RESET session_replication_role;
-- a writer that failed does not leave the door open
SELECT fraiseql_obs.log_operation('x', result => 'great');
INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged');
\set VERBOSITY default

-- in the shape that FraiseQL takes
SELECT operation, data ->> 'user_id' AS user_id, data ? 'id' AS id,
       data ? 'personal_salt' AS salt
FROM fraiseql_audit.v_audit_log ORDER BY created_at DESC, v_audit_log.id DESC LIMIT 2;

-- what came with the connection was checked by nobody, and can be dumped
\set database 'dbname=' :DBNAME
\setenv PGOPTIONS '-c app.user_id=a\377b -c fraiseql_obs.request_id=\303'
\c -reuse-previous=off :database
SELECT fraiseql_obs.log_operation('read') > 0 AS logged;
SELECT user_id, request_id, convert_from(convert_to(user_id, 'UTF8'), 'UTF8') = user_id AS valid
FROM fraiseql_obs.recent_operations(1);
