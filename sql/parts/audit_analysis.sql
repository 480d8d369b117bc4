--
-- Audit log: analysis
--
-- What in the log deserves a look.  Thresholds are arguments; each row that is
-- flagged says why, with the figures; and where there is too little to compare
-- with, nothing is flagged.
--

-- The rows of the log and of adopted sources, for FROM
CREATE FUNCTION audit_relation(log regclass)
RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('(SELECT * FROM %s', log)
           || coalesce((SELECT string_agg(format(' UNION ALL SELECT * FROM %s', s), '')
                        FROM @extschema@.audit_readable_sources(log) s), '')
           || ') AS entries'
$$;
COMMENT ON FUNCTION audit_relation(regclass) IS
'The audit log and what is read besides it, as an item for FROM';

CREATE FUNCTION audit_check_window(since timestamptz, until timestamptz)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF since IS NULL OR until IS NULL OR NOT isfinite(since) OR NOT isfinite(until) THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'since and until must be times, and not null or infinite',
            HINT = 'Leave them out for the last day.';
    END IF;
    IF until <= since THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('until, %s, is not after since, %s', until, since),
            HINT = 'The period from since to before until is looked at.';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_window(timestamptz, timestamptz) IS
'Raises an error if a period to analyse is none';

-- Thresholds: {"name": value}
CREATE FUNCTION audit_check_thresholds(thresholds jsonb)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    SELECT key INTO wrong FROM jsonb_each_text(thresholds)
    WHERE value IS NULL OR value::numeric <= 0 LIMIT 1;
    IF FOUND THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('%s must be more than zero', wrong),
            HINT = 'Leave it out for the usual threshold.';
    END IF;
    -- those that are shares
    SELECT key INTO wrong FROM jsonb_each_text(thresholds)
    WHERE key IN ('usual_share', 'regularity') AND value::numeric > 1 LIMIT 1;
    IF FOUND THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('%s must not be more than 1', wrong),
            HINT = 'It is a share: 0.5 is half of them.';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_thresholds(jsonb) IS
'Raises an error if a threshold is null or not positive, or a share is more than all';

CREATE FUNCTION audit_statistics(
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    tenant_id text DEFAULT NULL,
    by_operation boolean DEFAULT false)
RETURNS TABLE (operation text, total bigint, success bigint, failed bigint,
               denied bigint, noop bigint, failure_ratio double precision,
               p50_ms double precision, p95_ms double precision,
               p99_ms double precision, users bigint,
               most_common_operation text, last_at timestamptz)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION audit_statistics(timestamptz, timestamptz, text, boolean) IS
'How many operations there were, how they ended and how long they took, in all or by operation';

CREATE FUNCTION audit_do_audit_statistics(
    since timestamptz,
    until timestamptz,
    tenant_id text,
    by_operation boolean)
RETURNS TABLE (operation text, total bigint, success bigint, failed bigint,
               denied bigint, noop bigint, failure_ratio double precision,
               p50_ms double precision, p95_ms double precision,
               p99_ms double precision, users bigint,
               most_common_operation text, last_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    RETURN QUERY EXECUTE format($query$
        SELECT %s, count(*), count(*) FILTER (WHERE result = 'success'),
               count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout')),
               count(*) FILTER (WHERE result = 'denied'),
               count(*) FILTER (WHERE result = 'noop'),
               count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout'))::float8 / nullif(count(*), 0),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms),
               percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms),
               percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms),
               count(DISTINCT user_id), mode() WITHIN GROUP (ORDER BY operation),
               max(created_at)
        FROM %s
        WHERE created_at >= $1 AND created_at < $2 AND %s
        %s
        $query$,
        CASE WHEN by_operation THEN 'operation' ELSE 'NULL::text' END,
        @extschema@.audit_relation(@extschema@.audit_log()),
        @extschema@.audit_condition(jsonb_build_object('tenant_id', tenant_id)),
        CASE WHEN by_operation THEN 'GROUP BY operation ORDER BY count(*) DESC, operation' ELSE '' END)
    USING since, until;
END
$$;
COMMENT ON FUNCTION audit_do_audit_statistics(timestamptz, timestamptz, text, boolean) IS
'What audit_statistics() does';

