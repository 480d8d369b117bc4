-- Context is bounded: what is too long is cut at a character, and the
-- statement succeeds.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT set_config('fraiseql_obs.operation_name', repeat('€', 1000), false) <> '' AS set;
SELECT set_config('fraiseql_obs.operation_type', repeat('€', 1000), false) <> '' AS set;
SELECT set_config('fraiseql_obs.' || name, repeat('€', 1000), false) <> '' AS set
FROM unnest(ARRAY['user_id', 'tenant_id', 'request_id']) AS name;
SELECT 1 / 0;
SELECT octet_length(operation) AS octets, replace(operation, '€', '') = '' AS whole,
       octet_length(type) AS octets, replace(type, '€', '') = '' AS whole, errors
FROM fraiseql_obs.operation_stats() WHERE datname = current_database() AND errors > 0;
SELECT octet_length(user_id) AS octets, replace(user_id, '€', '') = '' AS whole,
       user_id = tenant_id AND user_id = request_id AS all_alike
FROM fraiseql_obs.slow_queries();
RESET ALL;

-- control characters become spaces; quotes and backslashes are text like any other
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.operation_name = E'a"b\\c\nd\te''f\x01';
SELECT 1 AS one;
SET fraiseql_obs.operation_name = ' ';
SELECT 1 AS one;
RESET fraiseql_obs.operation_name;
SELECT operation = E'a"b\\c d e''f ' AS same, operation = ' ' AS blank
FROM fraiseql_obs.operation_stats() WHERE datname = current_database()
ORDER BY 1 DESC;

-- in a comment, too
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT 1 AS one /*action='%F0%9F%98'*/;
SELECT 1 AS one /*action='a%00b'*/;
SELECT format('SELECT 1 AS one /*action=''%s''*/', repeat('%C3%A9', 200)) AS statement \gset
:statement;
SELECT octet_length(operation) AS octets, calls
FROM fraiseql_obs.operation_stats() WHERE datname = current_database()
ORDER BY 1;
