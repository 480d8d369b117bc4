-- The forms of a compliance report: text, CSV and HTML, also of hostile values
\set SHOW_CONTEXT never
CREATE TEMP TABLE reports (name text, report jsonb);
INSERT INTO reports VALUES ('hostile', $$
{"report": {"profile": "soc2", "generated_at": "2026-11-24T05:00:00.123456+00:00", "generated_by": "auditor", "database": "shop\"</style><b>\\",
            "time_zone": "UTC", "extension_version": "1.0", "server_version": "15.20"},
 "period": {"start": "2026-08-01", "end": "2026-08-04", "days": 3},
 "total_operations": 1234570,
 "summary": {"update": {"success": 1234560, "failure": 3, "timeout": 1, "denied": 1},
             "<script>alert(1)</script>": {"denied": 2}, "=cmd|'/C calc'!A0": {"noop": 3}},
 "by_result": {"success": 1234560, "failure": 3, "timeout": 1, "denied": 3, "noop": 3},
 "by_day": [{"day": "2026-08-01", "total": 1234567, "results": {"success": 1234560, "failure": 3, "timeout": 1, "denied": 3}},
            {"day": "2026-08-02", "total": 0, "results": {}},
            {"day": "2026-08-03", "total": 3, "results": {"noop": 3}}],
 "by_user": [{"user_id": "ann\u001b[31m & \"bob\"", "total": 1234567, "failed": 4, "denied": 3},
             {"user_id": "a name that is longer than the column it stands in", "total": 3, "failed": 0, "denied": 0}],
 "by_entity_type": [{"entity_type": null, "total": 1234570, "results": {"success": 1234560, "failure": 10}}],
 "by_tenant": [{"tenant_id": "+1\u202e", "total": 1, "results": {"success": 1}}],
 "failed": {"total": 4, "entries": [{"id": 7, "created_at": "2026-08-01T10:00:00.5+00:00", "tenant_id": null, "user_id": "ann", "operation": "update",
            "entity_type": "Order", "entity_id": "1,\"2\"", "result": "failure", "sqlstate": "23505", "error_message": "line one\nline two <i>"}]},
 "denied": {"total": 0, "entries": []},
 "audit_log_access": {"total": 1, "entries": [{"id": 8, "created_at": "2026-08-01T11:00:00+00:00", "db_role": "auditor", "user_id": null, "operation": "audit.report", "details": {"end": "2026-08-01"}}]},
 "retention": {"days": 90, "profile_minimum_days": 400, "oldest_entry": null, "meets_profile": false,
   "settings": {"minimum": "60 days"},
   "removed": [{"range_from": "2026-07-31T00:00:00+00:00", "range_to": "2026-08-01T00:00:00+00:00", "total": 1000},
               {"range_from": "2026-08-01T00:00:00+00:00", "range_to": "2026-08-02T00:00:00+00:00", "total": 234000}]},
 "holds": [{"hold_id": 1, "reason": "<b>", "released_at": "2026-08-02T00:00:00+00:00"}, {"hold_id": 2, "reason": "Case"}],
 "gaps": {"days_without_operations": ["2026-08-02"], "log_begins": null},
 "coverage": {"from_rollups": 1234000, "from_rows": 570, "rollups_as_of": null, "sources": ["core.tb_entity_change_log"], "limited_by_row_security": false,
              "notes": ["A note that is long enough to need a second line of the text, where lines have at most 79 columns."]},
 "integrity": {"verdict": "violations", "reason": "The newest verification found violations: 2.",
    "head": {"size": 4712, "root": "jjaTqUWUJcf4VBVzvJktW0JbfrKnZZ5lbJBNfitTSJs=", "checkpoint": {"size": 4711, "signed": true}},
    "seals": {"first": 12, "last": 4700, "rows": 1234000, "unsealed": 570},
    "removed_partitions": {"checked": 2, "differing": ["fraiseql_audit_log_20260801"]},
    "verification": {"at": "2026-11-24T04:00:00+00:00", "by": "<i>ann</i>", "seals": 4710, "anchor_size": 4000,
        "violations": 2, "gaps": 1, "unchecked": 0, "findings": [
        {"severity": "violation", "kind": "rollup", "partition": "fraiseql_audit_log_20260801", "at": "2026-08-01T00:00:00+00:00",
         "message": "rollup of operation <b>\u001b[31m has 3, rows are 2"},
        {"severity": "gap", "kind": "lost", "row_id": 7, "seal_no": 12, "message": "=SUM(A1) operations that were rolled back were lost, see the row's details, which says how many"}]}}}
$$), ('empty', '{"period": {"start": "2026-01-01", "end": "2026-01-02", "days": 1},
  "by_day": [{"day": "2026-01-01", "total": 0, "results": {}}]}'), ('nothing', '{}');
