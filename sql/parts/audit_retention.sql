--
-- Audit log: retention
--
-- Partitions are made ahead, and removed once all of their rows are older than
-- the retention.  Making and removing never depend on each other: each step is
-- a subtransaction that waits 200 ms for a lock at most, and what could not be
-- done is reported and tried the next time.
--
-- The retention is that of the log (create_audit_log(), set_audit_retention())
-- or, where it has none, the setting audit_log_retention; not more than the
-- maximum and not less than the minimum that were set.
--
-- A partition is removed in three steps:
--
-- close: nobody writes to it any more (the lock says so, not the clock).  All
--    of its rows are in the rollups and in seals, and they are what was sealed.
--    No hold touches it.  Then its tombstone is written, and the event.
-- detach: from the worker CONCURRENTLY, in which nobody waits; that cannot be
--    done from a function, where writers wait while it waits for the lock, 200
--    ms at most, and then for what it does, in which it waits for nobody.
-- drop.
--
-- Then its seals are collapsed, which leaves of them what proves the later ones
-- and the tombstone what proves how many rows there were.
--
-- Tombstones and what is left of collapsed seals are the records.  Whatever
-- changes them is an entry of the log with their hash before and after it.  So
-- the newest such entry, which is sealed and stands as long as the retention,
-- says what all of them are, and nobody adds one by hand.
--
-- Where times are made text, as in statements, it is so that they are understood
-- under any settings: as others print them, IST is India's and is read as Israel's.
--
-- Whatever comes in between is found again by the catalogs: a partition with a
-- tombstone is closed, one whose detaching is pending is finalized, a table
-- with a tombstone that is no partition any more is dropped.  If a hold was
-- placed meanwhile, what is left comes back: it is attached again, and its
-- tombstone goes, which is an event, too.
--

-- The tables of retention, holds and erasure
CREATE FUNCTION audit_create_retention(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    partitions text := @extschema@.audit_table_name(log, 'fraiseql_audit_partitions');
    holds text := @extschema@.audit_table_name(log, 'fraiseql_audit_holds');
    erasures text := @extschema@.audit_table_name(log, 'fraiseql_audit_erasures');
    collapsed text := @extschema@.audit_table_name(log, 'fraiseql_audit_collapsed');
    beside text;
BEGIN
    IF to_regclass(partitions) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format($table$
        CREATE TABLE %s (
            range_from timestamptz PRIMARY KEY,
            range_to timestamptz NOT NULL,
            name name NOT NULL,
            n bigint NOT NULL,
            results jsonb NOT NULL,
            root bytea NOT NULL,
            first_seal bigint,
            last_seal bigint,
            removed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            removed_by text NOT NULL,
            reason text NOT NULL,
            event_id bigint NOT NULL,
            rollup_root bytea NOT NULL,
            rollup_event_id bigint NOT NULL,
            rollup_event_at timestamptz NOT NULL DEFAULT clock_timestamp())
        $table$, partitions);
    EXECUTE format('COMMENT ON TABLE %s IS %L', partitions,
                   'Audit log: partitions that have been removed, and what they had');

    EXECUTE format($table$
        CREATE TABLE %s (
            hold_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant_id text,
            user_id text,
            entity_type text,
            entity_id text,
            since timestamptz,
            until timestamptz,
            reason text NOT NULL,
            placed_by text NOT NULL,
            placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            released_at timestamptz,
            released_by text,
            release_reason text)
        $table$, holds);
    EXECUTE format('COMMENT ON TABLE %s IS %L', holds, 'Audit log: legal holds');

    EXECUTE format($table$
        CREATE TABLE %s (
            row_id bigint NOT NULL,
            event_id bigint NOT NULL,
            erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (row_id, event_id))
        $table$, erasures);
    EXECUTE format('COMMENT ON TABLE %s IS %L', erasures,
                   'Audit log: rows of which personal data were erased');

    EXECUTE format($table$
        CREATE TABLE %s (
            seal_count bigint NOT NULL DEFAULT 0,
            nodes bytea[] NOT NULL DEFAULT '{}',
            last_hash bytea,
            last_snapshot pg_snapshot,
            singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton))
        $table$, collapsed);
    EXECUTE format('COMMENT ON TABLE %s IS %L', collapsed,
                   'Audit log: the Merkle tree of the first seals, which went with their partitions');
    EXECUTE format('INSERT INTO %s DEFAULT VALUES', collapsed);

    FOREACH beside IN ARRAY ARRAY[partitions, holds, erasures, collapsed] LOOP
        PERFORM @extschema@.audit_dress_table(log, beside::regclass);
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_create_retention(regclass) IS
'Makes the tables for retention, legal holds and erasure beside an audit log where they are missing';