-- An hour is compared with the same hour of the weeks before, by UTC, in which
-- all weeks are as long.  Failures are
-- taken to come as a Poisson process, whose deviation is the root of its mean.
CREATE FUNCTION failure_spikes(
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    weeks integer DEFAULT 4,
    min_weeks integer DEFAULT 2,
    min_failures integer DEFAULT 10,
    factor double precision DEFAULT 3,
    deviations double precision DEFAULT 3)
RETURNS TABLE (hour timestamptz, operation text, failures bigint, total bigint,
               expected double precision, reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object(
        'weeks', weeks, 'min_weeks', min_weeks, 'min_failures', min_failures,
        'factor', factor, 'deviations', deviations));
    RETURN QUERY
        WITH hours AS (
            SELECT k AS week, date_trunc('hour', c.bucket + k * interval '7 days') AS at, c.key,
                   sum(c.n) FILTER (WHERE c.result IN ('failure', 'error', 'timeout')) AS failures,
                   sum(c.n) AS total
            FROM generate_series(0, weeks) k,
                 @extschema@.audit_counts('operation',
                     date_trunc('hour', failure_spikes.since) - k * interval '7 days',
                     failure_spikes.until - k * interval '7 days', true) c
            GROUP BY 1, 2, 3),
        usual AS (
            SELECT at, key, count(*) AS weeks_seen,
                   sum(coalesce(h.failures, 0))::float8 / count(*) AS mean
            FROM hours h WHERE week > 0 GROUP BY at, key)
        SELECT h.at, h.key, h.failures::bigint, h.total::bigint, u.mean,
               format('%s of %s failed in this hour; %s are usual, by the same hour of %s weeks before',
                      h.failures, h.total, round(u.mean::numeric, 1), u.weeks_seen)
        FROM hours h JOIN usual u USING (at, key)
        WHERE h.week = 0 AND u.weeks_seen >= min_weeks AND h.failures >= min_failures
          AND h.failures >= factor * u.mean
          AND h.failures >= u.mean + deviations * sqrt(greatest(u.mean, 1))
        ORDER BY h.at DESC, h.failures DESC, h.key;
END
$$;
COMMENT ON FUNCTION failure_spikes(timestamptz, timestamptz, integer, integer, integer, double precision, double precision) IS
'Hours in which an operation failed far more often than in the same hour of the weeks before';

CREATE FUNCTION repeated_denials(
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    within interval DEFAULT '10 minutes',
    threshold integer DEFAULT 5,
    tenant_id text DEFAULT NULL)
