-- The shape of the API: what there is, what it returns, who may use it.  A new
-- function or view belongs into these lists, or this fails.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

BEGIN;
CREATE SCHEMA pgtap;
CREATE EXTENSION pgtap SCHEMA pgtap;
SET LOCAL search_path = pgtap, pg_catalog;

SELECT * FROM no_plan();

-- Functions, with what they take
CREATE TEMP TABLE api (name text, args text, readers text[]);
INSERT INTO api VALUES
    ('query_counters', '', '{pg_monitor,pg_read_all_stats}'),
    ('query_texts', '', '{pg_monitor,pg_read_all_stats}'),
    ('query_stats', '', '{pg_monitor,pg_read_all_stats}'),
    ('operation_stats', '', '{pg_monitor}'),
    ('error_stats', '', '{pg_monitor}'),
    ('slow_queries', 'integer', '{pg_monitor,pg_read_all_stats}'),
    ('metrics', '', '{pg_monitor}'),
    ('export_metrics', 'text', '{pg_monitor}'),
    ('reset_metrics', 'text', '{}'),
    ('spans', 'text,timestamptz,timestamptz,text,integer', '{pg_monitor,pg_read_all_stats}'),
    ('spans_otlp', 'text,timestamptz,timestamptz,text,integer', '{pg_monitor,pg_read_all_stats}'),
    ('trace_tree', 'text', '{pg_monitor,pg_read_all_stats}'),
    ('request_timeline', 'text,timestamptz,regclass', '{pg_monitor,pg_read_all_stats}'),
    ('timeline_statements', 'text,text[]', '{pg_monitor,pg_read_all_stats}'),
    ('timeline_audit', 'text,text[],timestamptz', '{pg_monitor,pg_read_all_stats}'),
    ('timeline_error_logs', '', '{pg_monitor,pg_read_all_stats}'),
    ('timeline_wrong_columns', 'regclass,boolean', '{pg_monitor,pg_read_all_stats}'),
    ('timeline_errors', 'text,text[],timestamptz,regclass', '{pg_monitor,pg_read_all_stats}'),
    ('health', '', '{pg_monitor}'),
    ('liveness', '', '{pg_monitor}'),
    ('readiness', 'text,text', '{pg_monitor}'),
    ('health_verdict', 'jsonb,text,text', '{pg_monitor}'),
    ('drain', 'boolean', '{}'),
    ('record_http_request', 'text,text,integer,double precision', '{}'),
    ('record_cache', 'text,bigint,bigint,bigint', '{}'),
    ('record_pool', 'text,integer,integer,integer,integer', '{}'),
    ('counter_add', 'text,double precision,jsonb', '{}'),
    ('gauge_set', 'text,double precision,jsonb', '{}'),
    ('histogram_observe', 'text,double precision,jsonb,double precision[]', '{}'),
    ('grant_metrics_writer', 'name', '{}'),
    ('http_restart', '', '{}');