CREATE FUNCTION audit_effective_retention(log regclass)
RETURNS interval
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    effective interval;
BEGIN
    EXECUTE format($query$
        SELECT greatest(least(coalesce(retention, $1, '90 days'), maximum),
                        CASE WHEN next_minimum_from <= now() THEN next_minimum
                        ELSE minimum END,
                        '1 day')
        FROM %s
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_settings'))
    INTO effective
    -- without the library anybody may set it
    USING (SELECT current_setting(name)::interval FROM pg_settings
           WHERE name = 'fraiseql_obs.audit_log_retention' AND context = 'sighup');
    RETURN effective;
END
$$;
COMMENT ON FUNCTION audit_effective_retention(regclass) IS
'How long the audit log is kept, of all that is set about it';

-- So many partitions that none is large and planning is cheap: 30 to 120
CREATE FUNCTION audit_partition_unit(retention interval)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN retention <= '120 days' THEN 'day' ELSE 'month' END
$$;
COMMENT ON FUNCTION audit_partition_unit(interval) IS
'How wide partitions of the audit log are, by how long it is kept';

-- Eight days, and where partitions are months the two months after this one
CREATE FUNCTION audit_partitions_ahead(log regclass)
RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    unit text;
BEGIN
    EXECUTE format('SELECT partition_unit FROM %s',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_settings'))
    INTO unit;
    RETURN QUERY
        SELECT clock_timestamp() + i * interval '1 day' FROM generate_series(0, 7) i
        UNION ALL
        SELECT date_trunc('month', clock_timestamp()) + i * interval '1 month'
        FROM generate_series(1, 2) i WHERE unit = 'month';
END
$$;
COMMENT ON FUNCTION audit_partitions_ahead(regclass) IS
'The times for which partitions of the audit log are made ahead';

-- Tables that have been partitions and have a tombstone: they are to be dropped.
CREATE FUNCTION audit_detached_partitions(log regclass)
RETURNS TABLE (partition regclass, name name, range_from timestamptz,
               range_to timestamptz)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT c.oid::regclass, t.name, t.range_from, t.range_to
        FROM %s t
        JOIN pg_class l ON l.oid = $1
        JOIN pg_class c ON c.relname = t.name AND c.relnamespace = l.relnamespace
                           AND c.relowner = l.relowner
        WHERE c.relkind = 'r' AND NOT c.relispartition
          AND starts_with(t.name::text, 'fraiseql_audit_log_')
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    USING log;
END
$$;
COMMENT ON FUNCTION audit_detached_partitions(regclass) IS
'Partitions of an audit log that have been closed and detached, and not yet dropped';

-- Where rows are that have not been dropped: also those that the log does not
-- show any more, because their partition is being detached, or is.  The log is
-- not asked, for that may happen at any time.
CREATE FUNCTION audit_standing_partitions(log regclass)
RETURNS TABLE (partition regclass, range_from timestamptz, range_to timestamptz)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM @extschema@.audit_partitions(log)
    UNION ALL
    SELECT partition, range_from, range_to
    FROM @extschema@.audit_detached_partitions(log)
$$;
COMMENT ON FUNCTION audit_standing_partitions(regclass) IS
'Partitions of an audit log, those included that are detached and not yet dropped';

CREATE FUNCTION audit_removable_partitions()
RETURNS TABLE (name name, range_from timestamptz, range_to timestamptz,
               n bigint, state text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION audit_removable_partitions() IS
'Partitions of the audit log that are past the retention and under no legal hold, oldest first: attached, detaching or detached';

CREATE FUNCTION audit_do_audit_removable_partitions()
RETURNS TABLE (name name, range_from timestamptz, range_to timestamptz,
               n bigint, state text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    kept_from timestamptz := now() - @extschema@.audit_effective_retention(log);
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT p.name, p.range_from, p.range_to,
               coalesce(t.n, (SELECT sum(c.n) FROM %s c
                              WHERE dimension = 'operation' AND grain = 'day'
                                AND bucket >= p.range_from AND bucket < p.range_to), 0)::bigint,
               p.state
        FROM (SELECT c.relname AS name, a.range_from, a.range_to,
                     CASE WHEN inhdetachpending THEN 'detaching' ELSE 'attached' END AS state
              FROM @extschema@.audit_partitions($1) a
              JOIN pg_class c ON c.oid = a.partition
              JOIN pg_inherits i ON i.inhrelid = a.partition
              WHERE a.range_to < $2 OR inhdetachpending
              UNION ALL
              SELECT d.name, d.range_from, d.range_to, 'detached'
              FROM @extschema@.audit_detached_partitions($1) d) AS p
        LEFT JOIN %s t USING (range_from)
        WHERE p.state = 'detaching'
           OR @extschema@.audit_hold_on($1, p.range_from, p.range_to) IS NULL
        ORDER BY p.range_from
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_counts'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    USING log, kept_from;
END
$$;
COMMENT ON FUNCTION audit_do_audit_removable_partitions() IS
'What audit_removable_partitions() does';

-- Counts by result of the rows of a relation that meet a condition
CREATE FUNCTION audit_results_of(relation text, n text, condition text)
RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    results jsonb;
BEGIN
    EXECUTE format('SELECT coalesce(jsonb_object_agg(result, n), ''{}'')
                    FROM (SELECT result, %s AS n FROM %s WHERE %s GROUP BY result) AS r',
                   n, relation, condition)
    INTO results;
    RETURN results;
END
$$;
COMMENT ON FUNCTION audit_results_of(text, text, text) IS
'How many rows of the audit log there are by result, of rows or counts';

-- What the rollups have of whole days
CREATE FUNCTION audit_rolled_up_results(log regclass, range_from timestamptz, range_to timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
    SELECT @extschema@.audit_results_of(
        @extschema@.audit_table_name(log, 'fraiseql_audit_counts'), 'sum(n)',
        format('dimension = ''operation'' AND grain = ''day'' AND bucket >= %L AND bucket < %L',
               range_from, range_to))
$$;
COMMENT ON FUNCTION audit_rolled_up_results(regclass, timestamptz, timestamptz) IS
'How many rows the rollups of an audit log have of some days, by result';

-- What the rows of a partition are by result, if rollups and seals say the same
CREATE FUNCTION audit_check_partition(
    log regclass,
    partition regclass,
    range_from timestamptz,
    range_to timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    counted jsonb := @extschema@.audit_results_of(partition::text, 'count(*)', 'true');
    rolled_up jsonb := @extschema@.audit_rolled_up_results(log, range_from, range_to);
    sealed jsonb := @extschema@.audit_results_of(
        format('(SELECT key AS result, value::bigint AS n FROM %s, jsonb_each_text(results) WHERE range_from = %L) AS s',
               @extschema@.audit_table_name(log, 'fraiseql_audit_seals'), range_from),
        'sum(n)', 'true');
BEGIN
    IF counted <> rolled_up OR counted <> sealed THEN
        RAISE data_corrupted USING
            MESSAGE = format('partition "%s" of the audit log does not have the rows that it should', partition),
            DETAIL = format('There are %s, in rollups %s, in seals %s.', counted, rolled_up, sealed),
            HINT = 'Find out what was changed with: SELECT * FROM fraiseql_obs.verify_audit_log();';
    END IF;
    RETURN counted;
END
$$;
COMMENT ON FUNCTION audit_check_partition(regclass, regclass, timestamptz, timestamptz) IS
'How many rows a partition of an audit log has by result; an error if its rollups or seals say something else';

-- What is wrong with a partition must not go with it.
CREATE FUNCTION audit_verify_partition(
    log regclass,
    partition regclass,
    range_from timestamptz,
    range_to timestamptz)
RETURNS void
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    violation text;
BEGIN
    EXECUTE format($query$
        SELECT message
        FROM @extschema@.audit_verify($2, $3, NULL, NULL, NULL) AS v
        WHERE severity = 'violation'
          AND (v.partition = (SELECT relname FROM pg_class WHERE oid = $1)
               OR v.seal_no IN (SELECT seal_no FROM %s WHERE range_from = $2))
        LIMIT 1
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_seals'))
    INTO violation USING partition, range_from, range_to;
    IF violation IS NOT NULL THEN
        RAISE data_corrupted USING
            MESSAGE = format('partition "%s" of the audit log is not what was sealed', partition),
            DETAIL = violation,
            HINT = 'Find out what was changed with: SELECT * FROM fraiseql_obs.verify_audit_log();';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_verify_partition(regclass, regclass, timestamptz, timestamptz) IS
'Raises an error if a partition of the audit log is not what was sealed';

-- The leaves of the tombstones, and of what is left of collapsed seals, hashed.
CREATE FUNCTION audit_records_hash(log regclass)
RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hash text;
BEGIN
    EXECUTE format($query$
        SELECT encode(sha256(string_agg(leaf, '' ORDER BY place, range_from)), 'hex')
        FROM (SELECT 1 AS place, range_from, @extschema@.audit_seal_hash(t) AS leaf
              FROM (SELECT range_from, range_to, name::text, n, results, root,
                           first_seal, last_seal, reason, rollup_root
                    FROM %s) AS t
              UNION ALL
              SELECT 2, NULL, @extschema@.audit_seal_hash(c)
              FROM (SELECT seal_count,
                           (SELECT string_agg(node, '' ORDER BY i)
                            FROM unnest(nodes) WITH ORDINALITY AS u (node, i)) AS nodes,
                           last_hash
                    FROM %s) AS c) AS records
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_collapsed'))
    INTO hash;
    RETURN hash;
END
$$;
COMMENT ON FUNCTION audit_records_hash(regclass) IS
'The hash of what is recorded of removed partitions and collapsed seals of an audit log';

-- Of an entry that this transaction has just made
CREATE FUNCTION audit_entry_time(log regclass, entry_id bigint)
RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    at timestamptz;
BEGIN
    EXECUTE format('SELECT created_at FROM %s WHERE id = $1 AND created_at > $2', log)
    INTO at USING entry_id, clock_timestamp() - interval '1 minute';
    IF at IS NULL THEN
        EXECUTE format('SELECT created_at FROM %s WHERE id = $1', log)
        INTO at USING entry_id;
    END IF;
    RETURN at;
END
$$;
COMMENT ON FUNCTION audit_entry_time(regclass, bigint) IS
'The time of an entry of an audit log that has just been made';

-- Records that a partition is removed, and what it had.
CREATE FUNCTION audit_write_tombstone(
    log regclass,
    partition regclass,
    range_from timestamptz,
    range_to timestamptz,
    results jsonb,
    reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tombstones text := @extschema@.audit_table_name(log, 'fraiseql_audit_partitions');
    name name := (SELECT relname FROM pg_class WHERE oid = partition);
    n bigint := (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(results));
    rollup_root bytea := @extschema@.audit_rollup_root(log, range_from, range_to);
    before text := @extschema@.audit_records_hash(log);
    seals record;
    event_id bigint;
BEGIN
    EXECUTE format($query$
        SELECT min(seal_no) AS first, max(seal_no) AS last,
               @extschema@.audit_tree_root(
                   @extschema@.audit_tree_append(
                       '{}', 0, coalesce(array_agg(hash ORDER BY seal_no), '{}')),
                   count(*)) AS root
        FROM %s WHERE range_from = $1
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_seals'))
    INTO seals USING range_from;
    -- the entry has the hash of the records with this one, which names the entry
    EXECUTE format(
        'INSERT INTO %s (range_from, range_to, name, n, results, root, first_seal, last_seal,
                         removed_by, reason, event_id, rollup_root, rollup_event_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, session_user, $9, 0, $10, 0)',
        tombstones)
    USING range_from, range_to, name, n, results, seals.root, seals.first, seals.last,
          reason, rollup_root;
    event_id := @extschema@.log_operation(
        'audit.partition_removed', 'audit_partition', name,
        details => jsonb_build_object(
            'range_from', range_from, 'range_to', range_to, 'n', n,
            'results', results, 'reason', reason,
            'rollup_root', encode(rollup_root, 'hex'), 'root', encode(seals.root, 'hex'),
            'first_seal', seals.first, 'last_seal', seals.last,
            'records_before', before, 'records', @extschema@.audit_records_hash(log)));
    EXECUTE format(
        'UPDATE %s SET event_id = $2, removed_at = $3, rollup_event_id = $2, rollup_event_at = $3
         WHERE range_from = $1', tombstones)
    USING range_from, event_id, @extschema@.audit_entry_time(log, event_id);
END
$$;
COMMENT ON FUNCTION audit_write_tombstone(regclass, regclass, timestamptz, timestamptz, jsonb, text) IS
'Records that a partition of the audit log is removed, beside the log and in it';

-- What an entry says may be anything.
CREATE FUNCTION audit_read_time(value text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_read_time(text) IS
'A time that an entry of the audit log has in its details; null if it is none';

CREATE FUNCTION audit_read_interval(value text)
RETURNS interval
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN value::interval;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_read_interval(text) IS
'An interval that an entry of the audit log has in its details; null if it is none';

-- Each tombstone is of a removal that an entry records, as long as that stands,
-- and of rollups as that or the entry of a later erasure says.
CREATE FUNCTION audit_check_tombstones(log regclass, since timestamptz, until timestamptz)
RETURNS TABLE (range_from timestamptz, message text)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH tombstones AS MATERIALIZED (
            SELECT * FROM %1$s WHERE range_to > $2 AND range_from < $3),
        parts AS MATERIALIZED (SELECT * FROM @extschema@.audit_shown_partitions($1))
        SELECT range_from, 'a partition was removed before any retention allows it'
        FROM tombstones
        WHERE removed_at < range_to + interval '1 day'
        UNION ALL
        SELECT range_from, 'the entry that records the removal of a partition is missing, or says something else'
        FROM tombstones t
        WHERE EXISTS (SELECT FROM parts WHERE removed_at >= parts.range_from AND removed_at < parts.range_to)
          AND NOT EXISTS (
              SELECT FROM %2$s e
              WHERE e.created_at = removed_at AND e.id = event_id
                AND operation = 'audit.partition_removed' AND entity_id = name
                AND @extschema@.audit_read_time(details->>'range_from') = range_from
                AND @extschema@.audit_read_time(details->>'range_to') = range_to
                AND details->>'n' = n::text AND details->'results' = results
                AND details->>'reason' = reason AND details->>'root' = encode(root, 'hex')
                AND details->>'first_seal' IS NOT DISTINCT FROM first_seal::text
                AND details->>'last_seal' IS NOT DISTINCT FROM last_seal::text)
        UNION ALL
        SELECT range_from, 'the entry that records what rollups have of a removed partition is missing, or says something else'
        FROM tombstones t
        WHERE EXISTS (SELECT FROM parts WHERE rollup_event_at >= parts.range_from AND rollup_event_at < parts.range_to)
          AND NOT EXISTS (
              SELECT FROM %2$s e
              WHERE e.created_at = rollup_event_at AND e.id = rollup_event_id
                AND encode(rollup_root, 'hex') = CASE operation
                    WHEN 'audit.partition_removed' THEN CASE WHEN e.id = event_id THEN details->>'rollup_root' END
                    WHEN 'audit.erased' THEN details->'rollups'->>(to_jsonb(range_from) #>> '{}') END)
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'), log)
    USING log, since, until;
END
$$;
COMMENT ON FUNCTION audit_check_tombstones(regclass, timestamptz, timestamptz) IS
'What is wrong with the records of removed partitions of a time';

-- The records are what the entries say that changed them, one after the other;
-- and nothing was removed that entries say was to be kept.  The entries are all
-- that there are of these operations.
CREATE FUNCTION audit_check_entries(log regclass, ids bigint[], times timestamptz[])
RETURNS TABLE (at timestamptz, message text)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH entries AS MATERIALIZED (
            SELECT e.id, e.created_at, e.operation, e.entity_id, e.details
            FROM unnest($2, $3) AS u (id, created_at)
            JOIN %1$s e ON e.created_at = u.created_at AND e.id = u.id),
        records AS MATERIALIZED (
            SELECT created_at, details->>'records' AS now,
                   details->>'records_before' AS before,
                   lag(details->>'records') OVER w AS expected,
                   lead(id) OVER w IS NULL AS is_last
            FROM entries WHERE details ? 'records'
            WINDOW w AS (ORDER BY id)),
        removals AS MATERIALIZED (
            SELECT e.id, e.created_at, t.range_from, t.range_to
            FROM entries e JOIN %2$s t ON t.event_id = e.id
            WHERE operation = 'audit.partition_removed')
        SELECT NULL::timestamptz, 'no entry says what is recorded of removed partitions and of collapsed seals'
        WHERE (EXISTS (SELECT FROM %2$s) OR EXISTS (SELECT FROM %3$s WHERE seal_count <> 0))
          AND NOT EXISTS (SELECT FROM records)
        UNION ALL
        SELECT created_at, 'what is recorded of removed partitions and of collapsed seals is not what the last entry on it says'
        FROM records
        WHERE is_last AND now IS DISTINCT FROM @extschema@.audit_records_hash($1)
        UNION ALL
        SELECT created_at, 'what is recorded of removed partitions and of collapsed seals was changed before this entry on it was made'
        FROM records WHERE before <> expected
        UNION ALL
        SELECT r.created_at, format('a partition was removed that legal hold %%s keeps', entity_id)
        FROM removals r, LATERAL (
             SELECT h.entity_id FROM entries h
             WHERE h.operation = 'audit.hold_placed' AND h.id < r.id
               AND coalesce(@extschema@.audit_read_time(h.details->>'since'), '-infinity') < range_to
               AND coalesce(@extschema@.audit_read_time(h.details->>'until'), 'infinity') > range_from
               AND NOT EXISTS (SELECT FROM entries f
                               WHERE f.operation = 'audit.hold_released' AND f.entity_id = h.entity_id
                                 AND f.id > h.id AND f.id < r.id)
             ORDER BY h.id LIMIT 1) AS h
        UNION ALL
        SELECT r.created_at, 'a partition was removed that the minimum of the retention keeps'
        FROM removals r, LATERAL (
            SELECT @extschema@.audit_read_interval(
                       CASE WHEN @extschema@.audit_read_time(details#>>'{after,pending,from}') <= r.created_at
                       THEN details#>>'{after,pending,minimum}'
                       ELSE details#>>'{after,minimum}' END) AS minimum
            FROM entries c
            WHERE c.operation = 'audit.retention_changed' AND c.id < r.id
            ORDER BY c.id DESC LIMIT 1) AS s
        WHERE r.created_at < range_to + minimum
        UNION ALL
        SELECT created_at, 'the minimum of the retention was changed before this entry on it was made'
        FROM (SELECT created_at, details#>'{before}' AS before,
                     lag(details#>'{after}') OVER (ORDER BY id) AS last
              FROM entries WHERE operation = 'audit.retention_changed') AS s,
        LATERAL (
            SELECT @extschema@.audit_read_time(last#>>'{pending,from}') AS pending_from,
                   @extschema@.audit_read_interval(before->>'minimum') AS minimum) AS b
        WHERE last IS NOT NULL
          AND NOT (coalesce(pending_from > created_at - interval '1 hour', true)
                   AND minimum IS NOT DISTINCT FROM @extschema@.audit_read_interval(last->>'minimum'))
          AND NOT (coalesce(pending_from <= created_at, false)
                   AND minimum IS NOT DISTINCT FROM nullif(@extschema@.audit_read_interval(last#>>'{pending,minimum}'), '0'))
        $query$, log, @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_collapsed'))
    USING log, ids, times;
END
$$;
COMMENT ON FUNCTION audit_check_entries(regclass, bigint[], timestamptz[]) IS
'What entries of an audit log on its removals, holds and retention say otherwise than what is recorded';

-- Days of a period of which the rollups have something, and for which there is
-- no partition and no tombstone
CREATE FUNCTION audit_check_stray_counts(log regclass, since timestamptz, until timestamptz)
RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH ranges AS (
            SELECT range_from, range_to FROM @extschema@.audit_partitions($1)
            UNION ALL
            SELECT range_from, range_to FROM %s
            UNION ALL
            SELECT '-infinity', $2
            UNION ALL
            SELECT $3, 'infinity'),
        gaps AS MATERIALIZED (
            SELECT low, high
            FROM (SELECT range_from AS high,
                         max(range_to) OVER (ORDER BY range_from, range_to
                                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS low
                  FROM ranges) AS r
            WHERE low < high)
        SELECT DISTINCT date_trunc('day', bucket)
        FROM gaps, LATERAL (
            (SELECT bucket FROM %s
             WHERE dimension IN ('total', 'operation', 'entity_type', 'tenant')
               AND grain IN ('quarter', 'day') AND bucket >= low AND bucket < high
             LIMIT 100)
            UNION ALL
            (SELECT day::timestamptz FROM %s
             WHERE day >= low::date AND day < high::date
             LIMIT 100)) AS c
        ORDER BY 1
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_counts'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days'))
    USING log, since, until;
END
$$;
COMMENT ON FUNCTION audit_check_stray_counts(regclass, timestamptz, timestamptz) IS
'Days of a period of which the rollups of an audit log have counts, and there has been no partition';

CREATE FUNCTION audit_check_age(log regclass, partition regclass, range_to timestamptz)
RETURNS interval
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    retention interval := @extschema@.audit_effective_retention(log);
BEGIN
    IF range_to >= now() - retention THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('cannot remove partition "%s" of the audit log', partition),
            DETAIL = format('It has rows of the last %s, the retention.', retention);
    END IF;
    RETURN retention;
END
$$;
COMMENT ON FUNCTION audit_check_age(regclass, regclass, timestamptz) IS
'The retention of the audit log; an error if it keeps a partition';

CREATE FUNCTION audit_close_partition(range_from timestamptz)
RETURNS text
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_close_partition(timestamptz) IS
'Has a partition of the audit log ready for removal, or says by an error why it stays; returns the statement that detaches it, null if it is detached';

CREATE FUNCTION audit_do_audit_close_partition(range_from timestamptz)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    tombstones text := @extschema@.audit_table_name(log, 'fraiseql_audit_partitions');
    retention interval;
    part record;
    tombstone record;
    hold bigint;
    results jsonb;
BEGIN
    SELECT p.*, inhdetachpending INTO part
    FROM @extschema@.audit_partitions(log) p
    JOIN pg_inherits ON inhrelid = p.partition
    WHERE p.range_from = audit_do_audit_close_partition.range_from;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF part.inhdetachpending THEN
        RETURN format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', log, part.partition);
    END IF;
    PERFORM @extschema@.audit_check_age(log, part.partition, part.range_to);

    -- holds first, as who erases does, or one would wait for the other
    PERFORM @extschema@.audit_lock_holds(log);
    -- whoever has written to it has ended his transaction
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', part.partition);
    PERFORM @extschema@.audit_verify_partition(
        log, part.partition, part.range_from, part.range_to);
    PERFORM @extschema@.audit_do_refresh_audit_rollups();
    results := @extschema@.audit_check_partition(
        log, part.partition, part.range_from, part.range_to);

    hold := @extschema@.audit_hold_on(log, part.range_from, part.range_to);
    IF hold IS NOT NULL THEN
        RAISE object_in_use USING
            MESSAGE = format('cannot remove partition "%s" of the audit log', part.partition),
            DETAIL = format('Legal hold %s keeps it.', hold);
    END IF;
    -- Who sets the retention has an entry before ours, and is heeded.  Not before,
    -- for he waits from here on until we are done.
    EXECUTE format('SELECT FROM %s FOR SHARE',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_settings'));
    retention := @extschema@.audit_check_age(log, part.partition, part.range_to);
    EXECUTE format('SELECT * FROM %s WHERE range_from = $1', tombstones)
    INTO tombstone USING part.range_from;
    IF tombstone IS NULL THEN
        PERFORM @extschema@.audit_write_tombstone(
            log, part.partition, part.range_from, part.range_to, results,
            format('older than the retention of %s', retention));
    ELSIF tombstone.results <> results THEN
        RAISE data_corrupted USING
            MESSAGE = format('partition "%s" of the audit log does not have the rows that it should', part.partition),
            DETAIL = format('There are %s, and there were %s when it was closed.', results, tombstone.results);
    END IF;
    RETURN format('ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY', log, part.partition);
END
$$;
COMMENT ON FUNCTION audit_do_audit_close_partition(timestamptz) IS
'What audit_close_partition() does';

CREATE FUNCTION audit_drop_partition(range_from timestamptz)
RETURNS boolean
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_drop_partition(timestamptz) IS
'Drops a partition of the audit log that is closed and detached; false if it is not there';

CREATE FUNCTION audit_do_audit_drop_partition(range_from timestamptz)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    detached record;
    hold bigint;
BEGIN
    PERFORM @extschema@.audit_lock_holds(log);
    SELECT * INTO detached FROM @extschema@.audit_detached_partitions(log) d
    WHERE d.range_from = audit_do_audit_drop_partition.range_from;
    IF FOUND THEN
        hold := @extschema@.audit_hold_on(log, detached.range_from, detached.range_to);
        IF hold IS NOT NULL THEN
            RAISE object_in_use USING
                MESSAGE = format('cannot drop "%s" of the audit log', detached.partition),
                DETAIL = format('Legal hold %s keeps it.', hold);
        END IF;
        EXECUTE format('DROP TABLE %s', detached.partition);
    END IF;
    RETURN detached.partition IS NOT NULL;
END
$$;
COMMENT ON FUNCTION audit_do_audit_drop_partition(timestamptz) IS
'What audit_drop_partition() does';

-- A hold was placed while a partition was being removed: it stays.
CREATE FUNCTION audit_keep_partition(log regclass, range_from timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    detached record;
    tombstone record;
    before text;
BEGIN
    PERFORM @extschema@.audit_lock_holds(log);
    before := @extschema@.audit_records_hash(log);
    SELECT * INTO detached FROM @extschema@.audit_detached_partitions(log) d
    WHERE d.range_from = audit_keep_partition.range_from;
    IF FOUND THEN
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                       log, detached.partition, detached.range_from, detached.range_to);
    END IF;
    EXECUTE format('DELETE FROM %s WHERE range_from = $1 RETURNING *',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    INTO STRICT tombstone USING range_from;
    PERFORM @extschema@.log_operation(
        'audit.partition_kept', 'audit_partition', tombstone.name,
        details => jsonb_build_object(
            'range_from', range_from, 'range_to', tombstone.range_to, 'n', tombstone.n,
            'hold_id', @extschema@.audit_hold_on(log, range_from, tombstone.range_to),
            'removal', tombstone.event_id,
            'records_before', before, 'records', @extschema@.audit_records_hash(log)));
END
$$;
COMMENT ON FUNCTION audit_keep_partition(regclass, timestamptz) IS
'Takes back the removal of a partition of the audit log that a legal hold keeps';

-- The first seals, if their partitions have gone, become the nodes of their
-- tree.  All seals of a partition, or none: they are compared with its tombstone.
CREATE FUNCTION audit_collapse_seals(log regclass)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seals text := @extschema@.audit_table_name(log, 'fraiseql_audit_seals');
    tombstones text := @extschema@.audit_table_name(log, 'fraiseql_audit_partitions');
    collapsed text := @extschema@.audit_table_name(log, 'fraiseql_audit_collapsed');
    began bigint;
    done bigint;
    upto bigint;
    next_upto bigint;
    before text;
BEGIN
    EXECUTE format('SELECT seal_count FROM %s FOR UPDATE', collapsed) INTO began;
    -- up to one whose partition is there, and never the last
    EXECUTE format($query$
        SELECT seal_no - 1 FROM %s AS s
        WHERE range_from IS NOT NULL AND NOT EXISTS (
                  SELECT FROM %s t
                  WHERE t.range_from = s.range_from
                    AND to_regclass(@extschema@.audit_table_name($1, name)) IS NULL)
           OR seal_no = (SELECT max(seal_no) FROM %1$s)
        ORDER BY seal_no LIMIT 1
        $query$, seals, tombstones)
    INTO next_upto USING log;
    WHILE next_upto IS DISTINCT FROM upto LOOP
        upto := next_upto;
        EXECUTE format('SELECT least($1, min(first_seal) - 1) FROM %s
                        WHERE first_seal <= $1 AND last_seal > $1', tombstones)
        INTO next_upto USING upto;
    END LOOP;
    -- no further than that of one that has gone
    EXECUTE format('SELECT max(last_seal) FROM %s WHERE last_seal <= $1', tombstones)
    INTO upto USING upto;
    IF upto IS NULL OR upto <= began THEN
        RETURN 0;
    END IF;

    PERFORM @extschema@.audit_lock_holds(log);
    before := @extschema@.audit_records_hash(log);
    done := began;
    WHILE done < upto LOOP
        EXECUTE format($query$
            UPDATE %s
            SET (seal_count, nodes, last_hash, last_snapshot) = (
                SELECT max(seal_no), @extschema@.audit_tree_append(
                           nodes, seal_count, array_agg(hash ORDER BY seal_no)),
                       (array_agg(hash ORDER BY seal_no DESC))[1],
                       (array_agg(snapshot ORDER BY seal_no DESC))[1]
                FROM (SELECT seal_no, hash, snapshot FROM %s
                      WHERE seal_no > seal_count AND seal_no <= $1
                      ORDER BY seal_no LIMIT 10000) AS s)
            RETURNING seal_count
            $query$, collapsed, seals)
        INTO done USING upto;
    END LOOP;
    EXECUTE format('DELETE FROM %s WHERE seal_no <= $1', seals) USING upto;
    PERFORM @extschema@.log_operation(
        'audit.seals_collapsed', 'audit_log',
        details => jsonb_build_object(
            'seals', done,
            'records_before', before, 'records', @extschema@.audit_records_hash(log)));
    RETURN done - began;
END
$$;
COMMENT ON FUNCTION audit_collapse_seals(regclass) IS
'Collapses the first seals of an audit log as far as their partitions have gone; returns how many';

-- Executes a statement, several times if locks are in the way.
CREATE FUNCTION audit_try(step text, partition text, statement text, attempts integer DEFAULT 1)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result jsonb := jsonb_build_object('step', step, 'partition', partition);
    message text;
    detail text;
BEGIN
    FOR attempt IN 1 .. attempts LOOP
        BEGIN
            EXECUTE statement;
            RETURN result;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
            IF attempt = attempts OR SQLSTATE <> '55P03' THEN
                RETURN result || jsonb_build_object(
                    'message', concat_ws(': ', message, nullif(detail, '')));
            END IF;
        END;
        -- not in step with others who try
        PERFORM pg_sleep(0.05 + 0.2 * random());
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_try(text, text, text, integer) IS
'Executes a step of maintain_audit_log() that may fail; returns which it was, and why it failed if it did';

-- What maintain_audit_log() says of its steps
CREATE FUNCTION audit_maintenance(log regclass, retention interval, steps jsonb)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'retention', retention,
        'failed', (SELECT coalesce(jsonb_agg(step), '[]')
                   FROM jsonb_array_elements(steps) step WHERE step ? 'message'),
        'held', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                            'partition', relname, 'hold_id', hold) ORDER BY range_from), '[]')
                 FROM @extschema@.audit_partitions(log) p
                 JOIN pg_class c ON c.oid = p.partition,
                 @extschema@.audit_hold_on(log, range_from, range_to) hold
                 WHERE range_to < now() - retention AND hold IS NOT NULL))
        || (SELECT coalesce(jsonb_object_agg(name, partitions), '{}')
            FROM (SELECT step->>'step' AS name, jsonb_agg(step->'partition') AS partitions
                  FROM jsonb_array_elements(steps) step
                  WHERE NOT step ? 'message' AND step->>'partition' IS NOT NULL
                  GROUP BY step->>'step') AS done)
$$;
COMMENT ON FUNCTION audit_maintenance(regclass, interval, jsonb) IS
'What maintain_audit_log() did, what it could not do, and what holds keep';

CREATE FUNCTION maintain_audit_log(remove boolean DEFAULT true)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION maintain_audit_log(boolean) IS
'Makes partitions of the audit log ahead, and removes those that are past the retention; returns what was done, and what could not be';

CREATE FUNCTION audit_do_maintain_audit_log(remove boolean)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    retention interval := @extschema@.audit_effective_retention(log);
    steps jsonb := '[]';
    closed text[] := '{}';
    closed_name text;
    part record;
    locked jsonb;
    dropped jsonb;
    at timestamptz;
BEGIN
    PERFORM @extschema@.audit_check_isolation('maintain_audit_log()');

    -- First, because it may take long, and nobody waits for it but who erases.
    steps := steps || @extschema@.audit_try(
        'note', NULL, format('SELECT @extschema@.audit_note_actors(%L)', log), 5);

    steps := steps || @extschema@.audit_try('unit', NULL, format(
        'UPDATE %1$s SET partition_unit = %2$L WHERE partition_unit <> %2$L',
        @extschema@.audit_table_name(log, 'fraiseql_audit_settings'),
        @extschema@.audit_partition_unit(retention)));
    FOR at IN SELECT t FROM @extschema@.audit_partitions_ahead(log) t
              WHERE @extschema@.audit_partition_end(log, t) IS NULL LOOP
        steps := steps || @extschema@.audit_try('make', at::date::text,
            format('SELECT @extschema@.audit_ensure_partition(%L)', at));
    END LOOP;

    -- Before any partition is locked, as who erases does it: or one would wait
    -- for the other.  If that takes long, the rest is left for the next time.
    steps := steps || @extschema@.audit_try(
        'hold', NULL, format('SELECT @extschema@.audit_lock_holds(%L)', log), 5);
    IF steps->-1 ? 'message' THEN
        RETURN @extschema@.audit_maintenance(log, retention, steps);
    END IF;

    -- what was left half done
    FOR part IN SELECT inhrelid::regclass AS partition, relname AS name
                FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
                WHERE inhparent = log AND inhdetachpending LOOP
        steps := steps || @extschema@.audit_try('finalize', part.name,
            format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', log, part.partition));
    END LOOP;
    FOR part IN EXECUTE format(
        'SELECT * FROM %s WHERE to_regclass(@extschema@.audit_table_name($1, name)) IS NOT NULL
           AND @extschema@.audit_hold_on($1, range_from, range_to) IS NOT NULL ORDER BY range_from',
        @extschema@.audit_table_name(log, 'fraiseql_audit_partitions')) USING log LOOP
        steps := steps || @extschema@.audit_try('keep', part.name,
            format('SELECT @extschema@.audit_keep_partition(%L, %L)', log, part.range_from));
    END LOOP;
    FOR part IN SELECT * FROM @extschema@.audit_removable_partitions()
                WHERE state = 'detached' LOOP
        steps := steps || @extschema@.audit_try('drop', part.name,
            format('SELECT @extschema@.audit_do_audit_drop_partition(%L)', part.range_from));
    END LOOP;

    steps := steps || @extschema@.audit_try(
        'index', NULL, 'SELECT @extschema@.audit_do_index_audit_partitions()');

    FOR part IN SELECT * FROM @extschema@.audit_removable_partitions()
                WHERE state = 'attached' AND remove LOOP
        -- each takes locks until the transaction ends
        EXIT WHEN cardinality(closed) = 10;
        steps := steps || @extschema@.audit_try('close', part.name,
            format('SELECT @extschema@.audit_do_audit_close_partition(%L)', part.range_from));
        CONTINUE WHEN steps->-1 ? 'message';
        closed := closed || part.name::text;
    END LOOP;
    steps := steps || @extschema@.audit_try(
        'collapse', NULL, format('SELECT @extschema@.audit_collapse_seals(%L)', log));

    -- Last, because from here on who writes or reads waits: while an attempt to
    -- get the lock waits, and once it is there.  Then we wait for nobody: what
    -- somebody has locked is left for the next time.
    IF cardinality(closed) > 0 THEN
        locked := @extschema@.audit_try('remove', NULL,
            format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', log), 5);
        PERFORM set_config('lock_timeout', '1ms', true);
    END IF;
    FOREACH closed_name IN ARRAY closed LOOP
        IF locked ? 'message' THEN
            steps := steps || jsonb_set(locked, '{partition}', to_jsonb(closed_name));
            CONTINUE;
        END IF;
        steps := steps || @extschema@.audit_try('remove', closed_name,
            format('ALTER TABLE %s DETACH PARTITION %s', log, @extschema@.audit_table_name(log, closed_name)));
        CONTINUE WHEN steps->-1 ? 'message';
        dropped := @extschema@.audit_try('drop', closed_name,
            format('DROP TABLE %s', @extschema@.audit_table_name(log, closed_name)));
        IF dropped ? 'message' THEN
            steps := steps || dropped;
        END IF;
    END LOOP;

    RETURN @extschema@.audit_maintenance(log, retention, steps);
END
$$;
COMMENT ON FUNCTION audit_do_maintain_audit_log(boolean) IS
'What maintain_audit_log() does';

-- What is set about the retention
-- As entries have it, so in one form, whatever the caller's settings are.
CREATE FUNCTION audit_retention_settings(log regclass)
RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET intervalstyle = 'postgres'
AS $$
DECLARE
    settings record;
BEGIN
    EXECUTE format('SELECT * FROM %s',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_settings'))
    INTO STRICT settings;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'effective', @extschema@.audit_effective_retention(log),
        'retention', settings.retention, 'maximum', settings.maximum,
        'minimum', CASE WHEN settings.next_minimum_from <= now() THEN settings.next_minimum
                   ELSE settings.minimum END,
        'profile', settings.profile,
        'pending', CASE WHEN settings.next_minimum_from > now() THEN jsonb_build_object(
            'minimum', coalesce(settings.next_minimum, '0'), 'from', settings.next_minimum_from) END));
END
$$;
COMMENT ON FUNCTION audit_retention_settings(regclass) IS
'What is set about how long the audit log is kept, and what comes of it';

CREATE FUNCTION set_audit_retention(
    retention interval DEFAULT NULL,
    minimum interval DEFAULT NULL,
    maximum interval DEFAULT NULL,
    profile text DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION set_audit_retention(interval, interval, interval, text) IS
'Sets how long the audit log is kept, at least and at most, and the compliance profile to compare with; what is null stays, 0 takes it away; returns what is set then';

CREATE FUNCTION audit_do_set_audit_retention(
    retention interval,
    minimum interval,
    maximum interval,
    profile text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    settings text := @extschema@.audit_table_name(log, 'fraiseql_audit_settings');
    before jsonb;
    after jsonb;
    asked integer;
BEGIN
    PERFORM @extschema@.audit_check_retention(nullif(i, '0'))
    FROM unnest(ARRAY[retention, minimum, maximum]) i;
    PERFORM @extschema@.audit_profile_days(coalesce(profile, 'default'));

    EXECUTE format('SELECT FROM %s FOR UPDATE', settings);
    before := @extschema@.audit_retention_settings(log);
    -- less is protected no sooner than in a week: time to see it in the log
    EXECUTE format($query$
        UPDATE %1$s
        SET retention = CASE WHEN $1 IS NULL THEN retention ELSE nullif($1, '0') END,
            maximum = CASE WHEN $3 IS NULL THEN maximum ELSE nullif($3, '0') END,
            profile = coalesce($4, profile),
            minimum = CASE WHEN $2 >= coalesce($5, '0') THEN nullif($2, '0') ELSE $5 END,
            next_minimum = CASE WHEN $2 < $5 THEN nullif($2, '0')
                           WHEN $2 IS NULL AND next_minimum_from > now() THEN next_minimum END,
            next_minimum_from = CASE WHEN $2 < $5 THEN now() + interval '7 days'
                                WHEN $2 IS NULL AND next_minimum_from > now() THEN next_minimum_from END
        $query$, settings)
    USING retention, minimum, maximum, profile, (before->>'minimum')::interval;
    after := @extschema@.audit_retention_settings(log);
    EXECUTE format('UPDATE %s SET partition_unit = $1', settings)
    USING @extschema@.audit_partition_unit((after->>'effective')::interval);

    IF (after->>'minimum')::interval > (after->>'maximum')::interval THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('minimum retention of %s is more than the maximum of %s',
                             after->>'minimum', after->>'maximum');
    END IF;
    IF before <> after THEN
        PERFORM @extschema@.log_operation(
            'audit.retention_changed', 'audit_log',
            details => jsonb_build_object('before', before, 'after', after));
    END IF;

    asked := @extschema@.audit_profile_days(coalesce(after->>'profile', 'default'));
    IF after ? 'profile' AND make_interval(days => asked) > (after->>'effective')::interval THEN
        RAISE WARNING USING
            MESSAGE = format('audit log is kept for %s only, and profile "%s" asks for %s days',
                             after->>'effective', after->>'profile', asked),
            HINT = format('Set it with: SELECT fraiseql_obs.set_audit_retention(''%s days'');', asked);
    END IF;
    RETURN after;
END
$$;
COMMENT ON FUNCTION audit_do_set_audit_retention(interval, interval, interval, text) IS
'What set_audit_retention() does';
