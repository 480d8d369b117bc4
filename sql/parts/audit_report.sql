--
-- Audit log: the compliance report
--
-- States what the log has of a period, and what it does not; it never
-- certifies.  Counts are those of audit_rollups.sql: exact, and the same as a
-- count of the rows.  All is read by one snapshot,
-- after the period was verified if that is asked for; making a report is itself
-- an entry of the log.
--

-- What frameworks ask for, in days.  PCI DSS 10.5.1: twelve months; SOC 2: the
-- audit period and some; HIPAA 164.316(b)(2): six years; SOX: seven by custom.
CREATE FUNCTION audit_profile_days(profile text)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    days integer := CASE profile WHEN 'default' THEN 90 WHEN 'soc2' THEN 400
                    WHEN 'pci' THEN 400 WHEN 'hipaa' THEN 2192 WHEN 'sox' THEN 2557 END;
BEGIN
    IF profile IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'compliance profile must not be null',
            HINT = 'Valid profiles are "default", "soc2", "pci", "hipaa" and "sox".';
    END IF;
    IF days IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('invalid compliance profile "%s"', profile),
            HINT = 'Valid profiles are "default", "soc2", "pci", "hipaa" and "sox".';
    END IF;
    RETURN days;
END
$$;
COMMENT ON FUNCTION audit_profile_days(text) IS
'For how many days a compliance profile wants the audit log kept';

CREATE FUNCTION audit_check_period(start_date date, end_date date)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF start_date IS NULL OR end_date IS NULL
       OR NOT isfinite(start_date) OR NOT isfinite(end_date)
    THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'start and end of a compliance report must be dates, and not null or infinite',
            HINT = 'As compliance_report(''2026-01-01'', ''2026-02-01'').';
    END IF;
    IF end_date <= start_date THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('end of the compliance report, %s, is not after its start, %s', end_date, start_date),
            HINT = 'The end is exclusive: a report of one day ends on the next.';
    END IF;
    IF end_date - start_date > 3660 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('period of %s days is too long for a compliance report', end_date - start_date),
            HINT = 'Report at most 3660 days.';
    END IF;
    -- days are made of quarters of an hour
    IF EXISTS (SELECT FROM generate_series(0, end_date - start_date) i
               WHERE extract(epoch FROM (start_date + i)::timestamptz) % 900 <> 0)
    THEN
        RAISE feature_not_supported USING
            MESSAGE = format('time zone "%s" is no multiple of 15 minutes off UTC in this period',
                             current_setting('TimeZone')),
            HINT = 'Set another time zone for the report, as SET TimeZone = ''UTC''.';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_period(date, date) IS
'Raises an error if there is no compliance report of such a period';

-- {result: n} of a set of counts
CREATE FUNCTION audit_by_key(tally jsonb, name text, "limit" integer)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(entry ORDER BY total DESC, key COLLATE "C"), '[]')
    FROM (SELECT key, total,
                 jsonb_build_object(name, key, 'total', total, 'results', results) AS entry
          FROM (SELECT key, sum(n) AS total, jsonb_object_agg(result, n) AS results
                FROM jsonb_to_recordset(tally) AS t (key text, result text, n bigint)
                GROUP BY key) AS keys
          ORDER BY total DESC, key COLLATE "C" LIMIT "limit") AS entries
$$;
COMMENT ON FUNCTION audit_by_key(jsonb, text, integer) IS
'The part of a compliance report that lists keys with their counts';

-- Rows of the log, without what is personal beyond who and what
CREATE FUNCTION audit_entries(wanted jsonb, "limit" integer, since timestamptz, until timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'id', id, 'created_at', created_at, 'tenant_id', tenant_id,
        'user_id', user_id, 'operation', operation, 'entity_type', entity_type,
        'entity_id', entity_id, 'result', result, 'sqlstate', sqlstate,
        'error_message', error_message) ORDER BY created_at DESC, id DESC), '[]')
    FROM @extschema@.audit_search(wanted, "limit", since, until, NULL)
$$;
COMMENT ON FUNCTION audit_entries(jsonb, integer, timestamptz, timestamptz) IS
'The part of a compliance report that lists rows';