-- The audit log's, with all that a caller may give and what is returned; what
-- is not for callers has no arguments here.
CREATE TEMP TABLE audit_api (name text, args text, result text);
INSERT INTO audit_api VALUES
    ('adopt_audit_source', 'relation regclass, mapping jsonb = NULL', 'regclass'),
    ('audit_accesses', NULL, NULL),
    ('audit_activate', NULL, NULL),
    ('audit_actor_counts', 'since timestamptz, until timestamptz, "limit" integer = 10', 'TABLE(user_id text, n bigint, failed bigint, denied bigint)'),
    ('audit_adopted_rows', NULL, NULL),
    ('audit_adopted_text', NULL, NULL),
    ('audit_anchor_finding', NULL, NULL),
    ('audit_announce', NULL, NULL),
    ('audit_announce_start', '', 'boolean'),
    ('audit_announce_stop', '', 'void'),
    ('audit_append_seal', NULL, NULL),
    ('audit_attach', NULL, NULL),
    ('audit_begins', NULL, NULL),
    ('audit_by_key', NULL, NULL),
    ('audit_capture', NULL, NULL),
    ('audit_cast', NULL, NULL),
    ('audit_chart_axis', NULL, NULL),
    ('audit_chart_rect', NULL, NULL),
    ('audit_chart_series', NULL, NULL),
    ('audit_check_age', NULL, NULL),
    ('audit_check_columns', NULL, NULL),
    ('audit_check_entries', NULL, NULL),
    ('audit_check_erasures', NULL, NULL),
    ('audit_check_grantee', NULL, NULL),
    ('audit_check_holds', NULL, NULL),
    ('audit_check_isolation', NULL, NULL),
    ('audit_check_owner', NULL, NULL),
    ('audit_check_owners', NULL, NULL),
    ('audit_check_partition', NULL, NULL),
    ('audit_check_period', NULL, NULL),
    ('audit_check_removed', NULL, NULL),
    ('audit_check_retention', NULL, NULL),
    ('audit_check_stray_counts', NULL, NULL),
    ('audit_check_table', NULL, NULL),
    ('audit_check_thresholds', NULL, NULL),
    ('audit_check_tombstones', NULL, NULL),
    ('audit_check_window', NULL, NULL),
    ('audit_checkpoint', '', 'text'),
    ('audit_checkpoint_note', NULL, NULL),
    ('audit_checkpoint_number', 'size bigint', 'bigint'),
    ('audit_claim_start', NULL, NULL),
    ('audit_claim_stop', NULL, NULL),
    ('audit_close_partition', 'range_from timestamptz', 'text'),
    ('audit_collapse_seals', NULL, NULL),
    ('audit_condition', NULL, NULL),
    ('audit_counts', 'dimension text, since timestamptz, until timestamptz, quarters boolean = false', 'TABLE(bucket timestamp with time zone, key text, result text, n bigint)'),
    ('audit_coverage', NULL, NULL),
    ('audit_create_actors', NULL, NULL),
    ('audit_create_evidence', NULL, NULL),
    ('audit_create_retention', NULL, NULL),
    ('audit_create_rollups', NULL, NULL),
    ('audit_css_string', NULL, NULL),
    ('audit_csv_value', NULL, NULL),
    ('audit_days_kept', NULL, NULL),
    ('audit_days_without_record', NULL, NULL),
    ('audit_detached_partitions', NULL, NULL),
    ('audit_dimension_columns', NULL, NULL),
    ('audit_do_adopt_audit_source', NULL, NULL),
    ('audit_do_audit_actor_counts', NULL, NULL),
    ('audit_do_audit_announce_start', NULL, NULL),
    ('audit_do_audit_announce_stop', NULL, NULL),
    ('audit_do_audit_checkpoint', NULL, NULL),
    ('audit_do_audit_checkpoint_number', NULL, NULL),
    ('audit_do_audit_close_partition', NULL, NULL),
    ('audit_do_audit_drop_partition', NULL, NULL),
    ('audit_do_audit_furnish', NULL, NULL),
    ('audit_do_audit_last_findings', NULL, NULL),
    ('audit_do_audit_removable_partitions', NULL, NULL),
    ('audit_do_audit_report', NULL, NULL),
    ('audit_do_audit_report_made', NULL, NULL),
    ('audit_do_audit_seal_count', NULL, NULL),
    ('audit_do_audit_search', NULL, NULL),
    ('audit_do_audit_statistics', NULL, NULL),
    ('audit_do_audit_tally', NULL, NULL),
    ('audit_do_audit_verified', NULL, NULL),
    ('audit_do_audit_warn_unchanged', NULL, NULL),
    ('audit_do_create_audit_log', NULL, NULL),
    ('audit_do_erase_audit_details', NULL, NULL),
    ('audit_do_forget_audit_source', NULL, NULL),
    ('audit_do_holds', NULL, NULL),
    ('audit_do_index_audit_partitions', NULL, NULL),
    ('audit_do_maintain_audit_log', NULL, NULL),
    ('audit_do_most_active_entities', NULL, NULL),
    ('audit_do_new_actors', NULL, NULL),
    ('audit_do_off_hours', NULL, NULL),
    ('audit_do_place_hold', NULL, NULL),
    ('audit_do_refresh_audit_rollups', NULL, NULL),
    ('audit_do_release_hold', NULL, NULL),
    ('audit_do_repeated_denials', NULL, NULL),
    ('audit_do_seal_audit_log', NULL, NULL),
    ('audit_do_set_audit_retention', NULL, NULL),
    ('audit_do_slow_operations', NULL, NULL),
    ('audit_do_volume_spikes', NULL, NULL),
    ('audit_document_expression', NULL, NULL),
    ('audit_drain_ring', '', 'bigint'),
    ('audit_dress_partition', NULL, NULL),
    ('audit_dress_table', NULL, NULL),
    ('audit_drop_partition', 'range_from timestamptz', 'boolean'),
    ('audit_effective_retention', NULL, NULL),
    ('audit_ensure_partition', NULL, NULL),
    ('audit_entries', NULL, NULL),
    ('audit_entry_time', NULL, NULL),
    ('audit_foreign_tables', NULL, NULL),
    ('audit_forget_dropped_databases', '', 'bigint'),
    ('audit_found_logs', NULL, NULL),
    ('audit_furnish', NULL, NULL),
    ('audit_gaps', NULL, NULL),
    ('audit_grant_reading', NULL, NULL),
    ('audit_grant_source', NULL, NULL),
    ('audit_guard', NULL, NULL),
    ('audit_head', NULL, NULL),
    ('audit_hold_on', NULL, NULL),
    ('audit_html', NULL, NULL),
    ('audit_html_alert', NULL, NULL),
    ('audit_html_cell', NULL, NULL),
    ('audit_html_chart_by_day', NULL, NULL),
    ('audit_html_count_tables', NULL, NULL),
    ('audit_html_counts', NULL, NULL),
    ('audit_html_facts', NULL, NULL),
    ('audit_html_findings', NULL, NULL),
    ('audit_html_list', NULL, NULL),
    ('audit_html_lists', NULL, NULL),
    ('audit_html_page', NULL, NULL),
    ('audit_html_state', NULL, NULL),
    ('audit_html_style', NULL, NULL),
    ('audit_html_table', NULL, NULL),
    ('audit_html_totals', NULL, NULL),
    ('audit_html_users', NULL, NULL),
    ('audit_integrity', NULL, NULL),
    ('audit_is_active', NULL, NULL),
    ('audit_is_due', NULL, NULL),
    ('audit_is_native', NULL, NULL),
    ('audit_is_signing', NULL, NULL),
    ('audit_is_standing', NULL, NULL),
    ('audit_keep_partition', NULL, NULL),
    ('audit_known_expressions', NULL, NULL),
    ('audit_known_sources', NULL, NULL),
    ('audit_last_findings', NULL, NULL),
    ('audit_last_id', NULL, NULL),
    ('audit_leaf_hash', NULL, NULL),
    ('audit_lock_actors', NULL, NULL),
    ('audit_lock_holds', NULL, NULL),
    ('audit_log', '', 'regclass'),
    ('audit_maintenance', NULL, NULL),
    ('audit_mapping_expressions', NULL, NULL),
    ('audit_moment', NULL, NULL),
    ('audit_most_rows', NULL, NULL),
    ('audit_newest_verification', NULL, NULL),
    ('audit_note_actors', NULL, NULL),
    ('audit_note_rows', NULL, NULL),
    ('audit_number', NULL, NULL),
    ('audit_operation_expression', NULL, NULL),
    ('audit_partition_bounds', NULL, NULL),
    ('audit_partition_end', NULL, NULL),
    ('audit_partition_name', NULL, NULL),
    ('audit_partition_unit', NULL, NULL),
    ('audit_partitions', NULL, NULL),
    ('audit_partitions_ahead', NULL, NULL),
    ('audit_profile_days', NULL, NULL),
    ('audit_publish_checkpoint', NULL, NULL),
    ('audit_rank_actors', NULL, NULL),
    ('audit_read_interval', NULL, NULL),
    ('audit_read_time', NULL, NULL),
    ('audit_readable_sources', NULL, NULL),
    ('audit_records_hash', NULL, NULL),
    ('audit_recount_actors', NULL, NULL),
    ('audit_relation', NULL, NULL),
    ('audit_relations', NULL, NULL),
    ('audit_removable_partitions', '', 'TABLE(name name, range_from timestamp with time zone, range_to timestamp with time zone, n bigint, state text)'),
    ('audit_removed_partitions', NULL, NULL),
    ('audit_renote_actors', NULL, NULL),
    ('audit_report', NULL, NULL),
    ('audit_report_alert', NULL, NULL),
    ('audit_report_csv', NULL, NULL),
    ('audit_report_facts', NULL, NULL),
    ('audit_report_findings', NULL, NULL),
    ('audit_report_holds', NULL, NULL),
    ('audit_report_html', NULL, NULL),
    ('audit_report_lists', NULL, NULL),
    ('audit_report_made', NULL, NULL),
    ('audit_report_period', NULL, NULL),
    ('audit_report_seals', NULL, NULL),
    ('audit_report_spans', NULL, NULL),
    ('audit_report_tables', NULL, NULL),
    ('audit_report_text', NULL, NULL),
    ('audit_result_counts', NULL, NULL),
    ('audit_result_expression', NULL, NULL),
    ('audit_results', NULL, NULL),
    ('audit_results_of', NULL, NULL),
    ('audit_retention', NULL, NULL),
    ('audit_retention_settings', NULL, NULL),
    ('audit_rolled_up_results', NULL, NULL),
    ('audit_rollup_root', NULL, NULL),
    ('audit_says_verified', NULL, NULL),
    ('audit_seal', NULL, NULL),
    ('audit_seal_count', NULL, NULL),
    ('audit_seal_hash', NULL, NULL),
    ('audit_seal_rows', NULL, NULL),
    ('audit_search', NULL, NULL),
    ('audit_sees_all', NULL, NULL),
    ('audit_server_stopped', NULL, NULL),
    ('audit_shown_partitions', NULL, NULL),
    ('audit_sign_checkpoint', NULL, NULL),
    ('audit_snapshot', NULL, NULL),
    ('audit_source_of', NULL, NULL),
    ('audit_source_table', NULL, NULL),
    ('audit_sources', NULL, NULL),
    ('audit_standing_partitions', NULL, NULL),
    ('audit_statistics', 'since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), tenant_id text = NULL, by_operation boolean = false', 'TABLE(operation text, total bigint, success bigint, failed bigint, denied bigint, noop bigint, failure_ratio double precision, p50_ms double precision, p95_ms double precision, p99_ms double precision, users bigint, most_common_operation text, last_at timestamp with time zone)'),
    ('audit_subject_condition', NULL, NULL),
    ('audit_table', 'relation regclass, exclude name[] = ''{}'', mask name[] = ''{}'', entity_type text = NULL, tenant_column name = NULL', 'void'),
    ('audit_table_name', NULL, NULL),
    ('audit_tail_condition', NULL, NULL),
    ('audit_tally', NULL, NULL),
    ('audit_tenant_condition', NULL, NULL),
    ('audit_text_alert', NULL, NULL),
    ('audit_text_fact', NULL, NULL),
    ('audit_text_findings', NULL, NULL),
    ('audit_text_heading', NULL, NULL),
    ('audit_text_line', NULL, NULL),
    ('audit_text_tables', NULL, NULL),
    ('audit_text_value', NULL, NULL),
    ('audit_tree_append', NULL, NULL),
    ('audit_tree_root', NULL, NULL),
    ('audit_try', NULL, NULL),
    ('audit_uncounted_rows', NULL, NULL),
    ('audit_unite_owners', NULL, NULL),
    ('audit_unseen_condition', NULL, NULL),
    ('audit_verdict', NULL, NULL),
    ('audit_verification', NULL, NULL),
    ('audit_verified', NULL, NULL),
    ('audit_verify', NULL, NULL),
    ('audit_verify_partition', NULL, NULL),
    ('audit_verify_period', NULL, NULL),
    ('audit_warn_unchanged', NULL, NULL),
    ('audit_write_tombstone', NULL, NULL),
    ('audit_wrong_key', NULL, NULL),
    ('by_entity', 'entity_type text, entity_id text, "limit" integer = 1000, tenant_id text = NULL, result text = NULL, since timestamptz = NULL, until timestamptz = NULL, before fraiseql_obs.audit_position = NULL', 'SETOF fraiseql_obs.audit_event'),
    ('by_operation', 'operation text, "limit" integer = 100, tenant_id text = NULL, result text = NULL, since timestamptz = NULL, until timestamptz = NULL, before fraiseql_obs.audit_position = NULL', 'SETOF fraiseql_obs.audit_event'),
    ('by_request', 'request_id text = NULL, trace_id text = NULL, "limit" integer = 100, since timestamptz = (now() - ''1 day''::interval), until timestamptz = NULL', 'SETOF fraiseql_obs.audit_event'),
    ('by_user', 'user_id text, "limit" integer = 100, tenant_id text = NULL, result text = NULL, since timestamptz = NULL, until timestamptz = NULL, before fraiseql_obs.audit_position = NULL', 'SETOF fraiseql_obs.audit_event'),
    ('compliance_report', 'start_date date, end_date date, profile text = ''default'', verify boolean = false', 'jsonb'),
    ('compliance_report_csv', 'start_date date, end_date date, profile text = ''default'', verify boolean = false', 'text'),
    ('compliance_report_html', 'start_date date, end_date date, profile text = ''default'', verify boolean = false', 'text'),
    ('compliance_report_text', 'start_date date, end_date date, profile text = ''default'', verify boolean = false', 'text'),
    ('create_audit_log', 'schema name = ''fraiseql_audit'', owner name = NULL, retention interval = NULL, indexes text = ''full'', tenant_isolation boolean = false, guard_triggers boolean = true, distribute_by name = NULL', 'regclass'),
    ('erase_audit_details', 'user_id text = NULL, entity_type text = NULL, entity_id text = NULL, tenant_id text = NULL, columns text[] = ''{user_id,acting_for,client_addr,details,old_data,new_data,error_message}'', reason text = NULL, before timestamptz = now()', 'bigint'),
    ('failed_operations', 'hours integer = 24, "limit" integer = 1000, tenant_id text = NULL, before fraiseql_obs.audit_position = NULL', 'SETOF fraiseql_obs.audit_event'),
    ('failure_spikes', 'since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), weeks integer = 4, min_weeks integer = 2, min_failures integer = 10, factor float8 = 3, deviations float8 = 3', 'TABLE(hour timestamp with time zone, operation text, failures bigint, total bigint, expected double precision, reason text)'),
    ('forget_audit_source', 'relation regclass', 'void'),
    ('grant_audit_reader', 'role name', 'void'),
    ('grant_audit_writer', 'role name', 'void'),
    ('holds', 'released boolean = false', 'TABLE(hold_id bigint, reason text, tenant_id text, user_id text, entity_type text, entity_id text, since timestamp with time zone, until timestamp with time zone, placed_at timestamp with time zone, placed_by text, released_at timestamp with time zone, released_by text, release_reason text)'),
    ('index_audit_partitions', '', 'bigint'),
    ('log_operation', 'operation text, entity_type text = NULL, entity_id text = NULL, result text = ''success'', details jsonb = NULL, user_id text = NULL, tenant_id text = NULL, old_data jsonb = NULL, new_data jsonb = NULL, changed_fields text[] = NULL, sqlstate text = NULL, error_message text = NULL, duration_ms float8 = NULL, occurred_at timestamptz = NULL, request_id text = NULL, trace_id text = NULL, span_id text = NULL, actor_type text = NULL, acting_for text = NULL', 'bigint'),
    ('log_operations', 'events jsonb', 'bigint'),
    ('maintain_audit_log', 'remove boolean = true', 'jsonb'),
    ('most_active_entities', '"limit" integer = 10, since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), tenant_id text = NULL', 'TABLE(entity_type text, entity_id text, operations bigint, users bigint)'),
    ('most_active_users', '"limit" integer = 10, since timestamptz = (now() - ''1 day''::interval), until timestamptz = now()', 'TABLE(user_id text, operations bigint, failed bigint, denied bigint)'),
    ('new_actors', 'operations text[] = ''{delete,truncate,export,data.export_large,config.changed,role.grant,permission.grant}'', since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), lookback interval = ''90 days'', min_history interval = ''7 days'', tenant_id text = NULL, "limit" integer = 100', 'TABLE(user_id text, operation text, first_at timestamp with time zone, n bigint, reason text)'),
    ('off_hours', 'since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), from_hour integer = 7, to_hour integer = 20, weekdays integer[] = ''{1,2,3,4,5}'', time_zone text = NULL, min_operations integer = 5, usual_share float8 = 0.05, lookback interval = ''28 days'', min_usual integer = 50, tenant_id text = NULL', 'TABLE(user_id text, n bigint, first_at timestamp with time zone, last_at timestamp with time zone, reason text)'),
    ('place_hold', 'reason text, tenant_id text = NULL, user_id text = NULL, entity_type text = NULL, entity_id text = NULL, since timestamptz = NULL, until timestamptz = NULL', 'bigint'),
    ('recent_operations', '"limit" integer = 100, tenant_id text = NULL, result text = NULL, since timestamptz = NULL, until timestamptz = NULL, before fraiseql_obs.audit_position = NULL', 'SETOF fraiseql_obs.audit_event'),
    ('refresh_audit_rollups', '', 'bigint'),
    ('release_hold', 'hold_id bigint, reason text', 'void'),
    ('repeated_denials', 'since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), within interval = ''00:10:00'', threshold integer = 5, tenant_id text = NULL', 'TABLE(who text, first_at timestamp with time zone, last_at timestamp with time zone, denials bigint, operations text[], reason text)'),
    ('seal_audit_log', 'heartbeat_after interval = ''00:05:00''', 'bigint'),
    ('set_audit_retention', 'retention interval = NULL, minimum interval = NULL, maximum interval = NULL, profile text = NULL', 'jsonb'),
    ('silence', 'quiet interval = ''01:00:00'', until timestamptz = now(), lookback interval = ''7 days'', regularity float8 = 0.9, min_hours integer = 48', 'TABLE(operation text, last_at timestamp with time zone, hours_seen bigint, reason text)'),
    ('slow_operations', '"limit" integer = 20, since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), min_count integer = 20, tenant_id text = NULL', 'TABLE(operation text, n bigint, p50_ms double precision, p95_ms double precision, p99_ms double precision, max_ms double precision, slowest_id bigint)'),
    ('unaudit_table', 'relation regclass', 'void'),
    ('verify_audit_log', '"from" timestamptz = NULL, until timestamptz = NULL, anchor text = NULL', 'TABLE(severity text, kind text, seal_no bigint, partition text, row_id bigint, at timestamp with time zone, message text)'),
    ('volume_spikes', 'since timestamptz = (now() - ''1 day''::interval), until timestamptz = now(), factor float8 = 5, min_operations integer = 100, lookback_days integer = 14, min_days integer = 5, "limit" integer = 100', 'TABLE(user_id text, n bigint, usual_per_day double precision, reason text)');