INSERT INTO reports
SELECT 'long', jsonb_set(report, '{by_day}', (
    SELECT jsonb_agg(jsonb_build_object('day', date '2017-01-01' + i, 'total', i, 'results', jsonb_build_object('success', i)))
    FROM generate_series(0, 3659) i)) FROM reports WHERE name = 'hostile';

\pset format unaligned
\pset tuples_only on
SELECT fraiseql_obs.audit_report_text(report) FROM reports WHERE name = 'hostile';
SELECT translate(fraiseql_obs.audit_report_csv(report), U&'\000d\001b\202e', '') FROM reports WHERE name = 'hostile';
\pset format aligned
\pset tuples_only off

-- lines fit, no control character reaches a terminal
SELECT name, max(length(line)) <= 79 AS fits, bool_or(line ~ '[\u0001-\u001f\u202e]') AS control
FROM reports, regexp_split_to_table(fraiseql_obs.audit_report_text(report), '\n') line
WHERE line !~ '^(Software|Period)' GROUP BY name ORDER BY name;

-- the page is well-formed, has no script and nothing from elsewhere
CREATE TEMP VIEW pages AS
SELECT name, fraiseql_obs.audit_report_html(report) AS page FROM reports;
SELECT name, page ~ '^<!DOCTYPE html>\n<html lang="en">' AS html,
       page ~* '<(script|link|img|iframe|object)' AS active,
       page ~* '(src|href)=|url\((?!#)|https?:' AS elsewhere,
       page ~ 'default-src ''none''' AS policy,
       array_length(regexp_split_to_array(page, '</style'), 1) = 2 AS one_style
FROM pages ORDER BY name;
SELECT name FROM pages
WHERE xmlparse(document replace(page, '<!DOCTYPE html>', '')) IS NULL;
SELECT name, array_length(regexp_split_to_array(page, '<rect'), 1) < 200 AS few_bars FROM pages WHERE name = 'long';
SELECT regexp_replace(line, '.*(<tr><th scope="row">)', '\1') AS escaped
FROM pages, regexp_split_to_table(page, '\n') line
WHERE name = 'hostile' AND line ~ '<tr|alert|<dd>' AND line ~ 'script|=cmd|=SUM|ann|one|rollup|violations|role auditor';

-- on paper each page says what it belongs to
SELECT line FROM pages, regexp_split_to_table(page, '\n') line
WHERE name = 'hostile' AND line ~ '@(top|bottom)';

-- without data
SELECT fraiseql_obs.audit_report_text(report) FROM reports WHERE name = 'nothing';
DROP VIEW pages;

-- in a database that has few characters, or any bytes
SELECT current_database() AS main \gset
CREATE DATABASE regress_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
\c regress_latin1
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log();
SELECT fraiseql_obs.log_operation('x', result => 'denied', user_id => repeat(chr(233), 300)) > 0 AS logged;
SELECT fraiseql_obs.compliance_report_html(current_date - 1, current_date + 1) LIKE '%&#8230;%' AS cut;
SELECT fraiseql_obs.compliance_report_text(current_date - 1, current_date + 1) <> '' AS text,
       fraiseql_obs.compliance_report_csv(current_date - 1, current_date + 1) <> '' AS csv;
\c :main
CREATE DATABASE regress_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C';
\c regress_ascii
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log();
SELECT fraiseql_obs.log_operation('x', result => 'denied', user_id => repeat('x', 300)) > 0 AS logged;
SELECT fraiseql_obs.compliance_report_html(current_date - 1, current_date + 1) LIKE '%&#8230;%' AS cut;
SELECT fraiseql_obs.compliance_report_text(current_date - 1, current_date + 1) <> '' AS text,
       fraiseql_obs.compliance_report_csv(current_date - 1, current_date + 1) <> '' AS csv;
\c :main
DROP DATABASE regress_latin1;
DROP DATABASE regress_ascii;
