-- audit.sql - fills an audit log with :rows rows of the last 90 days, skewed as
-- real ones are: 100,000 users of whom one makes a tenth, 1,000,000 entities,
-- 3 % failures.  Past the door, because nobody can wait for 90 days.
SET client_min_messages = warning;
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log(guard_triggers => false) \g /dev/null
SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day')
FROM generate_series(1, 90) i \g /dev/null
SELECT setseed(0.42) \g /dev/null
INSERT INTO fraiseql_audit.fraiseql_audit_log
    (created_at, occurred_at, tenant_id, user_id, operation, entity_type,
     entity_id, result, details, duration_ms, personal_salt, personal_digest)
SELECT at, at, 'tenant-' || i % 50, user_id,
       (ARRAY['create', 'update', 'update', 'update', 'delete', 'login',
              'logout', 'query.executed', 'query.executed', 'export',
              'share', 'approve'])[1 + i % 12],
       (ARRAY['Order', 'User', 'Invoice', 'Document'])[1 + i % 4],
       (1000000 * random() ^ 3)::integer::text,
       CASE WHEN random() < 0.97 THEN 'success'
            WHEN random() < 0.6 THEN 'failure' ELSE 'denied' END,
       details, 100 * random() ^ 4, salt,
       sha256(salt || '\x0106' || int4send(octet_length(user_id)) || user_id::bytea ||
              '\x0b' || int4send(octet_length(details::text)) || details::text::bytea)
FROM (SELECT i, now() - interval '90 days' * (1 - i::float8 / :rows) AS at,
             'user-' || CASE WHEN random() < 0.1 THEN 0
                        ELSE (100000 * random() ^ 2)::integer END AS user_id,
             jsonb_build_object('n', i, 'source', 'web') AS details,
             '\x00112233445566778899aabbccddeeff'::bytea AS salt
      FROM generate_series(1, :rows) i) AS moments;
CREATE ROLE bench_reader LOGIN;
SELECT fraiseql_obs.grant_audit_reader('bench_reader') \g /dev/null
VACUUM (FREEZE, ANALYZE) fraiseql_audit.fraiseql_audit_log;