-- Request tracing, for everybody who may use the schema
CREATE TEMP TABLE trace_api (name text, args text, result text);
INSERT INTO trace_api VALUES
    ('extract_trace_context', 'headers jsonb, OUT trace_id text, OUT span_id text, OUT parent_span_id text, OUT sampled boolean, OUT tracestate text, OUT source text', 'record'),
    ('inject_trace_context', '', 'jsonb'),
    ('set_trace_context', 'headers jsonb', 'text');

-- As above: short names of types, and defaults without their types
CREATE FUNCTION pg_temp.arguments_of(name text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(
               replace(replace(pg_get_function_arguments(p.oid),
                       'double precision', 'float8'),
                       'timestamp with time zone', 'timestamptz'),
               '(NULL|'')::[a-z0-9_.]+( [a-z ]+)?(\[\])?(?=,|$)', '\1', 'g'),
               ' DEFAULT ', ' = ', 'g')
    FROM pg_proc AS p
    WHERE pronamespace = 'fraiseql_obs'::regnamespace AND proname = $1
$$;
SELECT functions_are('fraiseql_obs', (SELECT array_agg(name::name)
                                      FROM (SELECT name FROM api
                                            UNION ALL SELECT name FROM trace_api
                                            UNION ALL SELECT name FROM audit_api) AS n));
