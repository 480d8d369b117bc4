--
-- Audit log: writing
--

CREATE FUNCTION log_operation(
    operation text,
    entity_type text DEFAULT NULL,
    entity_id text DEFAULT NULL,
    result text DEFAULT 'success',
    details jsonb DEFAULT NULL,
    user_id text DEFAULT NULL,
    tenant_id text DEFAULT NULL,
    old_data jsonb DEFAULT NULL,
    new_data jsonb DEFAULT NULL,
    changed_fields text[] DEFAULT NULL,
    sqlstate text DEFAULT NULL,
    error_message text DEFAULT NULL,
    duration_ms double precision DEFAULT NULL,
    occurred_at timestamptz DEFAULT NULL,
    request_id text DEFAULT NULL,
    trace_id text DEFAULT NULL,
    span_id text DEFAULT NULL,
    actor_type text DEFAULT NULL,
    acting_for text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_log_operation'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION log_operation(text, text, text, text, jsonb, text, text, jsonb, jsonb, text[], text, text, double precision, timestamptz, text, text, text, text, text) IS
'Appends an operation to the audit log; returns its id';

-- Which of an event's values is not of its argument's type
CREATE FUNCTION audit_wrong_key(event jsonb)
RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key text;
BEGIN
    FOR key IN SELECT jsonb_object_keys(event) LOOP
        PERFORM jsonb_populate_record(NULL::@extschema@.audit_event,
                                      jsonb_build_object(key, event->key));
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN key;
END
$$;
COMMENT ON FUNCTION audit_wrong_key(jsonb) IS
'The key of an event of log_operations() whose value is not of the type that it must be; null if all are';

-- Row by row through the same door, which costs little more than one INSERT
-- for all: most of it is the indexes'.
CREATE FUNCTION log_operations(events jsonb)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    logged bigint := 0;
    wrong text;
    place bigint;
    event jsonb;
    e @extschema@.audit_event;
    why text;
    more text;
    advice text;
BEGIN
    IF events IS NULL OR jsonb_typeof(events) <> 'array' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'events of log_operations() must be a JSON array',
            HINT = 'Give an object with the arguments of log_operation() for each operation.';
    END IF;
    SELECT jsonb_typeof(o), n INTO wrong, place
    FROM jsonb_array_elements(events) WITH ORDINALITY AS a (o, n)
    WHERE jsonb_typeof(o) <> 'object' ORDER BY n LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('element %s of events is of type %s and not an object', place, wrong),
            HINT = 'Give an object with the arguments of log_operation() for each operation.';
    END IF;
    SELECT key, n INTO wrong, place
    FROM jsonb_array_elements(events) WITH ORDINALITY AS a (o, n), jsonb_object_keys(o) key
    WHERE key <> ALL (
        SELECT unnest(proargnames[1:pronargs]) FROM pg_proc
        WHERE oid = '@extschema@.log_operation'::regproc)
    ORDER BY n LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('log_operation() has no argument "%s"', wrong),
            DETAIL = format('It is a key of element %s of events.', place),
            HINT = 'Put into details what has no argument of its own.';
    END IF;

    BEGIN
        FOR event IN SELECT jsonb_array_elements(events) LOOP
            logged := logged + 1;
            e := jsonb_populate_record(NULL::@extschema@.audit_event, event);
            PERFORM @extschema@.log_operation(
                e.operation, e.entity_type, e.entity_id,
                CASE WHEN event ? 'result' THEN e.result ELSE 'success' END, e.details,
                e.user_id, e.tenant_id, e.old_data, e.new_data, e.changed_fields,
                e.sqlstate, e.error_message, e.duration_ms, e.occurred_at,
                e.request_id, e.trace_id, e.span_id, e.actor_type, e.acting_for);
        END LOOP;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, more = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
        wrong := @extschema@.audit_wrong_key(event);
        RAISE USING
            ERRCODE = SQLSTATE,
            MESSAGE = why,
            DETAIL = concat_ws(' ', nullif(more, ''), format('It is element %s of events%s.', logged,
                                                             ', its key "' || wrong || '"')),
            HINT = coalesce(nullif(advice, ''), CASE WHEN wrong IS NOT NULL
                            THEN 'Give a value of the type of the argument of log_operation().'
                            ELSE 'None of the events was logged.' END);
    END;
    RETURN logged;
END
$$;
COMMENT ON FUNCTION log_operations(jsonb) IS
'Appends operations, given as an array of objects with the arguments of log_operation(); returns how many';
