--
-- Audit log: rollups
--
-- Counts of the log's rows, so that a report of a year does not read them.
-- They are tables beside the log:
--
-- fraiseql_audit_counts: by UTC day for each of the dimensions operation,
--    entity_type and tenant; by quarter of an hour by operation and in total,
--    because all time zones are a multiple of it off UTC.  (By tenant and
--    quarter there would be nearly as many counts as rows.)
-- fraiseql_audit_actor_days: by user and UTC day.  Once the day is over it is
--    also the rank of a user among those of that day; while rows are added, no
--    index has what changes, so that the table's updates are HOT.
-- fraiseql_audit_rollup_state: which rows are in them.
--
-- Which rows are counted: those that are sealed, see audit_seals.sql.  A seal
-- has the rows that have become visible since the one before, the difference
-- of two snapshots, whenever they were written: no row that commits late is
-- left out, and none is counted twice.  Readers add the rows that are not
-- counted yet (the tail), with the same snapshot, so their figures are exact.
-- Where a dump was restored the snapshot means nothing; until the log is sealed
-- there, readers count rows.
--
-- Readers take no lock.  They see rollups only if they may see all rows of the
-- log, which the policies of the tables say.
--

-- A table beside the log is seen by who sees all of its rows.
CREATE FUNCTION audit_dress_table(log regclass, beside regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', beside);
    EXECUTE format('CREATE POLICY fraiseql_audit_all_rows ON %s FOR SELECT
                    USING ((SELECT NOT row_security_active(%L::regclass)))',
                   beside, log);
END
$$;
COMMENT ON FUNCTION audit_dress_table(regclass, regclass) IS
'Gives a table beside the audit log its row security';

CREATE FUNCTION audit_create_rollups(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counts text := @extschema@.audit_table_name(log, 'fraiseql_audit_counts');
    actor_days text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days');
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state');
    rollup text;
BEGIN
    IF to_regclass(state) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format($table$
        CREATE TABLE %s (
            dimension text NOT NULL,
            grain text NOT NULL CHECK (grain IN ('quarter', 'day')),
            bucket timestamptz NOT NULL,
            key text,
            result text NOT NULL,
            n bigint NOT NULL,
            UNIQUE NULLS NOT DISTINCT (dimension, grain, bucket, key, result))
        $table$, counts);
    EXECUTE format('COMMENT ON TABLE %s IS %L', counts,
                   'Audit log: how many rows by time, dimension and result');
    -- where the log was itself looked at or changed, which is rare
    EXECUTE format($index$
        CREATE INDEX ON %s (bucket)
        WHERE dimension = 'operation' AND grain = 'quarter' AND key LIKE 'audit.%%'
        $index$, counts);

    EXECUTE format($table$
        CREATE TABLE %s (
            day date NOT NULL,
            user_id text,
            n bigint NOT NULL,
            failed bigint NOT NULL,
            denied bigint NOT NULL,
            ranked bigint CHECK (ranked = n),
            UNIQUE NULLS NOT DISTINCT (user_id, day))
        WITH (fillfactor = 70)
        $table$, actor_days);
    EXECUTE format('COMMENT ON TABLE %s IS %L', actor_days,
                   'Audit log: how many rows by user and UTC day');
    EXECUTE format('CREATE INDEX ON %s (day, ranked DESC) INCLUDE (user_id)', actor_days);

    EXECUTE format($table$
        CREATE TABLE %s (
            snapshot pg_snapshot,
            baseline_id bigint NOT NULL DEFAULT 0,
            system_identifier bigint,
            refreshed_at timestamptz,
            horizon_xact xid8,
            horizon_at timestamptz,
            tail_since timestamptz NOT NULL DEFAULT '-infinity',
            singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton))
        $table$, state);
    EXECUTE format('COMMENT ON TABLE %s IS %L', state,
                   'Audit log: which rows the rollups have');
    EXECUTE format('INSERT INTO %s DEFAULT VALUES', state);

    -- keys may be null, and a publication must not keep counts from being changed
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', counts);
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', actor_days);

    FOREACH rollup IN ARRAY ARRAY[counts, actor_days, state] LOOP
        PERFORM @extschema@.audit_dress_table(log, rollup::regclass);
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_create_rollups(regclass) IS
'Makes the tables for the counts of an audit log where they are missing';

-- Those of days that are over have been ranked already if they were added then.
CREATE FUNCTION audit_rank_actors(log regclass, first_day date, today date)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('UPDATE %s SET ranked = n WHERE day >= $1 AND day < $2 AND ranked IS NULL',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days'))
    USING first_day, today;
END
$$;
COMMENT ON FUNCTION audit_rank_actors(regclass, date, date) IS
'Ranks the users of days of the audit log that are over';

-- Of this statement, with our own transaction as one that goes on: what it
-- will yet write is not there.
CREATE FUNCTION audit_snapshot()
RETURNS pg_snapshot
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN own IS NULL OR own >= pg_snapshot_xmax(s) THEN s
           ELSE format('%s:%s:%s', least(pg_snapshot_xmin(s), own), pg_snapshot_xmax(s),
                       (SELECT string_agg(x::text, ',' ORDER BY x)
                        FROM (SELECT pg_snapshot_xip(s) UNION SELECT own) AS u (x))
                      )::pg_snapshot
           END
    FROM (SELECT pg_current_snapshot(), pg_current_xact_id_if_assigned()) AS c (s, own)
$$;
COMMENT ON FUNCTION audit_snapshot() IS
'The current snapshot, without what the transaction itself has written';

-- The transaction ids of a snapshot are those of this cluster.
CREATE FUNCTION audit_is_native(
    snapshot pg_snapshot,
    system_identifier bigint,
    database_oid oid)
RETURNS boolean
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.system_identifier = audit_is_native.system_identifier
           AND d.oid = database_oid
           AND pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
    FROM pg_control_system() c, pg_database d
    WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION audit_is_native(pg_snapshot, bigint, oid) IS
'Whether a snapshot was taken in this database';

-- The condition of rows that the rollups, or what has a state like theirs, do
-- not have; NULL where they cannot answer, because there are none yet, they are
-- another cluster's, or the reader may not see all rows.  Not visible in a
-- snapshot are transactions that ran then and those from its xmax on.  BRIN on
-- xact finds them: the log's index has this very expression.  The time narrows
-- down the partitions; it says nothing where the clock has been set back since.
CREATE FUNCTION audit_tail_condition(
    log regclass,
    state_name text DEFAULT 'fraiseql_audit_rollup_state')
RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    state text := @extschema@.audit_table_name(log, state_name);
    condition text;
BEGIN
    IF row_security_active(log) OR to_regclass(state) IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        $query$SELECT format('created_at >= %%L AND id > %%s AND ((xact::text)::bigint >= %%s OR (xact::text)::bigint = ANY (%%L))',
                             CASE WHEN tail_since <= clock_timestamp() THEN tail_since
                             ELSE clock_timestamp() - interval '1 day' END, baseline_id, pg_snapshot_xmax(snapshot),
                             ARRAY(SELECT x::text::bigint FROM pg_snapshot_xip(snapshot) x))
               FROM %s WHERE @extschema@.audit_is_native(snapshot, system_identifier, database_oid)$query$,
        state) INTO condition;
    RETURN condition;
END
$$;
COMMENT ON FUNCTION audit_tail_condition(regclass, text) IS
'The condition of the rows that the rollups, or what has a state like theirs, do not have yet; null where they cannot be used';

-- The rows of a period ($1 to $4) that are to be counted one by one: those
-- before and after the part that the rollups answer for ($2 to $3), the tail in
-- it, and those of adopted sources.
CREATE FUNCTION audit_uncounted_rows(
    log regclass,
    columns text,
    tail text,
    before boolean,
    after boolean)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('SELECT %s FROM %s WHERE %s', columns, relation, condition),
                      ' UNION ALL ')
    FROM (VALUES (before, log, 'created_at >= $1 AND created_at < $2'),
                 (after, log, 'created_at >= $3 AND created_at < $4'),
                 (tail IS NOT NULL, log, 'created_at >= $2 AND created_at < $3 AND ' || tail)
          UNION ALL
          SELECT true, s, 'created_at >= $1 AND created_at < $4'
          FROM @extschema@.audit_readable_sources(log) s) AS parts (wanted, relation, condition)
    WHERE wanted