SELECT is(pg_temp.arguments_of(name), args, 'arguments of ' || name || '()')
FROM trace_api;
SELECT is(pg_get_function_result(oid), result, 'result of ' || name || '()')
FROM trace_api JOIN pg_proc ON proname = name
WHERE pronamespace = 'fraiseql_obs'::regnamespace;
SELECT is(pg_temp.arguments_of(name), args, 'arguments of ' || name || '()')
FROM audit_api WHERE args IS NOT NULL;
SELECT is(pg_get_function_result(oid), result, 'result of ' || name || '()')
FROM audit_api JOIN pg_proc ON proname = name
WHERE pronamespace = 'fraiseql_obs'::regnamespace AND args IS NOT NULL;
SELECT is_empty(
    $$SELECT p.oid::regprocedure, role
      FROM pg_proc p, unnest(ARRAY['pg_monitor', 'pg_read_all_stats']) AS role
      WHERE pronamespace = 'fraiseql_obs'::regnamespace
        AND proname IN (SELECT name FROM audit_api)
        AND has_function_privilege(role, p.oid, 'EXECUTE')$$,
    'monitoring may not touch the audit log');
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc p
      WHERE pronamespace = 'fraiseql_obs'::regnamespace
        AND prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')
        AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)$$,
    'every function has a search_path of its own');
