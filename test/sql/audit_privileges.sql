-- Who may do what with the audit log: a writer appends, a reader reads what
-- row security shows, nobody changes anything, and PUBLIC has nothing.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT fraiseql_obs.create_audit_log() IS NOT NULL AS log;
SET client_min_messages = notice;
CREATE ROLE regress_audit_writer;
CREATE ROLE regress_audit_reader;
CREATE ROLE regress_audit_nobody;
SELECT fraiseql_obs.grant_audit_writer('regress_audit_writer');
SELECT fraiseql_obs.grant_audit_reader('regress_audit_reader');
SELECT fraiseql_obs.grant_audit_reader(NULL);
SELECT fraiseql_obs.grant_audit_writer(NULL);
SELECT fraiseql_obs.grant_audit_reader('public');
SELECT fraiseql_obs.grant_audit_writer('public');
SELECT fraiseql_obs.log_operation('priv', 'Thing', '1', user_id => 'ann', tenant_id => 'acme') > 0 AS logged;
SELECT fraiseql_obs.log_operation('priv', 'Thing', '1', 'denied', user_id => 'bob', tenant_id => 'umbrella') > 0 AS logged;
SELECT fraiseql_obs.log_operation('priv', 'Thing', '1', user_id => 'nobody') > 0 AS logged;
SELECT format('%I.%I', n.nspname, c.relname) AS partition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relname = 'fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') \gset

-- PUBLIC
SELECT p.oid::regprocedure AS public_may
FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
WHERE pronamespace = 'fraiseql_obs'::regnamespace AND a.grantee = 0
  AND proname !~ '_trace_context$';
SELECT c.oid::regclass AS public_may
FROM pg_class c, aclexplode(relacl) a
WHERE relnamespace IN ('fraiseql_obs'::regnamespace, 'fraiseql_audit'::regnamespace)
  AND a.grantee = 0;
SELECT nspname AS public_may
FROM pg_namespace, aclexplode(nspacl) a
WHERE nspname IN ('fraiseql_obs', 'fraiseql_audit') AND a.grantee = 0;

-- SQLSTATEs do: 42501 is insufficient_privilege
\set VERBOSITY sqlstate
SET ROLE regress_audit_nobody;
SELECT fraiseql_obs.log_operation('x');
SELECT * FROM fraiseql_obs.recent_operations();
SELECT * FROM fraiseql_audit.fraiseql_audit_log;

-- a writer appends, and that is all
SET ROLE regress_audit_writer;
SELECT fraiseql_obs.log_operation('priv_writer') > 0 AS logged;
SELECT fraiseql_obs.log_operations('[{"operation": "priv_writer"}]');
SELECT * FROM fraiseql_obs.recent_operations();
SELECT * FROM fraiseql_obs.by_user('ann');
SELECT * FROM fraiseql_obs.audit_search('{}', 1, NULL, NULL, NULL);
SELECT * FROM fraiseql_audit.fraiseql_audit_log;
SELECT * FROM fraiseql_audit.v_audit_log;
SELECT * FROM fraiseql_audit.fraiseql_audit_settings;
SELECT * FROM fraiseql_obs.audit_registry;
SELECT * FROM :partition;
INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged');
INSERT INTO :partition (operation) VALUES ('forged');
UPDATE fraiseql_audit.fraiseql_audit_log SET operation = 'forged';
DELETE FROM fraiseql_audit.fraiseql_audit_log;
TRUNCATE fraiseql_audit.fraiseql_audit_log;
ALTER TABLE fraiseql_audit.fraiseql_audit_log DISABLE TRIGGER ALL;
DROP TABLE fraiseql_audit.fraiseql_audit_log;
DROP TABLE :partition;
SELECT fraiseql_obs.create_audit_log();
SELECT fraiseql_obs.audit_ensure_partition(now());
SELECT fraiseql_obs.audit_dress_partition(1, 2);
SELECT fraiseql_obs.audit_attach(1);
SELECT fraiseql_obs.grant_audit_reader('regress_audit_writer');

-- a reader reads, and that is all
SET ROLE regress_audit_reader;
SELECT user_id, tenant_id, result FROM fraiseql_obs.by_operation('priv');
SELECT count(*) FROM fraiseql_obs.recent_operations(2);
SELECT count(*) FROM fraiseql_obs.by_entity('Thing', '1');
SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'priv';
SELECT count(*) FROM fraiseql_audit.v_audit_log WHERE operation = 'priv';
SELECT * FROM :partition;
SELECT fraiseql_obs.log_operation('x');
SELECT fraiseql_obs.log_operations('[]');
INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged');
INSERT INTO :partition (operation) VALUES ('forged');
UPDATE fraiseql_audit.fraiseql_audit_log SET operation = 'forged';
DELETE FROM fraiseql_audit.fraiseql_audit_log;
TRUNCATE fraiseql_audit.fraiseql_audit_log;
CREATE TRIGGER mine BEFORE INSERT ON fraiseql_audit.fraiseql_audit_log
    FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE fraiseql_audit.fraiseql_audit_log DISABLE TRIGGER ALL;
