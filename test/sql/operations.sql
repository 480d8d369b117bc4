-- The operation of a statement is what the setting says when it starts, else
-- what its SQLCommenter comment says.
CREATE VIEW counted_types AS
SELECT operation, type, calls, errors, rows
FROM fraiseql_obs.operation_stats() WHERE datname = current_database()
ORDER BY operation COLLATE "C", type COLLATE "C";
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

SELECT 1 AS one;
SET fraiseql_obs.operation_name = 'session';
SELECT 1 AS one;
BEGIN;
SELECT set_config('fraiseql_obs.operation_name', 'local', true);
SET LOCAL fraiseql_obs.operation_type = 'mutation';
SELECT 1 AS one;
SELECT 1 AS one /*action='comment'*/;
SELECT 1 / 0;
COMMIT;
SELECT 1 AS one;
RESET fraiseql_obs.operation_name;
SELECT * FROM counted_types;

-- comments: the key, their place, what is around them
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT 1 AS one /*action='a1',controller='c',route='r'*/;
SELECT 1 AS one /*controller='c',route='r2'*/;
SELECT 1 AS one /*controller='c3'*/;
SELECT 1 AS one /*framework='spring'*/;
/*action='a4'*/ SELECT 1 AS one;
/*+ SeqScan(t) */ SELECT 1 AS one /*action='a5'*/ /* more */;
SELECT '/*action=''no''*/' AS one;
SELECT E'\' /*action=\'no\'*/' AS one;
SELECT $a$ /*action='no'*/$a$ AS one;
SELECT 1 AS one /*action='a6%20%2Fusers'*/;
SELECT 1 AS one /*action=no*/;
SELECT 1 AS one /*action=''*/;
SELECT 1 AS one /*action='a7'*/\; SELECT 2 AS two /*action='a8'*/\; SELECT 3 AS three;
SELECT * FROM counted_types;

-- The operation holds for the statement that started with it.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SET fraiseql_obs.operation_name = 'before';
SELECT set_config('fraiseql_obs.operation_name', 'behind', false);
SELECT 1 AS one;
RESET fraiseql_obs.operation_name;
SELECT * FROM counted_types;
DROP VIEW counted_types;
