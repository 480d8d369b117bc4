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
-- fraiseql_audit_actor_days: by user and UTC day.
-- fraiseql_audit_rollup_state: which rows are in them.
--
-- Which rows are counted: those that are visible in the snapshot of the state.
-- The next refresh adds those that have become visible since, the difference
-- of two snapshots, whenever they were written: no row that commits late is
-- left out, and none is counted twice.  Readers add the rows that are not
-- counted yet (the tail), with the same snapshot, so their figures are exact.
--
-- Transaction ids mean nothing in another cluster.  Where a dump was restored
-- the rows up to baseline_id are counted, whatever their xact says, and only
-- those after it by snapshot; refresh_audit_rollups() finds out, and until it
-- has run readers count rows.
--
-- Refreshing writes, as the log's owner, one session at a time (row lock on
-- the state).  Readers take no lock.  They see rollups only if they may see all
-- rows of the log, which the policies of the tables say.
--

CREATE FUNCTION audit_create_rollups(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counts text := @extschema@.audit_table_name(log, 'fraiseql_audit_counts');
    actor_days text := @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days');
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state');
    owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = log);
    rollup text;
BEGIN
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
            UNIQUE NULLS NOT DISTINCT (user_id, day))
        $table$, actor_days);
    EXECUTE format('COMMENT ON TABLE %s IS %L', actor_days,
                   'Audit log: how many rows by user and UTC day');
    EXECUTE format('CREATE INDEX ON %s (day, n DESC) INCLUDE (user_id)', actor_days);

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

    FOREACH rollup IN ARRAY ARRAY[counts, actor_days, state] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', rollup);
        EXECUTE format('CREATE POLICY fraiseql_audit_all_rows ON %s FOR SELECT
                        USING ((SELECT NOT row_security_active(%L::regclass)))',
                       rollup, log);
        EXECUTE format('ALTER TABLE %s OWNER TO %I', rollup, owner);
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_create_rollups(regclass) IS
'Makes the tables for the counts of an audit log';

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
CREATE FUNCTION audit_is_native(snapshot pg_snapshot, system_identifier bigint)
RETURNS boolean
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.system_identifier = audit_is_native.system_identifier
           AND pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
    FROM pg_control_system() c
$$;
COMMENT ON FUNCTION audit_is_native(pg_snapshot, bigint) IS
'Whether a snapshot was taken in this cluster';

-- The condition of rows that the rollups do not have; NULL where the rollups
-- cannot answer, because there are none yet, they are another cluster's, or
-- the reader may not see all rows.  BRIN on xact finds the tail: the log's
-- index has this very expression.
CREATE FUNCTION audit_tail_condition(log regclass, everywhere boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state');
    condition text;
BEGIN
    IF row_security_active(log) OR to_regclass(state) IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        $query$SELECT format('created_at >= %%L AND (xact::text)::bigint >= %%s AND id > %%s AND NOT pg_visible_in_snapshot(xact, %%L)',
                             CASE WHEN $1 THEN '-infinity' ELSE tail_since END,
                             pg_snapshot_xmin(snapshot), baseline_id, snapshot)
               FROM %s WHERE @extschema@.audit_is_native(snapshot, system_identifier)$query$,
        state) INTO condition USING everywhere;
    RETURN condition;
END
$$;
COMMENT ON FUNCTION audit_tail_condition(regclass, boolean) IS
'The condition of the rows that the rollups do not have yet; null where rollups cannot be used';