$$;
COMMENT ON FUNCTION audit_uncounted_rows(regclass, text, text, boolean, boolean) IS
'The query of the rows of a period that the rollups do not answer for';

-- The column of the log that a dimension is; the total is none.
CREATE FUNCTION audit_dimension_columns(dimensions text[])
RETURNS TABLE (dimension text, name name)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOREACH dimension IN ARRAY dimensions LOOP
        IF dimension NOT IN ('operation', 'entity_type', 'tenant', 'total') THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('invalid dimension "%s" of the audit log', dimension),
                HINT = 'Valid dimensions are "operation", "entity_type", "tenant" and "total".';
        END IF;
        name := CASE dimension WHEN 'tenant' THEN 'tenant_id' WHEN 'total' THEN NULL
                ELSE dimension END;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_dimension_columns(text[]) IS
'The columns of the audit log that dimensions of its counts are';

-- Counts of a period: of whole buckets of a grain from the rollups, of what is
-- left at its ends, of the tail and of adopted sources from the rows.  Where
-- there is no such rollup all rows are counted.  live: counted from rows.
CREATE FUNCTION audit_tally(
    dimensions text[],
    grain text,
    since timestamptz,
    until timestamptz)
RETURNS TABLE (dimension text, bucket timestamptz, key text, result text,
               n bigint, live boolean)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION audit_tally(text[], text, timestamptz, timestamptz) IS
