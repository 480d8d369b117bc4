--
-- Audit log: its tables, and who may do what
--
-- The tables are data: create_audit_log() makes them in a schema of their own,
-- owned by an ordinary role.  They are no members of the extension, and
-- nothing in them but triggers depends on it.
--
-- What runs for users who have no right on the tables (log_operation()) runs
-- with the rights of the tables' owner, never with those of a superuser: what
-- an owner adds to a table can do no more than the owner.  That holds for who
-- makes a log, too: with his own rights create_audit_log() makes what is not
-- there yet, and grants; on tables that stand, works audit_furnish() as their
-- owner.
--

-- Which schema has the audit log.  Of two databases of a restored dump both
-- know it, because pg_dump takes this table's row along.  But only in the
-- database that the row names the log is active, which means guarded against
-- everybody, and sealed: what is being restored must not be.
CREATE TABLE audit_registry (
    schema_name name NOT NULL,
    system_identifier bigint,
    database_oid oid,
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton)
);
COMMENT ON TABLE audit_registry IS
'The schema that holds the audit log, and where it is active';
SELECT pg_catalog.pg_extension_config_dump('audit_registry', '');

CREATE TYPE audit_event AS (
    id bigint,
    created_at timestamptz,
    occurred_at timestamptz,
    xact xid8,
    tenant_id text,
    user_id text,
    operation text,
    entity_type text,
    entity_id text,
    result text,
    details jsonb,
    old_data jsonb,
    new_data jsonb,
    changed_fields text[],
    sqlstate text,
    error_message text,
    duration_ms double precision,
    db_role text,
    client_addr inet,
    application_name text,
    request_id text,
    trace_id text,
    span_id text,
    personal_salt bytea,
    personal_digest bytea,
    actor_type text,
    acting_for text
);
COMMENT ON TYPE audit_event IS
'A row of the audit log, in the order of its columns';

CREATE TYPE audit_position AS (
    created_at timestamptz,
    id bigint
);
COMMENT ON TYPE audit_position IS
'The place of a row in the audit log: where the next page begins';

-- The log, or an error if there is none.  SECURITY DEFINER because nobody
-- needs a right on the registry to be told.
CREATE FUNCTION audit_log()
RETURNS regclass
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass;
BEGIN
    SELECT c.oid INTO log
    FROM @extschema@.audit_registry r
    JOIN pg_namespace n ON n.nspname = r.schema_name
    JOIN pg_class c ON c.relnamespace = n.oid
    WHERE c.relname = 'fraiseql_audit_log' AND c.relkind = 'p';
    IF log IS NULL THEN
        RAISE undefined_table USING
            MESSAGE = 'audit log does not exist',
            HINT = coalesce(@extschema@.audit_found_logs(),
                            'Create it with: SELECT fraiseql_obs.create_audit_log();');
    END IF;
    RETURN log;
END
$$;
COMMENT ON FUNCTION audit_log() IS
'The table that holds the audit log of this database; an error if there is none';

-- What looks like a log may be somebody's who wants to be told what others do.
CREATE FUNCTION audit_found_logs()
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(
        'If role "%s" is to be trusted, take the log that stands in schema "%s" with: SELECT fraiseql_obs.create_audit_log(%L, owner => %L);',
        pg_get_userbyid(relowner), nspname, nspname, pg_get_userbyid(relowner)), ' ' ORDER BY nspname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relname = 'fraiseql_audit_log' AND relkind = 'p'
$$;
COMMENT ON FUNCTION audit_found_logs() IS
'How to take what stands in this database and is called as an audit log; null if nothing is';

CREATE FUNCTION audit_is_active()
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM @extschema@.audit_registry r, pg_control_system() c, pg_database d
        WHERE d.datname = current_database()
          AND (r.system_identifier, r.database_oid) = (c.system_identifier, d.oid))
$$;
COMMENT ON FUNCTION audit_is_active() IS
'Whether the audit log is active in this database, and not one that was restored or copied';

CREATE FUNCTION audit_guard()
RETURNS trigger
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_guard'
LANGUAGE C;
COMMENT ON FUNCTION audit_guard() IS
'Trigger that keeps an audit log append-only, and lets only log_operation() append';

-- One of the tables beside the log, quoted
CREATE FUNCTION audit_table_name(log regclass, name text)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', n.nspname, name)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = log
$$;
COMMENT ON FUNCTION audit_table_name(regclass, text) IS
'The qualified name of a table in the schema of an audit log';