SELECT views_are('fraiseql_obs', ARRAY['v_query_stats', 'v_operation_stats',
                                       'v_error_stats', 'v_slow_queries', 'v_spans']::name[]);
SELECT tables_are('fraiseql_obs', ARRAY['audit_registry']::name[]);
SELECT has_function('fraiseql_obs', name,
                    string_to_array(nullif(args, ''), ',')::name[])
FROM api WHERE args <> '';

-- Columns are API: names, types and order.
CREATE FUNCTION pg_temp.result_of(name text) RETURNS text LANGUAGE sql AS $$
    SELECT replace(pg_get_function_result(p.oid), 'double precision', 'float8')
    FROM pg_proc AS p
    WHERE pronamespace = 'fraiseql_obs'::regnamespace AND proname = name
$$;
CREATE FUNCTION pg_temp.columns_of(name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(replace(format('%s %s', a.name, format_type(a.type, NULL)),
                              'double precision', 'float8'), ', ' ORDER BY n)
    FROM pg_proc AS p,
         unnest(p.proallargtypes, p.proargmodes, p.proargnames)
         WITH ORDINALITY AS a (type, mode, name, n)
    WHERE pronamespace = 'fraiseql_obs'::regnamespace AND proname = $1
      AND mode IN ('o', 't')
$$;
\set counters 'calls bigint, errors bigint, slow_calls bigint, rows bigint, total_exec_time float8, min_exec_time float8, max_exec_time float8, mean_exec_time float8, p50_exec_time float8, p95_exec_time float8, p99_exec_time float8, total_plan_time float8, last_call timestamp with time zone'
SELECT is(pg_temp.columns_of('query_stats'),
          'userid oid, dbid oid, toplevel boolean, queryid bigint, query text, ' || :'counters',
          'columns of query_stats()');
SELECT is(pg_temp.columns_of('query_counters'),
          'userid oid, dbid oid, toplevel boolean, queryid bigint, ' || :'counters',
          'columns of query_counters()');
SELECT is(pg_temp.columns_of('query_texts'),
          'userid oid, dbid oid, toplevel boolean, queryid bigint, query text',
          'columns of query_texts()');
SELECT is(pg_temp.columns_of('operation_stats'),
          'datname text, operation text, type text, ' || :'counters',
          'columns of operation_stats()');
SELECT is(pg_temp.columns_of('error_stats'),
          'datname text, sqlstate text, condition_name text, errors bigint, last_error timestamp with time zone',
          'columns of error_stats()');
SELECT is(pg_temp.columns_of('slow_queries'),
          'finished_at timestamp with time zone, datname text, usename text, application_name text, queryid bigint, query text, duration_ms float8, rows bigint, sqlstate text, operation text, user_id text, tenant_id text, request_id text, trace_id text, span_id text',
          'columns of slow_queries()');
SELECT is(pg_temp.columns_of('spans'),
          'trace_id text, span_id text, parent_span_id text, kind text, name text, started_at timestamp with time zone, duration_ms float8, busy_ms float8, rows bigint, shared_blks_hit bigint, shared_blks_read bigint, failed boolean, sqlstate text, queryid bigint, query text, datname text, usename text, pid integer, operation text, operation_type text, user_id text, tenant_id text, request_id text, sampled boolean, kept_as text',
          'columns of spans()');
SELECT is(pg_temp.columns_of('trace_tree'),
          'span text, start_ms numeric, duration_ms numeric, rows bigint, shared_blks_hit bigint, shared_blks_read bigint, sqlstate text, query text',
          'columns of trace_tree()');
SELECT is(pg_temp.result_of('spans_otlp'), 'json', 'spans_otlp() returns json');
SELECT is(pg_temp.result_of('request_timeline'), 'SETOF fraiseql_obs.timeline_event',
          'request_timeline() returns events');
SELECT is((SELECT string_agg(format('%s %s', attname, format_type(atttypid, NULL)), ', ' ORDER BY attnum)
           FROM pg_attribute WHERE attrelid = 'fraiseql_obs.timeline_event'::regclass),
          'at timestamp with time zone, source text, what text, duration_ms double precision, result text, sqlstate text, user_id text, tenant_id text, trace_id text, span_id text, request_id text, details jsonb',
          'columns of timeline_event');
SELECT is(pg_temp.columns_of('metrics'),
          'name text, type text, help text, labels jsonb, value float8',
          'columns of metrics()');
SELECT is(pg_temp.result_of('export_metrics'), 'text', 'export_metrics() returns text');
SELECT is(pg_temp.result_of('reset_metrics'), 'timestamp with time zone',
          'reset_metrics() returns the time');
SELECT is(pg_temp.result_of(name), result, format('%s() returns %s', name, result))
FROM (VALUES ('health', 'jsonb'), ('liveness', 'jsonb'), ('readiness', 'jsonb'),
             ('health_verdict', 'jsonb'), ('drain', 'void')) AS v (name, result);
SELECT is(pg_temp.result_of('http_restart'), 'boolean', 'http_restart() says whether there is one');
SELECT is(pg_get_function_arguments(p.oid), expected, name || ' and its defaults')
FROM (VALUES ('slow_queries', '"limit" integer DEFAULT 50%'),
             ('export_metrics', 'format text DEFAULT ''prometheus''::text'),
             ('spans', 'trace_id text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, operation text DEFAULT NULL::text, "limit" integer DEFAULT 1000%'),
             ('spans_otlp', 'trace_id text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, operation text DEFAULT NULL::text, "limit" integer DEFAULT 1000'),
             ('trace_tree', 'trace_id text%'),
             ('request_timeline', 'id text, since timestamp with time zone DEFAULT (now() - ''1 day''::interval), error_log regclass DEFAULT NULL::regclass'),
             ('readiness', 'role text DEFAULT NULL::text, max_lag text DEFAULT NULL::text'),
             ('health_verdict', 'checks jsonb, role text DEFAULT NULL::text, max_lag text DEFAULT NULL::text'),
             ('drain', '"on" boolean DEFAULT true'),
             ('reset_metrics', 'target text DEFAULT ''all''::text'),
             ('record_http_request', 'method text, endpoint text, status integer, duration_seconds double precision'),
             ('record_cache', 'cache_type text, hits bigint, misses bigint, size_bytes bigint DEFAULT NULL::bigint'),
             ('record_pool', 'pool text, active integer, idle integer, waiting integer DEFAULT NULL::integer, max integer DEFAULT NULL::integer'),
             ('counter_add', 'name text, value double precision DEFAULT 1, labels jsonb DEFAULT NULL::jsonb'),
             ('gauge_set', 'name text, value double precision, labels jsonb DEFAULT NULL::jsonb'),
             ('histogram_observe', 'name text, value double precision, labels jsonb DEFAULT NULL::jsonb, buckets double precision[] DEFAULT NULL::double precision[]'),
             ('grant_metrics_writer', 'role name')) AS v (name, pattern),
     LATERAL (SELECT p.oid, CASE WHEN pg_get_function_arguments(p.oid) LIKE pattern
                                 THEN pg_get_function_arguments(p.oid) ELSE pattern END AS expected
              FROM pg_proc AS p WHERE pronamespace = 'fraiseql_obs'::regnamespace
                AND proname = name) AS p;
SELECT columns_are('fraiseql_obs', v, ARRAY['id', 'data']::name[])
FROM unnest(ARRAY['v_query_stats', 'v_operation_stats', 'v_error_stats', 'v_slow_queries', 'v_spans']::name[]) AS v;
SELECT col_type_is('fraiseql_obs', v, 'data', 'jsonb', v || '.data is jsonb')
FROM unnest(ARRAY['v_query_stats', 'v_operation_stats', 'v_error_stats', 'v_slow_queries', 'v_spans']::name[]) AS v;

-- Privileges
CREATE ROLE regress_fraiseql_public;
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc AS p,
             aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
      WHERE pronamespace = 'fraiseql_obs'::regnamespace AND a.grantee = 0
        AND proname NOT IN (SELECT name FROM trace_api)$$,
    'PUBLIC may execute nothing but what is about its own trace');
