--
-- Audit log: verification
--
-- The work is in C (audit_verify.c).  That a log was verified, by whom and with
-- which outcome, is an entry of it, audit.verified, where it is active and can
-- be written.  The outcome is what C has noted (audit_verified.c), so that nobody
-- records a verification that never was.
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

CREATE FUNCTION audit_verification()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_verification'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_verification() IS
'What the verification of this transaction has found, once; null if there was none';

-- An entry of the log that a reader may make; what it says is not his.
CREATE FUNCTION audit_verified()
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_verified() IS
'Records in the audit log, if it is active, what the verification of this transaction has found';

CREATE FUNCTION audit_do_audit_verified()
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    verification jsonb := @extschema@.audit_verification();
BEGIN
    IF verification IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'there is no verification to record',
            HINT = 'Verify the audit log with: SELECT * FROM fraiseql_obs.verify_audit_log();';
    END IF;
    IF NOT @extschema@.audit_is_active() THEN
        RETURN NULL;
    END IF;
    RETURN @extschema@.log_operation(
        'audit.verified', 'audit_log', 'verification',
        CASE WHEN verification->'violations' > '0' THEN 'failure' ELSE 'success' END,
        verification);
END
$$;
COMMENT ON FUNCTION audit_do_audit_verified() IS
'What audit_verified() does';

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
    -- origin, size and root of a checkpoint
    note text[] := regexp_match(replace(anchor, E'\r', ''),
        '^\s*fraiseql_obs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[^\n]*\n([1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)(?:\n|$)');
BEGIN
    IF anchor IS NOT NULL AND note IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'anchor is not a checkpoint of an audit log',
            HINT = 'Give what audit_checkpoint() returned, all lines of it.';
    END IF;
    -- no row would be verified, and the entry say that nothing was wrong
    IF "until" <= "from" THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('until, %s, is not after from, %s', "until", "from"),
            HINT = 'Rows from from to before until are verified.';
    END IF;
    RETURN QUERY
        SELECT * FROM @extschema@.audit_verify(
            "from", "until", note[1]::uuid, note[2]::bigint, decode(note[3], 'base64'));
    IF NOT current_setting('transaction_read_only')::boolean THEN
        PERFORM @extschema@.audit_verified();
    END IF;
END
$$;
COMMENT ON FUNCTION verify_audit_log(timestamptz, timestamptz, text) IS
'Verifies the seals of the audit log and the rows of a time against them, and against a checkpoint that was kept elsewhere; one row a finding';