-- Operations on the log itself, of some names and what else is asked of them;
-- where only those of a result are asked for, with that.  The rollups tell in
-- which quarters there are any, so that only those are read, and the tail.
CREATE FUNCTION audit_accesses(
    "limit" integer,
    since timestamptz,
    until timestamptz,
    names text,
    condition text,
    outcome text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    tail text := @extschema@.audit_tail_condition(log);
    query text := format($query$
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', id, 'created_at', created_at, 'user_id', user_id,
            'db_role', db_role, 'operation', operation, 'details', details)
            ORDER BY created_at DESC, id DESC), '[]')
        FROM (SELECT * FROM %s
              WHERE created_at >= $1 AND created_at < $2
                AND operation LIKE %L AND %s AND %%s
              ORDER BY created_at DESC, id DESC LIMIT $3) AS newest
        $query$, log, replace(names, '%', '%%'),
        replace(concat_ws(' AND ', condition, 'result = ' || quote_literal(outcome)), '%', '%%'));
    quarter timestamptz;
    entries jsonb;
    accesses jsonb;
BEGIN
    EXECUTE format(query, coalesce(tail, 'true')) INTO accesses
    USING since, until, "limit";
    IF tail IS NULL THEN
        RETURN accesses;
    END IF;
    FOR quarter IN EXECUTE format($query$
        SELECT DISTINCT bucket FROM %s
        WHERE dimension = 'operation' AND grain = 'quarter' AND key LIKE 'audit.%%'
          AND key LIKE $3 AND bucket > $1 - interval '15 minutes' AND bucket < $2
          AND result = coalesce($4, result)
        ORDER BY bucket DESC
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_counts'))
        USING since, until, names, outcome
    LOOP
        EXIT WHEN jsonb_array_length(accesses) >= "limit";
        EXECUTE format(query, format('NOT (%s)', tail)) INTO entries
        USING greatest(quarter, since), least(quarter + '15 minutes', until),
              "limit" - jsonb_array_length(accesses);
        accesses := accesses || entries;
    END LOOP;
    RETURN accesses;
END
$$;
COMMENT ON FUNCTION audit_accesses(integer, timestamptz, timestamptz, text, text, text) IS
'The newest operations on the audit log itself whose names are LIKE something and that meet a condition';

-- How long the log is kept, and how far it goes back
CREATE FUNCTION audit_retention(log regclass, profile text)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted integer := @extschema@.audit_profile_days(profile);
    settings jsonb := @extschema@.audit_retention_settings(log);
    retention interval := settings->>'effective';
    bounds timestamptz[] := @extschema@.audit_partition_bounds(log);
    oldest timestamptz;
BEGIN
    -- partition by partition, which costs no plan for all
    FOR i IN REVERSE cardinality(bounds) .. 1 LOOP
        EXECUTE format('SELECT min(created_at) FROM %s WHERE created_at >= $1 AND created_at < $2', log)
        INTO oldest USING bounds[i], coalesce(bounds[i - 1], 'infinity');
        EXIT WHEN oldest IS NOT NULL;
    END LOOP;
    RETURN jsonb_build_object(
        'days', floor(extract(epoch FROM retention) / 86400),
        'profile_minimum_days', wanted,
        'meets_profile', extract(epoch FROM retention) >= wanted * 86400.0,
        'oldest_entry', oldest, 'settings', settings - 'effective');
END
$$;
COMMENT ON FUNCTION audit_retention(regclass, text) IS
'The part of a compliance report on how long the audit log is kept';

-- Partitions with rows of a period that have been removed, and whether the
-- rollups still have of them what they had; null for who may not see all rows
CREATE FUNCTION audit_removed_partitions(log regclass, since timestamptz, until timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    removed jsonb;
BEGIN
    IF row_security_active(log) THEN
        RETURN NULL;
    END IF;
    EXECUTE format($query$
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'partition', name, 'range_from', range_from, 'range_to', range_to,
            'total', n, 'results', results, 'removed_at', removed_at, 'removed_by', removed_by,
            'reason', reason, 'event_id', event_id,
            'counts_agree', results = @extschema@.audit_rolled_up_results($1, range_from, range_to))
            ORDER BY range_from), '[]')
        FROM %s WHERE range_to > $2 AND range_from < $3
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    INTO removed USING log, since, until;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION audit_removed_partitions(regclass, timestamptz, timestamptz) IS
'The part of a compliance report on partitions that have been removed';