RETURNS TABLE (who text, first_at timestamptz, last_at timestamptz,
               denials bigint, operations text[], reason text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION repeated_denials(timestamptz, timestamptz, interval, integer, text) IS
'Users, or addresses where no user is known, that were denied again and again in a short time';

CREATE FUNCTION audit_do_repeated_denials(
    since timestamptz,
    until timestamptz,
    within interval,
    threshold integer,
    tenant_id text)
RETURNS TABLE (who text, first_at timestamptz, last_at timestamptz,
               denials bigint, operations text[], reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object(
        'within', extract(epoch FROM within), 'threshold', threshold));
    -- failed logins are denials, whatever the application calls them
    RETURN QUERY EXECUTE format($query$
        WITH denials AS MATERIALIZED (
            SELECT coalesce('user ' || user_id, 'address ' || host(client_addr)) AS who,
                   created_at, id, operation
            FROM %s
            WHERE created_at >= $1 AND created_at < $2 AND result <> 'success'
              AND (result = 'denied' OR (result IN ('failure', 'error') AND operation ~ '^(auth|login|signin)'))
              AND %s),
        runs AS (
            SELECT who, created_at, count(*) OVER w AS n,
                   first_value(created_at) OVER w AS first_at
            FROM denials WHERE who IS NOT NULL
            WINDOW w AS (PARTITION BY who ORDER BY created_at RANGE BETWEEN $3 PRECEDING AND CURRENT ROW)),
        worst AS (
            SELECT DISTINCT ON (who) * FROM runs WHERE n >= $4
            ORDER BY who, n DESC, created_at)
        SELECT w.who, w.first_at, w.created_at, w.n,
               (array_agg(DISTINCT d.operation ORDER BY d.operation))[:10],
               format('%%s denied %%s times within %%s', w.who, w.n, $3)
        FROM worst w
             JOIN denials d ON d.who = w.who AND d.created_at BETWEEN w.first_at AND w.created_at
        GROUP BY w.who, w.first_at, w.created_at, w.n
        ORDER BY w.n DESC, w.who
        $query$, @extschema@.audit_relation(@extschema@.audit_log()),
        @extschema@.audit_condition(jsonb_build_object('tenant_id', tenant_id)))
    USING since, until, within, threshold;
END
$$;
COMMENT ON FUNCTION audit_do_repeated_denials(timestamptz, timestamptz, interval, integer, text) IS
'What repeated_denials() does';

-- When the log and its sources begin; what is new cannot be told before that.
CREATE FUNCTION audit_begins(log regclass)
RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source regclass;
    begins timestamptz;
    oldest timestamptz := (@extschema@.audit_retention(log, 'default')->>'oldest_entry')::timestamptz;
BEGIN
    FOR source IN SELECT @extschema@.audit_readable_sources(log) LOOP
        EXECUTE format('SELECT min(created_at) FROM %s', source) INTO begins;
        oldest := least(oldest, begins);
    END LOOP;
    RETURN oldest;
END
$$;
COMMENT ON FUNCTION audit_begins(regclass) IS
'The time of the oldest entry of the audit log';

CREATE FUNCTION new_actors(
    operations text[] DEFAULT '{delete,truncate,export,data.export_large,config.changed,role.grant,permission.grant}',
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    lookback interval DEFAULT '90 days',
    min_history interval DEFAULT '7 days',
    tenant_id text DEFAULT NULL,
    "limit" integer DEFAULT 100)
RETURNS TABLE (user_id text, operation text, first_at timestamptz, n bigint, reason text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION new_actors(text[], timestamptz, timestamptz, interval, interval, text, integer) IS
'Users who did a sensitive operation for the first time';

CREATE FUNCTION audit_do_new_actors(
    operations text[],
    since timestamptz,
    until timestamptz,
    lookback interval,
    min_history interval,
    tenant_id text,
    "limit" integer)
RETURNS TABLE (user_id text, operation text, first_at timestamptz, n bigint, reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    begins timestamptz := @extschema@.audit_begins(log);
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object(
        'lookback', extract(epoch FROM lookback), 'min_history', extract(epoch FROM min_history),
        'limit', "limit"));
    IF coalesce(cardinality(operations), 0) = 0 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'operations must not be null or empty',
            HINT = 'Name those that are sensitive, as new_actors(''{delete,export}'').';
    END IF;
    IF begins IS NULL OR begins > since - min_history THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH acts AS MATERIALIZED (
            SELECT user_id, operation, min(created_at) AS first_at, count(*) AS n
            FROM %s
            WHERE created_at >= $1 AND created_at < $2 AND operation = ANY ($3)
              AND user_id IS NOT NULL AND %s
            GROUP BY user_id, operation
            ORDER BY first_at DESC, user_id, operation)
        SELECT a.*, format('first %%s by %%s since %%s', a.operation, a.user_id,
                           to_char(greatest($1 - $4, $5), 'YYYY-MM-DD'))
        FROM acts a
        WHERE %s
        ORDER BY a.first_at DESC, a.user_id, a.operation LIMIT $6
        $query$, @extschema@.audit_relation(log),
        coalesce('entries.tenant_id = ' || quote_literal(tenant_id), 'true'),
        @extschema@.audit_unseen_condition(log, tenant_id))
    USING since, until, operations, lookback, begins, "limit";
END
$$;
COMMENT ON FUNCTION audit_do_new_actors(text[], timestamptz, timestamptz, interval, interval, text, integer) IS
'What new_actors() does';

-- How many rows a user (o.user_id) has at most from $9 before $1 to before $1:
-- by whole days of the rollups where they can be used.
CREATE FUNCTION audit_most_rows(log regclass)
RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tail text := @extschema@.audit_tail_condition(log);
BEGIN
    RETURN (
        SELECT string_agg(format('(SELECT count(*) FROM %s AS entries
                                   WHERE entries.user_id = o.user_id AND created_at < $1
                                     AND created_at >= $1 - $9 AND %s)', relation, condition), ' + ')
        FROM (SELECT log, coalesce(tail, 'true')
              UNION ALL SELECT s, 'true' FROM @extschema@.audit_readable_sources(log) s) AS r (relation, condition))
        || CASE WHEN tail IS NULL THEN '' ELSE format(
            ' + (SELECT coalesce(sum(d.n), 0)::bigint FROM %s AS d
                 WHERE d.user_id = o.user_id
                   AND d.day >= (($1 - $9) AT TIME ZONE ''UTC'')::date AND d.day <= ($1 AT TIME ZONE ''UTC'')::date)',
            @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days')) END;
END
$$;
COMMENT ON FUNCTION audit_most_rows(regclass) IS
'An expression for how many rows a user has at most in a time';

-- Who usually works at such hours is told by the first rows of the time before:
-- once there are more of them than the share of all rows that he can have.
CREATE FUNCTION off_hours(
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    from_hour integer DEFAULT 7,
    to_hour integer DEFAULT 20,
    weekdays integer[] DEFAULT '{1,2,3,4,5}',
    time_zone text DEFAULT NULL,
    min_operations integer DEFAULT 5,
    usual_share double precision DEFAULT 0.05,
    lookback interval DEFAULT '28 days',
    min_usual integer DEFAULT 50,
    tenant_id text DEFAULT NULL)
RETURNS TABLE (user_id text, n bigint, first_at timestamptz, last_at timestamptz, reason text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION off_hours(timestamptz, timestamptz, integer, integer, integer[], text, integer, double precision, interval, integer, text) IS
'Users at work outside of working hours who usually are not';

CREATE FUNCTION audit_do_off_hours(
    since timestamptz,
    until timestamptz,
    from_hour integer,
    to_hour integer,
    weekdays integer[],
    time_zone text,
    min_operations integer,
    usual_share double precision,
    lookback interval,
    min_usual integer,
    tenant_id text)
RETURNS TABLE (user_id text, n bigint, first_at timestamptz, last_at timestamptz, reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object(
        'min_operations', min_operations, 'usual_share', usual_share,
        'lookback', extract(epoch FROM lookback), 'min_usual', min_usual,
        'number of weekdays', cardinality(weekdays)));
    IF NOT weekdays <@ '{1,2,3,4,5,6,7}' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'weekdays must be from 1 to 7',
            HINT = 'Monday is 1, and Sunday 7.';
    END IF;
    IF from_hour IS NULL OR to_hour IS NULL OR from_hour NOT BETWEEN 0 AND 23
       OR to_hour NOT BETWEEN 1 AND 24 OR from_hour >= to_hour
    THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'from_hour must be before to_hour, and both hours of a day',
            HINT = 'As from_hour => 7, to_hour => 20.';
    END IF;
    time_zone := coalesce(time_zone, current_setting('TimeZone'));
    PERFORM now() AT TIME ZONE time_zone;       -- an error if it is none
    RETURN QUERY EXECUTE format($query$
        WITH outside AS MATERIALIZED (
            SELECT user_id, count(*) AS n, min(created_at) AS first_at, max(created_at) AS last_at
            FROM %1$s
            WHERE created_at >= $1 AND created_at < $2 AND user_id IS NOT NULL AND NOT (%3$s) AND %2$s
            GROUP BY user_id HAVING count(*) >= $7),
        unusual AS MATERIALIZED (
            SELECT o.*
            FROM outside o,
                 LATERAL (SELECT %4$s AS n OFFSET 0) AS most,
                 LATERAL (SELECT count(*) AS outside
                          FROM (SELECT FROM %1$s
                                WHERE entries.user_id = o.user_id AND created_at < $1
                                  AND created_at >= $1 - $9 AND NOT (%3$s) AND %2$s
                                LIMIT floor($8 * most.n)::bigint + 1) AS r) AS u
            WHERE most.n >= $10 AND u.outside <= $8 * most.n)
        SELECT o.*, format('%%s operations outside of %%s:00 to %%s:00 on working days; of %%s before, %%s were',
                           o.n, $3, $4, u.n, u.outside)
        FROM unusual o,
             LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE NOT (%3$s)) AS outside
                      FROM %1$s
                      WHERE entries.user_id = o.user_id AND created_at < $1
                        AND created_at >= $1 - $9 AND %2$s) AS u
        WHERE u.n >= $10 AND u.outside <= $8 * u.n
        ORDER BY o.n DESC, o.user_id
        $query$, @extschema@.audit_relation(log),
        coalesce('entries.tenant_id = ' || quote_literal(tenant_id), 'true'),
        'extract(hour FROM created_at AT TIME ZONE $6) >= $3 AND extract(hour FROM created_at AT TIME ZONE $6) < $4
         AND extract(isodow FROM created_at AT TIME ZONE $6) = ANY ($5)',
        @extschema@.audit_most_rows(log))
    USING since, until, from_hour, to_hour, weekdays,
          time_zone, min_operations, usual_share,
          lookback, min_usual;
END
$$;
COMMENT ON FUNCTION audit_do_off_hours(timestamptz, timestamptz, integer, integer, integer[], text, integer, double precision, interval, integer, text) IS
'What off_hours() does';

CREATE FUNCTION volume_spikes(
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    factor double precision DEFAULT 5,
    min_operations integer DEFAULT 100,
    lookback_days integer DEFAULT 14,
    min_days integer DEFAULT 5,
    "limit" integer DEFAULT 100)
RETURNS TABLE (user_id text, n bigint, usual_per_day double precision, reason text)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION volume_spikes(timestamptz, timestamptz, double precision, integer, integer, integer, integer) IS
'Users with far more operations than they usually have in a day';

CREATE FUNCTION audit_do_volume_spikes(
    since timestamptz,
    until timestamptz,
    factor double precision,
    min_operations integer,
    lookback_days integer,
    min_days integer,
    "limit" integer)
RETURNS TABLE (user_id text, n bigint, usual_per_day double precision, reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object(
        'factor', factor, 'min_operations', min_operations, 'lookback_days', lookback_days,
        'min_days', min_days, 'limit', "limit"));
    -- only whom the window shows busy is looked up
    RETURN QUERY EXECUTE format($query$
        SELECT a.user_id, a.n, u.per_day,
               format('%%s operations in %%s; %%s a day are usual, by %%s days before',
                      a.n, $2 - $1, round(u.per_day::numeric, 1), u.days)
        FROM @extschema@.audit_actor_counts($1, $2, $7) a,
             LATERAL (SELECT count(*)::float8 / nullif(count(DISTINCT created_at::date), 0) AS per_day,
                             count(DISTINCT created_at::date) AS days
                      FROM %s
                      WHERE entries.user_id = a.user_id AND created_at < $1
                        AND created_at >= $1 - make_interval(days => $5)) AS u
        WHERE a.n >= $4 AND u.days >= $6
          AND a.n >= $3 * u.per_day * greatest(extract(epoch FROM $2 - $1) / 86400, 1)
        ORDER BY a.n DESC, a.user_id
        $query$, @extschema@.audit_relation(@extschema@.audit_log()))
    USING since, until, factor, min_operations, lookback_days, min_days, "limit";
END
$$;
COMMENT ON FUNCTION audit_do_volume_spikes(timestamptz, timestamptz, double precision, integer, integer, integer, integer) IS
'What volume_spikes() does';

CREATE FUNCTION silence(
    quiet interval DEFAULT '1 hour',
    until timestamptz DEFAULT now(),
    lookback interval DEFAULT '7 days',
    regularity double precision DEFAULT 0.9,
    min_hours integer DEFAULT 48)
RETURNS TABLE (operation text, last_at timestamptz, hours_seen bigint, reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object(
        'quiet', extract(epoch FROM quiet), 'lookback', extract(epoch FROM lookback),
        'regularity', regularity, 'min_hours', min_hours));
    PERFORM @extschema@.audit_check_window(until - lookback - quiet, until);
    RETURN QUERY
        WITH counts AS (
            -- a quarter may have what is late up to its end
            SELECT c.key, c.bucket, c.bucket + interval '15 minutes' > silence.until - quiet AS is_late
            FROM @extschema@.audit_counts('operation', silence.until - quiet - lookback, silence.until, true) c),
        seen AS (
            SELECT c.key, max(c.bucket) AS last_bucket,
                   count(DISTINCT date_trunc('hour', c.bucket)) FILTER (WHERE NOT is_late) AS hours,
                   -- of the time since it was first there
                   greatest(extract(epoch FROM silence.until - quiet - min(c.bucket)) / 3600, 1) AS possible,
                   bool_or(is_late) AS goes_on
            FROM counts c GROUP BY c.key)
        SELECT s.key, s.last_bucket, s.hours,
               format('none for %s; came in %s of %s hours before', quiet, s.hours, ceil(s.possible))
        FROM seen s
        WHERE NOT s.goes_on AND s.hours >= min_hours AND s.hours >= regularity * s.possible
          -- what stopped long ago was told then
          AND s.last_bucket >= silence.until - quiet - lookback * (1 - regularity)
        ORDER BY s.last_bucket DESC, s.key;
END
$$;
COMMENT ON FUNCTION silence(interval, timestamptz, interval, double precision, integer) IS
'Operations that came regularly and have stopped; last_at: the quarter of an hour they were last seen in';

CREATE FUNCTION most_active_users(
    "limit" integer DEFAULT 10,
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now())
RETURNS TABLE (user_id text, operations bigint, failed bigint, denied bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object('limit', "limit"));
    RETURN QUERY SELECT * FROM @extschema@.audit_actor_counts(since, until, "limit");
END
$$;
COMMENT ON FUNCTION most_active_users(integer, timestamptz, timestamptz) IS
'The users with most operations';

CREATE FUNCTION most_active_entities(
    "limit" integer DEFAULT 10,
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    tenant_id text DEFAULT NULL)
RETURNS TABLE (entity_type text, entity_id text, operations bigint, users bigint)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION most_active_entities(integer, timestamptz, timestamptz, text) IS
'The entities with most operations, and how many users there were';

CREATE FUNCTION audit_do_most_active_entities(
    "limit" integer,
    since timestamptz,
    until timestamptz,
    tenant_id text)
RETURNS TABLE (entity_type text, entity_id text, operations bigint, users bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object('limit', "limit"));
    RETURN QUERY EXECUTE format($query$
        WITH busiest AS (
            SELECT entity_type, entity_id, count(*) AS n
            FROM %1$s
            WHERE created_at >= $1 AND created_at < $2 AND entity_id IS NOT NULL AND %2$s
            GROUP BY entity_type, entity_id
            ORDER BY n DESC, entity_type, entity_id LIMIT $3)
        SELECT b.entity_type, b.entity_id, b.n,
               (SELECT count(DISTINCT user_id) FROM %1$s
                WHERE created_at >= $1 AND created_at < $2
                  AND entries.entity_type IS NOT DISTINCT FROM b.entity_type
                  AND entries.entity_id = b.entity_id AND %2$s)
        FROM busiest b ORDER BY b.n DESC, b.entity_type, b.entity_id
        $query$, @extschema@.audit_relation(@extschema@.audit_log()),
        coalesce('entries.tenant_id = ' || quote_literal(tenant_id), 'true'))
    USING since, until, "limit";
END
$$;
COMMENT ON FUNCTION audit_do_most_active_entities(integer, timestamptz, timestamptz, text) IS
'What most_active_entities() does';

CREATE FUNCTION slow_operations(
    "limit" integer DEFAULT 20,
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT now(),
    min_count integer DEFAULT 20,
    tenant_id text DEFAULT NULL)
RETURNS TABLE (operation text, n bigint, p50_ms double precision,
               p95_ms double precision, p99_ms double precision,
               max_ms double precision, slowest_id bigint)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION slow_operations(integer, timestamptz, timestamptz, integer, text) IS
'Operations by how long they took, slowest 95th percentile first';

CREATE FUNCTION audit_do_slow_operations(
    "limit" integer,
    since timestamptz,
    until timestamptz,
    min_count integer,
    tenant_id text)
RETURNS TABLE (operation text, n bigint, p50_ms double precision,
               p95_ms double precision, p99_ms double precision,
               max_ms double precision, slowest_id bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_check_window(since, until);
    PERFORM @extschema@.audit_check_thresholds(jsonb_build_object('limit', "limit", 'min_count', min_count));
    RETURN QUERY EXECUTE format($query$
        SELECT operation, count(*),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms),
               percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms),
               percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms),
               max(duration_ms), (array_agg(id ORDER BY duration_ms DESC, id))[1]
        FROM %s
        WHERE created_at >= $1 AND created_at < $2 AND duration_ms IS NOT NULL AND %s
        GROUP BY operation HAVING count(*) >= $4
        ORDER BY 4 DESC, operation LIMIT $3
        $query$, @extschema@.audit_relation(@extschema@.audit_log()),
        @extschema@.audit_condition(jsonb_build_object('tenant_id', tenant_id)))
    USING since, until, "limit", min_count;
END
$$;
COMMENT ON FUNCTION audit_do_slow_operations(integer, timestamptz, timestamptz, integer, text) IS
'What slow_operations() does';
