-- retention.sql - an audit log whose three oldest partitions are past the
-- retention and have half a million sealed rows each.  Past the door, because
-- nobody can wait for a month.
SET client_min_messages = warning;
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log(retention => '30 days', guard_triggers => false) \g /dev/null
SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day')
FROM generate_series(31, 33) i \g /dev/null
INSERT INTO fraiseql_audit.fraiseql_audit_log
    (created_at, occurred_at, operation, entity_type, entity_id, user_id,
     details, personal_salt, personal_digest)
SELECT at, at, 'update', 'Order', (i % 1000)::text, 'user1', '{"a": 1}', salt,
       sha256(salt || '\x0106' || int4send(5) || 'user1'
              || '\x0b' || int4send(8) || '{"a": 1}')
FROM (SELECT i, (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '33 days'
                 + i * interval '3 days' / 1500000) AT TIME ZONE 'UTC' AS at
      FROM generate_series(0, 1499999) i) AS moments,
     decode('00112233445566778899aabbccddeeff', 'hex') AS salt;
SELECT fraiseql_obs.refresh_audit_rollups() \g /dev/null
SELECT fraiseql_obs.refresh_audit_rollups() \g /dev/null
VACUUM (FREEZE, ANALYZE) fraiseql_audit.fraiseql_audit_log;
