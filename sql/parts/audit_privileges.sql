--
-- Audit log: who may write, who may read.  Nothing for PUBLIC.
--

-- GRANT would take "public" for everybody, in quotes as well.
CREATE FUNCTION audit_check_grantee(role name, deed text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'role must not be null',
            HINT = format('Name the role that is to %s.', deed);
    END IF;
    IF role = 'public' THEN
        RAISE invalid_grant_operation USING
            MESSAGE = 'the audit log is not for everybody',
            HINT = format('Make a role for those who are to %s.', deed);
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_grantee(name, text) IS
'Raises an error if what is to be granted a right on the audit log is no role';

CREATE FUNCTION grant_audit_writer(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_log();
    PERFORM @extschema@.audit_check_grantee(role, 'append');
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@ TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.log_operation, @extschema@.log_operations,
        @extschema@.audit_wrong_key TO %I', role);
END
$$;
COMMENT ON FUNCTION grant_audit_writer(name) IS
'Lets a role append to the audit log, and nothing else';

CREATE FUNCTION grant_audit_reader(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    source regclass;
BEGIN
    PERFORM @extschema@.audit_check_grantee(role, 'read');
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@, %I TO %I',
                   (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = log),
                   role);
    EXECUTE format('GRANT SELECT ON %s, %s TO %I', log,
                   (SELECT string_agg(@extschema@.audit_table_name(log, name), ', ')
                    FROM unnest('{v_audit_log,fraiseql_audit_settings,fraiseql_audit_counts,
                                  fraiseql_audit_actor_days,fraiseql_audit_rollup_state,
                                  fraiseql_audit_seals,fraiseql_audit_checkpoints,
                                  fraiseql_audit_partitions,fraiseql_audit_holds,
                                  fraiseql_audit_erasures,fraiseql_audit_collapsed,
                                  fraiseql_audit_actor_operations,fraiseql_audit_actor_state}'::text[]) name),
                   role);
    FOR source IN SELECT @extschema@.audit_sources(log) LOOP
        EXECUTE format('GRANT SELECT ON %s TO %I', source, role);
    END LOOP;
    PERFORM @extschema@.audit_grant_reading(role);
END
$$;
COMMENT ON FUNCTION grant_audit_reader(name) IS
'Lets a role read the audit log, as far as its row security allows';

-- Whatever the extension has is for those alone whom it was granted to, but
-- for what reads and sets one's own context.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
          AND d.deptype = 'e' AND e.extname = 'fraiseql_obs'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION
    extract_trace_context(jsonb), set_trace_context(jsonb), inject_trace_context() TO PUBLIC;
