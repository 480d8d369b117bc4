--
-- Audit log: legal holds
--
-- A hold says that entries must be kept whatever the retention says, and may
-- not be erased.  Its period, by created_at, keeps each partition that it
-- touches as a whole, whoever the hold names: what others did at the time is
-- context, and no partition has to be read to know.  Its subject (tenant, user,
-- entity) narrows which rows may not be erased.
--
-- Who removes or erases locks the table of holds before he looks, and until he
-- has done it, so that no hold comes in between.  Removal and erasure do not
-- meet either.  What he sees then must be of after the lock: with the snapshot
-- of a REPEATABLE READ transaction he would not see what he has waited for.
--
-- Events name what a hold is about and never whom: names are in the table of
-- holds alone, where they can be erased.
--

CREATE FUNCTION audit_hold_on(log regclass, range_from timestamptz, range_to timestamptz)
RETURNS bigint
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first_hold bigint;
BEGIN
    EXECUTE format(
        'SELECT min(hold_id) FROM %s
         WHERE released_at IS NULL AND coalesce(since, ''-infinity'') < $2
           AND coalesce(until, ''infinity'') > $1',
        @extschema@.audit_table_name(log, 'fraiseql_audit_holds'))
    INTO first_hold USING range_from, range_to;
    RETURN first_hold;
END
$$;
COMMENT ON FUNCTION audit_hold_on(regclass, timestamptz, timestamptz) IS
'The first legal hold that keeps a period of the audit log; null if none does';

CREATE FUNCTION audit_check_isolation(what text)
RETURNS void
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE active_sql_transaction USING
            MESSAGE = format('%s must run in a READ COMMITTED transaction', what),
            HINT = 'Begin it with: BEGIN ISOLATION LEVEL READ COMMITTED;';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_isolation(text) IS
'Raises an error if the transaction does not see what others commit';