-- A partition gets what the log has but partitions do not inherit: its owner,
-- triggers for statements, row security and the tenants' policy.  Nothing is
-- granted on partitions; row security on them is the second lock.  Policies
-- that others add to the log are not repeated: fewer rows are seen there.
-- The log itself gets the same, and the trigger for rows, which they inherit.
CREATE FUNCTION audit_dress_partition(log regclass, partition regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    policy text;
    guarded boolean;
BEGIN
    EXECUTE format('SELECT guard_triggers FROM %s',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_settings'))
    INTO guarded;
    IF guarded AND partition = log AND NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = log AND tgname = 'fraiseql_audit_door')
    THEN
        EXECUTE format('CREATE TRIGGER fraiseql_audit_door
                        BEFORE INSERT ON %s
                        FOR EACH ROW EXECUTE FUNCTION @extschema@.audit_guard()',
                       log);
    END IF;
    IF guarded AND NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = partition AND tgname = 'fraiseql_audit_append_only')
    THEN
        EXECUTE format(
            'CREATE TRIGGER fraiseql_audit_append_only
             BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$s
             FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.audit_guard();
             ALTER TABLE %1$s ENABLE ALWAYS TRIGGER fraiseql_audit_append_only',
            partition);
    END IF;

    IF (SELECT relrowsecurity FROM pg_class WHERE oid = log) THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', partition);
        SELECT pg_get_expr(polqual, polrelid) INTO policy
        FROM pg_policy p
        WHERE polrelid = log AND polname = 'fraiseql_audit_tenant'
          AND NOT EXISTS (SELECT FROM pg_policy o
                          WHERE o.polrelid = partition AND o.polname = p.polname);
        IF policy IS NOT NULL THEN
            EXECUTE format('CREATE POLICY fraiseql_audit_tenant ON %s FOR SELECT USING (%s)',
                           partition, policy);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION audit_dress_partition(regclass, regclass) IS
'Gives a partition of the audit log what partitions do not inherit';