'How many operations there were in a period, by dimension (operation, entity_type, tenant, total), bucket of a grain (day, quarter) and result';

CREATE FUNCTION audit_do_audit_tally(
    dimensions text[],
    grain text,
    since timestamptz,
    until timestamptz)
RETURNS TABLE (dimension text, bucket timestamptz, key text, result text,
               n bigint, live boolean)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    tail text := @extschema@.audit_tail_condition(log);
    width interval := CASE grain WHEN 'day' THEN '1 day' ELSE '15 minutes' END;
    kept text[] := CASE grain WHEN 'day' THEN '{operation,entity_type,tenant}'
                   ELSE '{operation,total}' END;
    -- the whole buckets
    first timestamptz := date_bin(width, since + width - interval '1 us', '2000-01-01');
    last timestamptz := date_bin(width, until, '2000-01-01');
    dimension_name text;
    dimension_key text;
    grouping_sets text;
BEGIN
    IF tail IS NULL OR first >= last OR NOT dimensions <@ kept THEN
        tail := NULL;
        first := until;
        last := until;
    END IF;

    FOREACH dimension IN ARRAY CASE WHEN first < last THEN dimensions ELSE '{}' END LOOP
        RETURN QUERY EXECUTE format(
            'SELECT dimension, bucket, key, result, n, false FROM %s
             WHERE dimension = $1 AND grain = $2 AND bucket >= $3 AND bucket < $4',
            @extschema@.audit_table_name(log, 'fraiseql_audit_counts'))
        USING dimension, grain, first, last;
    END LOOP;

    -- each dimension but the total is a column
    SELECT coalesce('CASE ' || string_agg(
                        format('WHEN grouping(%I) = 0 THEN %L', name, d), ' ')
                    || ' ELSE ''total'' END', '''total'''),
           format('coalesce(%s)', concat_ws(', ', string_agg(quote_ident(name), ', '), 'NULL::text')),
           (SELECT string_agg(format('(%s)', concat_ws(', ', 'at', 'result', quote_ident(s.name))), ', ')
            FROM @extschema@.audit_dimension_columns(dimensions) s)
    INTO dimension_name, dimension_key, grouping_sets
    FROM @extschema@.audit_dimension_columns(dimensions) AS c (d, name)
    WHERE name IS NOT NULL;
    RETURN QUERY EXECUTE format($query$
        SELECT %s, at, %s, result, count(*), true
        FROM (SELECT date_bin($5, created_at, '2000-01-01') AS at,
                     operation, entity_type, tenant_id, result
              FROM (%s) AS uncounted) AS r
        GROUP BY GROUPING SETS (%s)
        $query$, dimension_name, dimension_key,
        @extschema@.audit_uncounted_rows(
            log, 'created_at, operation, entity_type, tenant_id, result', tail,
            since < first, last < until),
        grouping_sets)
    USING since, first, last, until, width;
