-- What is judged of what was measured: a table of values, with the settings as
-- they are by default.
CREATE FUNCTION judge(checks jsonb, role text DEFAULT NULL, max_lag text DEFAULT NULL,
                      OUT status text, OUT complaints text)
LANGUAGE sql AS $$
    SELECT v->>'status',
           string_agg(format('%s %s: %s', c.key, c.value->>'status', c.value->>'message'), '; ' ORDER BY c.key)
           FILTER (WHERE c.value->>'status' <> 'healthy')
    FROM fraiseql_obs.health_verdict(
        -- what is always known, unless the case says otherwise
        jsonb_build_object('server', '{"state": "ready", "role": "primary"}'::jsonb
                                     || coalesce(checks->'server', '{}'),
                           'disk', '{"data_size_bytes": 100, "data_available_bytes": 50,
                                     "wal_size_bytes": 100, "wal_available_bytes": 50}'::jsonb
                                   || coalesce(checks->'disk', '{}'))
        || (checks - '{server,disk}'::text[]), role, max_lag) AS v,
        jsonb_each(v->'checks') AS c
    GROUP BY v
$$;

SELECT no, j.*
FROM (VALUES
    -- the server's state and role
    (101, '{}', NULL, NULL),
    (102, '{"server": {"state": "starting"}}', NULL, NULL),
    (103, '{"server": {"state": "standby"}}', NULL, NULL),
    (104, '{"server": {"state": "stopping"}}', NULL, NULL),
    (105, '{"server": {"state": null}}', NULL, NULL),
    (106, '{}', 'any', NULL),
    (107, '{}', 'primary', NULL),
    (108, '{}', 'replica', NULL),
    (109, '{"server": {"role": "replica"}}', 'primary', NULL),
    (110, '{"server": {"role": "replica"}}', 'replica', NULL),
    (111, '{"server": {"role": null}}', 'primary', NULL),
    (112, '{"server": {"state": "starting"}}', 'replica', NULL),
    -- drained
    (201, '{"drain": {"draining": false}}', NULL, NULL),
    (202, '{"drain": {"draining": true, "since": "2026-01-02 03:04:05Z"}}', NULL, NULL),
    -- replay that does not advance
    (301, '{"recovery": {"in_recovery": true, "stalled_seconds": 299.9}}', NULL, NULL),
    (302, '{"recovery": {"in_recovery": true, "stalled_seconds": 300}}', NULL, NULL),
    -- a replica's lag, as the settings and as the caller see it
    (401, '{"replication": {"replay_lag_bytes": 268435455}}', NULL, NULL),
    (402, '{"replication": {"replay_lag_bytes": 268435456}}', NULL, NULL),
    (403, '{"replication": {"streaming": false}}', NULL, NULL),
    (404, '{"replication": {"receivers": 2, "receiver_lag_bytes": 268435456}}', NULL, NULL),
    (405, '{"server": {"role": "replica"}, "replication": {"streaming": true, "replay_lag_bytes": 1000}}', NULL, '1000'),
    (406, '{"server": {"role": "replica"}, "replication": {"streaming": true, "replay_lag_bytes": 1001}}', NULL, '1000'),
    (407, '{"server": {"role": "replica"}, "replication": {"streaming": true, "replay_lag_bytes": 16777216}}', 'replica', '16MB'),
    (408, '{"server": {"role": "replica"}, "replication": {"streaming": true, "replay_lag_bytes": 16777217}}', 'replica', '16MB'),
    (409, '{"server": {"role": "replica"}, "replication": {"streaming": false, "replay_lag_bytes": 0}}', NULL, '16MB'),
    (410, '{"server": {"role": "replica"}, "replication": {"replay_lag_bytes": null}}', NULL, '16MB'),
    (411, '{"server": {"role": "replica"}, "replication": {"replay_lag_bytes": 0}}', NULL, '0'),
    (412, '{"server": {"role": "primary"}, "replication": {"receiver_lag_bytes": 1000}}', NULL, '0'),
    (413, '{"server": {"role": "replica"}, "replication": {"replay_lag_bytes": 4e9}}', NULL, '3.5GB'),
    -- connections
    (501, '{"connections": {"used": 79, "limit": 100}}', NULL, NULL),
    (502, '{"connections": {"used": 80, "limit": 100}}', NULL, NULL),
    (503, '{"connections": {"used": 100, "limit": 97}}', NULL, NULL),
    (504, '{"connections": {"used": 3, "limit": 0}}', NULL, NULL),
    (505, '{"connections": {"used": 0, "limit": 0}}', NULL, NULL),
    -- crashes
    (601, '{"crash": {"restarted_at": null, "seconds_ago": null}}', NULL, NULL),
    (602, '{"crash": {"seconds_ago": 0}}', NULL, NULL),
    (603, '{"crash": {"seconds_ago": 3599.9}}', NULL, NULL),
    (604, '{"crash": {"seconds_ago": 3600}}', NULL, NULL),
    -- the canary
    (651, '{"canary": {"succeeded_seconds_ago": 59.9, "duration_seconds": 0.01}}', NULL, NULL),
    (652, '{"canary": {"succeeded_seconds_ago": 60}}', NULL, NULL),
    -- transaction identifiers
    (701, '{"xid_age": {"oldest_unfrozen": 999999999, "oldest_multixact": 999999999, "left": 1}}', NULL, NULL),
    (702, '{"xid_age": {"oldest_unfrozen": 1000000000}}', NULL, NULL),
    (703, '{"xid_age": {"oldest_multixact": 1000000000}}', NULL, NULL),
    (704, '{"xid_age": {"oldest_unfrozen": 2144483648, "left": 0}}', NULL, NULL),
    (705, '{"xid_age": {"left": -1}}', NULL, NULL),
    -- audit logs
    (801, '{"audit": {"logs": 1, "workers": 0, "seal_lag_seconds": 299.9, "violations": 0}}', NULL, NULL),
    (802, '{"audit": {"logs": 1, "workers": 0, "seal_lag_seconds": 300}}', NULL, NULL),
    (803, '{"audit": {"logs": 1, "workers": 1, "violations": 2}}', NULL, NULL),
    -- transactions
    (901, '{"transactions": {"oldest_seconds": 3599.9}}', NULL, NULL),
    (902, '{"transactions": {"oldest_seconds": 3600}}', NULL, NULL),
    -- disks
    (1001, '{"disk": {"data_available_bytes": 10}}', NULL, NULL),
    (1002, '{"disk": {"data_available_bytes": 9.99}}', NULL, NULL),
    (1003, '{"disk": {"wal_available_bytes": 0}}', NULL, NULL),
    (1004, '{"disk": {"data_size_bytes": null}}', NULL, NULL),
    (1005, '{"disk": {"wal_available_bytes": null}}', NULL, NULL),
    (1006, '{"disk": {"unanswered_seconds": 61.4}}', NULL, NULL),
    -- several at once: the worst decides
    (1101, '{"transactions": {"oldest_seconds": 4000}, "crash": {"seconds_ago": 1}}', NULL, NULL),
    (1102, '{"transactions": {"oldest_seconds": 4000}, "drain": {"draining": true}}', NULL, NULL),
    (1103, '{"xid_age": {"oldest_unfrozen": 1000000001, "oldest_multixact": 1000000002}}', NULL, NULL),
    (1104, '{"server": {"role": "replica"}, "replication": {"streaming": false, "replay_lag_bytes": 4e9}}', NULL, NULL)
) AS cases (no, checks, role, max_lag), judge(checks::jsonb, role, max_lag) AS j
ORDER BY no;

