--
-- Audit log: capture of the changed rows of tables, by triggers
--
-- The triggers are the table's: pg_dump has them, and their arguments are all
-- that audit_table() was told.  They are ordinary ones, so that rows which
-- logical replication applies are not logged a second time.
--

CREATE FUNCTION audit_capture()
RETURNS trigger
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_capture'
LANGUAGE C;
COMMENT ON FUNCTION audit_capture() IS
'Trigger that appends the rows of a statement to the audit log; made by audit_table()';

-- A table that can be audited, or an error
CREATE FUNCTION audit_check_table(relation regclass)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    class pg_class;
    wrong text;
BEGIN
    SELECT * INTO class FROM pg_class WHERE oid = relation;
    IF NOT FOUND THEN
        RAISE undefined_table USING
            MESSAGE = format('relation with OID %s does not exist', relation::oid);
    END IF;
    wrong := CASE
        WHEN class.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
            THEN 'system catalogs'
        WHEN class.relkind IN ('v', 'm') THEN 'views'
        WHEN class.relkind = 'f' THEN 'foreign tables'
        WHEN class.relkind NOT IN ('r', 'p') THEN 'relations of this kind'
        WHEN class.relpersistence = 't' THEN 'temporary tables'
        WHEN class.relispartition THEN 'partitions'
        -- a statement on one fires no trigger of the other
        WHEN class.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE relation IN (inhrelid, inhparent))
            THEN 'tables with parents or children by INHERITS'
        WHEN class.relname LIKE 'fraiseql\_audit\_%' AND class.relnamespace =
             (SELECT relnamespace FROM pg_class WHERE oid = @extschema@.audit_log())
            THEN 'tables of the audit log' END;
    IF wrong IS NOT NULL THEN
        RAISE wrong_object_type USING
            MESSAGE = format('cannot audit "%s"', relation),
            DETAIL = format('It is one of the %s, whose rows cannot be captured.', wrong),
            HINT = CASE wrong WHEN 'partitions' THEN 'Audit the partitioned table.'
                              WHEN 'views' THEN 'Audit the tables below the view.'
                              WHEN 'tables with parents or children by INHERITS' THEN 'Partition the table, or end the inheritance with ALTER TABLE ... NO INHERIT.'
                              ELSE 'Audit an ordinary or a partitioned table.' END;
    END IF;
    IF NOT pg_has_role(class.relowner, 'USAGE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('must be owner of table %s', relation);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relation
                   AND indisprimary AND indimmediate AND indisvalid)
    THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('cannot audit table "%s" without a primary key', relation),
            HINT = 'Entries are found by the primary key of their row: add one, not deferrable.';
    END IF;
    SELECT c.oid::regclass INTO wrong
    FROM pg_partition_tree(relation) t JOIN pg_class c ON c.oid = t.relid
    WHERE c.relkind = 'f' LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE wrong_object_type USING
            MESSAGE = format('cannot audit "%s"', relation),
            DETAIL = format('Its partition "%s" is a foreign table.', wrong);
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_table(regclass) IS
'Raises an error if a table cannot be audited';

-- Columns of a table, or an error that names the one that is none
CREATE FUNCTION audit_check_columns(relation regclass, argument text, columns name[], key_allowed boolean)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong name;
BEGIN
    SELECT c INTO wrong FROM unnest(columns) c
    WHERE c IS NULL OR NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = relation AND attname = c AND attnum > 0 AND NOT attisdropped);
    IF FOUND THEN
        RAISE undefined_column USING
            MESSAGE = format('column "%s" of table "%s" does not exist', wrong, relation),
            DETAIL = format('It is named in %s of audit_table().', argument),
            HINT = format('Columns are %s.', (
                SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped));
    END IF;
    SELECT a.attname INTO wrong
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = relation AND i.indisprimary AND a.attname = ANY (columns);
    IF FOUND AND NOT key_allowed THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('column "%s" cannot be in %s', wrong, argument),
            HINT = 'It is part of the primary key, by which entries are found.';
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_columns(regclass, text, name[], boolean) IS
'Raises an error if columns are none of a table, or are of its key';

CREATE FUNCTION audit_table(
    relation regclass,
    exclude name[] DEFAULT '{}',
    mask name[] DEFAULT '{}',
    entity_type text DEFAULT NULL,
    tenant_column name DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part regclass;
    event record;
BEGIN
    PERFORM @extschema@.audit_log();
    IF relation IS NULL OR exclude IS NULL OR mask IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'relation, exclude and mask of audit_table() must not be null',
            HINT = 'Leave out what is to be as usual.';
    END IF;
    PERFORM @extschema@.audit_check_table(relation);
    PERFORM @extschema@.audit_check_columns(relation, 'exclude', exclude, false);
    PERFORM @extschema@.audit_check_columns(relation, 'mask', mask, false);
    PERFORM @extschema@.audit_check_columns(
        relation, 'tenant_column', array_remove(ARRAY[tenant_column], NULL), true);
    IF exclude && mask THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('column "%s" cannot be both in exclude and in mask',
                             (SELECT e FROM unnest(exclude) e WHERE e = ANY (mask) LIMIT 1)),
            HINT = 'Exclude what is not to be logged at all, and mask what is to be logged without its value.';
    END IF;
    IF octet_length(entity_type) > 1024 THEN
        RAISE string_data_right_truncation USING
            MESSAGE = format('entity_type of audit_table() is too long: %s bytes', octet_length(entity_type)),
            HINT = 'It may have 1024 bytes.';
    END IF;
    entity_type := coalesce(nullif(entity_type, ''),
                            (SELECT relname FROM pg_class WHERE oid = relation));

    -- a statement on a partition itself does not fire the triggers of its parent
    FOR part IN SELECT relid FROM pg_partition_tree(relation)
                UNION SELECT relation
    LOOP
        FOR event IN
            SELECT * FROM (VALUES
                ('insert', 'REFERENCING NEW TABLE AS new_rows'),
                ('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
                ('delete', 'REFERENCING OLD TABLE AS old_rows'),
                ('truncate', '')) AS events (name, tables)
        LOOP
            EXECUTE format(
                'CREATE OR REPLACE TRIGGER fraiseql_audit_%1$s AFTER %1$s ON %2$s %3$s
                 FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.audit_capture(%4$L, %5$L, %6$L, %7$L)',
                event.name, part, event.tables, entity_type,
                coalesce(tenant_column, ''), exclude::text[], mask::text[]);
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_table(regclass, name[], name[], text, name) IS
'Has each changed row of a table appended to the audit log; again: with other options';

CREATE FUNCTION unaudit_table(relation regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_trigger record;
    dropped boolean := false;
BEGIN
    IF relation IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'relation must not be null',
            HINT = 'Name the table.';
    END IF;
    FOR found_trigger IN
        SELECT tgname, tgrelid::regclass AS relation
        FROM pg_trigger
        WHERE tgfoid = '@extschema@.audit_capture'::regproc
          AND tgrelid IN (SELECT relid FROM pg_partition_tree(unaudit_table.relation)
                          UNION SELECT unaudit_table.relation)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.relation);
        dropped := true;
    END LOOP;
    IF NOT dropped THEN
        RAISE NOTICE 'table "%" is not audited, skipping', relation;
    END IF;
END
$$;
COMMENT ON FUNCTION unaudit_table(regclass) IS
'Ends what audit_table() began; what is in the audit log stays';