CREATE FUNCTION audit_partition_name(log regclass, unit text, utc timestamp)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_table_name(
        log, 'fraiseql_audit_log_' ||
        to_char(utc, CASE unit WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMM' END))
$$;
COMMENT ON FUNCTION audit_partition_name(regclass, text, timestamp) IS
'What the partition of an audit log for a day or a month is called';

-- Names and pg_partition_root() are seen whatever the snapshot of the
-- transaction is.
CREATE FUNCTION audit_partition_end(log regclass, at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (date_trunc(unit, utc) + ('1 ' || unit)::interval) AT TIME ZONE 'UTC'
    FROM (SELECT at AT TIME ZONE 'UTC') AS t (utc), unnest('{day,month}'::text[]) unit
    WHERE pg_partition_root(to_regclass(
              @extschema@.audit_partition_name(log, unit, utc))) = log
    LIMIT 1
$$;
COMMENT ON FUNCTION audit_partition_end(regclass, timestamptz) IS
'Where the partition of an audit log for a time ends; null if there is none';

-- ATTACH needs less of a lock than CREATE TABLE ... PARTITION OF: writers and
-- readers of the log go on.  The settings are fixed because they would decide
-- about the bounds and where the partition is stored.  Partitions are days or
-- months; where that has changed, a month that has days goes on with days.
CREATE FUNCTION audit_ensure_partition(at timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
SET default_tablespace = ''
SET default_table_access_method = 'heap'
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    ends timestamptz;
    unit text;
    utc timestamp;
    partition text;
BEGIN
    -- names of partitions have years of our era
    IF at < '0001-01-01' OR at >= '10000-01-01' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('cannot make a partition of the audit log for %s', at),
            HINT = 'Partitions are for times in the years 1 to 9999.';
    END IF;
    ends := @extschema@.audit_partition_end(log, at);
    IF ends IS NOT NULL THEN
        RETURN ends;
    END IF;

    -- one makes it, and the others learn of it: only a lock on a relation
    -- brings what the one before has committed to the caches of names
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', log);
    ends := @extschema@.audit_partition_end(log, at);
    IF ends IS NOT NULL THEN
        RETURN ends;
    END IF;
    EXECUTE format('SELECT partition_unit FROM %s',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_settings'))
    INTO unit;
    utc := date_trunc('month', at AT TIME ZONE 'UTC');
    IF EXISTS (SELECT FROM generate_series(utc, utc + interval '1 month - 1 day', '1 day') day
               WHERE @extschema@.audit_partition_end(log, day AT TIME ZONE 'UTC') IS NOT NULL)
    THEN
        unit := 'day';
    END IF;

    utc := date_trunc(unit, at AT TIME ZONE 'UTC');
    ends := (utc + ('1 ' || unit)::interval) AT TIME ZONE 'UTC';
    partition := @extschema@.audit_partition_name(log, unit, utc);
    IF to_regclass(partition) IS NOT NULL THEN
        RAISE duplicate_table USING
            MESSAGE = format('cannot make a partition of the audit log, for "%s" is in the way', partition),
            HINT = 'Rename it, or attach it to the audit log again if it was detached.';
    END IF;
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)',
                   partition, log);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                   log, partition, utc AT TIME ZONE 'UTC', ends);
    EXECUTE format('ALTER TABLE %s OWNER TO %I', partition,
                   (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = log));
    PERFORM @extschema@.audit_dress_partition(log, partition);
    RETURN ends;
END
$$;
COMMENT ON FUNCTION audit_ensure_partition(timestamptz) IS
'Makes the partition for a time where it is missing; returns where it ends';

-- Settings that the application names its tenant in, as a policy: fixed when
-- the log is made, because a policy must not depend on the extension.  Where
-- none has a value there is no row to see.
CREATE FUNCTION audit_tenant_condition()
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('tenant_id = coalesce(%s)',
                  string_agg(format('nullif(current_setting(%L, true), %L)',
                                    setting, ''), ', ' ORDER BY n))
    FROM regexp_split_to_table(
        'fraiseql_obs.tenant_id,' ||
        coalesce(current_setting('fraiseql_obs.tenant_id_sources', true),
                 'app.tenant_id, fraiseql.tenant_id'),
        '[,\s]+') WITH ORDINALITY AS s (setting, n)
    WHERE setting <> ''
$$;
COMMENT ON FUNCTION audit_tenant_condition() IS
'The condition of row security: the tenant of the request context';

-- A schema, and a log that stands in it, are believed if the registry has them,
-- or if they are the caller's, a superuser's, or those of the role that the
-- caller names: somebody else may have made them to be told what others do.
CREATE FUNCTION audit_check_owner(what text, role oid, owner name)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_owner name := (SELECT rolname FROM pg_roles r
                         WHERE r.oid = role AND NOT rolsuper
                           AND rolname NOT IN (coalesce(owner, current_user), current_user));
BEGIN
    IF found_owner IS NOT NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s belongs to role "%s"', what, found_owner),
            HINT = format('If you trust that role, name it: SELECT fraiseql_obs.create_audit_log(owner => %L);', found_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_owner(text, oid, name) IS
'Raises an error if something belongs to a role that nobody has named';

CREATE FUNCTION audit_relations(schema name)
RETURNS SETOF regclass
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = schema AND c.relname LIKE 'fraiseql\_audit\_%'
      AND c.relkind NOT IN ('i', 'I', 'S')
      -- adopted sources
      AND NOT (c.relkind = 'v' AND starts_with(c.relname::text, 'fraiseql_audit_source_'))
$$;
COMMENT ON FUNCTION audit_relations(name) IS
'What is called as the tables of an audit log are, in a schema';

-- Whether a log and its settings stand in a schema, and all tables of our names
-- there are such, and of one owner.  What he has attached to them, runs as he.
CREATE FUNCTION audit_is_standing(schema name)
RETURNS boolean
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FILTER (WHERE (relname, relkind) IN (('fraiseql_audit_log', 'p'), ('fraiseql_audit_settings', 'r'))) = 2
           AND count(DISTINCT relowner) = 1 AND bool_and(relkind IN ('r', 'p'))
    FROM @extschema@.audit_relations(schema) r JOIN pg_class c ON c.oid = r
$$;
COMMENT ON FUNCTION audit_is_standing(name) IS
'Whether there is an audit log in a schema';

-- Times are looked for that are so long ago: within what a timestamp can be.
CREATE FUNCTION audit_check_retention(retention interval)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF retention < '1 day' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('retention of %s is too short', retention),
            HINT = 'Keep the audit log for at least one day.';
    END IF;
    IF retention > '1000 years' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('retention of %s is too long', retention),
            HINT = 'Keep the audit log for at most 1000 years.';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_retention(interval) IS
'Raises an error if an audit log cannot be kept for so long';

CREATE FUNCTION audit_foreign_tables(log regclass)
RETURNS SETOF regclass
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid::regclass
    FROM pg_class l, pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE l.oid = log AND i.inhparent = log AND c.relowner <> l.relowner
    UNION ALL
    SELECT c.oid::regclass
    FROM pg_class l JOIN pg_class c USING (relnamespace)
    WHERE l.oid = log AND c.relkind = 'r' AND c.relowner <> l.relowner
      AND c.relname IN ('fraiseql_audit_settings', 'fraiseql_audit_counts', 'fraiseql_audit_actor_days',
                        'fraiseql_audit_rollup_state', 'fraiseql_audit_seals', 'fraiseql_audit_checkpoints',
                        'fraiseql_audit_partitions', 'fraiseql_audit_holds', 'fraiseql_audit_erasures',
                        'fraiseql_audit_collapsed', 'fraiseql_audit_actor_operations', 'fraiseql_audit_actor_state')
$$;
COMMENT ON FUNCTION audit_foreign_tables(regclass) IS
'The tables of an audit log that do not belong to its owner';

-- What is done to the log is done as its owner, who must own all of it, and have
-- what create_audit_log() grants.  SECURITY DEFINER because whoever writes to
-- the log is told.
CREATE FUNCTION audit_check_owners(log regclass)
RETURNS void
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    class pg_class;
    wrong text;
BEGIN
    SELECT * INTO class FROM pg_class WHERE oid = log;
    SELECT format('Table "%s" belongs to role "%s".', t, pg_get_userbyid(relowner)) INTO wrong
    FROM @extschema@.audit_foreign_tables(log) t JOIN pg_class c ON c.oid = t LIMIT 1;
    IF wrong IS NULL AND (
        NOT has_schema_privilege(class.relowner, class.relnamespace, 'USAGE')
        OR NOT has_schema_privilege(class.relowner, '@extschema@', 'USAGE')
        OR NOT has_function_privilege(class.relowner, '@extschema@.audit_ensure_partition(timestamptz)', 'EXECUTE'))
    THEN
        wrong := 'The role has not what create_audit_log() grants to the owner.';
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('audit log does not wholly belong to its owner, role "%s"', pg_get_userbyid(class.relowner)),
            DETAIL = wrong,
            HINT = format('Have it given to that role with: SELECT fraiseql_obs.create_audit_log(%L);',
                          class.relnamespace::regnamespace);
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_owners(regclass) IS
'Raises an error if the owner of an audit log cannot keep it';

-- Gives all of a log to the owner of its table, with the caller's rights: its
-- partitions, what belongs to whom its settings do, who was the owner, and views
-- of these.  Another one may have made what the log has not had yet.
CREATE FUNCTION audit_unite_owners(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    class pg_class;
    settings_owner oid;
    owners oid[];
    relation record;
BEGIN
    SELECT * INTO class FROM pg_class WHERE oid = log;
    SELECT relowner INTO settings_owner FROM pg_class
    WHERE relnamespace = class.relnamespace AND relname = 'fraiseql_audit_settings' AND relkind = 'r';
    SELECT array_agg(relowner) INTO owners
    FROM @extschema@.audit_foreign_tables(log) t JOIN pg_class c ON c.oid = t
    WHERE relispartition OR relowner = settings_owner;
    FOR relation IN
        SELECT t AS name, 'TABLE' AS kind
        FROM @extschema@.audit_foreign_tables(log) t JOIN pg_class c ON c.oid = t
        WHERE relispartition OR relowner = settings_owner
        UNION ALL
        SELECT oid::regclass, 'VIEW' FROM pg_class
        WHERE relnamespace = class.relnamespace AND relkind = 'v' AND relowner = ANY (owners)
          AND relowner <> class.relowner
          AND (relname = 'v_audit_log' OR relname LIKE 'fraiseql\_audit\_source\_%')
    LOOP
        -- who had it may have made another of it, to read with the new one's rights
        IF relation.kind = 'VIEW' THEN
            EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', relation.name);
        END IF;
        EXECUTE format('ALTER %s %s OWNER TO %I', relation.kind, relation.name,
                       pg_get_userbyid(class.relowner));
    END LOOP;
    IF NOT has_schema_privilege(class.relowner, class.relnamespace, 'USAGE')
       OR NOT has_schema_privilege(class.relowner, class.relnamespace, 'CREATE')
    THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO %I',
                       class.relnamespace::regnamespace, pg_get_userbyid(class.relowner));
    END IF;
END
$$;
COMMENT ON FUNCTION audit_unite_owners(regclass) IS
'Gives all tables of an audit log to its owner';

-- Of what is as usual nobody knows if it was asked for.
CREATE FUNCTION audit_warn_unchanged(
    log regclass,
    owner name,
    retention interval,
    indexes text,
    tenant_isolation boolean,
    guard_triggers boolean,
    distribute_by name)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_warn_unchanged(regclass, name, interval, text, boolean, boolean, name) IS
'Warns of arguments of create_audit_log() that a log that stands is not made by';

CREATE FUNCTION audit_do_audit_warn_unchanged(
    log regclass,
    owner name,
    retention interval,
    indexes text,
    tenant_isolation boolean,
    guard_triggers boolean,
    distribute_by name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made record;
    unchanged text;
BEGIN
    EXECUTE format('SELECT * FROM %s', @extschema@.audit_table_name(log, 'fraiseql_audit_settings'))
    INTO made;
    SELECT concat_ws(', ',
        CASE WHEN owner <> pg_get_userbyid(relowner) THEN 'owner' END,
        CASE WHEN retention IS NOT NULL AND made.retention IS DISTINCT FROM retention THEN 'retention' END,
        CASE WHEN indexes <> 'full' AND made.indexes <> indexes THEN 'indexes' END,
        CASE WHEN tenant_isolation AND NOT made.tenant_isolation THEN 'tenant_isolation' END,
        CASE WHEN made.guard_triggers AND NOT guard_triggers THEN 'guard_triggers' END,
        CASE WHEN distribute_by IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = log AND i.indisprimary AND a.attname = distribute_by)
        THEN 'distribute_by' END)
    INTO unchanged FROM pg_class WHERE oid = log;
    IF unchanged <> '' THEN
        RAISE WARNING USING
            MESSAGE = format('audit log "%s" stays as it was made; not applied: %s', log, unchanged),
            HINT = 'set_audit_retention() changes the retention, ALTER TABLE ... OWNER TO the owner; all else is fixed when the log is made.';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_do_audit_warn_unchanged(regclass, name, interval, text, boolean, boolean, name) IS
'What audit_warn_unchanged() does';

CREATE FUNCTION create_audit_log(
    schema name DEFAULT 'fraiseql_audit',
    owner name DEFAULT NULL,
    retention interval DEFAULT NULL,
    indexes text DEFAULT 'full',
    tenant_isolation boolean DEFAULT false,
    guard_triggers boolean DEFAULT true,
    distribute_by name DEFAULT NULL)
RETURNS regclass
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_set_up'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION create_audit_log(name, name, interval, text, boolean, boolean, name) IS
'Makes the audit log of this database, or takes one that stands; returns its table';

CREATE FUNCTION audit_do_create_audit_log(
    schema name,
    owner name,
    retention interval,
    indexes text,
    tenant_isolation boolean,
    guard_triggers boolean,
    distribute_by name)
RETURNS regclass
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass;
    table_name text := quote_ident(schema) || '.fraiseql_audit_log';
    settings text := quote_ident(schema) || '.fraiseql_audit_settings';
    here name;
    in_the_way regclass;
    kept interval := coalesce(retention, current_setting('fraiseql_obs.audit_log_retention', true)::interval, '90 days');
    key_prefix text := '';
BEGIN
    IF NOT has_table_privilege('@extschema@.audit_registry', 'INSERT') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied to create the audit log',
            HINT = 'A superuser creates it once in the database, for a role to own it.';
    END IF;
    here := (SELECT schema_name FROM @extschema@.audit_registry);
    IF schema IS NULL OR indexes IS NULL OR tenant_isolation IS NULL
       OR guard_triggers IS NULL
    THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'schema, indexes, tenant_isolation and guard_triggers of create_audit_log() must not be null',
            HINT = 'Leave out what is to be as usual.';
    END IF;
    IF indexes NOT IN ('full', 'lean') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('invalid set of indexes "%s"', indexes),
            HINT = 'Valid sets are "full" and "lean".';
    END IF;
    IF distribute_by IS NOT NULL AND distribute_by <> 'tenant_id' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('audit log cannot be distributed by "%s"', distribute_by),
            HINT = 'It can be distributed by "tenant_id".';
    END IF;
    PERFORM @extschema@.audit_check_retention(kept);

    -- one that stands already
    log := to_regclass(table_name);
    IF here IS DISTINCT FROM schema THEN
        PERFORM @extschema@.audit_check_owner(format('schema "%s"', schema), nspowner, owner)
        FROM pg_namespace WHERE nspname = schema AND nspowner <> 'pg_database_owner'::regrole;
        PERFORM @extschema@.audit_check_owner(format('table "%s"', log), relowner, owner)
        FROM pg_class WHERE oid = log;
    END IF;
    -- whose tables have been given to somebody else, one by one
    IF here = schema AND EXISTS (SELECT FROM pg_class WHERE oid = log AND relkind = 'p') THEN
        PERFORM @extschema@.audit_unite_owners(log);
    END IF;
    IF @extschema@.audit_is_standing(schema) AND coalesce(here, schema) = schema THEN
        RAISE NOTICE 'audit log "%" already exists, skipping', log;
        INSERT INTO @extschema@.audit_registry (schema_name) VALUES (schema)
        ON CONFLICT DO NOTHING;
        PERFORM @extschema@.audit_attach(log);
        PERFORM @extschema@.audit_warn_unchanged(log, audit_do_create_audit_log.owner, retention, indexes,
                                                 tenant_isolation, guard_triggers, distribute_by);
        PERFORM @extschema@.audit_activate();
        RETURN log;
    END IF;
    IF here IS NOT NULL AND here <> schema
       AND to_regclass(format('%I.fraiseql_audit_log', here)) IS NOT NULL
    THEN
        RAISE duplicate_object USING
            MESSAGE = format('this database has an audit log in schema "%s"', here),
            HINT = 'A database has one audit log.';
    END IF;
    SELECT r INTO in_the_way
    FROM @extschema@.audit_relations(schema) r JOIN pg_class c ON c.oid = r
    ORDER BY relowner IS NOT DISTINCT FROM (SELECT relowner FROM pg_class WHERE oid = log),
             relkind IN ('r', 'p'), relname LIMIT 1;
    IF FOUND THEN
        RAISE duplicate_table USING
            MESSAGE = format('cannot make the audit log, for "%s" is in the way', in_the_way),
            DETAIL = 'It is not a table of an audit log that is whole and has one owner.',
            HINT = 'Rename it, or make the log in another schema.';
    END IF;

    IF to_regnamespace(quote_ident(schema)) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', schema,
                       coalesce(owner, current_user));
    ELSIF owner IS NOT NULL THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', schema, owner);
    END IF;
    EXECUTE format('CREATE TABLE %s (
        retention interval,
        partition_unit text NOT NULL,
        indexes text NOT NULL,
        tenant_isolation boolean NOT NULL,
        guard_triggers boolean NOT NULL,
        minimum interval,
        maximum interval,
        profile text,
        next_minimum interval,
        next_minimum_from timestamptz,
        singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton))',
        settings);
    EXECUTE format('COMMENT ON TABLE %s IS %L', settings,
                   'Audit log: how it was made; retention: if it is not fraiseql_obs.audit_log_retention');
    EXECUTE format('INSERT INTO %s VALUES ($1, $2, $3, $4, $5)', settings)
    USING retention, @extschema@.audit_partition_unit(kept), indexes,
          tenant_isolation, guard_triggers;

    IF distribute_by IS NOT NULL THEN
        key_prefix := quote_ident(distribute_by) || ', ';
    END IF;
    EXECUTE format($table$
        CREATE TABLE %s (
            id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
            tenant_id text,
            user_id text,
            operation text NOT NULL,
            entity_type text,
            entity_id text,
            result text NOT NULL DEFAULT 'success'
                CHECK (result IN ('success', 'failure', 'denied', 'error',
                                  'timeout', 'noop')),
            details jsonb,
            old_data jsonb,
            new_data jsonb,
            changed_fields text[],
            sqlstate text,
            error_message text,
            duration_ms double precision,
            db_role text NOT NULL DEFAULT session_user,
            client_addr inet DEFAULT inet_client_addr(),
            application_name text DEFAULT current_setting('application_name'),
            request_id text,
            trace_id text,
            span_id text,
            personal_salt bytea,
            personal_digest bytea,
            actor_type text,
            acting_for text,
            PRIMARY KEY (%screated_at, id))
        PARTITION BY RANGE (created_at)
        $table$, table_name, key_prefix);
    log := table_name::regclass;
    EXECUTE format('COMMENT ON TABLE %s IS %L', log,
                   'Audit log: append-only, one row per operation');

    EXECUTE format('CREATE INDEX ON %s (created_at DESC, id DESC)
                    INCLUDE (operation, user_id, result)
                    WHERE result <> %L', log, 'success');
    EXECUTE format('CREATE INDEX ON %s USING brin (created_at)', log);
    EXECUTE format('CREATE INDEX ON %s USING brin (((xact::text)::bigint))', log);
    IF indexes = 'full' THEN
        EXECUTE format('CREATE INDEX ON %s (user_id, created_at DESC, id DESC)', log);
        EXECUTE format('CREATE INDEX ON %s (entity_type, entity_id, created_at DESC, id DESC)', log);
    END IF;

    IF tenant_isolation THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', log);
        EXECUTE format('CREATE POLICY fraiseql_audit_tenant ON %s FOR SELECT USING (%s)',
                       log, @extschema@.audit_tenant_condition());
    END IF;

    -- what a FraiseQL type takes as its sql_source
    EXECUTE format($view$
        CREATE VIEW %I.v_audit_log WITH (security_invoker = true) AS
        SELECT id, created_at, tenant_id, user_id, operation, entity_type,
               entity_id, result, request_id, trace_id,
               to_jsonb(l) - '{personal_salt,personal_digest,xact}'::text[]
               || jsonb_build_object('id', id::text) AS data
        FROM %s l
        $view$, schema, log);
    EXECUTE format('COMMENT ON VIEW %I.v_audit_log IS %L', schema,
                   'The audit log as id, columns to filter by, and data');

    IF owner IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', log, owner);
        EXECUTE format('ALTER TABLE %s OWNER TO %I', settings, owner);
        EXECUTE format('ALTER VIEW %I.v_audit_log OWNER TO %I', schema, owner);
    END IF;

    DELETE FROM @extschema@.audit_registry;
    INSERT INTO @extschema@.audit_registry (schema_name) VALUES (schema);
    PERFORM @extschema@.audit_attach(log);
    PERFORM @extschema@.audit_ensure_partition(at)
    FROM @extschema@.audit_partitions_ahead(log) at;
    PERFORM @extschema@.audit_activate();
    RETURN log;
END
$$;
COMMENT ON FUNCTION audit_do_create_audit_log(name, name, interval, text, boolean, boolean, name) IS
'What create_audit_log() does';

-- The indexes of users and entities for partitions that have ended, where the
-- log was made without.  Nobody writes there any more, so that the lock of
-- CREATE INDEX is in nobody's way; one that is locked is left for the next time.
CREATE FUNCTION index_audit_partitions()
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION index_audit_partitions() IS
'Builds the indexes of users and entities on partitions of the audit log that have ended and have none; returns on how many';

CREATE FUNCTION audit_do_index_audit_partitions()
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
SET lock_timeout = '2s'
SET client_min_messages = warning
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    partition record;
    indexed bigint := 0;
BEGIN
    FOR partition IN
        SELECT c.oid::regclass AS name, c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = log
          AND substring(pg_get_expr(c.relpartbound, 0) FROM 'TO \(''([^'']+)''\)')::timestamptz
              < now() - interval '1 hour'
          AND NOT EXISTS (SELECT FROM pg_index x
                          WHERE x.indrelid = c.oid AND x.indkey[0] =
                              (SELECT attnum FROM pg_attribute
                               WHERE attrelid = c.oid AND attname = 'user_id'))
        ORDER BY c.relname
    LOOP
        BEGIN
            EXECUTE format('CREATE INDEX %I ON %s (user_id, created_at DESC, id DESC)',
                           partition.relname || '_user_idx', partition.name);
            EXECUTE format('CREATE INDEX %I ON %s (entity_type, entity_id, created_at DESC, id DESC)',
                           partition.relname || '_entity_idx', partition.name);
            indexed := indexed + 1;
        EXCEPTION WHEN lock_not_available THEN
            RAISE WARNING 'partition "%" of the audit log is locked, and not indexed', partition.name;
        END;
    END LOOP;
    RETURN indexed;
END
$$;
COMMENT ON FUNCTION audit_do_index_audit_partitions() IS
'What index_audit_partitions() does';