SELECT is(has_function_privilege('regress_fraiseql_public', p.oid, 'EXECUTE'), true,
          'PUBLIC may execute ' || proname || '()')
FROM trace_api JOIN pg_proc AS p ON proname = name
WHERE pronamespace = 'fraiseql_obs'::regnamespace;
SELECT is_empty(
    $$SELECT c.oid::regclass FROM pg_class AS c, aclexplode(c.relacl) AS a
      WHERE relnamespace = 'fraiseql_obs'::regnamespace AND a.grantee = 0$$,
    'PUBLIC may read nothing');
SELECT schema_privs_are('fraiseql_obs', 'regress_fraiseql_public', '{}'::name[]);
SELECT schema_privs_are('fraiseql_obs', role, ARRAY['USAGE']::name[])
FROM unnest(ARRAY['pg_monitor', 'pg_read_all_stats']::name[]) AS role;
SELECT function_privs_are('fraiseql_obs', name,
                          string_to_array(nullif(args, ''), ',')::name[], role,
                          CASE WHEN role = ANY (readers) THEN ARRAY['EXECUTE'] ELSE '{}' END::name[],
                          format('%s on %s()', role, name))
FROM api, unnest(ARRAY['pg_monitor', 'pg_read_all_stats', 'regress_fraiseql_public']) AS role
WHERE args <> '';
SELECT is(has_function_privilege(role, format('fraiseql_obs.%s()', name), 'EXECUTE'),
          role = ANY (readers), format('%s on %s()', role, name))