DROP TABLE fraiseql_audit.fraiseql_audit_log;
CREATE TABLE fraiseql_audit.mine ();
SELECT fraiseql_obs.create_audit_log();
SELECT fraiseql_obs.grant_audit_writer('regress_audit_reader');
RESET ROLE;

-- to call create_audit_log() is not enough to make a log
GRANT EXECUTE ON FUNCTION fraiseql_obs.create_audit_log TO regress_audit_reader;
SET ROLE regress_audit_reader;
\set VERBOSITY default
SELECT fraiseql_obs.create_audit_log();
\set VERBOSITY sqlstate
RESET ROLE;
REVOKE EXECUTE ON FUNCTION fraiseql_obs.create_audit_log FROM regress_audit_reader;

-- a log of tenants, in another database
\set main :DBNAME
CREATE DATABASE regress_privileges;
\c regress_privileges
CREATE EXTENSION fraiseql_obs;
BEGIN;
SELECT fraiseql_obs.create_audit_log(tenant_isolation => true) IS NOT NULL AS log;
SELECT fraiseql_obs.grant_audit_reader('regress_audit_reader');
SELECT fraiseql_obs.log_operations('[{"operation": "a", "tenant_id": "acme"},
    {"operation": "b", "tenant_id": "umbrella", "result": "denied"},
    {"operation": "c"}, {"operation": "d", "tenant_id": ""}]');
SET ROLE regress_audit_reader;
-- none is set: nothing is seen
SELECT operation FROM fraiseql_obs.recent_operations();
SELECT operation FROM fraiseql_audit.fraiseql_audit_log;
SELECT operation FROM fraiseql_audit.v_audit_log;
SET LOCAL app.tenant_id = '';
SELECT operation FROM fraiseql_obs.recent_operations();
-- own rows
SET LOCAL app.tenant_id = 'acme';
SELECT operation FROM fraiseql_obs.recent_operations();
SELECT operation FROM fraiseql_obs.recent_operations(tenant_id => 'umbrella');
SELECT operation FROM fraiseql_obs.failed_operations();
SELECT operation FROM fraiseql_audit.fraiseql_audit_log;
SELECT operation FROM fraiseql_audit.v_audit_log;
SELECT operation FROM fraiseql_obs.audit_search('{"result": "success"}', 10, NULL, NULL, NULL);
SET LOCAL app.tenant_id = E'umbrella\' OR true --';
SELECT operation FROM fraiseql_obs.recent_operations();
SET LOCAL app.tenant_id = 'umbrella';
SELECT operation FROM fraiseql_obs.failed_operations();
-- what is of all rows is not for who does not see them
SAVEPOINT s;
\set VERBOSITY default
SELECT fraiseql_obs.audit_checkpoint();
\set VERBOSITY sqlstate
ROLLBACK TO s;
-- our setting goes before the application's
SET LOCAL fraiseql_obs.tenant_id = 'acme';
SELECT operation FROM fraiseql_obs.recent_operations();
SET LOCAL fraiseql_obs.tenant_id = '';
SELECT operation FROM fraiseql_obs.recent_operations();
SAVEPOINT s;
SELECT * FROM :partition;
ROLLBACK TO s;
RESET ROLE;
-- row security is on each partition, too
SELECT bool_and(relrowsecurity) AS secured
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass;
SELECT fraiseql_obs.grant_audit_reader('regress_audit_nobody');
GRANT SELECT ON :partition TO regress_audit_nobody;
SET ROLE regress_audit_nobody;
SELECT operation FROM :partition;
ROLLBACK;
\set VERBOSITY default
\c :main
DROP DATABASE regress_privileges;

REVOKE ALL ON SCHEMA fraiseql_obs, fraiseql_audit FROM regress_audit_writer, regress_audit_reader;
DROP OWNED BY regress_audit_writer, regress_audit_reader, regress_audit_nobody;
DROP ROLE regress_audit_writer, regress_audit_reader, regress_audit_nobody;

-- a schema whose name needs quotes
SELECT current_database() AS main \gset
CREATE DATABASE regress_privileges;
\c regress_privileges
CREATE ROLE regress_audit_reader;
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log('Audit "Log');
SELECT fraiseql_obs.grant_audit_reader('regress_audit_reader');
SELECT has_schema_privilege('regress_audit_reader', 'Audit "Log', 'USAGE') AS may;
-- an entry says what its report was, and nothing else
SET ROLE regress_audit_reader;
SELECT fraiseql_obs.audit_report_made(NULL, NULL, 'default');
SELECT fraiseql_obs.audit_report_made('2026-01-01', '2026-02-01', 'anything');
RESET ROLE;
DROP OWNED BY regress_audit_reader;
\c :main
DROP DATABASE regress_privileges;
DROP ROLE regress_audit_reader;