-- Values come back as they were given, and unknown ones as null
SELECT jsonb_pretty(fraiseql_obs.health_verdict('{
    "server": {"status": "is not read", "state": "ready", "role": "replica", "uptime_seconds": 1.5},
    "drain": {"draining": true, "since": "2026-01-02T03:04:05.678Z"},
    "recovery": {"in_recovery": true, "replayed_lsn": "1A/2B3C4D5E", "paused": false}}')->'checks') AS checks;
SELECT fraiseql_obs.health_verdict(NULL) IS NULL AS nothing;

-- A whole document of health() has the checks in it
SELECT fraiseql_obs.health_verdict('{"status": "unhealthy", "timestamp": "2026-01-02T03:04:05.678Z",
    "checks": {"drain": {"draining": false}, "connections": {"used": 95, "limit": 97}}}')->'checks'->'connections'->>'message' AS document;
SELECT fraiseql_obs.health_verdict(fraiseql_obs.health())->'checks' ? 'server' AS "own document";
SELECT fraiseql_obs.health_verdict('{"checks": 1}');
SELECT fraiseql_obs.health_verdict('{"checks": {"weather": {}}}');
SELECT fraiseql_obs.health_verdict('1');
SELECT (fraiseql_obs.health_verdict('{}')->>'timestamp')::timestamptz BETWEEN now() - '1 ms'::interval AND clock_timestamp() AS "now";

-- What it does not know it says
SELECT fraiseql_obs.health_verdict('{"weather": {}}');
SELECT fraiseql_obs.health_verdict('{"disk": 1}');
SELECT fraiseql_obs.health_verdict('[]');
SELECT fraiseql_obs.health_verdict('{"server": {"state": "tired"}}');
SELECT fraiseql_obs.health_verdict('{"server": {"uptime_seconds": "long"}}');
SELECT fraiseql_obs.health_verdict('{"drain": {"draining": 1}}');
SELECT fraiseql_obs.health_verdict('{"drain": {"since": "infinity"}}');
SELECT fraiseql_obs.health_verdict('{}', 'leader');
SELECT fraiseql_obs.readiness('leader');
SELECT fraiseql_obs.readiness(max_lag => '-1');
SELECT fraiseql_obs.readiness(max_lag => 'much');
SELECT fraiseql_obs.readiness(max_lag => '1 week');

-- What the server itself says: the same keys, and all is known that there is,
-- but for what another test may have verified before
SELECT c.key, string_agg(v.key, ' ' ORDER BY v.key COLLATE "C") FILTER (WHERE v.value <> 'null') AS known,
       string_agg(v.key, ' ' ORDER BY v.key COLLATE "C") FILTER (WHERE v.value = 'null') AS unknown
FROM jsonb_each(fraiseql_obs.health()->'checks') AS c, jsonb_each(c.value) AS v
WHERE v.key NOT IN ('message', 'violations')
GROUP BY c.key ORDER BY c.key COLLATE "C";
SELECT fraiseql_obs.liveness();
SELECT fraiseql_obs.readiness()->>'status' AS readiness,
       fraiseql_obs.readiness('primary')->>'status' AS as_primary,
       fraiseql_obs.readiness('replica')->>'status' AS as_replica,
       fraiseql_obs.readiness(max_lag => '0')->>'status' AS lag_of_a_primary;
SELECT h->'checks' #- '{server,message}' = fraiseql_obs.health_verdict(h->'checks')->'checks' AS same
FROM fraiseql_obs.health() AS h;
DROP FUNCTION judge;
