-- The lists of the audit log: newest first, filtered, page by page.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.create_audit_log() IS NOT NULL AS log;
SET client_min_messages = notice;
SELECT fraiseql_obs.log_operations(
    (SELECT jsonb_agg(jsonb_build_object(
         'operation', 'page', 'user_id', 'reader-' || i % 3,
         'tenant_id', 'tenant-' || i % 2,
         'entity_type', 'Page', 'entity_id', (i % 5)::text,
         'request_id', 'request-' || i / 10, 'trace_id', 'trace-' || i / 20,
         'result', (ARRAY['success', 'failure', 'denied', 'timeout', 'noop'])[1 + i % 5],
         'details', jsonb_build_object('i', i)) ORDER BY i)
     FROM generate_series(0, 59) i));

SELECT details -> 'i' AS i FROM fraiseql_obs.recent_operations(3);
SELECT details -> 'i' AS i FROM fraiseql_obs.recent_operations(3, tenant_id => 'tenant-0', result => 'denied');
SELECT details -> 'i' AS i FROM fraiseql_obs.by_user('reader-1', 3);
SELECT details -> 'i' AS i FROM fraiseql_obs.by_user('reader-1', 2, tenant_id => 'tenant-1');
SELECT details -> 'i' AS i FROM fraiseql_obs.by_entity('Page', '4') LIMIT 2;
SELECT details -> 'i' AS i, result FROM fraiseql_obs.by_operation('page', 2, result => 'noop');
SELECT details -> 'i' AS i, result FROM fraiseql_obs.by_operation('page', 2, result => 'error');
SELECT count(*) FROM fraiseql_obs.by_request('request-3');
SELECT count(*) FROM fraiseql_obs.by_request(trace_id => 'trace-2');
SELECT count(*) FROM fraiseql_obs.by_request('request-3', 'trace-2');
SELECT result, count(*) FROM fraiseql_obs.failed_operations()
WHERE operation = 'page' GROUP BY result ORDER BY result;
SELECT count(*) FROM fraiseql_obs.failed_operations(0);
SELECT count(*) FROM fraiseql_obs.by_user(E'\' OR true --');
SELECT count(*) FROM fraiseql_obs.by_user('reader-1', 0);
SELECT count(*) FROM fraiseql_obs.recent_operations(since => now() + interval '1 hour');
SELECT count(*) FROM fraiseql_obs.recent_operations(until => now() - interval '1 hour');

-- pages: each row once, in order
DO $$
DECLARE
    row_at timestamptz;
    row_id bigint;
    seen integer[] := '{}';
    number integer;
BEGIN
    LOOP
        FOR row_at, row_id, number IN
            SELECT created_at, id, details -> 'i'
            FROM fraiseql_obs.by_operation('page', 7, before => (row_at, row_id))
        LOOP
            seen := seen || number;
        END LOOP;
        EXIT WHEN NOT FOUND OR cardinality(seen) > 60;
    END LOOP;
    RAISE NOTICE '% rows, in order: %', cardinality(seen),
        seen = (SELECT array_agg(i ORDER BY i DESC) FROM generate_series(0, 59) i);
END
$$;

-- bad input
SELECT * FROM fraiseql_obs.by_user(NULL);
SELECT * FROM fraiseql_obs.by_entity('Page', NULL);
SELECT * FROM fraiseql_obs.by_operation(NULL);
SELECT * FROM fraiseql_obs.by_request();
SELECT * FROM fraiseql_obs.recent_operations(-1);
SELECT * FROM fraiseql_obs.failed_operations(-1);
SELECT * FROM fraiseql_obs.failed_operations(2147483647);
SELECT * FROM fraiseql_obs.recent_operations(result => 'failed');
SELECT * FROM fraiseql_obs.by_user('reader-1', since => '2026-02-01 UTC', until => '2026-01-01 UTC');