-- From here on no hold is placed or released, and nobody else removes or
-- erases, until the transaction ends.
CREATE FUNCTION audit_lock_holds(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_isolation('removing or erasing entries of the audit log');
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_holds'));
END
$$;
COMMENT ON FUNCTION audit_lock_holds(regclass) IS
'Has whoever places a legal hold, removes or erases wait for the end of this transaction';

CREATE FUNCTION place_hold(
    reason text,
    tenant_id text DEFAULT NULL,
    user_id text DEFAULT NULL,
    entity_type text DEFAULT NULL,
    entity_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION place_hold(text, text, text, text, text, timestamptz, timestamptz) IS
'Keeps the audit log of a period, whatever the retention says, and forbids to erase what the hold is about; returns its number';

CREATE FUNCTION audit_do_place_hold(
    reason text,
    tenant_id text,
    user_id text,
    entity_type text,
    entity_id text,
    since timestamptz,
    until timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    new_id bigint;
    gone bigint;
BEGIN
    IF coalesce(reason, '') = '' THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'reason of a legal hold must not be null or empty',
            HINT = 'Say what it is for, as place_hold(''Smith v. Shop Ltd'').';
    END IF;
    IF '' IN (tenant_id, user_id, entity_type, entity_id) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'subject of a legal hold must not be empty',
            HINT = 'Leave out, or give as NULL, what the hold is not about.';
    END IF;
    IF entity_id IS NOT NULL AND entity_type IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'entity_type of a legal hold must be given with entity_id',
            HINT = 'As place_hold(..., entity_type => ''Order'', entity_id => ''4711'').';
    END IF;
    IF NOT isfinite(since) OR NOT isfinite(until) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'since and until of a legal hold must not be infinite',
            HINT = 'Leave out since or until for a hold without a beginning or an end.';
    END IF;
    IF until <= since THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'until must be after since',
            HINT = 'A legal hold is from since to before until.';
    END IF;
    PERFORM @extschema@.audit_check_isolation('place_hold()');

    EXECUTE format(
        'INSERT INTO %s (reason, tenant_id, user_id, entity_type, entity_id, since, until, placed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, session_user) RETURNING hold_id',
        @extschema@.audit_table_name(log, 'fraiseql_audit_holds'))
    INTO new_id USING reason, tenant_id, user_id, entity_type, entity_id, since, until;
    PERFORM @extschema@.log_operation(
        'audit.hold_placed', 'legal_hold', new_id::text,
        details => jsonb_build_object(
            'reason', reason, 'since', since, 'until', until,
            'about', array_remove(ARRAY[
                CASE WHEN tenant_id IS NOT NULL THEN 'tenant_id' END,
                CASE WHEN user_id IS NOT NULL THEN 'user_id' END,
                CASE WHEN entity_type IS NOT NULL THEN 'entity_type' END,
                CASE WHEN entity_id IS NOT NULL THEN 'entity_id' END], NULL)));

    EXECUTE format(
        'SELECT count(*) FROM %s WHERE range_to > $1 AND range_from < $2',
        @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    INTO gone USING coalesce(since, '-infinity'), coalesce(until, 'infinity');
    IF gone > 0 THEN
        RAISE WARNING USING
            MESSAGE = CASE gone WHEN 1
                THEN format('a partition of the period of legal hold %s has been removed before', new_id)
                ELSE format('%s partitions of the period of legal hold %s have been removed before', gone, new_id) END,
            DETAIL = CASE gone WHEN 1 THEN 'What has not yet been dropped of it is kept.'
                     ELSE 'What has not yet been dropped of them is kept.' END;
    END IF;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION audit_do_place_hold(text, text, text, text, text, timestamptz, timestamptz) IS
'What place_hold() does';

CREATE FUNCTION release_hold(hold_id bigint, reason text)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION release_hold(bigint, text) IS
'Ends a legal hold on the audit log';

CREATE FUNCTION audit_do_release_hold(hold_id bigint, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    released bigint;
BEGIN
    IF coalesce(reason, '') = '' THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'reason to release a legal hold must not be null or empty',
            HINT = 'Say why, as release_hold(1, ''settled'').';
    END IF;
    EXECUTE format(
        'UPDATE %s SET released_at = clock_timestamp(), released_by = session_user, release_reason = $2
         WHERE hold_id = $1 AND released_at IS NULL RETURNING hold_id',
        @extschema@.audit_table_name(log, 'fraiseql_audit_holds'))
    INTO released USING hold_id, reason;
    IF released IS NULL THEN
        RAISE no_data_found USING
            MESSAGE = format('there is no legal hold %s to release', coalesce(hold_id::text, 'NULL')),
            HINT = 'fraiseql_obs.holds() lists those that are in force.';
    END IF;
    PERFORM @extschema@.log_operation(
        'audit.hold_released', 'legal_hold', hold_id::text,
        details => jsonb_build_object('reason', reason));
END
$$;
COMMENT ON FUNCTION audit_do_release_hold(bigint, text) IS
'What release_hold() does';

CREATE FUNCTION holds(released boolean DEFAULT false)
RETURNS TABLE (hold_id bigint, reason text, tenant_id text, user_id text,
               entity_type text, entity_id text, since timestamptz,
               until timestamptz, placed_at timestamptz, placed_by text,
               released_at timestamptz, released_by text, release_reason text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION holds(boolean) IS
'The legal holds that are in force, or also those that were released';

CREATE FUNCTION audit_do_holds(released boolean)
RETURNS TABLE (hold_id bigint, reason text, tenant_id text, user_id text,
               entity_type text, entity_id text, since timestamptz,
               until timestamptz, placed_at timestamptz, placed_by text,
               released_at timestamptz, released_by text, release_reason text)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT hold_id, reason, tenant_id, user_id, entity_type, entity_id, since, until,
                placed_at, placed_by, released_at, released_by, release_reason
         FROM %s WHERE $1 OR released_at IS NULL ORDER BY hold_id',
        @extschema@.audit_table_name(@extschema@.audit_log(), 'fraiseql_audit_holds'))
    USING released;
END
$$;
COMMENT ON FUNCTION audit_do_holds(boolean) IS
'What holds() does';
