--
-- Audit log: reading
--
-- Who may see all rows reads with the rights of the log's owner (audit_door.c),
-- and everybody else with his own, so that privileges and row security of the
-- log hold.  Rows come newest first, pages by the position of the last
-- row of the page before.
--

-- Lower bounds of the partitions, newest first
CREATE FUNCTION audit_partition_bounds(log regclass)
RETURNS timestamptz[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
    SELECT coalesce(array_agg(bound ORDER BY bound DESC), '{}')
    FROM (SELECT substring(pg_get_expr(c.relpartbound, 0)
                           FROM 'FROM \(''([^'']+)''\)')::timestamptz AS bound
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = log) AS partitions
$$;
COMMENT ON FUNCTION audit_partition_bounds(regclass) IS
'Where the partitions of an audit log begin, newest first';

-- What is wanted is told by the values of columns and is never SQL, as it is
-- searched for with the rights of the log's owner.  NULL asks for nothing, a
-- list of results for one of them, and "failed" for all but those that are well.
-- Errors are failures, as they are to log_operation().
CREATE FUNCTION audit_condition(wanted jsonb)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(wanted->'result') = 'string'
       AND wanted->>'result' NOT IN ('success', 'failure', 'error', 'denied', 'timeout', 'noop')
    THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('invalid result "%s" of an audit log entry', wanted->>'result'),
            HINT = 'Valid results are "success", "failure", "denied", "timeout" and "noop".';
    END IF;
    IF wanted->>'result' IN ('failure', 'error') THEN
        wanted := jsonb_set(wanted, '{result}', '["failure", "error"]');
    END IF;
    -- the index of what did not succeed answers
    RETURN coalesce((
        SELECT string_agg(CASE
            WHEN key = 'failed' THEN 'result <> ''success'' AND result <> ''noop'''
            WHEN jsonb_typeof(value) = 'array' THEN format(
                '%1$I <> ''success'' AND %1$I IN (%2$s)', key,
                (SELECT string_agg(quote_literal(v), ', ') FROM jsonb_array_elements_text(value) AS v))
            ELSE format('%I = %L', key, value #>> '{}') END, ' AND ')
        FROM jsonb_each(wanted) WHERE jsonb_typeof(value) <> 'null'), 'true');
END
$$;
COMMENT ON FUNCTION audit_condition(jsonb) IS
'The condition of rows of the audit log that are as is wanted';

-- Goes back through 1 partition, then 4, 16 and so on until the limit is
-- reached: what is new is found without planning for all partitions, and what
-- is old without a query for each.
CREATE FUNCTION audit_search(
    wanted jsonb,
    "limit" integer,
    since timestamptz,
    until timestamptz,
    before audit_position)
RETURNS SETOF audit_event
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE PARALLEL SAFE
ROWS 100;
COMMENT ON FUNCTION audit_search(jsonb, integer, timestamptz, timestamptz, audit_position) IS
'Rows of the audit log that are as is wanted, newest first; what the functions below have in common';

CREATE FUNCTION audit_do_audit_search(
    wanted jsonb,
    "limit" integer,
    since timestamptz,
    until timestamptz,
    before audit_position)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
ROWS 100
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    bounds timestamptz[] := @extschema@.audit_partition_bounds(log);
    before_at timestamptz := coalesce(before.created_at, 'infinity');
    before_id bigint := coalesce(before.id, 9223372036854775807);
    page text := format(
        '(SELECT * FROM %%s
          WHERE created_at >= $1 AND created_at < $2 AND created_at <= $3
            AND (created_at, id) < ($3, $4) AND (%s)
          ORDER BY created_at DESC, id DESC LIMIT $5)', replace(@extschema@.audit_condition(wanted), '%', '%%'));
    sources text;
    upper_bound timestamptz := coalesce(until, 'infinity');
    lower_bound timestamptz;
    left_over bigint := "limit";
    width integer := 1;
    place integer := 1;
    found_rows bigint;
BEGIN
    IF "limit" IS NULL OR "limit" < 0 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'limit must not be null or negative',
            HINT = 'Give the number of rows to return, or leave it out.';
    END IF;
    IF (before.created_at IS NULL) <> (before.id IS NULL) THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'before must have both created_at and id',
            HINT = 'Give those of the last row of the page before.';
    END IF;
    IF until < since THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('until, %s, is before since, %s', until, since),
            HINT = 'Rows from since to before until are returned.';
    END IF;
    SELECT string_agg(format(page, s), ' UNION ALL ') INTO sources
    FROM @extschema@.audit_readable_sources(log) s;
    page := format(page, log);
    IF sources IS NOT NULL THEN
        page := format('SELECT * FROM (%s UNION ALL %s) AS entries
                        ORDER BY created_at DESC, id DESC LIMIT $5', page, sources);
        -- what is older than all partitions is in sources alone
        bounds := bounds || '-infinity'::timestamptz;
    END IF;
    since := coalesce(since, '-infinity');
    -- partitions that are made ahead, and those that the search is not about
    WHILE place < cardinality(bounds)
          AND bounds[place] > least(clock_timestamp(), upper_bound, before_at)
    LOOP
        place := place + 1;
    END LOOP;
    WHILE left_over > 0 AND place <= cardinality(bounds) AND upper_bound > since
    LOOP
        place := least(place + width - 1, cardinality(bounds));
        lower_bound := greatest(bounds[place], since);
        RETURN QUERY EXECUTE page
            USING lower_bound, upper_bound, before_at, before_id, left_over;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        left_over := left_over - found_rows;
        upper_bound := lower_bound;
        place := place + 1;
        width := width * 4;
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_do_audit_search(jsonb, integer, timestamptz, timestamptz, audit_position) IS
'What audit_search() does';

CREATE FUNCTION recent_operations(
    "limit" integer DEFAULT 100,
    tenant_id text DEFAULT NULL,
    result text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before audit_position DEFAULT NULL)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
BEGIN
    RETURN QUERY SELECT * FROM @extschema@.audit_search(
        jsonb_build_object('tenant_id', tenant_id, 'result', result),
        "limit", since, until, before);
END
$$;
COMMENT ON FUNCTION recent_operations(integer, text, text, timestamptz, timestamptz, audit_position) IS
'The latest operations of the audit log';

CREATE FUNCTION by_user(
    user_id text,
    "limit" integer DEFAULT 100,
    tenant_id text DEFAULT NULL,
    result text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before audit_position DEFAULT NULL)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
BEGIN
    IF user_id IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'user_id must not be null',
            HINT = 'Operations without a user are in recent_operations().';
    END IF;
    RETURN QUERY SELECT * FROM @extschema@.audit_search(
        jsonb_build_object('user_id', user_id, 'tenant_id', tenant_id, 'result', result),
        "limit", since, until, before);
END
$$;
COMMENT ON FUNCTION by_user(text, integer, text, text, timestamptz, timestamptz, audit_position) IS
'The latest operations of a user';

CREATE FUNCTION by_entity(
    entity_type text,
    entity_id text,
    "limit" integer DEFAULT 1000,
    tenant_id text DEFAULT NULL,
    result text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before audit_position DEFAULT NULL)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
BEGIN
    IF entity_type IS NULL OR entity_id IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'entity_type and entity_id must not be null',
            HINT = 'Give both, as by_entity(''Order'', ''4711'').';
    END IF;
    RETURN QUERY SELECT * FROM @extschema@.audit_search(
        jsonb_build_object('entity_type', entity_type, 'entity_id', entity_id,
                           'tenant_id', tenant_id, 'result', result),
        "limit", since, until, before);
END
$$;
COMMENT ON FUNCTION by_entity(text, text, integer, text, text, timestamptz, timestamptz, audit_position) IS
'The latest operations on an entity';

CREATE FUNCTION by_operation(
    operation text,
    "limit" integer DEFAULT 100,
    tenant_id text DEFAULT NULL,
    result text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before audit_position DEFAULT NULL)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
BEGIN
    IF operation IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'operation must not be null',
            HINT = 'Give its name, as by_operation(''login'').';
    END IF;
    RETURN QUERY SELECT * FROM @extschema@.audit_search(
        jsonb_build_object('operation', operation, 'tenant_id', tenant_id, 'result', result),
        "limit", since, until, before);
END
$$;
COMMENT ON FUNCTION by_operation(text, integer, text, text, timestamptz, timestamptz, audit_position) IS
'The latest entries of an operation; reads back through the log, so give since where it is rare';

CREATE FUNCTION by_request(
    request_id text DEFAULT NULL,
    trace_id text DEFAULT NULL,
    "limit" integer DEFAULT 100,
    since timestamptz DEFAULT now() - interval '1 day',
    until timestamptz DEFAULT NULL)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 10
AS $$
BEGIN
    IF request_id IS NULL AND trace_id IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'request_id or trace_id must be given',
            HINT = 'As by_request(''7f3c'') or by_request(trace_id => ...).';
    END IF;
    RETURN QUERY SELECT * FROM @extschema@.audit_search(
        jsonb_build_object('request_id', request_id, 'trace_id', trace_id),
        "limit", since, until, NULL);
END
$$;
COMMENT ON FUNCTION by_request(text, text, integer, timestamptz, timestamptz) IS
'The operations of a request or trace, of the last day unless since says otherwise';

CREATE FUNCTION failed_operations(
    hours integer DEFAULT 24,
    "limit" integer DEFAULT 1000,
    tenant_id text DEFAULT NULL,
    before audit_position DEFAULT NULL)
RETURNS SETOF audit_event
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 100
AS $$
BEGIN
    IF hours IS NULL OR hours < 0 OR hours > 1000000 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'hours must be from 0 to 1000000',
            HINT = 'Give the number of hours to look back, or leave it out.';
    END IF;
    RETURN QUERY SELECT * FROM @extschema@.audit_search(
        jsonb_build_object('failed', true, 'tenant_id', tenant_id),
        "limit", now() - make_interval(hours => hours), NULL, before);
END
$$;
COMMENT ON FUNCTION failed_operations(integer, integer, text, audit_position) IS
'The latest operations that failed, were denied or timed out, of the last hours';
