-- User, tenant and request of a failed statement: our settings, else those of
-- the application that the lists name.
CREATE VIEW recorded AS
SELECT user_id, tenant_id, request_id, operation
FROM fraiseql_obs.slow_queries() WHERE datname = current_database()
ORDER BY finished_at;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

SELECT 1 / 0 AS nobody;
BEGIN;
SELECT set_config('app.tenant_id', 't1', true), set_config('app.user_id', 'u1', true);
SELECT 1 / 0 AS application;
COMMIT;

-- now those settings are there and empty
SELECT current_setting('app.tenant_id') = '' AS empty;
SELECT 1 / 0 AS nobody_again;

SET app.contact_id = 'u2';
SET fraiseql.tenant_id = 't2';
SELECT 1 / 0 AS second_of_the_list;
SET app.user_id = 'u3';
SET app.tenant_id = 't3';
SELECT 1 / 0 AS first_of_the_list;
SET fraiseql_obs.user_id = 'u4';
SET fraiseql_obs.tenant_id = 't4';
SET fraiseql_obs.request_id = 'r4';
SET fraiseql_obs.operation_name = 'o4';
SELECT 1 / 0 AS ours;
RESET fraiseql_obs.user_id;
RESET fraiseql_obs.tenant_id;
RESET fraiseql_obs.request_id;
RESET fraiseql_obs.operation_name;

-- another list
SET fraiseql_obs.user_id_sources = 'my.login, app.user_id';
SET fraiseql_obs.tenant_id_sources = '';
SET my.login = 'u5';
SELECT 1 / 0 AS other_list;
RESET fraiseql_obs.user_id_sources;
RESET fraiseql_obs.tenant_id_sources;
SELECT * FROM recorded;

SET fraiseql_obs.user_id_sources = 'a.a,a.b,a.c,a.d,a.e,a.f,a.g,a.h,a.i';
SET ROLE regress_fraiseql_app;
SET fraiseql_obs.user_id_sources = 'role';
RESET ROLE;
DROP VIEW recorded;
