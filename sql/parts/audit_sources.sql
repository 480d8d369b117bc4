--
-- Audit log: tables of others that are read besides it
--
-- An application's own audit table keeps its place.  A view beside the log has
-- its rows as rows of the log, and what reads the log reads the views, too.
-- The views are data, as the log is, and use nothing of this extension.  They
-- run with the rights of who reads, so a reader needs SELECT on the adopted
-- table as well, which is not ours to grant; so does the log's owner, who is let
-- read by who adopts.
--

-- The views over adopted tables
CREATE FUNCTION audit_sources(log regclass)
RETURNS SETOF regclass
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
ROWS 1
AS $$
    SELECT v.oid::regclass
    FROM pg_class l JOIN pg_class v USING (relnamespace, relowner)
    WHERE l.oid = log AND v.relkind = 'v'
      AND v.relname LIKE 'fraiseql\_audit\_source\_%'
    ORDER BY v.relname
$$;
COMMENT ON FUNCTION audit_sources(regclass) IS
'The views over the tables that are read besides an audit log';

-- The table that such a view is over
CREATE FUNCTION audit_source_table(source regclass)
RETURNS regclass
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.refobjid::regclass
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE r.ev_class = source AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid <> source
      AND d.refobjid <> @extschema@.audit_log()
    LIMIT 1
$$;
COMMENT ON FUNCTION audit_source_table(regclass) IS
'The adopted table that a view beside the audit log is over';

-- The same views for who is to read them: an error that names the tables that
-- he may not read, where PostgreSQL's would name neither the view nor the grant.
CREATE FUNCTION audit_readable_sources(log regclass)
RETURNS SETOF regclass
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
ROWS 1
AS $$
DECLARE
    sources regclass[];
    denied text[];
BEGIN
    SELECT array_agg(s), array_agg(t::text) FILTER (WHERE NOT has_any_column_privilege(t, 'SELECT'))
    INTO sources, denied
    FROM @extschema@.audit_sources(log) s, @extschema@.audit_source_table(s) t;
    IF denied IS NOT NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied for table %s, which is read besides the audit log', denied[1]),
            HINT = format('Have it granted with: GRANT SELECT ON %s TO %I; or no longer read by forget_audit_source().',
                          array_to_string(denied, ', '), current_user);
    END IF;
    RETURN QUERY SELECT unnest(sources);
END
$$;
COMMENT ON FUNCTION audit_readable_sources(regclass) IS
'The views over the tables that are read besides an audit log; raises an error if the caller may not read such a table';

-- A view may have row security below.
CREATE FUNCTION audit_sees_all(log regclass)
RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT has_table_privilege(log, 'SELECT') AND NOT row_security_active(log)
           AND NOT EXISTS (
               SELECT FROM @extschema@.audit_sources(log) s, @extschema@.audit_source_table(s) t, pg_class c
               WHERE c.oid = t AND (c.relkind NOT IN ('r', 'p') OR row_security_active(t)
                                    OR NOT has_table_privilege(t, 'SELECT')))
$$;
COMMENT ON FUNCTION audit_sees_all(regclass) IS
'Whether the caller may see all rows of the audit log and of what is read besides it';

