--
-- Audit log: erasure of personal data
--
-- Erasable columns and the salt of rows become null.  Seals have the digest of
-- these columns and not the columns, so they prove as much as before; what was
-- erased cannot be told from the digest without the salt.  Which rows were
-- erased stands in fraiseql_audit_erasures, and an event has the SHA-256 of
-- their ids: a row whose salt is null without that was not erased by us.  What
-- the event names must be gone of them.
--
-- The digest is of all erasable columns at once.  If some of them are erased,
-- the others stay and are proved by nothing any more.
--
-- Entries of operations on the log itself ("audit.") are not erased: they say
-- who did what to it, and what was erased.
--
-- Rows are updated partition by partition, in one transaction with the event,
-- and so are those of partitions that are detached and have not been dropped.
-- In between they may be sealed, that is counted for the user that the row had.
-- So at the end, with the state of the rollups locked, the users who are no
-- longer in some rows are counted anew, and the difference is nobody's.
--

CREATE FUNCTION erase_audit_details(
    user_id text DEFAULT NULL,
    entity_type text DEFAULT NULL,
    entity_id text DEFAULT NULL,
    tenant_id text DEFAULT NULL,
    columns text[] DEFAULT '{user_id,acting_for,client_addr,details,old_data,new_data,error_message}',
    reason text DEFAULT NULL,
    before timestamptz DEFAULT now())
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_erase'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION erase_audit_details(text, text, text, text, text[], text, timestamptz) IS
'Erases personal data of a user or an entity from the audit log, whose proofs stay valid; returns how many rows had some';

-- The rows that an erasure or a hold is about
CREATE FUNCTION audit_subject_condition(
    tenant_id text,
    user_id text,
    entity_type text,
    entity_id text,
    since timestamptz,
    until timestamptz)
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
    SELECT concat_ws(' AND ',
        'tenant_id = ' || quote_literal(tenant_id),
        CASE WHEN user_id IS NOT NULL
             THEN format('(user_id = %1$L OR acting_for = %1$L)', user_id) END,
        'entity_type = ' || quote_literal(entity_type),
        'entity_id = ' || quote_literal(entity_id),
        'created_at >= ' || quote_literal(since),
        'created_at < ' || quote_literal(until),
        'true')
$$;
COMMENT ON FUNCTION audit_subject_condition(text, text, text, text, timestamptz, timestamptz) IS
'The condition of rows of the audit log that are about somebody or something';

-- From here on to the end of the transaction no hold is placed.
CREATE FUNCTION audit_check_holds(log regclass, condition text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hold record;
    touched boolean;
BEGIN
    PERFORM @extschema@.audit_lock_holds(log);
    FOR hold IN
        SELECT * FROM @extschema@.holds() h, @extschema@.audit_standing_partitions(log) p
        WHERE (p.range_from >= h.until) IS NOT TRUE AND (p.range_to <= h.since) IS NOT TRUE
        ORDER BY h.hold_id, p.range_from
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %s AND %s)', hold.partition, condition,
                       @extschema@.audit_subject_condition(
                           hold.tenant_id, hold.user_id, hold.entity_type,
                           hold.entity_id, hold.since, hold.until))
        INTO touched;
        IF touched THEN
            RAISE object_in_use USING
                MESSAGE = 'cannot erase entries of the audit log that are under legal hold',
                DETAIL = format('Legal hold %s touches some of them: %s', hold.hold_id, hold.reason),
                HINT = format('When it is no longer needed, release it with: SELECT fraiseql_obs.release_hold(%s, ...);', hold.hold_id);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_check_holds(regclass, text) IS
'Raises an error if a legal hold touches some rows of an audit log';

-- Counts users anew of whom rows have been erased.  Where it was all rows of a
-- user, he is taken out of the days of partitions that have gone, too; what
-- tombstones say of the rollups is made to fit, if it did before.
CREATE FUNCTION audit_recount_actors(
    log regclass,
    users text[],
    wholly boolean,
    before timestamptz)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    actor_days text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days');
    tombstones text := @extschema@.audit_table_name(log, 'fraiseql_audit_partitions');
    standing timestamptz[];
    sources text;
    stale timestamptz[];
    roots jsonb;
