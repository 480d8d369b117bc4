--
-- Audit log: who did what lately
--
-- To tell that a user does an operation for the first time, all that he did
-- before would have to be looked through, partition by partition.  So it is
-- noted beside the log, by user and operation, on which UTC days that was: the
-- last nine of them, which is enough where a week is looked at.
--
-- fraiseql_audit_actor_operations: the notes.
-- fraiseql_audit_actor_state: which rows they are of, as the state of the
--    rollups says it of theirs.
--
-- maintain_audit_log() notes the rows that have been sealed.  A day is noted or
-- it is not, so rows may be noted twice.  Readers look for rows that are not
-- noted yet, and where notes cannot answer for those that are, so what they say
-- is exact.  Notes are a shortcut and prove nothing: no seal has them, and no
-- verification looks at them.
--
-- They are personal data.  What is erased in the log is erased here, and who has
-- no row any more that could be in the log is forgotten.
--

CREATE FUNCTION audit_create_actors(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    operations text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_operations');
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_state');
BEGIN
    IF to_regclass(operations) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format($table$
        CREATE TABLE %s (
            user_id text,
            operation text,
            days date[] NOT NULL,
            PRIMARY KEY (user_id, operation))
        $table$, operations);
    EXECUTE format('COMMENT ON TABLE %s IS %L', operations,
                   'Audit log: the last UTC days on which users did operations, newest first');
    EXECUTE format($table$
        CREATE TABLE %s (
            snapshot pg_snapshot,
            baseline_id bigint,
            system_identifier bigint,
            database_oid oid,
            tail_since timestamptz,
            kept_since date,
            singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton))
        $table$, state);
    EXECUTE format('COMMENT ON TABLE %s IS %L', state,
                   'Audit log: which rows it is noted of who did what');
    EXECUTE format('INSERT INTO %s DEFAULT VALUES', state);
    PERFORM @extschema@.audit_dress_table(log, operations::regclass);
    PERFORM @extschema@.audit_dress_table(log, state::regclass);
END
$$;
COMMENT ON FUNCTION audit_create_actors(regclass) IS
'Makes the tables of who did what beside an audit log where they are missing';

