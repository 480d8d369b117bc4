-- Who may write cannot read, who may read cannot write, and with row security
-- a reader sees its tenant alone.
\set SHOW_CONTEXT never
\set main :DBNAME
SET client_min_messages = warning;
CREATE DATABASE regress_fraiseql_tenants;
\c regress_fraiseql_tenants
\set SHOW_CONTEXT never
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log(tenant_isolation => true) AS log;
CREATE ROLE regress_fraiseql_writer;
CREATE ROLE regress_fraiseql_reader;
SELECT fraiseql_obs.grant_audit_writer('regress_fraiseql_writer');
SELECT fraiseql_obs.grant_audit_reader('regress_fraiseql_reader');

SET ROLE regress_fraiseql_writer;
SELECT fraiseql_obs.log_operation('create', tenant_id => t) > 0 AS logged
FROM unnest(ARRAY['a', 'b', NULL]) t;
SELECT fraiseql_obs.log_operations('[{"operation": "update", "tenant_id": "a"}]');
SELECT * FROM fraiseql_obs.recent_operations();
SELECT * FROM fraiseql_audit.fraiseql_audit_log;
SELECT * FROM fraiseql_audit.v_audit_log;
SELECT fraiseql_obs.create_audit_log();
SELECT fraiseql_obs.grant_audit_reader('regress_fraiseql_writer');
SELECT fraiseql_obs.audit_ensure_partition(now());

SET ROLE regress_fraiseql_reader;
SELECT count(*) FROM fraiseql_obs.recent_operations();
SET app.tenant_id = 'a';
SELECT tenant_id, operation FROM fraiseql_obs.recent_operations();
SELECT tenant_id, operation FROM fraiseql_obs.recent_operations(tenant_id => 'b');
SELECT tenant_id, operation FROM fraiseql_audit.fraiseql_audit_log ORDER BY id;
SELECT tenant_id, operation FROM fraiseql_audit.v_audit_log ORDER BY id;
SET fraiseql_obs.tenant_id = 'b';
SELECT tenant_id, operation FROM fraiseql_obs.recent_operations();
RESET fraiseql_obs.tenant_id;
SELECT fraiseql_obs.log_operation('forged');
INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged');
DELETE FROM fraiseql_audit.fraiseql_audit_log;
RESET ROLE;
SELECT 'fraiseql_audit.fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') AS partition \gset
GRANT SELECT ON :partition TO regress_fraiseql_reader;
SET ROLE regress_fraiseql_reader;
SELECT count(*) FROM :partition;
RESET ROLE;
REVOKE SELECT ON :partition FROM regress_fraiseql_reader;

-- whom nothing was granted can do nothing
CREATE ROLE regress_fraiseql_nobody;
SET ROLE regress_fraiseql_nobody;
SELECT fraiseql_obs.log_operation('forged');
SELECT * FROM fraiseql_audit.fraiseql_audit_log;
\c :main
DROP DATABASE regress_fraiseql_tenants;
DROP ROLE regress_fraiseql_writer, regress_fraiseql_reader, regress_fraiseql_nobody;