FROM api, unnest(ARRAY['pg_monitor', 'pg_read_all_stats', 'regress_fraiseql_public']) AS role
WHERE args = '';
SELECT table_privs_are('fraiseql_obs', v, 'regress_fraiseql_public', '{}'::name[])
FROM unnest(ARRAY['v_query_stats', 'v_operation_stats', 'v_error_stats', 'v_slow_queries', 'v_spans']::name[]) AS v;
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc AS p
      WHERE pronamespace = 'fraiseql_obs'::regnamespace AND prosecdef
        AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)$$,
    'SECURITY DEFINER only with a search_path of its own');

-- Manners
SELECT is_empty(
    $$SELECT pg_describe_object(classid, objid, objsubid)
      FROM pg_depend AS d
      WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fraiseql_obs')
        AND classid IN ('pg_proc'::regclass, 'pg_class'::regclass,
                        'pg_type'::regclass)
        AND NOT EXISTS (SELECT FROM pg_type WHERE oid = objid AND typcategory = 'A'
                           OR oid = objid AND EXISTS (
                               SELECT FROM pg_class WHERE oid = typrelid AND relkind <> 'c'))
        AND NOT EXISTS (SELECT FROM pg_class WHERE oid = objid AND relkind = 'c')
        AND obj_description(objid, classid::regclass::name) IS NULL$$,
    'everything has a comment');
SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'the extension has a comment')
FROM pg_extension WHERE extname = 'fraiseql_obs';
SELECT is(extrelocatable, false, 'the extension is not relocatable')
FROM pg_extension WHERE extname = 'fraiseql_obs';
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM pg_proc AS p
      WHERE pronamespace = 'fraiseql_obs'::regnamespace
        AND proname IN (SELECT name FROM api)
        AND (provolatile <> 'v' OR (proparallel = 'u') <> (proname ~ '^(grant_.*|request_timeline|timeline_audit)$'))$$,
    'everything that reads counters is volatile and says what parallel queries may do');
SELECT is_empty(
    $$SELECT name FROM pg_settings WHERE name LIKE 'fraiseql\_obs.%'
        AND (short_desc !~ '^(Sets|Enables|Lists) .*\.$' OR boot_val IS NULL)$$,
    'every setting says what it does');

