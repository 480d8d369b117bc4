--
-- Audit log: what its tables have of the extension
--
-- They are data and outlive it: DROP EXTENSION takes the grants and triggers,
-- and CREATE EXTENSION puts them back.
--

-- What is done to the tables of the log.  They may have stood before, with what
-- their owner has made of them.
CREATE FUNCTION audit_furnish()
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_furnish() IS
'Gives the audit log the tables beside it, triggers and row security that it lacks';

CREATE FUNCTION audit_do_audit_furnish()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    partition regclass;
BEGIN
    PERFORM @extschema@.audit_create_rollups(log);
    PERFORM @extschema@.audit_create_evidence(log);
    PERFORM @extschema@.audit_create_retention(log);
    PERFORM @extschema@.audit_create_actors(log);
    PERFORM @extschema@.audit_dress_partition(log, log);
    FOR partition IN
        SELECT inhrelid FROM pg_inherits WHERE inhparent = log
    LOOP
        PERFORM @extschema@.audit_dress_partition(log, partition);
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit_do_audit_furnish() IS
'What audit_furnish() does';

-- Who reads the log, and the owner, with whose rights it is read.
CREATE FUNCTION audit_grant_reading(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.audit_log, @extschema@.audit_partition_bounds,
        @extschema@.audit_sources, @extschema@.audit_source_table,
        @extschema@.audit_readable_sources, @extschema@.audit_sees_all,
        @extschema@.audit_search, @extschema@.audit_condition,
        @extschema@.recent_operations, @extschema@.by_user,
        @extschema@.by_entity, @extschema@.by_operation,
        @extschema@.by_request, @extschema@.failed_operations,
        @extschema@.audit_table_name, @extschema@.audit_is_native,
        @extschema@.audit_tail_condition, @extschema@.audit_uncounted_rows,
        @extschema@.audit_dimension_columns, @extschema@.audit_tally,
        @extschema@.audit_checkpoint, @extschema@.audit_checkpoint_note,
        @extschema@.audit_is_signing, @extschema@.audit_tree_root,
        @extschema@.audit_checkpoint_number, @extschema@.audit_tree_append,
        @extschema@.audit_leaf_hash, @extschema@.audit_verify,
        @extschema@.audit_verified, @extschema@.verify_audit_log,
        @extschema@.audit_seal_count, @extschema@.audit_check_removed,
        @extschema@.audit_says_verified, @extschema@.audit_newest_verification,
        @extschema@.audit_anchor_finding, @extschema@.audit_last_findings,
        @extschema@.audit_adopted_rows,
        @extschema@.audit_adopted_text, @extschema@.audit_gaps,
        @extschema@.audit_verify_period, @extschema@.audit_head,
        @extschema@.audit_report_seals, @extschema@.audit_verdict,
        @extschema@.audit_integrity, @extschema@.audit_report_alert,
        @extschema@.audit_report_findings, @extschema@.audit_text_fact,
        @extschema@.audit_text_alert, @extschema@.audit_text_findings,
        @extschema@.audit_html_alert, @extschema@.audit_html_findings,
        @extschema@.audit_counts,
        @extschema@.audit_actor_counts, @extschema@.audit_profile_days,
        @extschema@.audit_check_period, @extschema@.audit_by_key,
        @extschema@.audit_entries, @extschema@.audit_accesses,
        @extschema@.audit_retention, @extschema@.audit_coverage,
        @extschema@.holds, @extschema@.audit_partitions,
        @extschema@.audit_shown_partitions,
        @extschema@.audit_effective_retention,
        @extschema@.audit_retention_settings, @extschema@.audit_results_of,
        @extschema@.audit_rolled_up_results,
        @extschema@.audit_removed_partitions,
        @extschema@.audit_days_without_record, @extschema@.audit_report_holds,
        @extschema@.audit_results, @extschema@.audit_report,
        @extschema@.audit_report_made, @extschema@.compliance_report,
        @extschema@.audit_number, @extschema@.audit_moment,
        @extschema@.audit_result_counts, @extschema@.audit_report_tables,
        @extschema@.audit_report_facts, @extschema@.audit_report_lists,
        @extschema@.audit_report_period, @extschema@.audit_text_line,
        @extschema@.audit_text_heading, @extschema@.audit_text_value,
        @extschema@.audit_text_tables, @extschema@.audit_report_text,
        @extschema@.audit_csv_value, @extschema@.audit_report_csv,
        @extschema@.audit_html, @extschema@.audit_html_cell,
        @extschema@.audit_html_table, @extschema@.audit_html_counts,
        @extschema@.audit_html_facts, @extschema@.audit_html_list,
        @extschema@.audit_chart_series, @extschema@.audit_chart_rect,
        @extschema@.audit_report_spans, @extschema@.audit_chart_axis,
        @extschema@.audit_html_chart_by_day, @extschema@.audit_html_users,
        @extschema@.audit_html_style, @extschema@.audit_css_string,
        @extschema@.audit_html_page, @extschema@.audit_html_totals,
        @extschema@.audit_html_state, @extschema@.audit_html_count_tables,
        @extschema@.audit_html_lists, @extschema@.audit_report_html, @extschema@.compliance_report_text,
        @extschema@.compliance_report_csv, @extschema@.compliance_report_html,
        @extschema@.audit_relation, @extschema@.audit_check_window,
        @extschema@.audit_check_thresholds, @extschema@.audit_statistics,
        @extschema@.failure_spikes, @extschema@.repeated_denials,
        @extschema@.audit_begins, @extschema@.new_actors,
        @extschema@.audit_unseen_condition, @extschema@.audit_days_kept,
        @extschema@.audit_most_rows, @extschema@.off_hours, @extschema@.volume_spikes, @extschema@.silence,
        @extschema@.most_active_users, @extschema@.most_active_entities,
        @extschema@.slow_operations TO %I', role);
END
$$;
COMMENT ON FUNCTION audit_grant_reading(name) IS
'Lets a role call what reads the audit log';

-- What a log needs of the extension and loses with it.
CREATE FUNCTION audit_attach(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = log);
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@ TO %I', owner);
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.audit_guard(),
        @extschema@.audit_dress_partition(regclass, regclass),
        @extschema@.audit_dress_table(regclass, regclass),
        @extschema@.audit_create_rollups(regclass),
        @extschema@.audit_create_evidence(regclass),
        @extschema@.audit_create_retention(regclass),
        @extschema@.audit_create_actors(regclass),
        @extschema@.audit_ensure_partition(timestamptz),
        @extschema@.audit_partition_name, @extschema@.audit_partition_end,
        @extschema@.log_operation, @extschema@.audit_hold_on,
        @extschema@.audit_lock_holds, @extschema@.audit_check_isolation,
        @extschema@.audit_check_retention, @extschema@.place_hold,
        @extschema@.audit_do_place_hold, @extschema@.release_hold,
        @extschema@.audit_do_release_hold, @extschema@.audit_partition_unit,
        @extschema@.audit_partitions_ahead, @extschema@.audit_detached_partitions,
        @extschema@.audit_standing_partitions, @extschema@.audit_removable_partitions,
        @extschema@.audit_check_partition, @extschema@.audit_verify_partition,
        @extschema@.audit_check_age, @extschema@.audit_collapse_seals,
        @extschema@.audit_check_tombstones, @extschema@.audit_check_entries,
        @extschema@.audit_check_stray_counts, @extschema@.audit_check_erasures,
        @extschema@.audit_records_hash, @extschema@.audit_entry_time,
        @extschema@.audit_read_time, @extschema@.audit_read_interval,
        @extschema@.audit_write_tombstone, @extschema@.audit_close_partition,
        @extschema@.audit_do_audit_close_partition, @extschema@.audit_drop_partition,
        @extschema@.audit_do_audit_drop_partition, @extschema@.audit_keep_partition,
        @extschema@.audit_try, @extschema@.audit_maintenance,
        @extschema@.maintain_audit_log, @extschema@.audit_do_maintain_audit_log,
        @extschema@.set_audit_retention, @extschema@.audit_do_set_audit_retention,
        @extschema@.erase_audit_details, @extschema@.audit_do_erase_audit_details,
        @extschema@.audit_subject_condition, @extschema@.audit_check_holds,
        @extschema@.audit_recount_actors, @extschema@.audit_source_of(regclass),
        @extschema@.adopt_audit_source(regclass, jsonb),
        @extschema@.audit_grant_source,
        @extschema@.forget_audit_source(regclass),
        @extschema@.audit_result_expression(text),
        @extschema@.audit_operation_expression(text), @extschema@.audit_known_sources(),
        @extschema@.audit_document_expression(text),
        @extschema@.audit_cast(text, name, regtype),
        @extschema@.audit_mapping_expressions(regclass, jsonb),
        @extschema@.audit_known_expressions(regclass), @extschema@.audit_snapshot(),
        @extschema@.audit_rank_actors(regclass, date, date),
        @extschema@.audit_lock_actors, @extschema@.audit_note_actors,
        @extschema@.audit_note_rows, @extschema@.audit_renote_actors,
        @extschema@.audit_last_id(regclass), @extschema@.audit_is_due,
        @extschema@.audit_seal_rows, @extschema@.audit_append_seal,
        @extschema@.audit_seal, @extschema@.audit_seal_hash,
        @extschema@.audit_rollup_root, @extschema@.audit_sign_checkpoint(),
        @extschema@.audit_publish_checkpoint(text), @extschema@.audit_verification(),
        @extschema@.audit_is_active(), @extschema@.seal_audit_log,
        @extschema@.audit_do_seal_audit_log, @extschema@.refresh_audit_rollups(),
        @extschema@.audit_drain_ring(), @extschema@.audit_forget_dropped_databases(),
        @extschema@.audit_claim_start(), @extschema@.audit_claim_stop(),
        @extschema@.audit_server_stopped(), @extschema@.audit_announce_start(),
        @extschema@.audit_announce_stop(), @extschema@.index_audit_partitions(),
        @extschema@.audit_do_refresh_audit_rollups(),
        @extschema@.audit_do_index_audit_partitions(),
        @extschema@.audit_do_adopt_audit_source(regclass, jsonb),
        @extschema@.audit_do_forget_audit_source(regclass) TO %I', owner);
    PERFORM @extschema@.audit_grant_reading(owner);
    PERFORM @extschema@.audit_furnish();
END
$$;
COMMENT ON FUNCTION audit_attach(regclass) IS
'Gives the tables of an audit log the grants and triggers that they have of this extension';

-- Every process looks anew whether there is a log to guard, and the worker
-- whether there is one to keep, when this transaction has committed.
CREATE FUNCTION audit_announce()
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_announce'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_announce() IS
'Tells all processes that the registry of the audit log has changed';

CREATE FUNCTION audit_activate()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE @extschema@.audit_registry r
    SET system_identifier = c.system_identifier, database_oid = d.oid
    FROM pg_control_system() c, pg_database d
    WHERE d.datname = current_database()
      AND (r.system_identifier, r.database_oid) IS DISTINCT FROM (c.system_identifier, d.oid);
    PERFORM @extschema@.audit_announce();
END
$$;
COMMENT ON FUNCTION audit_activate() IS
'Has the audit log of this database guarded and kept from now on';

-- A log that stood before the extension was created, as after DROP EXTENSION,
-- is found again.  Not every table of that name is believed: an ordinary user
-- may have made it to be told what others do.  A role that cannot log in and has
-- no members is nobody but superusers.  What it did not have yet and gets now
-- would be taken for ours, which pg_dump leaves out and DROP EXTENSION drops.
DO $$
DECLARE
    found name[];
    member record;
BEGIN
    SELECT array_agg(n.nspname) INTO found
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles o ON o.oid = c.relowner
    WHERE c.relname = 'fraiseql_audit_log' AND @extschema@.audit_is_standing(n.nspname)
      AND (o.rolsuper
           OR NOT o.rolcanlogin
              AND NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = o.oid)
           OR o.oid = (SELECT datdba FROM pg_database
                       WHERE datname = current_database()));
    IF cardinality(found) = 1 THEN
        INSERT INTO @extschema@.audit_registry (schema_name) VALUES (found[1]);
        PERFORM @extschema@.audit_attach(@extschema@.audit_log());
        FOR member IN
            SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
            FROM pg_depend d
            JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
            JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
            WHERE d.deptype = 'e' AND e.extname = 'fraiseql_obs'
              AND c.relnamespace = to_regnamespace(quote_ident(found[1]))
        LOOP
            EXECUTE format('ALTER EXTENSION fraiseql_obs DROP %s %s', member.kind, member.name);
        END LOOP;
        PERFORM @extschema@.audit_activate();
    ELSIF @extschema@.audit_found_logs() IS NOT NULL THEN
        -- CREATE EXTENSION does not show notices
        RAISE WARNING USING
            MESSAGE = 'an audit log was found, and not taken',
            DETAIL = 'There are several, or its tables are not all of one role that is a superuser, the database''s owner, or nobody''s to log in as or be a member of.',
            HINT = @extschema@.audit_found_logs();
    END IF;
END
$$;