END
$$;
COMMENT ON FUNCTION audit_do_audit_tally(text[], text, timestamptz, timestamptz) IS
'What audit_tally() does';

CREATE FUNCTION audit_counts(
    dimension text,
    since timestamptz,
    until timestamptz,
    quarters boolean DEFAULT false)
RETURNS TABLE (bucket timestamptz, key text, result text, n bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF dimension IS NULL OR since IS NULL OR until IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'dimension, since and until must not be null',
            HINT = 'As audit_counts(''operation'', ''2026-01-01'', ''2026-02-01'').';
    END IF;
    IF until <= since THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('until, %s, is not after since, %s', until, since),
            HINT = 'Operations from since to before until are counted.';
    END IF;
    RETURN QUERY
        SELECT t.bucket, t.key, t.result, sum(t.n)::bigint
        FROM @extschema@.audit_tally(
            ARRAY[audit_counts.dimension],
            CASE WHEN quarters OR audit_counts.dimension = 'total' THEN 'quarter' ELSE 'day' END,
            since, until) t
        GROUP BY t.bucket, t.key, t.result;
END
$$;
COMMENT ON FUNCTION audit_counts(text, timestamptz, timestamptz, boolean) IS
'How many operations there were in a period, by one dimension (operation, entity_type, tenant, total), time and result';

-- The most active users of a period, without a sum for every user.  Of each
-- UTC day it takes the users with most rows (width of them): whoever is in none
-- of these lists has at most the sum of what the last of each list has.  If
-- that is less than what the last of the result is known to have, the result is
-- among those whose bound reaches it (Fagin's threshold algorithm), and only
-- theirs are summed up.  If not, because users are much alike, all are listed.
-- A day that is in the period in part only is a bound; its rows are counted of
-- those users.  A day that is not over, and so not ranked, is a list of its own.  (Casts are outside of the conditions: under row security only
-- those without functions use an index.)
CREATE FUNCTION audit_actor_counts(
    since timestamptz,
    until timestamptz,
    "limit" integer DEFAULT 10)
RETURNS TABLE (user_id text, n bigint, failed bigint, denied bigint)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION audit_actor_counts(timestamptz, timestamptz, integer) IS
'The users with most operations in a period, most first';

CREATE FUNCTION audit_do_audit_actor_counts(
    since timestamptz,
    until timestamptz,
    "limit" integer)
RETURNS TABLE (user_id text, n bigint, failed bigint, denied bigint)
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    tail text := @extschema@.audit_tail_condition(log);
    first_day timestamptz := date_trunc('day', since + '23:59:59.999999');
    last_day timestamptz := date_trunc('day', until);
    listed_from date := since;
    listed_to date := until + '23:59:59.999999';
    actor_days text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days');
    width integer;
    actors jsonb;
    certain boolean;
BEGIN
    IF tail IS NULL OR first_day >= last_day THEN
        tail := NULL;
        first_day := until;
        last_day := until;
        listed_to := listed_from;
    END IF;
    FOREACH width IN ARRAY ARRAY[least(10 * "limit"::bigint, 2147483647)::integer, NULL] LOOP
        EXECUTE format($query$
            WITH uncounted AS MATERIALIZED (
                SELECT user_id, count(*) AS n,
                       count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout')) AS failed,
                       count(*) FILTER (WHERE result = 'denied') AS denied
                FROM (%1$s) AS r WHERE user_id IS NOT NULL GROUP BY user_id),
            listed AS MATERIALIZED (
                %3$s
                UNION ALL
                (SELECT NULL::date, true, user_id, n, n FROM uncounted ORDER BY n DESC LIMIT $5)),
            rests AS (
                SELECT day, ranked, CASE WHEN count(*) = $5 THEN min(most) ELSE 0 END AS rest
                FROM listed GROUP BY day, ranked),
            known AS (
                SELECT user_id, sum(least) AS least,
                       sum(most) + (SELECT coalesce(sum(rest), 0) FROM rests) - sum(rest) AS most
                FROM listed JOIN rests ON listed.day IS NOT DISTINCT FROM rests.day
                                      AND listed.ranked = rests.ranked
                GROUP BY user_id),
            last_known AS (
                SELECT n, unseen = 0 OR unseen < n AS certain
                FROM (SELECT coalesce((SELECT least FROM known ORDER BY least DESC OFFSET $6 - 1 LIMIT 1), 0) AS n,
                             (SELECT coalesce(sum(rest), 0) FROM rests) AS unseen) AS l),
            candidates AS MATERIALIZED (
                SELECT user_id FROM known, last_known WHERE certain AND most >= n),
            edges AS (
                SELECT user_id, count(*) AS n,
                       count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout')) AS failed,
                       count(*) FILTER (WHERE result = 'denied') AS denied
                FROM %4$s
                WHERE (created_at >= $1 AND created_at < $2 OR created_at >= $3 AND created_at < $4)
                  AND %5$s AND user_id IN (SELECT user_id FROM candidates)
                GROUP BY user_id),
            totals AS (
                SELECT k.user_id, coalesce(u.n, 0) + coalesce(e.n, 0) + coalesce(c.n, 0) AS n,
                       coalesce(u.failed, 0) + coalesce(e.failed, 0) + coalesce(c.failed, 0) AS failed,
                       coalesce(u.denied, 0) + coalesce(e.denied, 0) + coalesce(c.denied, 0) AS denied
                FROM candidates k
                     LEFT JOIN uncounted u USING (user_id)
                     LEFT JOIN edges e USING (user_id),
                     LATERAL (SELECT sum(n) AS n, sum(failed) AS failed, sum(denied) AS denied
                              FROM %2$s AS a
                              WHERE a.user_id = k.user_id
                                AND a.day >= $7 AND a.day < $8) AS c
                ORDER BY n DESC, user_id COLLATE "C" LIMIT $6)
            SELECT (SELECT jsonb_agg(t) FROM totals t), certain FROM last_known
            $query$,
            (SELECT string_agg(format('SELECT user_id, result FROM %s
                                       WHERE created_at >= $1 AND created_at < $4 AND %s', relation, condition),
                               ' UNION ALL ')
             FROM (SELECT log, coalesce(tail, 'true')
                   UNION ALL SELECT s, 'true' FROM @extschema@.audit_readable_sources(log) s) AS r (relation, condition)),
            actor_days,
            CASE WHEN width IS NULL THEN format(
                'SELECT $7 AS day, true AS ranked, user_id, sum(n) FILTER (WHERE day >= $7 AND day < $8) AS least, sum(n) AS most
                 FROM %s WHERE day >= $9 AND day < $10 AND user_id IS NOT NULL
                 GROUP BY user_id', actor_days)
            ELSE format(
                'SELECT d.day, l.ranked, l.user_id, CASE WHEN d.day >= $7 AND d.day < $8 THEN l.n ELSE 0 END AS least, l.n AS most
                 FROM (SELECT $9 + i AS day FROM generate_series(0, $10 - $9 - 1) i
                       OFFSET 0) AS d,
                      LATERAL ((SELECT true AS ranked, user_id, a.ranked AS n FROM %1$s AS a
                                WHERE a.day = d.day AND a.user_id IS NOT NULL AND a.ranked IS NOT NULL
                                ORDER BY a.ranked DESC LIMIT $5)
                               UNION ALL
                               (SELECT false, user_id, n FROM %1$s AS a
                                WHERE a.day = d.day AND a.user_id IS NOT NULL AND a.ranked IS NULL
                                ORDER BY n DESC LIMIT $5)) AS l', actor_days) END,
            log, coalesce('NOT (' || tail || ')', 'false'))
        INTO actors, certain
        USING since, first_day, last_day, until, width, "limit",
              first_day::date, last_day::date, listed_from, listed_to;
        EXIT WHEN certain;
    END LOOP;
    RETURN QUERY
        SELECT a.user_id, a.n, a.failed, a.denied
        FROM jsonb_to_recordset(actors)
             AS a (user_id text, n bigint, failed bigint, denied bigint)
        ORDER BY a.n DESC, a.user_id COLLATE "C";
END
$$;
COMMENT ON FUNCTION audit_do_audit_actor_counts(timestamptz, timestamptz, integer) IS
'What audit_actor_counts() does';
