--
-- Audit log: verification
--
-- The work is in C (audit_verify.c).  That a log was verified, by whom and with
-- which outcome, is an entry of it, audit.verified, where it is active and can
-- be written.
--

CREATE FUNCTION audit_verify(
    since timestamptz,
    until timestamptz,
    origin uuid,
    size bigint,
    root bytea)
RETURNS TABLE (severity text, kind text, seal_no bigint, partition text,
               row_id bigint, at timestamptz, message text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_verify'
LANGUAGE C STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
ROWS 10;
COMMENT ON FUNCTION audit_verify(timestamptz, timestamptz, uuid, bigint, bytea) IS
'What verify_audit_log() finds';

-- An entry of the log that a reader may make, and nothing else.
CREATE FUNCTION audit_verified(since timestamptz, until timestamptz, seals bigint,
    size bigint, violations bigint, gaps bigint, unchecked bigint)
RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.log_operation(
        'audit.verified', 'audit_log', 'verification',
        CASE WHEN violations > 0 THEN 'failure' ELSE 'success' END,
        jsonb_strip_nulls(jsonb_build_object(
            'since', since, 'until', until, 'seals', seals, 'anchor_size', size,
            'violations', violations, 'gaps', gaps, 'unchecked', unchecked)))
    FROM @extschema@.audit_registry r, pg_control_system() c, pg_database d
    WHERE d.datname = current_database()
      AND (r.system_identifier, r.database_oid) = (c.system_identifier, d.oid)
$$;
COMMENT ON FUNCTION audit_verified(timestamptz, timestamptz, bigint, bigint, bigint, bigint, bigint) IS
'Records in the audit log that it was verified';

CREATE FUNCTION verify_audit_log(
    "from" timestamptz DEFAULT NULL,
    "until" timestamptz DEFAULT NULL,
    anchor text DEFAULT NULL)
RETURNS TABLE (severity text, kind text, seal_no bigint, partition text,
               row_id bigint, at timestamptz, message text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET standard_conforming_strings = on
ROWS 10
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    -- origin, size and root of a checkpoint
    note text[] := regexp_match(replace(anchor, E'\r', ''),
        '^\s*fraiseql_obs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[^\n]*\n([1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)(?:\n|$)');
    seals bigint;
    violations bigint := 0;
    gaps bigint := 0;
    unchecked bigint := 0;
BEGIN
    IF anchor IS NOT NULL AND note IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'anchor is not a checkpoint of an audit log',
            HINT = 'Give what audit_checkpoint() returned, all lines of it.';
    END IF;
    -- At least so many are verified; what is wrong with the table is a finding.
    BEGIN
        seals := @extschema@.audit_seal_count(log);
    EXCEPTION WHEN undefined_table OR undefined_column OR datatype_mismatch THEN
        NULL;
    END;
    FOR severity, kind, seal_no, partition, row_id, at, message IN
        SELECT * FROM @extschema@.audit_verify(
            "from", "until", note[1]::uuid, note[2]::bigint, decode(note[3], 'base64'))
    LOOP
        CASE severity
            WHEN 'violation' THEN violations := violations + 1;
            WHEN 'gap' THEN gaps := gaps + 1;
            ELSE unchecked := unchecked + 1;
        END CASE;
        RETURN NEXT;
    END LOOP;
    IF NOT current_setting('transaction_read_only')::boolean THEN
        PERFORM @extschema@.audit_verified("from", "until", seals, note[2]::bigint,
                                           violations, gaps, unchecked);
    END IF;
END
$$;
COMMENT ON FUNCTION verify_audit_log(timestamptz, timestamptz, text) IS
'Verifies the seals of the audit log and the rows of a time against them, and against a checkpoint that was kept elsewhere; one row a finding';