-- UTC days of a period that rollups have operations of, and neither is there a
-- partition for them nor has one been removed
CREATE FUNCTION audit_days_without_record(
    log regclass,
    since timestamptz,
    until timestamptz,
    removed jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    days jsonb;
BEGIN
    EXECUTE format($query$
        WITH ranges AS MATERIALIZED (
            SELECT range_from, range_to FROM @extschema@.audit_partitions($1)
            UNION ALL
            SELECT r.* FROM jsonb_to_recordset($4) AS r (range_from timestamptz, range_to timestamptz))
        SELECT coalesce(jsonb_agg(day::date ORDER BY day), '[]')
        FROM generate_series(date_trunc('day', $2), $3 - interval '1 us', '1 day') day
        WHERE NOT EXISTS (SELECT FROM ranges WHERE day >= range_from AND day < range_to)
          AND EXISTS (SELECT FROM %s WHERE dimension = 'operation' AND grain = 'day' AND bucket = day)
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_counts'))
    INTO days USING log, since, until, removed;
    RETURN days;
END
$$;
COMMENT ON FUNCTION audit_days_without_record(regclass, timestamptz, timestamptz, jsonb) IS
'The part of a compliance report on days whose rows have gone without a record of it';

-- Days of a period without any operation, as far as the log was there and they
-- are over, and how many of its days are before and after that
CREATE FUNCTION audit_gaps(log regclass, by_day jsonb, oldest_entry timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    begins timestamptz := oldest_entry;
    counted timestamptz;
BEGIN
    -- rollups have what removed partitions had, by quarters of an hour
    IF @extschema@.audit_tail_condition(log) IS NOT NULL THEN
        EXECUTE format('SELECT min(bucket) FROM %s WHERE dimension = ''operation'' AND grain = ''quarter''',
                       @extschema@.audit_table_name(log, 'fraiseql_audit_counts'))
        INTO counted;
        IF begins IS NULL OR counted + interval '15 minutes' <= begins THEN
            begins := counted;
        END IF;
    END IF;
    RETURN (
        SELECT jsonb_build_object(
            'days_without_operations', coalesce(jsonb_agg(day ORDER BY day) FILTER (
                WHERE total = 0 AND day >= begins::date AND day < current_date), '[]'),
            'days_before_log', count(*) FILTER (
                WHERE coalesce(day < begins::date, true) AND day <= current_date),
            'days_to_come', count(*) FILTER (WHERE day > current_date),
            'is_over', max(day) < current_date,
            'log_begins', begins)
        FROM jsonb_to_recordset(by_day) AS d (day date, total bigint));
END
$$;
COMMENT ON FUNCTION audit_gaps(regclass, jsonb, timestamptz) IS
'The part of a compliance report on days of which the log has nothing';

-- Holds in force, and those that were in the period of a report
CREATE FUNCTION audit_report_holds(log regclass, since timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN row_security_active(log) THEN NULL
           ELSE (SELECT coalesce(jsonb_agg(jsonb_strip_nulls(to_jsonb(h)) ORDER BY hold_id), '[]')
                 FROM @extschema@.holds(true) h
                 WHERE released_at IS NULL OR released_at >= audit_report_holds.since)
           END
$$;
COMMENT ON FUNCTION audit_report_holds(regclass, timestamptz) IS
'The part of a compliance report on legal holds';

-- How many rows adopted sources have of a period, by table; those that have any
CREATE FUNCTION audit_adopted_rows(log regclass, since timestamptz, until timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source regclass;
    n bigint;
    adopted jsonb := '{}';
BEGIN
    FOR source IN SELECT @extschema@.audit_readable_sources(log) LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE created_at >= $1 AND created_at < $2', source)
        INTO n USING since, until;
        IF n > 0 THEN
            adopted := adopted || jsonb_build_object(
                coalesce(@extschema@.audit_source_table(source), source)::text, n);
        END IF;
    END LOOP;
    RETURN adopted;
END
$$;
COMMENT ON FUNCTION audit_adopted_rows(regclass, timestamptz, timestamptz) IS
'How many rows of a period are those of adopted sources, by table';

-- The same for people to read; null if there are none
CREATE FUNCTION audit_adopted_text(adopted jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('%s of %s', value, key), ', ' ORDER BY key COLLATE "C")
    FROM jsonb_each_text(adopted)
$$;
COMMENT ON FUNCTION audit_adopted_text(jsonb) IS
'How many rows of a period are those of adopted sources, as text';

-- missing: operations whose rows are gone, and that no count by UTC day has;
-- counts: those by operation, with their results
CREATE FUNCTION audit_coverage(
    log regclass,
    from_rollups bigint,
    from_rows bigint,
    missing bigint,
    removed jsonb,
    days_without_record jsonb,
    adopted jsonb,
    gaps jsonb,
    counts jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    limited boolean := row_security_active(log);
    refreshed_at timestamptz;
    differing text := (SELECT string_agg(r->>'partition', ', ')
                       FROM jsonb_array_elements(removed) r WHERE r->'counts_agree' = 'false');
    notes text[];
BEGIN
    notes := array_remove(ARRAY[
        CASE WHEN limited THEN
            'Row security hides some rows of the log from the role that made this report.' END,
        CASE WHEN jsonb_array_length(removed) > 0 AND differing IS NULL THEN format(
            '%s partitions of this period have been removed after their retention. Their operations are counted from rollups, which agree with what was recorded at removal; lists have none of them.',
            jsonb_array_length(removed)) END,
        'WARNING: Of these removed partitions rollups do not say what was recorded at removal: ' || differing || '.',
        'WARNING: Rows of these days (UTC) have gone without a record of their removal: ' ||
            (SELECT string_agg(d, ', ') FROM jsonb_array_elements_text(days_without_record) d) || '.',
        CASE WHEN gaps->'is_over' = 'false' THEN
            'The period is not over: what is still to come is not in this report.' END,
        CASE WHEN gaps->'days_before_log' > '0' THEN format(
            'Days of the period that are before the oldest entry of the log, which has nothing of them: %s.',
            gaps->'days_before_log') END,
        'Rows of adopted sources are counted, and are outside of the seals: ' ||
            @extschema@.audit_adopted_text(adopted) || '.',
        'Operations whose result is none of the log''s are in the totals, and in no column beside them: ' || (
            SELECT string_agg(format('%s %s', n, result), ', ' ORDER BY n DESC, result COLLATE "C")
            FROM (SELECT result, sum(n) AS n
                  FROM jsonb_to_recordset(counts) AS c (result text, n bigint)
                  WHERE result NOT IN ('success', 'failure', 'error', 'denied', 'timeout', 'noop')
                  GROUP BY result) AS others) || '.',
        CASE WHEN current_setting('fraiseql_obs.audit_ring_slots', true) IS NULL THEN
            'Operations whose transaction rolled back are in the log only if the application recorded them in another transaction.'
        ELSE
            'Operations whose transaction rolled back are in the log, but for those that entries audit.lost and audit.start declare to be missing.'
        END,
        'Queries on the audit log''s tables that do not go through this report are not recorded.'], NULL);
    IF NOT limited THEN
        EXECUTE format('SELECT refreshed_at FROM %s',
                       @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
        INTO refreshed_at;
    END IF;
    IF missing > 0 THEN
        notes := format('%s operations at the edges of the period are missing by user, tenant and entity type: their rows are gone, and these counts are kept by day of UTC.',
                        missing) || notes;
    END IF;
    RETURN jsonb_build_object(
        'from_rollups', from_rollups, 'from_rows', from_rows,
        'rollups_as_of', refreshed_at, 'limited_by_row_security', limited,
        'days_without_record', days_without_record,
        'sources', (SELECT coalesce(jsonb_agg(@extschema@.audit_source_table(s)), '[]')
                    FROM @extschema@.audit_sources(log) s),
        'adopted_rows', adopted,
        'notes', notes);
END
$$;
COMMENT ON FUNCTION audit_coverage(regclass, bigint, bigint, bigint, jsonb, jsonb, jsonb, jsonb, jsonb) IS
'The part of a compliance report on what it covers';

-- The report itself, which only reads.
CREATE FUNCTION audit_report(
    start_date date,
    end_date date,
    profile text,
    verification jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION audit_report(date, date, text, jsonb) IS
'What compliance_report() returns';

CREATE FUNCTION audit_do_audit_report(
    start_date date,
    end_date date,
    profile text,
    verification jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    since timestamptz := start_date;
    until timestamptz := end_date;
    -- the whole days of UTC
    first_day timestamptz := date_bin('1 day', since + interval '86399.999999 s', '2000-01-01 UTC');
    last_day timestamptz := date_bin('1 day', until, '2000-01-01 UTC');
    retention jsonb := @extschema@.audit_retention(log, profile);
    removed jsonb := @extschema@.audit_removed_partitions(log, since, until);
    days_without_record jsonb := @extschema@.audit_days_without_record(log, since, until, removed);
    adopted jsonb := @extschema@.audit_adopted_rows(log, since, until);
    tally jsonb;
    by_day jsonb;
    totals jsonb;
    gaps jsonb;
BEGIN
    IF first_day > last_day THEN
        first_day := until;
        last_day := until;
    END IF;
    -- dimension: counts by key and result; of operations there are counts by
    -- quarter, too, so that they are those of the days also where rows are gone
    SELECT jsonb_object_agg(dimension, counts) INTO tally
    FROM (SELECT dimension, jsonb_agg(jsonb_build_object(
                     'key', key, 'result', result, 'n', n)) AS counts
          FROM (SELECT dimension, key, result, sum(n) AS n
                FROM (SELECT * FROM (VALUES
                          ('{operation}'::text[], 'quarter', since, first_day),
                          ('{operation}', 'day', first_day, last_day),
                          ('{operation}', 'quarter', last_day, until),
                          ('{entity_type,tenant}', 'day', since, until))
                          AS parts (dimensions, grain, part_since, part_until)
                      WHERE part_since < part_until OFFSET 0) AS p,
                     @extschema@.audit_tally(dimensions, grain, part_since, part_until)
                GROUP BY dimension, key, result) AS sums
          GROUP BY dimension) AS dimensions;

    WITH quarters AS MATERIALIZED (
        SELECT * FROM @extschema@.audit_tally('{total}', 'quarter', since, until)),
    days AS (
        SELECT bucket::date AS day, result, sum(n) AS n
        FROM quarters GROUP BY bucket::date, result),
    all_days AS (
        SELECT start_date + i AS day, coalesce(sum(n), 0) AS total,
               coalesce(jsonb_object_agg(result, n) FILTER (WHERE n > 0), '{}') AS results
        FROM generate_series(0, end_date - start_date - 1) i
             LEFT JOIN days ON day = start_date + i
        GROUP BY i)
    SELECT (SELECT jsonb_agg(jsonb_build_object(
                'day', day, 'total', total, 'results', results) ORDER BY day)
            FROM all_days),
           (SELECT jsonb_build_object('live', coalesce(sum(n) FILTER (WHERE live), 0),
                                      'rolled_up', coalesce(sum(n) FILTER (WHERE NOT live), 0))
            FROM quarters)
    INTO by_day, totals;
    gaps := @extschema@.audit_gaps(log, by_day, (retention->>'oldest_entry')::timestamptz);

    RETURN jsonb_build_object(
        'report', jsonb_build_object(
            'profile', profile, 'generated_at', clock_timestamp(),
            'generated_by', session_user, 'database', current_database(),
            'time_zone', current_setting('TimeZone'),
            'server_version', current_setting('server_version'),
            'extension_version', (SELECT extversion FROM pg_extension WHERE extname = 'fraiseql_obs')),
        'period', jsonb_build_object(
            'start', start_date, 'end', end_date, 'starts_at', since,
            'ends_at', until, 'days', end_date - start_date),
        'total_operations', (totals->>'live')::bigint + (totals->>'rolled_up')::bigint,
        'by_day', by_day,
        'by_user', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                        'user_id', user_id, 'total', n, 'failed', failed, 'denied', denied)), '[]')
                    FROM @extschema@.audit_actor_counts(since, until, 10)),
        'by_entity_type', @extschema@.audit_by_key(tally->'entity_type', 'entity_type', 50),
        'by_tenant', @extschema@.audit_by_key(tally->'tenant', 'tenant_id', 50),
        'retention', retention || jsonb_build_object('removed', removed),
        'holds', @extschema@.audit_report_holds(log, since),
        'gaps', gaps,
        'coverage', @extschema@.audit_coverage(
            log, (totals->>'rolled_up')::bigint, (totals->>'live')::bigint,
            (totals->>'live')::bigint + (totals->>'rolled_up')::bigint
            - (SELECT coalesce(sum(n), 0)::bigint
               FROM jsonb_to_recordset(tally->'entity_type') AS c (n bigint)),
            removed, days_without_record, adopted, gaps, tally->'operation'),
        'integrity', @extschema@.audit_integrity(
            log, since, until, (totals->>'rolled_up')::bigint,
            removed, days_without_record, adopted, gaps, verification))
        || @extschema@.audit_results(tally->'operation', since, until);
END
$$;
COMMENT ON FUNCTION audit_do_audit_report(date, date, text, jsonb) IS
'What audit_report() does';

-- The parts on operations and their results
CREATE FUNCTION audit_results(counts jsonb, since timestamptz, until timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    summary jsonb;
    by_result jsonb;
    failed bigint;
    denied bigint;
    accesses bigint;
    source regclass;
BEGIN
    WITH operations AS (
        SELECT * FROM jsonb_to_recordset(counts) AS c (key text, result text, n bigint))
    SELECT (SELECT jsonb_object_agg(key, results)
            FROM (SELECT key, jsonb_object_agg(result, n) AS results
                  FROM operations GROUP BY key) AS o),
           (SELECT jsonb_object_agg(result, n)
            FROM (SELECT result, sum(n) AS n FROM operations GROUP BY result) AS r),
           coalesce(sum(n) FILTER (WHERE result IN ('failure', 'error', 'timeout')), 0),
           coalesce(sum(n) FILTER (WHERE result = 'denied'), 0),
           coalesce(sum(n) FILTER (WHERE key LIKE 'audit.%'), 0)
    INTO summary, by_result, failed, denied, accesses
    FROM operations;
    -- what adopted sources have by these names did not happen to this log
    FOR source IN
        SELECT s FROM @extschema@.audit_readable_sources(@extschema@.audit_log()) s
        WHERE accesses > 0
    LOOP
        EXECUTE format('SELECT $1 - count(*) FROM %s
                        WHERE created_at >= $2 AND created_at < $3 AND operation LIKE ''audit.%%''', source)
        INTO accesses USING accesses, since, until;
    END LOOP;
    RETURN jsonb_build_object(
        'summary', coalesce(summary, '{}'),
        'by_result', coalesce(by_result, '{}'),
        'failed', jsonb_build_object('total', failed, 'entries',
            CASE WHEN failed = 0 THEN '[]' ELSE @extschema@.audit_entries(
                '{"result": ["failure", "error", "timeout"]}',
                100, since, until) END),
        'denied', jsonb_build_object('total', denied, 'entries',
            CASE WHEN denied = 0 THEN '[]' ELSE @extschema@.audit_entries(
                '{"result": ["denied"]}',
                100, since, until) END),
        'audit_log_access', jsonb_build_object('total', accesses, 'entries',
            CASE WHEN accesses = 0 THEN '[]' ELSE
                @extschema@.audit_accesses(20, since, until, 'audit.%', 'true') END));
END
$$;
COMMENT ON FUNCTION audit_results(jsonb, timestamptz, timestamptz) IS
'The part of a compliance report on operations and their results';

-- An entry of the log that a reader may make, and nothing else.
CREATE FUNCTION audit_report_made(start_date date, end_date date, profile text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_report_made(date, date, text) IS
'Records in the audit log that a compliance report was made';

CREATE FUNCTION audit_do_audit_report_made(start_date date, end_date date, profile text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_period(start_date, end_date);
    PERFORM @extschema@.audit_profile_days(profile);
    RETURN @extschema@.log_operation(
        'audit.report', 'compliance_report', profile,
        details => jsonb_build_object('start', start_date, 'end', end_date));
END
$$;
COMMENT ON FUNCTION audit_do_audit_report_made(date, date, text) IS
'What audit_report_made() does';

CREATE FUNCTION compliance_report(
    start_date date,
    end_date date,
    profile text DEFAULT 'default',
    verify boolean DEFAULT false)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    report jsonb;
    verification jsonb;
BEGIN
    PERFORM @extschema@.audit_check_period(start_date, end_date);
    PERFORM @extschema@.audit_profile_days(profile);
    -- who does not see all rows may not, which the report says
    IF verify AND NOT row_security_active(@extschema@.audit_log()) THEN
        verification := @extschema@.audit_verify_period(start_date, end_date);
    END IF;
    report := @extschema@.audit_report(start_date, end_date, profile, verification);
    IF current_setting('transaction_read_only')::boolean THEN
        RETURN jsonb_set(report, '{coverage,notes}', report#>'{coverage,notes}' ||
            to_jsonb('That this report was made is not in the log: the transaction was read-only.'::text));
    END IF;
    PERFORM @extschema@.audit_report_made(start_date, end_date, profile);
    RETURN report;
END
$$;
COMMENT ON FUNCTION compliance_report(date, date, text, boolean) IS
'What the audit log has of a period, from the start of the first date to the start of the second, and, if it is to, verifies it; the report is itself recorded in it';
