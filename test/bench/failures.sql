-- failures.sql - what times an audit log from inside of the server: medians in
-- microseconds, which a busy machine moves least.
SET client_min_messages = warning;
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log(guard_triggers => false);

CREATE FUNCTION since(begun timestamptz) RETURNS float8 LANGUAGE sql AS
    'SELECT extract(epoch FROM clock_timestamp() - begun)::float8 * 1000000';
CREATE FUNCTION median(us float8[]) RETURNS numeric LANGUAGE sql AS
    'SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY u))::numeric(10, 2) FROM unnest(us) u';

CREATE PROCEDURE time_rollbacks(n integer, INOUT logged numeric, INOUT inserted numeric)
LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    logged_us float8[];
    inserted_us float8[];
BEGIN
    FOR i IN 1 .. n LOOP
        PERFORM fraiseql_obs.log_operation('update', 'Order', i::text, details => '{"a": 1}');
        begun := clock_timestamp();
        ROLLBACK;
        logged_us[i] := since(begun);

        INSERT INTO fraiseql_audit.fraiseql_audit_log (operation, entity_type, entity_id, details)
        VALUES ('update', 'Order', i::text, '{"a": 1}');
        begun := clock_timestamp();
        ROLLBACK;
        inserted_us[i] := since(begun);
    END LOOP;
    logged := median(logged_us);
    inserted := median(inserted_us);
END
$$;

CREATE PROCEDURE time_commits(n integer, INOUT logged numeric)
LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    us float8[];
BEGIN
    FOR i IN 1 .. n LOOP
        begun := clock_timestamp();
        PERFORM fraiseql_obs.log_operation('update', 'Order', i::text, details => '{"a": 1}');
        COMMIT;
        us[i] := since(begun);
    END LOOP;
    logged := median(us);
END
$$;

CREATE PROCEDURE time_drain(INOUT drained numeric)
LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    n bigint;
    us float8[];
BEGIN
    LOOP
        begun := clock_timestamp();
        n := fraiseql_obs.audit_drain_ring();
        COMMIT;
        EXIT WHEN n = 0;
        us := us || since(begun) / n;
    END LOOP;
    drained := median(us);
END
$$;
