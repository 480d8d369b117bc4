--
-- Audit log: who may write, who may read.  Nothing for PUBLIC.
--

-- GRANT would take "public" for everybody, in quotes as well.
CREATE FUNCTION audit_check_grantee(role name, deed text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'role must not be null',
            HINT = format('Name the role that is to %s.', deed);
    END IF;
    IF role = 'public' THEN
        RAISE invalid_grant_operation USING
            MESSAGE = 'the audit log is not for everybody',
            HINT = format('Make a role for those who are to %s.', deed);
    END IF;
END
$$;
COMMENT ON FUNCTION audit_check_grantee(name, text) IS
'Raises an error if what is to be granted a right on the audit log is no role';

CREATE FUNCTION grant_audit_writer(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM @extschema@.audit_log();
    PERFORM @extschema@.audit_check_grantee(role, 'append');
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@ TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.log_operation, @extschema@.log_operations,
        @extschema@.audit_wrong_key TO %I', role);
END
$$;
COMMENT ON FUNCTION grant_audit_writer(name) IS
'Lets a role append to the audit log, and nothing else';

CREATE FUNCTION grant_audit_reader(role name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    source regclass;
BEGIN
    PERFORM @extschema@.audit_check_grantee(role, 'read');
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@, %I TO %I',
                   (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = log),
                   role);
    EXECUTE format('GRANT SELECT ON %s, %s TO %I', log,
                   (SELECT string_agg(@extschema@.audit_table_name(log, name), ', ')
                    FROM unnest('{v_audit_log,fraiseql_audit_settings,fraiseql_audit_counts,
                                  fraiseql_audit_actor_days,fraiseql_audit_rollup_state,
                                  fraiseql_audit_seals,fraiseql_audit_checkpoints,
                                  fraiseql_audit_partitions,fraiseql_audit_holds,
                                  fraiseql_audit_erasures,fraiseql_audit_collapsed,
                                  fraiseql_audit_actor_operations,fraiseql_audit_actor_state}'::text[]) name),
                   role);
    FOR source IN SELECT @extschema@.audit_sources(log) LOOP
        EXECUTE format('GRANT SELECT ON %s TO %I', source, role);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON FUNCTION
        @extschema@.audit_log, @extschema@.audit_partition_bounds,
        @extschema@.audit_sources, @extschema@.audit_source_table,
        @extschema@.audit_readable_sources,
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
        @extschema@.audit_anchor_finding, @extschema@.audit_adopted_rows,
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
COMMENT ON FUNCTION grant_audit_reader(name) IS
'Lets a role read the audit log, as far as its row security allows';

-- Whatever the extension has is for those alone whom it was granted to, but
-- for what reads and sets one's own context.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
          AND d.deptype = 'e' AND e.extname = 'fraiseql_obs'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION
    extract_trace_context(jsonb), set_trace_context(jsonb), inject_trace_context() TO PUBLIC;