-- Settings, with context and default
SELECT bag_eq(
    $$SELECT name, context, vartype, boot_val FROM pg_settings
      WHERE name LIKE 'fraiseql\_obs.%'$$,
    $$VALUES
      ('fraiseql_obs.audit_failures', 'superuser', 'bool', 'off'),
      ('fraiseql_obs.audit_guard', 'sighup', 'bool', 'on'),
      ('fraiseql_obs.audit_log_retention', 'sighup', 'integer', '129600'),
      ('fraiseql_obs.audit_block_timeout', 'superuser', 'integer', '1000'),
      ('fraiseql_obs.audit_on_failure', 'superuser', 'enum', 'continue'),
      ('fraiseql_obs.audit_ring_slots', 'postmaster', 'integer', '1024'),
      ('fraiseql_obs.audit_seal_interval', 'sighup', 'integer', '10'),
      ('fraiseql_obs.audit_signing_key_file', 'sighup', 'string', ''),
      ('fraiseql_obs.audit_worker', 'sighup', 'bool', 'on'),
      ('fraiseql_obs.cache_log_interval', 'sighup', 'integer', '0'),
      ('fraiseql_obs.enabled', 'superuser', 'bool', 'on'),
      ('fraiseql_obs.gauge_expiry', 'sighup', 'integer', '900'),
      ('fraiseql_obs.health_canary_database', 'postmaster', 'string', 'postgres'),
      ('fraiseql_obs.health_canary_failure', 'sighup', 'integer', '0'),
      ('fraiseql_obs.health_canary_interval', 'postmaster', 'integer', '0'),
      ('fraiseql_obs.health_canary_warning', 'sighup', 'integer', '60'),
      ('fraiseql_obs.health_check_timeout', 'sighup', 'integer', '5000'),
      ('fraiseql_obs.health_connections_failure', 'sighup', 'integer', '0'),
      ('fraiseql_obs.health_connections_warning', 'sighup', 'integer', '80'),
      ('fraiseql_obs.health_crash_warning', 'sighup', 'integer', '3600'),
      ('fraiseql_obs.health_disk_failure', 'sighup', 'integer', '0'),
      ('fraiseql_obs.health_disk_warning', 'sighup', 'integer', '10'),
      ('fraiseql_obs.health_lag_failure', 'sighup', 'integer', '0'),
      ('fraiseql_obs.health_lag_warning', 'sighup', 'integer', '262144'),
      ('fraiseql_obs.health_replay_warning', 'sighup', 'integer', '300'),
      ('fraiseql_obs.health_seal_lag_warning', 'sighup', 'integer', '300'),
      ('fraiseql_obs.health_transaction_warning', 'sighup', 'integer', '3600'),
      ('fraiseql_obs.health_xid_age_warning', 'sighup', 'integer', '1000000000'),
      ('fraiseql_obs.http_listen_addresses', 'sighup', 'string', '127.0.0.1'),
      ('fraiseql_obs.http_port', 'sighup', 'integer', '0'),
      ('fraiseql_obs.http_status_page', 'sighup', 'bool', 'off'),
      ('fraiseql_obs.http_tls_cert_file', 'sighup', 'string', ''),
      ('fraiseql_obs.http_tls_key_file', 'sighup', 'string', ''),
      ('fraiseql_obs.http_token_file', 'sighup', 'string', ''),
      ('fraiseql_obs.include_query_bodies', 'superuser', 'bool', 'off'),
      ('fraiseql_obs.max_app_series', 'postmaster', 'integer', '2000'),
      ('fraiseql_obs.max_operations', 'postmaster', 'integer', '500'),
      ('fraiseql_obs.max_spans', 'postmaster', 'integer', '4096'),
      ('fraiseql_obs.max_queries', 'postmaster', 'integer', '1000'),
      ('fraiseql_obs.metrics_enabled', 'superuser', 'bool', 'on'),
      ('fraiseql_obs.operation_name', 'user', 'string', ''),
      ('fraiseql_obs.operation_type', 'user', 'string', ''),
      ('fraiseql_obs.request_id', 'user', 'string', ''),
      ('fraiseql_obs.otlp_ca_file', 'sighup', 'string', ''),
      ('fraiseql_obs.otlp_compression', 'sighup', 'enum', 'none'),
      ('fraiseql_obs.otlp_endpoint', 'sighup', 'string', ''),
      ('fraiseql_obs.otlp_headers_file', 'sighup', 'string', ''),
      ('fraiseql_obs.otlp_interval', 'sighup', 'integer', '1000'),
      ('fraiseql_obs.otlp_timeout', 'sighup', 'integer', '10000'),
      ('fraiseql_obs.slow_query_log_rate', 'superuser', 'integer', '10'),
      ('fraiseql_obs.slow_query_threshold', 'superuser', 'real', '100'),
      ('fraiseql_obs.tenant_id', 'user', 'string', ''),
      ('fraiseql_obs.tenant_id_sources', 'superuser', 'string', 'app.tenant_id, fraiseql.tenant_id'),
      ('fraiseql_obs.trace_sample_rate', 'superuser', 'real', '1'),
      ('fraiseql_obs.traceparent', 'user', 'string', ''),
      ('fraiseql_obs.tracestate', 'user', 'string', ''),
      ('fraiseql_obs.tracing_enabled', 'superuser', 'bool', 'on'),
      ('fraiseql_obs.track', 'superuser', 'enum', 'top'),
      ('fraiseql_obs.user_id', 'user', 'string', ''),
      ('fraiseql_obs.user_id_sources', 'superuser', 'string', 'app.user_id, app.contact_id')$$,
    'settings');

SELECT * FROM finish();
ROLLBACK;
