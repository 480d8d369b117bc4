--
-- Audit log: operations that were rolled back
--
-- log_operation() keeps what it logs in shared memory until it is known how its
-- transaction ends.  What was rolled back waits there to be drained: by the
-- audit worker, or by whoever calls these functions.
--

CREATE FUNCTION audit_drain_ring()
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_drain_ring'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION audit_drain_ring() IS
'Appends entries of operations that were rolled back, at most 200, and one about those that were lost; returns how many of the former';

CREATE FUNCTION audit_forget_dropped_databases()
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_forget_dropped_databases'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION audit_forget_dropped_databases() IS
'Gives up what was rolled back in databases that have been dropped; returns how many operations that were';

CREATE FUNCTION audit_claim_start()
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_claim_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION audit_claim_start() IS
'Since when this server logs in this database, if this transaction is to say so; NULL if it was said';

CREATE FUNCTION audit_claim_stop()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_claim_stop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION audit_claim_stop() IS
'Lets this transaction say that the server no longer logs in this database; returns how many operations have no entry yet, and whether it is the worker''s';

CREATE FUNCTION audit_server_stopped()
RETURNS boolean
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_server_stopped'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION audit_server_stopped() IS
'Whether the server before this one was shut down in order; NULL if this one was its standby';

-- What was rolled back in the time before may be lost, unless the server said
-- as the last thing that it stopped, with nothing left to write, and then was
-- shut down in order: whoever says it earlier is not believed after a crash.
-- The ring of a server that was promoted never had what was rolled back on the
-- one before, of which it does not know how it ended: there only the worker is
-- believed, who says it when it ends.
CREATE FUNCTION audit_announce_start()
RETURNS boolean
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_announce_start() IS
'Appends the entry that this server logs in this database, and whether operations that were rolled back before may be missing; false if that was done';

CREATE FUNCTION audit_do_audit_announce_start()
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    seals regclass := to_regclass(@extschema@.audit_table_name(log, 'fraiseql_audit_seals'));
    began_at timestamptz := @extschema@.audit_claim_start();
    newest record;
    sealed_at timestamptz;
    clean boolean;
    first_start boolean := false;
    in_doubt bigint;
BEGIN
    IF began_at IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT created_at, operation, result, details FROM %s
                    WHERE created_at < $1
                    ORDER BY created_at DESC, id DESC LIMIT 1', log)
    INTO newest USING began_at;
    IF seals IS NOT NULL THEN
        EXECUTE format('SELECT max(sealed_at) FROM %s WHERE sealed_at < $1', seals)
        INTO sealed_at USING began_at;
    END IF;

    clean := newest.created_at IS NULL
        OR coalesce(newest.operation = 'audit.stop' AND newest.result = 'success'
                    AND newest.details->'unsettled' = '0'
                    AND coalesce(@extschema@.audit_server_stopped(),
                                 newest.details->'worker' = 'true'), false);
    -- nobody has ever said that he keeps what is rolled back
    IF NOT clean THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s WHERE operation = %L)
                           AND NOT EXISTS (SELECT FROM %s)', log, 'audit.start',
                       @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
        INTO first_start;
    END IF;
    SELECT count(*) INTO in_doubt FROM pg_prepared_xacts
    WHERE database = current_database() AND prepared < began_at;
    PERFORM @extschema@.log_operation('audit.start',
        result => CASE WHEN clean THEN 'success' ELSE 'failure' END,
        error_message => CASE WHEN first_start THEN
            'operations that were rolled back before are not in the log, for the library was not loaded'
            WHEN NOT clean THEN
            'operations that were rolled back before may be missing' END,
        details => jsonb_strip_nulls(jsonb_build_object(
            'unclean', NOT clean AND NOT first_start,
            'not_loaded', CASE WHEN first_start THEN true END,
            'since', greatest(newest.created_at, sealed_at),
            'prepared_transactions', nullif(in_doubt, 0))));
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit_do_audit_announce_start() IS
'What audit_announce_start() does';

CREATE FUNCTION audit_announce_stop()
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_announce_stop() IS
'Appends the entry that this server no longer logs in this database';

CREATE FUNCTION audit_do_audit_announce_stop()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.log_operation('audit.stop', details => @extschema@.audit_claim_stop());
END
$$;
COMMENT ON FUNCTION audit_do_audit_announce_stop() IS
'What audit_announce_stop() does';