-- Notes the rows that meet a condition.
CREATE FUNCTION audit_note_rows(log regclass, condition text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    EXECUTE format($query$
        INSERT INTO %s AS a
        SELECT user_id, operation, (array_agg(day ORDER BY day DESC))[:9]
        FROM (SELECT DISTINCT user_id, operation, (created_at AT TIME ZONE 'UTC')::date AS day
              FROM %s WHERE user_id IS NOT NULL AND %s) AS done
        GROUP BY user_id, operation
        ON CONFLICT (user_id, operation) DO UPDATE
        SET days = ARRAY(SELECT DISTINCT day FROM unnest(a.days || excluded.days) day
                         ORDER BY day DESC LIMIT 9)
        WHERE NOT excluded.days <@ a.days
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_actor_operations'),
        log, condition);
END
$$;
COMMENT ON FUNCTION audit_note_rows(regclass, text) IS
'Notes who did what by the rows of an audit log that meet a condition';

-- Who notes and who erases do it one after the other.  Both lock this before
-- the holds, which nobody who places one has to wait for while rows are noted.
CREATE FUNCTION audit_lock_actors(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('SELECT FROM %s FOR UPDATE',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_actor_state'));
END
$$;
COMMENT ON FUNCTION audit_lock_actors(regclass) IS
'Has whoever notes or erases who did what wait for the end of this transaction';

-- Rows that are noted are those of the state of the rollups; what has been
-- written since may be noted as well.  Where notes are another cluster's, or
-- there are none, they are made anew, which reads the whole log once.
CREATE FUNCTION audit_note_actors(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    operations text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_operations');
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_state');
    tail text;
    noted record;
    sealed record;
    kept_since date;
BEGIN
    PERFORM @extschema@.audit_lock_actors(log);
    EXECUTE format('SELECT * FROM %s', state) INTO STRICT noted;
    EXECUTE format('SELECT * FROM %s WHERE @extschema@.audit_is_native(snapshot, system_identifier, database_oid)',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
    INTO sealed;
    IF sealed IS NULL THEN
        RETURN;
    END IF;

    tail := @extschema@.audit_tail_condition(log, 'fraiseql_audit_actor_state');
    IF tail IS NULL THEN
        EXECUTE format('DELETE FROM %s', operations);
    END IF;
    PERFORM @extschema@.audit_note_rows(log, coalesce(tail, 'true'));
    -- what is detached may come back
    SELECT min(range_from AT TIME ZONE 'UTC')::date INTO kept_since
    FROM (SELECT range_from FROM @extschema@.audit_partitions(log)
          UNION ALL
          SELECT range_from FROM @extschema@.audit_detached_partitions(log)) AS p;
    EXECUTE format('UPDATE %s SET (snapshot, baseline_id, system_identifier, database_oid, tail_since, kept_since)
                    = ($1, $2, $3, $4, $5, $6)', state)
    USING sealed.snapshot, sealed.baseline_id, sealed.system_identifier,
          sealed.database_oid, sealed.tail_since, kept_since;
    IF kept_since IS DISTINCT FROM noted.kept_since THEN
        EXECUTE format('DELETE FROM %s WHERE days[1] < $1', operations) USING kept_since;
    END IF;
END
$$;
COMMENT ON FUNCTION audit_note_actors(regclass) IS
'Notes who did what by the rows of an audit log that were sealed since the last time';

-- After rows of users have been erased, by who has locked the notes before:
-- notes what is left.
CREATE FUNCTION audit_renote_actors(log regclass, users text[])
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('DELETE FROM %s WHERE user_id = ANY ($1)',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_actor_operations'))
    USING users;
    PERFORM @extschema@.audit_note_rows(log, format('user_id = ANY (%L)', users));
END
$$;
COMMENT ON FUNCTION audit_renote_actors(regclass, text[]) IS
'Notes anew what users did who have been erased from rows of an audit log';

-- The UTC days of which there are rows, or could be
CREATE FUNCTION audit_days_kept(log regclass)
RETURNS datemultirange
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(range_agg(daterange((range_from AT TIME ZONE 'UTC')::date,
                                        (range_to AT TIME ZONE 'UTC')::date)), '{}')
    FROM @extschema@.audit_shown_partitions(log)
$$;
COMMENT ON FUNCTION audit_days_kept(regclass) IS
'The days of the partitions of an audit log';

-- The condition that a user (a.user_id) did not do an operation (a.operation)
-- from $4 before $1 to before $1.  A noted day between those of the two times
-- says that he did, if its partition is still there.  If none is, there may be
-- rows on these two days, or before the last of nine days; these, and what is
-- not noted yet, are looked for, newest first.
CREATE FUNCTION audit_unseen_condition(log regclass, tenant_id text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    operations text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_operations');
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_state');
    tail text;
    rows_before CONSTANT text := $rows$(
        SELECT true FROM %s AS entries
        WHERE entries.user_id = a.user_id AND entries.operation = a.operation
          AND created_at < $1 AND created_at >= $1 - $4 AND %s
        ORDER BY created_at DESC LIMIT 1) IS NULL$rows$;
    unseen text;
BEGIN
    -- of a tenant nothing is noted; who was granted to read before there were
    -- notes may not read them
    IF tenant_id IS NULL AND has_table_privilege(to_regclass(operations), 'SELECT')
       AND has_table_privilege(to_regclass(state), 'SELECT')
    THEN
        tail := @extschema@.audit_tail_condition(log, 'fraiseql_audit_actor_state');
    END IF;
    unseen := format(rows_before, log, coalesce('entries.tenant_id = ' || quote_literal(tenant_id), 'true'));
    IF tail IS NOT NULL THEN
        unseen := format($case$
            coalesce((SELECT CASE
                WHEN EXISTS (SELECT FROM unnest(days) day
                             WHERE day > first AND day < last AND day <@ %L::datemultirange) THEN false
                WHEN days && ARRAY[first, last] OR cardinality(days) = 9 AND days[9] > first THEN %s
                END
                FROM %s AS noted,
                     (VALUES ((($1 - $4) AT TIME ZONE 'UTC')::date, ($1 AT TIME ZONE 'UTC')::date)) AS d (first, last)
                WHERE noted.user_id = a.user_id AND noted.operation = a.operation), %s)
            $case$, @extschema@.audit_days_kept(log), unseen, operations,
            format(rows_before, log, tail));
    END IF;
    RETURN concat_ws(' AND ', unseen,
        (SELECT string_agg(format(rows_before, s, coalesce('entries.tenant_id = ' || quote_literal(tenant_id), 'true')), ' AND ')
         FROM @extschema@.audit_readable_sources(log) s));
END
$$;
COMMENT ON FUNCTION audit_unseen_condition(regclass, text) IS
'The condition that a user had not done an operation for some time';