-- What a result is called elsewhere
CREATE FUNCTION audit_result_expression(expression text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format($case$CASE
        WHEN %1$s IS NULL THEN 'success'
        WHEN lower(%1$s) IN ('success', 'succeeded', 'ok', 'completed', 'allowed', 'granted', 'true') THEN 'success'
        WHEN lower(%1$s) IN ('failure', 'failed', 'error', 'partial_error', 'not_found', 'conflict', 'false')
             OR lower(%1$s) ~ '^(failed|conflict):' THEN 'failure'
        WHEN lower(%1$s) IN ('denied', 'blocked', 'forbidden', 'unauthorized') THEN 'denied'
        WHEN lower(%1$s) IN ('timeout', 'timed_out') THEN 'timeout'
        WHEN lower(%1$s) IN ('noop', 'skipped') OR lower(%1$s) ~ '^noop:' THEN 'noop'
        ELSE lower(%1$s) END$case$, format('(%s)::text', expression))
$$;
COMMENT ON FUNCTION audit_result_expression(text) IS
'An expression for the result of an entry of the audit log, of one for a result as others call it';

CREATE FUNCTION audit_operation_expression(expression text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format($case$CASE upper(%1$s) WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update'
        WHEN 'DELETE' THEN 'delete' ELSE %1$s END$case$, format('(%s)::text', expression))
$$;
COMMENT ON FUNCTION audit_operation_expression(text) IS
'An expression for the operation of an entry of the audit log, of one for an operation as others call it';

-- The tables that FraiseQL's versions make, by name and columns, and what in
-- them is what in the log
CREATE FUNCTION audit_known_sources()
RETURNS TABLE (name text, columns text[], expressions jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    VALUES
    -- FraiseQL's change log, one row a mutation that changed something
    ('tb_entity_change_log',
     '{pk_entity_change_log,created_at,tenant_id,fk_contact,object_type,modification_type,object_id,object_data,object_data_before,updated_fields,duration_ms,trace_id,actor_type,acting_for,change_status,extra_metadata}'::text[],
     jsonb_build_object(
        'id', 'pk_entity_change_log', 'created_at', 'created_at',
        'tenant_id', 'tenant_id::text', 'user_id', 'fk_contact::text',
        'operation', @extschema@.audit_operation_expression('modification_type'),
        'entity_type', 'object_type', 'entity_id', 'object_id::text',
        'result', @extschema@.audit_result_expression('change_status'),
        'details', 'extra_metadata', 'old_data', 'object_data_before',
        'new_data', 'object_data', 'changed_fields', 'updated_fields',
        'duration_ms', 'duration_ms::double precision', 'trace_id', 'trace_id',
        'actor_type', 'actor_type', 'acting_for', 'acting_for::text')),
    -- the enterprise migration 001
    ('audit_events', '{id,event_type,event_data,user_id,tenant_id,timestamp,ip_address}',
     jsonb_build_object(
        'id', 'hashtextextended(id::text, 0)', 'created_at', '"timestamp"',
        'tenant_id', 'tenant_id::text', 'user_id', 'user_id::text', 'operation', 'event_type',
        'result', @extschema@.audit_result_expression(
            $e$coalesce(event_data->>'result', CASE WHEN event_type ~ 'fail' THEN 'failure' WHEN event_type ~ 'denied' THEN 'denied' END)$e$),
        'details', 'event_data', 'client_addr', 'ip_address')),
    -- the enterprise migration 002
    ('audit_events', '{id,tenant_id,user_id,entity_type,entity_id,operation_type,operation_subtype,changed_fields,old_data,new_data,metadata,ip_address,correlation_id,timestamp}',
     jsonb_build_object(
        'id', 'hashtextextended(id::text, 0)', 'created_at', '"timestamp"',
        'tenant_id', 'tenant_id::text', 'user_id', 'user_id::text',
        'operation', @extschema@.audit_operation_expression($e$coalesce(operation_subtype, operation_type)$e$),
        'entity_type', 'entity_type', 'entity_id', 'entity_id::text',
        'result', @extschema@.audit_result_expression($e$CASE WHEN operation_type = 'NOOP' THEN 'noop' END$e$),
        'details', 'metadata', 'old_data', 'old_data', 'new_data', 'new_data',
        'changed_fields', 'changed_fields', 'client_addr', 'ip_address',
        'request_id', 'correlation_id::text')),
    -- its bridge to an application's own
    ('tb_audit_log', '{pk_audit_log,pk_organization,user_id,entity_type,entity_id,operation_type,operation_subtype,changed_fields,old_data,new_data,metadata,created_at,correlation_id}',
     jsonb_build_object(
        'id', 'hashtextextended(pk_audit_log::text, 0)', 'created_at', 'created_at',
        'tenant_id', 'pk_organization::text', 'user_id', 'user_id::text',
        'operation', @extschema@.audit_operation_expression($e$coalesce(operation_subtype, operation_type)$e$),
        'entity_type', 'entity_type', 'entity_id', 'entity_id::text',
        'result', @extschema@.audit_result_expression($e$CASE WHEN operation_type = 'NOOP' THEN 'noop' END$e$),
        'details', 'metadata', 'old_data', 'old_data', 'new_data', 'new_data',
        'changed_fields', 'changed_fields', 'request_id', 'correlation_id::text')),
    -- the one of the documentation
    ('tb_audit_log', '{pk_audit_log,timestamp,level,event_type,user_id,tenant_id,operation,resource,details,ip_address,request_id,duration_ms}',
     jsonb_build_object(
        'id', 'pk_audit_log', 'created_at', '"timestamp"', 'tenant_id', 'tenant_id::text',
        'user_id', 'user_id::text', 'operation', 'event_type',
        'entity_type', $e$nullif(split_part(resource, ':', 1), '')$e$,
        'entity_id', $e$nullif(substr(resource, strpos(resource, ':') + 1), resource)$e$,
        'result', @extschema@.audit_result_expression(
            $e$coalesce(details->>'result', CASE WHEN event_type ~ '(fail|error)' THEN 'failure' WHEN event_type ~ 'denied' THEN 'denied' END)$e$),
        'details', 'details', 'client_addr', 'ip_address', 'request_id', 'request_id::text',
        'duration_ms', 'duration_ms::double precision')),
    -- the runtime writer; who is not known is user and tenant 0
    ('fraiseql_audit_logs', '{id,timestamp,level,user_id,tenant_id,operation,query,variables,ip_address,user_agent,error,duration_ms}',
     jsonb_build_object(
        'id', 'id', 'created_at', '"timestamp"', 'tenant_id', 'nullif(tenant_id, 0)::text',
        'user_id', 'nullif(user_id, 0)::text', 'operation', 'operation',
        'result', $e$CASE WHEN error IS NOT NULL OR level = 'ERROR' THEN 'failure' ELSE 'success' END$e$,
        'details', $e$jsonb_build_object('query', query, 'variables', variables, 'ip_address', ip_address, 'user_agent', user_agent)$e$,
        'error_message', 'error', 'duration_ms', 'duration_ms::double precision')),
    -- the server's migration 0010
    ('audit_log', '{id,timestamp,event_type,user_id,ip_address,resource_type,resource_id,action,before_state,after_state,status,error_message,tenant_id,metadata}',
     jsonb_build_object(
        'id', 'hashtextextended(id::text, 0)', 'created_at', '"timestamp"',
        'tenant_id', 'tenant_id::text', 'user_id', 'user_id::text',
        'operation', 'coalesce(action, event_type)', 'entity_type', 'resource_type',
        'entity_id', 'resource_id::text', 'result', @extschema@.audit_result_expression('status'),
        'details', 'metadata', 'old_data', 'before_state', 'new_data', 'after_state',
        'client_addr', 'ip_address', 'error_message', 'error_message'))
$$;
COMMENT ON FUNCTION audit_known_sources() IS
'Audit tables of FraiseQL that adopt_audit_source() knows without a mapping';

-- json has strings and numbers that jsonb has not, and one of them must not keep
-- the whole log from being read.  What is well (pairs of surrogates, escapes of
-- one character) is taken away before the rest is looked at.
CREATE FUNCTION audit_document_expression(expression text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format($case$CASE
        WHEN %2$s ~ '(^|[:,[\s])-?([0-9]{255}|[0-9]+([.][0-9]+)?[eE][-+]?[0-9]{5})'
             OR regexp_replace(%2$s, '\\([^u]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})', '', 'g')
                ~ '\\u(0000|[dD][89a-fA-F])'
        THEN to_jsonb(%2$s) ELSE to_jsonb(%1$s) END$case$,
        expression, format('to_json(%s)::text', expression))
$$;
COMMENT ON FUNCTION audit_document_expression(text) IS
'An expression for a document of an entry of the audit log, of one of another type; as text where it has no jsonb';

-- The expression for a column of the log of a column of another type
CREATE FUNCTION audit_cast(target text, source_column name, source_type regtype)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    category "char" := (SELECT typcategory FROM pg_type WHERE oid = source_type);
    expression text := quote_ident(source_column);
BEGIN
    RETURN CASE
        WHEN target = 'result' THEN @extschema@.audit_result_expression(expression)
        WHEN target = 'operation' THEN @extschema@.audit_operation_expression(expression)
        WHEN target = 'id' AND source_type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
            THEN expression || '::bigint'
        WHEN target = 'id' THEN format('hashtextextended(%s::text, 0)', expression)
        WHEN target IN ('created_at', 'occurred_at') AND source_type = 'timestamptz'::regtype THEN expression
        WHEN target IN ('created_at', 'occurred_at') AND source_type = 'timestamp'::regtype
            THEN format('%s AT TIME ZONE ''UTC''', expression)
        WHEN target IN ('created_at', 'occurred_at') THEN NULL
        WHEN target IN ('details', 'old_data', 'new_data') AND source_type = 'jsonb'::regtype THEN expression
        WHEN target IN ('details', 'old_data', 'new_data') THEN @extschema@.audit_document_expression(expression)
        WHEN target = 'changed_fields' THEN CASE category WHEN 'A' THEN expression || '::text[]' END
        WHEN target = 'duration_ms' THEN CASE category WHEN 'N' THEN expression || '::double precision' END
        WHEN target = 'client_addr' THEN CASE source_type WHEN 'inet'::regtype THEN expression WHEN 'cidr'::regtype THEN expression || '::inet' END
        ELSE expression || '::text' END;
END
$$;
COMMENT ON FUNCTION audit_cast(text, name, regtype) IS
'The expression for a column of the audit log of a column of an adopted table; null if none fits';

-- Expressions by column of the log, as a mapping by column names has them
CREATE FUNCTION audit_mapping_expressions(relation regclass, mapping jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    targets text[] := '{id,created_at,occurred_at,tenant_id,user_id,operation,entity_type,entity_id,result,details,old_data,new_data,changed_fields,sqlstate,error_message,duration_ms,db_role,client_addr,application_name,request_id,trace_id,span_id,actor_type,acting_for}';
    entry record;
    source_type regtype;
    expression text;
    expressions jsonb := '{}';
BEGIN
    IF jsonb_typeof(mapping) <> 'object' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'mapping of adopt_audit_source() must be a JSON object',
            HINT = 'As {"created_at": "logged_at", "operation": "action", "user_id": "who"}.';
    END IF;
    FOR entry IN SELECT key AS target, value FROM jsonb_each(mapping) LOOP
        IF entry.target <> ALL (targets) THEN
            RAISE undefined_column USING
                MESSAGE = format('audit log has no column "%s" to map to', entry.target),
                HINT = format('Columns to map to are %s.', array_to_string(targets, ', '));
        END IF;
        SELECT atttypid INTO source_type FROM pg_attribute
        WHERE attrelid = relation AND attname = entry.value #>> '{}'
          AND attnum > 0 AND NOT attisdropped AND jsonb_typeof(entry.value) = 'string';
        IF NOT FOUND THEN
            RAISE undefined_column USING
                MESSAGE = format('column %s of "%s" does not exist', entry.value, relation),
                DETAIL = format('It is mapped to "%s".', entry.target),
                HINT = format('Columns are %s.', (
                    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped));
        END IF;
        expression := @extschema@.audit_cast(entry.target, entry.value #>> '{}', source_type);
        IF expression IS NULL THEN
            RAISE datatype_mismatch USING
                MESSAGE = format('column %s of "%s" cannot be "%s" of the audit log',
                                 entry.value, relation, entry.target),
                DETAIL = format('It is of type %s.', source_type);
        END IF;
        expressions := expressions || jsonb_build_object(entry.target, expression);
    END LOOP;
    IF NOT expressions ?& '{created_at,operation}' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'mapping of adopt_audit_source() must have "created_at" and "operation"',
            HINT = 'As {"created_at": "logged_at", "operation": "action", "user_id": "who"}.';
    END IF;
    RETURN expressions;
END
$$;
COMMENT ON FUNCTION audit_mapping_expressions(regclass, jsonb) IS
'What a mapping of adopt_audit_source() says, as expressions';

-- Expressions for a table that is known
CREATE FUNCTION audit_known_expressions(relation regclass)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present text[];
    found_expressions jsonb;
BEGIN
    SELECT array_agg(attname) INTO present FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped;
    SELECT expressions INTO found_expressions
    FROM @extschema@.audit_known_sources()
    WHERE name = (SELECT relname FROM pg_class WHERE oid = relation) AND present @> columns
    ORDER BY cardinality(columns) DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('"%s" is no audit table that is known', relation),
            HINT = 'Give a mapping of its columns, as {"created_at": "logged_at", "operation": "action", "user_id": "who"}.';
    END IF;
    RETURN found_expressions;
END
$$;
COMMENT ON FUNCTION audit_known_expressions(regclass) IS
'What is what in an audit table that is known by its name and columns';

CREATE FUNCTION adopt_audit_source(relation regclass, mapping jsonb DEFAULT NULL)
RETURNS regclass
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_set_up'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION adopt_audit_source(regclass, jsonb) IS
'Has the functions that read the audit log read another table, too; returns the view that shows it as entries';

-- If the caller may not grant that, an error tells readers of it.
CREATE FUNCTION audit_grant_source(relation regclass, owner oid)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    class record;
BEGIN
    SELECT relowner, relnamespace, nspowner INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = relation;
    IF NOT has_schema_privilege(owner, class.relnamespace, 'USAGE') AND pg_has_role(class.nspowner, 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', class.relnamespace::regnamespace, pg_get_userbyid(owner));
    END IF;
    IF NOT has_any_column_privilege(owner, relation, 'SELECT') AND pg_has_role(class.relowner, 'USAGE') THEN
        EXECUTE format('GRANT SELECT ON %s TO %I', relation, pg_get_userbyid(owner));
    END IF;
END
$$;
COMMENT ON FUNCTION audit_grant_source(regclass, oid) IS
'Lets the owner of the audit log read an adopted table, if the caller may grant that';

CREATE FUNCTION audit_do_adopt_audit_source(relation regclass, mapping jsonb)
RETURNS regclass
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    class pg_class;
    expressions jsonb;
    columns text;
    tenants text;
    source text;
    reader name;
    untimed boolean;
BEGIN
    IF relation IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'relation must not be null',
            HINT = 'Name the table.';
    END IF;
    SELECT * INTO class FROM pg_class WHERE oid = relation;
    IF class.relkind NOT IN ('r', 'p', 'v', 'm', 'f')
       OR class.relpersistence = 't' OR relation = log
       OR class.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = log)
    THEN
        RAISE wrong_object_type USING
            MESSAGE = format('cannot adopt "%s" as a source of the audit log', relation),
            HINT = 'Adopt a table or view that is not temporary and not of the audit log''s schema.';
    END IF;
    expressions := CASE WHEN mapping IS NULL THEN @extschema@.audit_known_expressions(relation)
                   ELSE @extschema@.audit_mapping_expressions(relation, mapping) END;
    expressions := jsonb_build_object('result', '''success''', 'occurred_at', expressions->>'created_at')
                   || expressions;
    -- what an entry always has; its place in the log is its time and id, so one
    -- without is numbered by where it stands, or by what it says
    expressions := expressions || jsonb_build_object(
        'id', format('coalesce(%s, hashtextextended(%s, 0))', coalesce(expressions->>'id', 'NULL'),
                     CASE WHEN class.relkind IN ('r', 'p', 'm') THEN 'concat(entry.tableoid, entry.ctid)'
                     ELSE 'ROW(entry.*)::text' END),
        'operation', format('coalesce(%s, ''unknown'')', expressions->>'operation'),
        'result', format('coalesce(%s, ''success'')', expressions->>'result'));
    SELECT string_agg(format('(%s)::%s AS %I', coalesce(expressions->>attname, 'NULL'),
                             format_type(atttypid, NULL), attname), ', ' ORDER BY attnum)
    INTO columns
    FROM pg_attribute
    WHERE attrelid = '@extschema@.audit_event'::regclass AND attnum > 0;
    -- the tenants' row security of the log is the views', too
    SELECT format('NOT row_security_active(%L::regclass) OR %s', log, pg_get_expr(polqual, polrelid))
    INTO tenants FROM pg_policy
    WHERE polrelid = log AND polname = 'fraiseql_audit_tenant';

    PERFORM @extschema@.forget_audit_source(s) FROM @extschema@.audit_source_of(relation) s;
    source := @extschema@.audit_table_name(log, format('fraiseql_audit_source_%s_%s',
        (SELECT nspname FROM pg_namespace WHERE oid = class.relnamespace), class.relname)::name);
    -- as of a.b_c, if a_b.c is adopted, and of what begins alike
    IF to_regclass(source) IS NOT NULL THEN
        source := @extschema@.audit_table_name(log, format('fraiseql_audit_source_%s_%s',
            class.oid, class.relname)::name);
    END IF;
    EXECUTE format('CREATE VIEW %s WITH (security_invoker = true) AS
                    SELECT * FROM (SELECT %s FROM %s AS entry) AS entries
                    WHERE created_at IS NOT NULL AND (%s)',
                   source, columns, relation, coalesce(tenants, 'true'));
    EXECUTE format('COMMENT ON VIEW %s IS %L', source,
                   format('Audit log: the rows of %s', relation));
    EXECUTE format('ALTER VIEW %s OWNER TO %I', source,
                   (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = log));
    -- What has no time is in no period.  A view and a policy would run code of
    -- others while the log may be written.
    IF class.relkind IN ('r', 'p') AND NOT row_security_active(relation)
       AND has_table_privilege(relation, 'SELECT')
    THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE (%s) IS NULL)',
                       relation, expressions->>'created_at') INTO untimed;
        IF untimed THEN
            RAISE WARNING 'rows of "%" without a time are left out', relation
                USING HINT = 'Of these the column for "created_at" is null.';
        END IF;
    END IF;
    -- it is read with the rights of the log's owner (audit_door.c)
    PERFORM @extschema@.audit_grant_source(relation, (SELECT relowner FROM pg_class WHERE oid = log));
    -- who reads the log reads it
    FOR reader IN
        SELECT pg_get_userbyid(grantee) FROM pg_class, aclexplode(relacl)
        WHERE oid = log AND privilege_type = 'SELECT' AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO %I', source, reader);
    END LOOP;
    RETURN source;
END
$$;
COMMENT ON FUNCTION audit_do_adopt_audit_source(regclass, jsonb) IS
'What adopt_audit_source() does';

-- The view over a table, if it is adopted
CREATE FUNCTION audit_source_of(relation regclass)
RETURNS SETOF regclass
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
ROWS 1
AS $$
    SELECT s FROM @extschema@.audit_sources(@extschema@.audit_log()) s
    WHERE relation IN (s, @extschema@.audit_source_table(s))
$$;
COMMENT ON FUNCTION audit_source_of(regclass) IS
'The view over an adopted table';

CREATE FUNCTION forget_audit_source(relation regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_set_up'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION forget_audit_source(regclass) IS
'Ends what adopt_audit_source() began; the table stays as it is';

CREATE FUNCTION audit_do_forget_audit_source(relation regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source regclass := @extschema@.audit_source_of(relation);
BEGIN
    IF relation IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'relation must not be null',
            HINT = 'Name the table.';
    END IF;
    IF source IS NULL THEN
        RAISE NOTICE '"%" is no source of the audit log, skipping', relation;
        RETURN;
    END IF;
    EXECUTE format('DROP VIEW %s', source);
END
$$;
COMMENT ON FUNCTION audit_do_forget_audit_source(regclass) IS
'What forget_audit_source() does';