-- Adds the rows that meet a condition to the rollups.
CREATE FUNCTION audit_add_to_rollups(log regclass, condition text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    added bigint;
BEGIN
    EXECUTE format($query$
        WITH counts AS MATERIALIZED (
            SELECT CASE WHEN grouping(operation) = 0 THEN 'operation'
                   WHEN grouping(entity_type) = 0 THEN 'entity_type'
                   WHEN grouping(tenant_id) = 0 THEN 'tenant'
                   ELSE 'total' END AS dimension,
                   CASE grouping(quarter) WHEN 0 THEN 'quarter' ELSE 'day' END AS grain,
                   coalesce(quarter, day) AS bucket,
                   coalesce(operation, entity_type, tenant_id) AS key,
                   result, count(*) AS n
            FROM (SELECT date_bin('15 minutes', created_at, '2000-01-01') AS quarter,
                         date_trunc('day', created_at) AS day,
                         operation, entity_type, tenant_id, result
                  FROM %1$s WHERE %2$s) AS r
            GROUP BY GROUPING SETS ((quarter, result), (quarter, operation, result),
                (day, operation, result), (day, entity_type, result),
                (day, tenant_id, result))),
        counted AS (
            INSERT INTO %3$s AS c
            SELECT * FROM counts
            ON CONFLICT (dimension, grain, bucket, key, result)
            DO UPDATE SET n = c.n + excluded.n)
        SELECT coalesce(sum(n), 0) FROM counts WHERE dimension = 'total'
        $query$, log, condition,
        @extschema@.audit_table_name(log, 'fraiseql_audit_counts')) INTO added;
    EXECUTE format($query$
        INSERT INTO %3$s AS a
        SELECT created_at::date, user_id, count(*),
               count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout')),
               count(*) FILTER (WHERE result = 'denied')
        FROM %1$s WHERE %2$s
        GROUP BY created_at::date, user_id
        ON CONFLICT (user_id, day)
        DO UPDATE SET n = a.n + excluded.n, failed = a.failed + excluded.failed,
                      denied = a.denied + excluded.denied
        $query$, log, condition,
        @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days'));
    RETURN added;
END
$$;
COMMENT ON FUNCTION audit_add_to_rollups(regclass, text) IS
'Adds rows of the audit log to its rollups; returns how many';

-- The last id for which all rows are there: for an instant nobody writes, and
-- ids are given out by those who do.  The lock goes with the subtransaction.
CREATE FUNCTION audit_last_id(log regclass)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    last_id bigint;
BEGIN
    BEGIN
        EXECUTE format('LOCK TABLE %s IN SHARE MODE', log);
        last_id := coalesce(pg_sequence_last_value(
            pg_get_serial_sequence(log::text, 'id')), 0);
        RAISE SQLSTATE 'FOBS1';
    EXCEPTION WHEN SQLSTATE 'FOBS1' THEN
        RETURN last_id;
    END;
END
$$;
COMMENT ON FUNCTION audit_last_id(regclass) IS
'An id up to which all rows of the audit log are committed';

-- Counts all rows that stand anew.  What was counted of partitions that have
-- gone is kept.
CREATE FUNCTION audit_rebuild_rollups(log regclass)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    bounds timestamptz[] := @extschema@.audit_partition_bounds(log);
    first timestamptz := coalesce(bounds[cardinality(bounds)], 'infinity');
    last_id bigint := @extschema@.audit_last_id(log);
    seen pg_snapshot := @extschema@.audit_snapshot();
BEGIN
    EXECUTE format('DELETE FROM %s WHERE bucket >= %L',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_counts'), first);
    EXECUTE format('DELETE FROM %s WHERE day >= %L::date',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days'), first);
    EXECUTE format('UPDATE %s SET baseline_id = $1, snapshot = $2, horizon_xact = NULL,
                    tail_since = ''-infinity''',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
    USING last_id, seen;
    RETURN @extschema@.audit_add_to_rollups(
        log, format('(id <= %s OR pg_visible_in_snapshot(xact, %L))', last_id, seen));
END
$$;
COMMENT ON FUNCTION audit_rebuild_rollups(regclass) IS
'Counts the rows of the audit log anew, as after the restore of a dump; returns how many';

CREATE FUNCTION refresh_audit_rollups()
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state');
    role_before text := current_setting('role');
    tail text;
    seen pg_snapshot;
    counted_before boolean;
    added bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE active_sql_transaction USING
            MESSAGE = 'refresh_audit_rollups() must run in a READ COMMITTED transaction';
    END IF;
    -- what the owner has put on the tables runs with the owner's rights
    PERFORM set_config('role',
        (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = log), true);

    EXECUTE format('SELECT snapshot IS NOT NULL FROM %s FOR UPDATE', state)
    INTO counted_before;
    tail := @extschema@.audit_tail_condition(log, everywhere => true);
    IF tail IS NULL AND counted_before THEN
        added := @extschema@.audit_rebuild_rollups(log);
    ELSE
        seen := @extschema@.audit_snapshot();
        added := @extschema@.audit_add_to_rollups(
            log, concat_ws(' AND ', tail, format('pg_visible_in_snapshot(xact, %L)', seen)));
        EXECUTE format('UPDATE %s SET snapshot = $1', state) USING seen;
    END IF;
    EXECUTE format($query$
        UPDATE %s
        SET refreshed_at = clock_timestamp(),
            system_identifier = (SELECT system_identifier FROM pg_control_system()),
            tail_since = CASE WHEN pg_snapshot_xmin(snapshot) >= horizon_xact
                         THEN horizon_at - interval '1 hour' ELSE tail_since END,
            horizon_xact = CASE WHEN pg_snapshot_xmin(snapshot) < horizon_xact
                           THEN horizon_xact ELSE pg_current_xact_id() END,
            horizon_at = CASE WHEN pg_snapshot_xmin(snapshot) < horizon_xact
                         THEN horizon_at ELSE now() END
        $query$, state);

    PERFORM set_config('role', role_before, true);
    RETURN added;
END
$$;
COMMENT ON FUNCTION refresh_audit_rollups() IS
'Adds what is new in the audit log to its rollups; returns how many rows';

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
          FROM @extschema@.audit_sources(log) s) AS parts (wanted, relation, condition)
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
COMMENT ON FUNCTION audit_tally(text[], text, timestamptz, timestamptz) IS
'How many operations there were in a period, by dimension (operation, entity_type, tenant, total), bucket of a grain (day, quarter) and result';

CREATE FUNCTION audit_counts(
    dimension text,
    since timestamptz,
    until timestamptz,
    quarters boolean DEFAULT false)
RETURNS TABLE (bucket timestamptz, key text, result text, n bigint)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT bucket, key, result, sum(n)::bigint
    FROM @extschema@.audit_tally(
        ARRAY[$1], CASE WHEN quarters OR $1 = 'total' THEN 'quarter' ELSE 'day' END,
        since, until)
    GROUP BY bucket, key, result
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
-- those users.  (Casts are outside of the conditions: under row security only
-- those without functions use an index.)
CREATE FUNCTION audit_actor_counts(
    since timestamptz,
    until timestamptz,
    "limit" integer DEFAULT 10)
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
    FOREACH width IN ARRAY ARRAY[10 * "limit", NULL] LOOP
        EXECUTE format($query$
            WITH uncounted AS MATERIALIZED (
                SELECT user_id, count(*) AS n,
                       count(*) FILTER (WHERE result IN ('failure', 'error', 'timeout')) AS failed,
                       count(*) FILTER (WHERE result = 'denied') AS denied
                FROM (%1$s) AS r WHERE user_id IS NOT NULL GROUP BY user_id),
            listed AS MATERIALIZED (
                %3$s
                UNION ALL
                (SELECT NULL::date, user_id, n, n FROM uncounted ORDER BY n DESC LIMIT $5)),
            rests AS (
                SELECT day, CASE WHEN count(*) = $5 THEN min(most) ELSE 0 END AS rest
                FROM listed GROUP BY day),
            known AS (
                SELECT user_id, sum(least) AS least,
                       sum(most) + (SELECT coalesce(sum(rest), 0) FROM rests) - sum(rest) AS most
                FROM listed JOIN rests ON listed.day IS NOT DISTINCT FROM rests.day
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
                   UNION ALL SELECT s, 'true' FROM @extschema@.audit_sources(log) s) AS r (relation, condition)),
            actor_days,
            CASE WHEN width IS NULL THEN format(
                'SELECT $7 AS day, user_id, sum(n) FILTER (WHERE day >= $7 AND day < $8) AS least, sum(n) AS most
                 FROM %s WHERE day >= $9 AND day < $10 AND user_id IS NOT NULL
                 GROUP BY user_id', actor_days)
            ELSE format(
                'SELECT d.day, l.user_id, CASE WHEN d.day >= $7 AND d.day < $8 THEN l.n ELSE 0 END AS least, l.n AS most
                 FROM (SELECT $9 + i AS day FROM generate_series(0, $10 - $9 - 1) i
                       OFFSET 0) AS d,
                      LATERAL (SELECT user_id, n FROM %s AS a
                               WHERE a.day = d.day AND a.user_id IS NOT NULL
                               ORDER BY n DESC LIMIT $5) AS l', actor_days) END,
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
COMMENT ON FUNCTION audit_actor_counts(timestamptz, timestamptz, integer) IS
'The users with most operations in a period, most first';
