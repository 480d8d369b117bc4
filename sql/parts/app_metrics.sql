--
-- Metrics that the application feeds
--

CREATE FUNCTION record_http_request(
    method text,
    endpoint text,
    status integer,
    duration_seconds double precision)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_record_http_request'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION record_http_request(text, text, integer, double precision) IS
'Counts an HTTP request that the application has answered, and its duration';

CREATE FUNCTION record_cache(
    cache_type text,
    hits bigint,
    misses bigint,
    size_bytes bigint DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_record_cache'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION record_cache(text, bigint, bigint, bigint) IS
'Adds hits and misses of a cache since the last call, and sets its size';

CREATE FUNCTION record_pool(
    pool text,
    active integer,
    idle integer,
    waiting integer DEFAULT NULL,
    max integer DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_record_pool'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION record_pool(text, integer, integer, integer, integer) IS
'Sets how a connection pool of the application stands';

CREATE FUNCTION counter_add(
    name text,
    value double precision DEFAULT 1,
    labels jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_counter_add'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION counter_add(text, double precision, jsonb) IS
'Adds to a counter of the application, which is made with the first call';

CREATE FUNCTION gauge_set(
    name text,
    value double precision,
    labels jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_gauge_set'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION gauge_set(text, double precision, jsonb) IS
'Sets a gauge of the application, which is made with the first call';

CREATE FUNCTION histogram_observe(
    name text,
    value double precision,
    labels jsonb DEFAULT NULL,
    buckets double precision[] DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_histogram_observe'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION histogram_observe(text, double precision, jsonb, double precision[]) IS
'Counts a value in a histogram of the application, which is made with the first call';

CREATE FUNCTION grant_metrics_writer(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'role must not be null',
            HINT = 'Name the role that is to record metrics.';
    END IF;
    -- GRANT would take this for everybody, in quotes as well
    IF role = 'public' THEN
        RAISE invalid_grant_operation USING
            MESSAGE = 'metrics are not for everybody to record',
            HINT = 'Make a role for the application.';
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@ TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.record_http_request, @extschema@.record_cache,
        @extschema@.record_pool, @extschema@.counter_add,
        @extschema@.gauge_set, @extschema@.histogram_observe TO %I', role);
END
$$;

COMMENT ON FUNCTION grant_metrics_writer(name) IS
'Lets a role record metrics of the application, and nothing else';
