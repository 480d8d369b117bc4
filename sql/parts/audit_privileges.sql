--
-- Audit log: who may write, who may read.  Nothing for PUBLIC.
--

CREATE FUNCTION grant_audit_writer(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_log();
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@ TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.log_operation, @extschema@.log_operations TO %I', role);
END
$$;
COMMENT ON FUNCTION grant_audit_writer(name) IS
'Lets a role append to the audit log, and nothing else';

CREATE FUNCTION grant_audit_reader(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@, %I TO %I',
                   (SELECT relnamespace::regnamespace::name FROM pg_class WHERE oid = log),
                   role);
    EXECUTE format('GRANT SELECT ON %s, %s TO %I', log,
                   @extschema@.audit_table_name(log, 'v_audit_log'), role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.audit_log, @extschema@.audit_partition_bounds,
        @extschema@.audit_search, @extschema@.audit_condition,
        @extschema@.recent_operations, @extschema@.by_user,
        @extschema@.by_entity, @extschema@.by_operation,
        @extschema@.by_request, @extschema@.failed_operations TO %I', role);
END
$$;
COMMENT ON FUNCTION grant_audit_reader(name) IS
'Lets a role read the audit log, as far as its row security allows';

REVOKE ALL ON FUNCTION audit_log, audit_guard, audit_table_name,
    audit_dress_partition, audit_ensure_partition, audit_attach,
    audit_tenant_condition, create_audit_log, log_operation, log_operations,
    audit_partition_bounds, audit_search, audit_condition, recent_operations,
    by_user, by_entity, by_operation, by_request, failed_operations,
    grant_audit_writer, grant_audit_reader FROM PUBLIC;