BEGIN
    SELECT array_agg(range_from),
           string_agg(format('SELECT id, created_at, xact, user_id, result FROM %s', partition), ' UNION ALL ')
    INTO standing, sources
    FROM @extschema@.audit_standing_partitions(log);
    EXECUTE format('SELECT FROM %s FOR UPDATE',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'));
    EXECUTE format($query$
        SELECT array_agg(range_from) FROM %s AS t
        WHERE ($2 OR range_from = ANY ($5)) AND range_from < $3
          AND EXISTS (SELECT FROM %s a WHERE a.user_id = ANY ($1)
                      AND a.day >= t.range_from::date AND a.day < t.range_to::date)
          AND rollup_root = @extschema@.audit_rollup_root($4, range_from, range_to)
        $query$, tombstones, actor_days)
    INTO stale USING users, wholly, before, log, standing;

    EXECUTE format($query$
        WITH present AS MATERIALIZED (
            SELECT user_id, created_at::date AS day, count(*) AS n,
                   count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout')) AS failed,
                   count(*) FILTER (WHERE result = 'denied') AS denied
            FROM (%2$s) AS r
            WHERE user_id = ANY ($1) AND created_at < date_trunc('day', $3) + interval '1 day'
              AND NOT (%3$s)
            GROUP BY 1, 2),
        gone AS MATERIALIZED (
            SELECT a.user_id, a.day, a.n - coalesce(p.n, 0) AS n,
                   a.failed - coalesce(p.failed, 0) AS failed,
                   a.denied - coalesce(p.denied, 0) AS denied, p.n IS NULL AS wholly
            FROM %1$s a LEFT JOIN present p USING (user_id, day)
            WHERE a.user_id = ANY ($1) AND a.day <= $3::date
              AND a.n <> coalesce(p.n, 0)
              AND ($2 AND a.day < $3::date
                   OR EXISTS (SELECT FROM @extschema@.audit_standing_partitions($4)
                              WHERE a.day >= range_from::date AND a.day < range_to::date))),
        deleted AS (
            DELETE FROM %1$s a USING gone g
            WHERE a.user_id = g.user_id AND a.day = g.day AND g.wholly),
        reduced AS (
            UPDATE %1$s a
            SET n = a.n - g.n, failed = a.failed - g.failed, denied = a.denied - g.denied,
                ranked = a.ranked - g.n
            FROM gone g
            WHERE a.user_id = g.user_id AND a.day = g.day AND NOT g.wholly)
        INSERT INTO %1$s AS a
        SELECT day, NULL, sum(n), sum(failed), sum(denied) FROM gone GROUP BY day
        ON CONFLICT (user_id, day)
        DO UPDATE SET n = a.n + excluded.n, failed = a.failed + excluded.failed,
                      denied = a.denied + excluded.denied, ranked = a.ranked + excluded.n
        $query$, actor_days, sources,
        coalesce(@extschema@.audit_tail_condition(log), 'false'))
    USING users, wholly, before, log;

    EXECUTE format($query$
        WITH fitted AS (
            UPDATE %s
            SET rollup_root = @extschema@.audit_rollup_root($2, range_from, range_to)
            WHERE range_from = ANY ($1)
            RETURNING range_from, rollup_root)
        SELECT jsonb_object_agg(range_from, encode(rollup_root, 'hex')) FROM fitted
        $query$, tombstones)
    INTO roots USING stale, log;
    RETURN roots;
END
$$;
COMMENT ON FUNCTION audit_recount_actors(regclass, text[], boolean, timestamptz) IS
'Takes users out of the rollups of an audit log as far as they are no longer in its rows; returns the hashes of rollups of removed partitions that have changed';

CREATE FUNCTION audit_do_erase_audit_details(
    user_id text,
    entity_type text,
    entity_id text,
    tenant_id text,
    columns text[],
    reason text,
    before timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    erasable CONSTANT text[] := '{user_id,acting_for,client_addr,details,old_data,new_data,error_message}';
    log regclass := @extschema@.audit_log();
    -- the whole of a user: also where there are no rows any more
    wholly boolean := entity_type IS NULL AND tenant_id IS NULL;
    condition text;
    assignments text;
    changes text;
    part record;
    ids bigint[] := '{}';
    erased bigint;
    users text[] := array_remove(ARRAY[user_id], NULL);
    found_users text[];
    before_records text;
    roots jsonb;
    event_id bigint;
    at timestamptz;
BEGIN
    IF user_id IS NULL AND (entity_type IS NULL OR entity_id IS NULL) THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'user_id, or entity_type and entity_id, of what to erase must be given',
            HINT = 'As erase_audit_details(user_id => ''dora'', reason => ...).';
    END IF;
    IF (entity_type IS NULL) <> (entity_id IS NULL) THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'entity_type and entity_id must be given together',
            HINT = 'As erase_audit_details(entity_type => ''Order'', entity_id => ''4712'', reason => ...).';
    END IF;
    IF '' IN (user_id, entity_type, entity_id, tenant_id) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'what to erase must not be empty',
            HINT = 'Leave out, or give as NULL, what it is not about.';
    END IF;
    IF coalesce(reason, '') = '' THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'reason to erase entries of the audit log must be given',
            HINT = 'It is recorded, as reason => ''Art. 17 request of 2026-11-20''.';
    END IF;
    IF before IS NULL OR NOT isfinite(before) THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'before must be a time, and not null or infinite',
            HINT = 'Leave it out for all entries until now.';
    END IF;
    IF columns IS NULL OR columns = '{}' OR NOT columns <@ erasable THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'columns to erase must be erasable columns of the audit log',
            HINT = format('Erasable are %s.', array_to_string(erasable, ', '));
    END IF;
    PERFORM @extschema@.audit_check_isolation('erase_audit_details()');

    -- of a user, not who else was involved
    SELECT string_agg(CASE WHEN named THEN format('%1$I = nullif(%1$I, %2$L)', name, user_id)
                      ELSE format('%I = NULL', name) END, ', '),
           string_agg(CASE WHEN named THEN format('%I = %L', name, user_id)
                      ELSE format('%I IS NOT NULL', name) END, ' OR ')
    INTO assignments, changes
    FROM unnest(columns || 'personal_salt'::text) name,
         LATERAL (SELECT user_id IS NOT NULL AND name IN ('user_id', 'acting_for')) AS n (named);
    condition := format('%s AND NOT starts_with(operation, ''audit.'') AND (%s)',
                        @extschema@.audit_subject_condition(
                            tenant_id, user_id, entity_type, entity_id, NULL, before),
                        changes);

    IF 'user_id' = ANY (columns) THEN
        PERFORM @extschema@.audit_lock_actors(log);
    END IF;
    PERFORM @extschema@.audit_check_holds(log, condition);
    FOR part IN SELECT * FROM @extschema@.audit_standing_partitions(log) p
                WHERE (p.range_from >= before) IS NOT TRUE ORDER BY p.range_from LOOP
        IF user_id IS NULL AND 'user_id' = ANY (columns) THEN
            EXECUTE format('SELECT array_agg(DISTINCT user_id) FROM %s
                            WHERE user_id IS NOT NULL AND user_id <> ALL ($1) AND %s',
                           part.partition, condition)
            INTO found_users USING users;
            users := users || found_users;
        END IF;
        FOR erased IN EXECUTE format('UPDATE %s SET %s WHERE %s RETURNING id',
                                     part.partition, assignments, condition) LOOP
            ids := array_append(ids, erased);
        END LOOP;
    END LOOP;

    IF 'user_id' = ANY (columns) THEN
        before_records := @extschema@.audit_records_hash(log);
        roots := @extschema@.audit_recount_actors(log, users, wholly, before);
        PERFORM @extschema@.audit_renote_actors(log, users);
        IF wholly THEN
            EXECUTE format('UPDATE %s SET user_id = NULL
                            WHERE user_id = $1 AND released_at IS NOT NULL',
                           @extschema@.audit_table_name(log, 'fraiseql_audit_holds'))
            USING user_id;
        END IF;
    END IF;
    event_id := @extschema@.log_operation(
        'audit.erased', 'audit_log',
        -- who asks for it may be whom it is about
        user_id => CASE WHEN EXISTS (
            SELECT FROM regexp_split_to_table('fraiseql_obs.user_id,' ||
                coalesce(current_setting('fraiseql_obs.user_id_sources', true),
                         'app.user_id, app.contact_id'), '[,\s]+') setting
            WHERE setting <> '' AND current_setting(setting, true) = user_id)
            THEN 'erased' END,
        details => jsonb_strip_nulls(jsonb_build_object(
            'rows', cardinality(ids), 'columns', columns, 'reason', reason, 'before', before,
            'ids_sha256', (SELECT encode(sha256(coalesce(
                string_agg(int8send(id), '' ORDER BY id), '')), 'hex') FROM unnest(ids) id),
            'about', array_remove(ARRAY[
                CASE WHEN tenant_id IS NOT NULL THEN 'tenant_id' END,
                CASE WHEN user_id IS NOT NULL THEN 'user_id' END,
                CASE WHEN entity_type IS NOT NULL THEN 'entity_type' END,
                CASE WHEN entity_id IS NOT NULL THEN 'entity_id' END], NULL),
            'rollups', roots,
            'records_before', CASE WHEN roots IS NOT NULL THEN before_records END,
            'records', CASE WHEN roots IS NOT NULL THEN @extschema@.audit_records_hash(log) END)));
    at := @extschema@.audit_entry_time(log, event_id);
    EXECUTE format('INSERT INTO %s (row_id, event_id, erased_at) SELECT id, $2, $3 FROM unnest($1) id',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_erasures'))
    USING ids, event_id, at;
    EXECUTE format('UPDATE %s SET rollup_event_id = $1, rollup_event_at = $3
                    WHERE range_from IN (SELECT key::timestamptz FROM jsonb_object_keys($2) key)',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    USING event_id, roots, at;
    RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION audit_do_erase_audit_details(text, text, text, text, text[], text, timestamptz) IS
'What erase_audit_details() does';

-- What is wrong with rows of the log that have no salt.  An entry must record
-- that they were erased, of just the rows that are recorded beside it; what it
-- names must be gone.  Of a user, other users in the same columns stay.
CREATE FUNCTION audit_check_erasures(
    log regclass,
    ids bigint[],
    since timestamptz,
    until timestamptz)
RETURNS TABLE (row_id bigint, message text)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH erased AS MATERIALIZED (
            SELECT u.id AS row_id, e.event_id, e.erased_at
            FROM unnest($2) AS u (id) LEFT JOIN %1$s e ON e.row_id = u.id),
        parts AS MATERIALIZED (SELECT * FROM @extschema@.audit_shown_partitions($1)),
        known AS MATERIALIZED (
            SELECT event_id, erased_at, details, rows IS NOT NULL AS stands,
                   details->>'rows' = rows::text AND details->>'ids_sha256' = hash AS fits
            FROM (SELECT DISTINCT event_id, erased_at FROM erased WHERE event_id IS NOT NULL) AS d
            LEFT JOIN LATERAL (
                SELECT count(*) AS rows,
                       encode(sha256(string_agg(int8send(a.row_id), '' ORDER BY a.row_id)), 'hex') AS hash
                FROM %1$s a WHERE a.event_id = d.event_id) AS a
            ON EXISTS (SELECT FROM parts WHERE d.erased_at >= range_from AND d.erased_at < range_to)
            LEFT JOIN LATERAL (
                SELECT l.details FROM %2$s l
                WHERE l.created_at = d.erased_at AND l.id = d.event_id
                  AND l.operation = 'audit.erased') AS l ON true),
        -- of entries that went with their partition, that there were some
        accepted AS MATERIALIZED (
            SELECT event_id, erased_at, details FROM known
            WHERE fits
               OR NOT stands AND EXISTS (
                  SELECT FROM %3$s WHERE dimension = 'operation' AND grain = 'day'
                     AND key = 'audit.erased' AND bucket <= erased_at
                     AND bucket > erased_at - interval '1 day'))
        SELECT row_id, 'personal columns of the row were erased without a record of it'
        FROM erased WHERE event_id IS NULL
        UNION
        SELECT row_id, 'personal columns of the row were erased, and the entry on that is missing, or of other rows'
        FROM erased
        WHERE event_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM accepted a
                          WHERE a.event_id = erased.event_id AND a.erased_at = erased.erased_at)
        UNION
        SELECT row_id, 'personal columns of the row were changed: an erasure left nothing in them'
        FROM erased JOIN accepted a USING (event_id, erased_at)
        JOIN %2$s l ON l.id = row_id AND l.created_at >= $3 AND l.created_at < $4,
        LATERAL (SELECT to_jsonb(l) AS columns) AS c
        WHERE jsonb_typeof(a.details->'columns') = 'array'
          AND EXISTS (SELECT FROM jsonb_array_elements_text(a.details->'columns') name
                      WHERE c.columns->>name IS NOT NULL
                        AND NOT (name IN ('user_id', 'acting_for') AND a.details->'about' ? 'user_id'))
        ORDER BY 1
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_erasures'), log,
        @extschema@.audit_table_name(log, 'fraiseql_audit_counts'))
    USING log, ids, since, until;
END
$$;
COMMENT ON FUNCTION audit_check_erasures(regclass, bigint[], timestamptz, timestamptz) IS
'What is wrong with rows of a part of an audit log that were erased';
