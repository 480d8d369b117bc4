--
-- Audit log: the compliance report as text, CSV and HTML
--
-- Forms of what compliance_report() returns; they read nothing else.  What is
-- null there is said to be not available, and not shown as zero.
--

-- What all forms have in common

CREATE FUNCTION audit_number(n numeric)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(to_char(n, 'FM999,999,999,999,999,990'), 'not available')
$$;
COMMENT ON FUNCTION audit_number(numeric) IS
'A count for people to read';

CREATE FUNCTION audit_moment(moment text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(replace(regexp_replace(moment, '\.\d+|(?<=[+-]\d\d):00$', '', 'g'), 'T', ' '), 'not available')
$$;
COMMENT ON FUNCTION audit_moment(text) IS
'A time of a report for people to read, to the second';

-- With the last day that is in it, as people name a period
CREATE FUNCTION audit_report_period(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (report#>>'{period,start}') || ' through '
           || to_char((report#>>'{period,end}')::date - 1, 'YYYY-MM-DD')
$$;
COMMENT ON FUNCTION audit_report_period(jsonb) IS
'The period of a compliance report, for people to read';

-- A count for each of the columns of tables: total, success, failed (that is
-- failure, error and timeout), denied, noop.
CREATE FUNCTION audit_result_counts(results jsonb)
RETURNS numeric[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[coalesce(sum(n), 0),
                 coalesce(sum(n) FILTER (WHERE key = 'success'), 0),
                 coalesce(sum(n) FILTER (WHERE key IN ('failure', 'error', 'timeout')), 0),
                 coalesce(sum(n) FILTER (WHERE key = 'denied'), 0),
                 coalesce(sum(n) FILTER (WHERE key = 'noop'), 0)]
    FROM (SELECT key, value::numeric AS n FROM jsonb_each_text(results)) AS r
$$;
COMMENT ON FUNCTION audit_result_counts(jsonb) IS
'Counts by result as columns of a table: total, success, failed, denied, noop';

-- The period in spans: days, or weeks or months where there are more of them
-- than a chart can tell apart or a reader wants to read.
CREATE FUNCTION audit_report_spans(report jsonb)
RETURNS TABLE (unit text, place bigint, spans bigint, since text, counts numeric[])
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH days AS (
        SELECT (e->>'day')::date AS day, @extschema@.audit_result_counts(e->'results') AS c
        FROM jsonb_array_elements(report->'by_day') e),
    unit AS (
        SELECT CASE WHEN count(*) <= 120 THEN 'day' WHEN count(*) <= 800 THEN 'week' ELSE 'month' END AS unit
        FROM days)
    SELECT unit, row_number() OVER (ORDER BY date_trunc(unit, day::timestamp)), count(*) OVER (),
           to_char(min(day), 'YYYY-MM-DD'), ARRAY[sum(c[1]), sum(c[2]), sum(c[3]), sum(c[4]), sum(c[5])]
    FROM days, unit
    GROUP BY unit, date_trunc(unit, day::timestamp)
$$;
COMMENT ON FUNCTION audit_report_spans(jsonb) IS
'The counts of a compliance report by day, week or month';

-- The tables of counts: those of days are one for programs, and one for people
CREATE FUNCTION audit_report_tables(report jsonb)
RETURNS TABLE (place integer, title text, header text, names text[], counts numeric[])
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH tables AS (
        SELECT 1 AS place, 'Operations' AS title, 'Operation' AS header, key AS name,
               @extschema@.audit_result_counts(value) AS counts
        FROM jsonb_each(report->'summary')
        UNION ALL
        SELECT place, title, header, coalesce(e->>key, missing),
               @extschema@.audit_result_counts(e->'results')
        FROM (VALUES (2, 'Entity types', 'Entity type', 'by_entity_type', 'entity_type', '(none)'),
                     (3, 'Tenants', 'Tenant', 'by_tenant', 'tenant_id', '(none)'),
                     (4, 'Days', 'Day', 'by_day', 'day', NULL)
             ) AS t (place, title, header, part, key, missing),
             jsonb_array_elements(report->t.part) e
        UNION ALL
        SELECT 5, initcap(unit) || 's', CASE unit WHEN 'day' THEN 'Day' ELSE initcap(unit) || ' from' END,
               since, counts
        FROM @extschema@.audit_report_spans(report))
    SELECT place, title, header,
           array_agg(name ORDER BY CASE WHEN place < 4 THEN -counts[1] END, name COLLATE "C"),
           array_agg(counts ORDER BY CASE WHEN place < 4 THEN -counts[1] END, name COLLATE "C")
    FROM tables
    GROUP BY place, title, header
$$;
COMMENT ON FUNCTION audit_report_tables(jsonb) IS
'The tables of counts of a compliance report';

-- The facts of a report that are no counts, as pairs of name and value
CREATE FUNCTION audit_report_facts(report jsonb)
RETURNS TABLE (section text, name text, value text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT section, name, coalesce(value, 'not available')
    FROM (VALUES
        (1, 'Report', 'Database', report#>>'{report,database}'),
        (2, 'Report', 'Period', @extschema@.audit_report_period(report)
            || format(' (%s day%s)', report#>>'{period,days}',
                      CASE WHEN report#>>'{period,days}' <> '1' THEN 's' END)),
        (3, 'Report', 'Time zone', report#>>'{report,time_zone}'),
        (4, 'Report', 'Profile', report#>>'{report,profile}'),
        (5, 'Report', 'Made', format('%s by %s',
            @extschema@.audit_moment(report#>>'{report,generated_at}'), report#>>'{report,generated_by}')),
        (6, 'Report', 'Software', format('fraiseql_obs %s, PostgreSQL %s',
            report#>>'{report,extension_version}', report#>>'{report,server_version}')),
        (7, 'Retention', 'Kept for', (report#>>'{retention,days}') || ' days'),
        (8, 'Retention', 'Profile asks for', (report#>>'{retention,profile_minimum_days}') || ' days'),
        (9, 'Retention', 'Long enough', CASE report#>>'{retention,meets_profile}'
            WHEN 'true' THEN 'yes' WHEN 'false' THEN 'NO' END),
        (10, 'Retention', 'Minimum, maximum', format('%s, %s',
            coalesce(report#>>'{retention,settings,minimum}', 'not set'),
            coalesce(report#>>'{retention,settings,maximum}', 'not set'))),
        (11, 'Retention', 'Oldest entry', @extschema@.audit_moment(report#>>'{retention,oldest_entry}')),
        (12, 'Retention', 'Removed partitions', (
            SELECT CASE count(r) WHEN 0 THEN 'none'
                   ELSE format('%s with %s operations, %s to %s', count(r),
                               @extschema@.audit_number(sum((r->>'total')::numeric)),
                               left(report#>>'{retention,removed,0,range_from}', 10),
                               left(report#>>'{retention,removed,-1,range_to}', 10)) END
            FROM (SELECT nullif(report#>'{retention,removed}', 'null')) AS l (removed)
                 LEFT JOIN LATERAL jsonb_array_elements(removed) r ON true
            HAVING count(removed) > 0)),
        (13, 'Retention', 'Legal holds', (
            SELECT format('%s in force, %s released', count(h) FILTER (WHERE NOT h ? 'released_at'),
                          count(h) FILTER (WHERE h ? 'released_at'))
            FROM (SELECT nullif(report->'holds', 'null')) AS l (listed)
                 LEFT JOIN LATERAL jsonb_array_elements(listed) h ON true
            HAVING count(listed) > 0)),
        (14, 'Coverage', 'From rollups', @extschema@.audit_number((report#>>'{coverage,from_rollups}')::numeric)),
        (15, 'Coverage', 'From rows', @extschema@.audit_number((report#>>'{coverage,from_rows}')::numeric)),
        (16, 'Coverage', 'Rollups as of', @extschema@.audit_moment(report#>>'{coverage,rollups_as_of}')),
        (17, 'Coverage', 'Row security', CASE report#>>'{coverage,limited_by_row_security}'
            WHEN 'true' THEN 'HIDES ROWS' WHEN 'false' THEN 'hides none' END),
        (18, 'Coverage', 'Other sources', coalesce((
            SELECT string_agg(s, ', ') FROM jsonb_array_elements_text(report#>'{coverage,sources}') s), 'none')),
        (19, 'Coverage', 'Days without any', (
            SELECT concat_ws('; ',
                CASE WHEN count(d) > 0 THEN
                    count(d) || ': ' || string_agg(d, ', ') FILTER (WHERE n <= 5)
                    || CASE WHEN count(d) > 5 THEN ' ...' ELSE '' END
                WHEN (before + later >= (report#>>'{period,days}')::bigint) IS NOT TRUE THEN 'none' END,
                CASE WHEN before > 0 THEN before || ' before the log begins' END,
                CASE WHEN later > 0 THEN later || ' to come' END,
                CASE WHEN report#>'{gaps,is_over}' = 'false' THEN 'the period is not over' END)
            FROM (SELECT coalesce((report#>>'{gaps,days_before_log}')::bigint, 0),
                         coalesce((report#>>'{gaps,days_to_come}')::bigint, 0)) AS c (before, later)
                 LEFT JOIN LATERAL jsonb_array_elements_text(report#>'{gaps,days_without_operations}')
                     WITH ORDINALITY AS g (d, n) ON true
            GROUP BY before, later)),
        (20, 'Integrity', 'Verdict', CASE report#>>'{integrity,verdict}'
            WHEN 'violations' THEN 'VIOLATIONS' ELSE report#>>'{integrity,verdict}' END),
        (21, 'Integrity', 'Reason', report#>>'{integrity,reason}'),
        (22, 'Integrity', 'Verified', CASE WHEN report#>>'{integrity,verdict}' = 'not verified'
                 AND report#>'{integrity,verification}' = 'null' THEN 'never'
            ELSE @extschema@.audit_moment(report#>>'{integrity,verification,at}')
                 || ' by ' || (report#>>'{integrity,verification,by}') END),
        (23, 'Integrity', 'Found', (
            SELECT string_agg(kind || ' ' || (report#>>ARRAY['integrity', 'verification', kind]), ', ' ORDER BY n)
            FROM unnest(ARRAY['violations', 'gaps', 'unchecked']) WITH ORDINALITY AS k (kind, n))),
        (24, 'Integrity', 'Compared with', CASE WHEN report#>'{integrity,verification}' <> 'null' THEN coalesce(
            'checkpoint of ' || (report#>>'{integrity,verification,anchor_size}') || ' seals',
            'no checkpoint that was kept elsewhere') END),
        (25, 'Integrity', 'Verified seals', (report#>>'{integrity,verification,seals}') || ' of '
            || (report#>>'{integrity,head,size}')),
        (26, 'Integrity', 'Seals of the period', (report#>>'{integrity,seals,first}') || ' to '
            || (report#>>'{integrity,seals,last}')),
        (27, 'Integrity', 'Sealed operations', @extschema@.audit_number((report#>>'{integrity,seals,rows}')::numeric)),
        (28, 'Integrity', 'Not yet sealed', @extschema@.audit_number((report#>>'{integrity,seals,unsealed}')::numeric)),
        (29, 'Integrity', 'Root of all seals', report#>>'{integrity,head,root}'),
        (30, 'Integrity', 'Newest checkpoint', CASE WHEN report#>'{integrity,head}' <> 'null' THEN coalesce(
            'of ' || (report#>>'{integrity,head,checkpoint,size}') || ' seals, '
                || CASE report#>>'{integrity,head,checkpoint,signed}' WHEN 'true' THEN 'signed' ELSE 'not signed' END,
            'none published') END),
        (31, 'Integrity', 'Records of removal', CASE
            WHEN report#>>'{integrity,removed_partitions,checked}' = '0' THEN 'none'
            ELSE (report#>>'{integrity,removed_partitions,checked}')
                 || CASE jsonb_array_length(report#>'{integrity,removed_partitions,differing}')
                    WHEN 0 THEN ', still true' ELSE ', NOT TRUE ANY MORE' END END)
        ) AS facts (place, section, name, value)
    ORDER BY place
$$;
COMMENT ON FUNCTION audit_report_facts(jsonb) IS
'What a compliance report states besides counts';

-- What must not be read past; null if there is nothing of the kind
CREATE FUNCTION audit_report_alert(report jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'THE AUDIT LOG IS NOT WHAT WAS SEALED OR RECORDED.  ' || (report#>>'{integrity,reason}')
    WHERE report#>>'{integrity,verdict}' = 'violations'
$$;
COMMENT ON FUNCTION audit_report_alert(jsonb) IS
'What a compliance report begins with if violations have been found';

-- The findings of a verification that was made for the report
CREATE FUNCTION audit_report_findings(report jsonb)
RETURNS TABLE (n bigint, severity text, kind text, place text, message text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n, f->>'severity', f->>'kind',
           concat_ws(', ', f->>'partition', 'row ' || (f->>'row_id'), 'seal ' || (f->>'seal_no'),
                     CASE WHEN f ? 'at' THEN @extschema@.audit_moment(f->>'at') END), f->>'message'
    FROM jsonb_array_elements(report#>'{integrity,verification,findings}') WITH ORDINALITY AS l (f, n)
$$;
COMMENT ON FUNCTION audit_report_findings(jsonb) IS
'What the verification found that a compliance report made';

-- The lists of entries, each with its title and how many there are in all
CREATE FUNCTION audit_report_lists(report jsonb)
RETURNS TABLE (title text, total numeric, entries jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT title, (report#>>ARRAY[part, 'total'])::numeric,
           coalesce(report#>ARRAY[part, 'entries'], '[]')
    FROM (VALUES ('Denied operations', 'denied'), ('Failed operations', 'failed'),
                 ('Operations on the audit log', 'audit_log_access')) AS l (title, part)
$$;
COMMENT ON FUNCTION audit_report_lists(jsonb) IS
'The lists of entries in a compliance report';

-- Text: 79 columns

CREATE FUNCTION audit_text_line(name text, counts numeric[])
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT rpad(CASE WHEN length(name) > 23 THEN left(name, 22) || '~' ELSE name END, 24)
           || string_agg(lpad(to_char(n, 'FM99,999,999,990'), 11), '' ORDER BY i)
    FROM unnest(counts) WITH ORDINALITY AS c (n, i)
$$;
COMMENT ON FUNCTION audit_text_line(text, numeric[]) IS
'A line of a table of counts, as text';

CREATE FUNCTION audit_text_heading(title text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'\n%s\n%s\n', title, repeat('-', length(title)))
$$;
COMMENT ON FUNCTION audit_text_heading(text) IS
'The heading of a section, as text';

-- Control characters could move a terminal's cursor.
CREATE FUNCTION audit_text_value(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT regexp_replace(value, '[\u0001-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]', '?', 'g')
$$;
COMMENT ON FUNCTION audit_text_value(text) IS
'A value without control characters';

CREATE FUNCTION audit_text_fact(name text, value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT rpad(name, 24) || rtrim(regexp_replace(
               @extschema@.audit_text_value(value), '(.{1,55})(\s+|$)',
               E'\\1\n' || repeat(' ', 24), 'g'), E' \n') || E'\n'
$$;
COMMENT ON FUNCTION audit_text_fact(text, text) IS
'A fact of a compliance report, as text';

CREATE FUNCTION audit_text_alert(report jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT repeat('!', 79) || E'\n' || regexp_replace(
               @extschema@.audit_text_value(alert), '(.{1,75})(\s+|$)', E'!!! \\1\n', 'g')
           || repeat('!', 79) || E'\n\n'
    FROM @extschema@.audit_report_alert(report) AS alert
$$;
COMMENT ON FUNCTION audit_text_alert(jsonb) IS
'What a compliance report begins with if violations have been found, as text';

CREATE FUNCTION audit_text_findings(report jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_text_heading('Findings of the verification')
           || string_agg(concat(severity, ': ', kind, E'\n', regexp_replace(
                  @extschema@.audit_text_value(concat_ws(': ', nullif(place, ''), message)),
                  '(.{1,75})(\s+|$)', E'    \\1\n', 'g')), '' ORDER BY n)
    FROM @extschema@.audit_report_findings(report)
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION audit_text_findings(jsonb) IS
'What the verification found that a compliance report made, as text';

CREATE FUNCTION audit_text_tables(report jsonb, places integer[])
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(
        @extschema@.audit_text_heading(title) || rpad(header, 24) || lpad('Total', 11)
        || lpad('Success', 11) || lpad('Failed', 11) || lpad('Denied', 11) || lpad('No-op', 11) || E'\n'
        || (SELECT string_agg(@extschema@.audit_text_line(
                @extschema@.audit_text_value(names[i]), counts[i:i]) || E'\n', '' ORDER BY i)
            FROM generate_subscripts(names, 1) i)
        || CASE WHEN place = 1 THEN @extschema@.audit_text_line(
                'All', @extschema@.audit_result_counts(report->'by_result')) || E'\n' ELSE '' END,
        '' ORDER BY place)
    FROM @extschema@.audit_report_tables(report)
    WHERE place = ANY (places)
$$;
COMMENT ON FUNCTION audit_text_tables(jsonb, integer[]) IS
'Some of the tables of counts of a compliance report, as text';

CREATE FUNCTION audit_report_text(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat(
        @extschema@.audit_text_alert(report),
        E'COMPLIANCE REPORT\n=================\n',
        (SELECT string_agg(@extschema@.audit_text_fact(name, value), '')
         FROM @extschema@.audit_report_facts(report) WHERE section = 'Report'),
        E'\nThis report states what the audit log has; it certifies nothing.\n',
        (SELECT string_agg(@extschema@.audit_text_heading(section) || facts, '' ORDER BY place)
         FROM (SELECT section, string_agg(@extschema@.audit_text_fact(name, value), '' ORDER BY n) AS facts,
                      min(n) AS place
               FROM @extschema@.audit_report_facts(report) WITH ORDINALITY AS f (section, name, value, n)
               WHERE section <> 'Report' GROUP BY section) AS sections),
        @extschema@.audit_text_heading('Notes'),
        (SELECT string_agg(rtrim(regexp_replace('* ' || note, '(.{1,77})(\s+|$)', E'\\1\n  ', 'g'), E'\n ') || E'\n', '')
         FROM jsonb_array_elements_text(report#>'{coverage,notes}') note),
        @extschema@.audit_text_findings(report),
        @extschema@.audit_text_tables(report, '{1}'),
        @extschema@.audit_text_heading('Most active users'),
        coalesce((SELECT rpad('User', 24) || lpad('Total', 11) || lpad('Failed', 11) || lpad('Denied', 11) || E'\n'
                || string_agg(@extschema@.audit_text_line(
                    @extschema@.audit_text_value(e->>'user_id'),
                    ARRAY[(e->>'total')::numeric, (e->>'failed')::numeric, (e->>'denied')::numeric])
                    || E'\n', '' ORDER BY n)
            FROM jsonb_array_elements(report->'by_user') WITH ORDINALITY AS u (e, n)
            HAVING count(*) > 0), E'none\n'),
        @extschema@.audit_text_tables(report, '{2,3}'),
        (SELECT string_agg(
            @extschema@.audit_text_heading(format('%s: %s', title, @extschema@.audit_number(total)))
            || coalesce((SELECT string_agg(format(E'%s  %s\n    %s\n',
                    @extschema@.audit_moment(e->>'created_at'),
                    @extschema@.audit_text_value(e->>'operation'),
                    @extschema@.audit_text_value(concat_ws(', ',
                        'user ' || (e->>'user_id'), 'role ' || (e->>'db_role'), 'tenant ' || (e->>'tenant_id'),
                        nullif(concat_ws(' ', e->>'entity_type', e->>'entity_id'), ''),
                        e->>'result', e->>'sqlstate', e->>'error_message'))), '' ORDER BY n)
                FROM jsonb_array_elements(entries) WITH ORDINALITY AS l (e, n)), '')
            || CASE WHEN total > jsonb_array_length(entries)
               THEN format(E'The newest %s are listed.\n', jsonb_array_length(entries)) ELSE '' END, '')
         FROM @extschema@.audit_report_lists(report)),
        @extschema@.audit_text_tables(report, '{5}'))
$$;
COMMENT ON FUNCTION audit_report_text(jsonb) IS
'A compliance report as text, for a terminal or a mail';

-- CSV as in RFC 4180: section, item, measure, value.  A value that a
-- spreadsheet would take for a formula gets an apostrophe before it.

CREATE FUNCTION audit_csv_value(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN safe ~ '[",\r\n]' THEN '"' || replace(safe, '"', '""') || '"' ELSE safe END
    FROM (SELECT CASE WHEN value ~ '^[=+\-@\t\r]' THEN '''' || value ELSE value END) AS v (safe)
$$;
COMMENT ON FUNCTION audit_csv_value(text) IS
'A value of a CSV file';

CREATE FUNCTION audit_report_csv(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH lines AS (
        SELECT 0 AS place, 1::bigint AS line, 0::bigint AS part, 'ALERT' AS section, 'Integrity' AS item,
               'value' AS measure, alert AS value
        FROM @extschema@.audit_report_alert(report) AS alert
        WHERE alert IS NOT NULL
        UNION ALL
        SELECT 1, row_number() OVER (), 0, section, name, 'value',
               CASE WHEN value ~ '^[0-9,]+$' THEN replace(value, ',', '') ELSE value END
        FROM @extschema@.audit_report_facts(report)
        UNION ALL
        SELECT 1 + place, i, m, title, names[i],
               (ARRAY['total', 'success', 'failed', 'denied', 'noop'])[m], counts[i][m]::text
        FROM @extschema@.audit_report_tables(report),
             generate_subscripts(names, 1) i, generate_series(1, 5) m
        WHERE place <= 4
        UNION ALL
        SELECT 6, u.n, m.n, 'Most active users', e->>'user_id', measure, e->>measure
        FROM jsonb_array_elements(report->'by_user') WITH ORDINALITY AS u (e, n),
             unnest(ARRAY['total', 'failed', 'denied']) WITH ORDINALITY AS m (measure, n)
        UNION ALL
        SELECT 7, row_number() OVER (), 0, title, 'all', 'total', total::text
        FROM @extschema@.audit_report_lists(report)
        UNION ALL
        SELECT 8, row_number() OVER (), 0, title, e->>'id', f.key, f.value
        FROM @extschema@.audit_report_lists(report),
             jsonb_array_elements(entries) AS l (e), jsonb_each_text(e - 'id') AS f
        WHERE f.value IS NOT NULL
        UNION ALL
        SELECT 9, f.n, m.n, 'Findings of the verification', f.n::text, m.measure, m.value
        FROM @extschema@.audit_report_findings(report) f,
             LATERAL (VALUES (1, 'severity', severity), (2, 'kind', kind), (3, 'place', place), (4, 'message', message))
                 AS m (n, measure, value)
        UNION ALL
        SELECT 10, n, 0, 'Notes', n::text, 'note', note
        FROM jsonb_array_elements_text(report#>'{coverage,notes}') WITH ORDINALITY AS notes (note, n))
    SELECT E'section,item,measure,value\r\n' || string_agg(
        concat_ws(',', @extschema@.audit_csv_value(section),
                  coalesce(@extschema@.audit_csv_value(item), ''), measure,
                  coalesce(@extschema@.audit_csv_value(value), '')) || E'\r\n',
        '' ORDER BY place, line, part)
    FROM lines
$$;
COMMENT ON FUNCTION audit_report_csv(jsonb) IS
'A compliance report as CSV: section, item, measure, value';

-- HTML: one file, without scripts and without anything from elsewhere, which a
-- policy in it forbids besides.  Charts are SVG; colours are told apart by
-- colour-blind readers (Okabe and Ito), and no fact is in a colour alone.  On
-- paper each page says what it belongs to, and no row is cut.

CREATE FUNCTION audit_html(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(replace(replace(replace(replace(
               @extschema@.audit_text_value(value),
               '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;
COMMENT ON FUNCTION audit_html(text) IS
'A value in HTML';

-- A value in a table: it may be written from right to left, is broken where its
-- words end if it is long, and cut if it is longer than anybody reads.
CREATE FUNCTION audit_html_cell(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<bdi>' || regexp_replace(@extschema@.audit_html(left(coalesce(value, ''), 200)),
                                     '([._/@])(?=\w)', '\1<wbr/>', 'g')
           || CASE WHEN length(value) > 200 THEN '&#8230;' ELSE '' END || '</bdi>'
$$;
COMMENT ON FUNCTION audit_html_cell(text) IS
'A value in a table of HTML';

CREATE FUNCTION audit_html_table(class text, headers text[], body text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body IS NULL THEN E'<p class="none">None.</p>\n' ELSE
        format(E'<table class="%s">\n<thead><tr>%s</tr></thead>\n<tbody>\n%s</tbody>\n</table>\n', class,
               (SELECT string_agg(format('<th scope="col">%s</th>', @extschema@.audit_html(h)), '' ORDER BY n)
                FROM unnest(headers) WITH ORDINALITY AS t (h, n)), body) END
$$;
COMMENT ON FUNCTION audit_html_table(text, text[], text) IS
'A table in HTML; body: its rows';

-- What stands between the name and the counts is a chart, or nothing.
CREATE FUNCTION audit_html_counts(name text, counts numeric[], chart text DEFAULT '')
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<tr><th scope="row">%s</th>%s%s</tr>\n', @extschema@.audit_html_cell(name), chart,
        string_agg(format('<td class="n%s">%s</td>', CASE WHEN n = 0 THEN ' zero' ELSE '' END,
                          @extschema@.audit_number(n)), '' ORDER BY i))
    FROM unnest(counts) WITH ORDINALITY AS c (n, i)
$$;
COMMENT ON FUNCTION audit_html_counts(text, numeric[], text) IS
'A row of a table of counts in HTML';

CREATE FUNCTION audit_html_facts(report jsonb, section text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<dl>\n%s</dl>\n', string_agg(format(E'<div><dt>%s</dt><dd>%s</dd></div>\n',
        @extschema@.audit_html(f.name), @extschema@.audit_html_cell(f.value)), ''))
    FROM @extschema@.audit_report_facts(report) f
    WHERE f.section = audit_html_facts.section
$$;
COMMENT ON FUNCTION audit_html_facts(jsonb, text) IS
'Facts of a section of a compliance report in HTML';

CREATE FUNCTION audit_html_list(entries jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_html_table('list',
        ARRAY['Time', 'Operation', 'Who (tenant)', 'On what', 'Outcome'],
        string_agg(format(
            E'<tr><td class="time">%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n',
            @extschema@.audit_html(@extschema@.audit_moment(e->>'created_at')),
            @extschema@.audit_html_cell(e->>'operation'),
            @extschema@.audit_html_cell(concat_ws(' ', e->>'user_id', '[role ' || (e->>'db_role') || ']', '(' || (e->>'tenant_id') || ')')),
            @extschema@.audit_html_cell(concat_ws(' ', e->>'entity_type', e->>'entity_id')),
            @extschema@.audit_html_cell(concat_ws(': ', nullif(concat_ws(' ', e->>'result', e->>'sqlstate'), ''), e->>'error_message', e->>'details'))),
            '' ORDER BY n))
    FROM jsonb_array_elements(entries) WITH ORDINALITY AS l (e, n)
$$;
COMMENT ON FUNCTION audit_html_list(jsonb) IS
'A list of entries of a compliance report in HTML';

-- The series of charts, in the order of audit_result_counts()
CREATE FUNCTION audit_chart_series()
RETURNS TABLE (n integer, name text, fill text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    VALUES (2, 'success', '#0072b2'), (3, 'failed', '#d55e00'),
           (4, 'denied', '#e69f00'), (5, 'no-op', '#bbbbbb')
$$;
COMMENT ON FUNCTION audit_chart_series() IS
'What the charts of a compliance report stack, and how it is filled';

-- Some of a series as a rectangle.  Where colours are not seen, failed has
-- stripes, and denied dots: drawn, because browsers print patterns as coarse
-- pixels.  The inner svg is what cuts them off.
CREATE FUNCTION audit_chart_rect(series text, x numeric, y numeric, width numeric, height numeric, title text DEFAULT '')
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN 0 IN (width, height) THEN ''
        WHEN series = 'failed' THEN format(
            '<svg x="%s" y="%s" width="%s" height="%s">%s<rect width="%3$s" height="%4$s" fill="%6$s"/><path class="stripes" d="%s"/></svg>',
            x, y, width, height, title, fill,
            (SELECT string_agg(format('M%s %sl%s -%3$s', i - height - 2, height + 2, height + 4), '' ORDER BY i)
             FROM generate_series(4, ceil(width + height), 8) i))
        WHEN series = 'denied' THEN format(
            '<svg x="%s" y="%s" width="%s" height="%s">%s<rect width="%3$s" height="%4$s" fill="%6$s"/><path class="dots" d="%s"/></svg>',
            x, y, width, height, title, fill,
            (SELECT string_agg(format('M%s %sh0', i, j), '' ORDER BY i, j)
             FROM generate_series(least(round(width / 2, 2), 3), width, 6) i, generate_series(3, height, 6) j))
        ELSE format('<rect x="%s" y="%s" width="%s" height="%s" fill="%s">%s</rect>',
                    x, y, width, height, fill, title) END
    FROM @extschema@.audit_chart_series() WHERE name = series
$$;
COMMENT ON FUNCTION audit_chart_rect(text, numeric, numeric, numeric, numeric, text) IS
'A rectangle of a chart of a compliance report, as SVG';

-- Up to five lines, at round numbers: multiples of 1, 2 or 5 times a power of ten
CREATE FUNCTION audit_chart_axis(highest numeric)
RETURNS SETOF numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i * step
    FROM (SELECT min(m * power(10::numeric, d)) AS step
          FROM generate_series(0, 18) d, unnest(ARRAY[1, 2, 5]) m
          WHERE m * power(10::numeric, d) * 4 >= highest) AS s,
         generate_series(0, ceil(highest / step)::integer) i
$$;
COMMENT ON FUNCTION audit_chart_axis(numeric) IS
'The lines of the axis of a chart, from zero to its end';

CREATE FUNCTION audit_html_chart_by_day(report jsonb, title text, series integer[], height integer)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH bars AS (SELECT * FROM @extschema@.audit_report_spans(report)),
    stacks AS (
        SELECT b.place, b.since, s.n AS number, s.name, b.counts[s.n] AS n,
               sum(b.counts[s.n]) OVER (PARTITION BY b.place ORDER BY s.n) AS upto
        FROM bars b JOIN @extschema@.audit_chart_series() s ON s.n = ANY (series)),
    axis AS MATERIALIZED (
        SELECT at FROM @extschema@.audit_chart_axis((SELECT greatest(max(upto), 1) FROM stacks)) at),
    -- pixels of a bar, and of one operation
    scale AS (
        SELECT max(unit) AS unit, least(650.0 / max(spans), 48) AS step, height - 26 AS base,
               (height - 60) / (SELECT max(at) FROM axis) AS one
        FROM bars)
    SELECT format(
        E'<figure>\n<figcaption>%s by %s</figcaption>\n<svg viewBox="0 0 720 %s" role="img" aria-label="%1$s by %2$s and result">%4$s%5$s%6$s%7$s</svg>\n</figure>\n',
        title, unit, height,
        (SELECT string_agg(@extschema@.audit_chart_rect(name, 90 * place - 30, 4, 12, 12)
             || format('<text x="%s" y="14">%s</text>', 90 * place - 13, name), '' ORDER BY place)
         FROM (SELECT *, row_number() OVER (ORDER BY n) AS place
               FROM @extschema@.audit_chart_series() WHERE n = ANY (series)) AS legend),
        (SELECT string_agg(format('<line class="grid" x1="60" x2="712" y1="%s" y2="%1$s"/><text class="axis" text-anchor="end" x="54" y="%s">%s</text>',
             round(base - one * at, 1), round(base - one * at + 4, 1),
             CASE WHEN at < 1e6 THEN @extschema@.audit_number(at) WHEN at < 1e9 THEN trim_scale(at / 1e6) || ' M'
             WHEN at < 1e12 THEN trim_scale(at / 1e9) || ' G' ELSE @extschema@.audit_number(at / 1e12) || ' T' END), '' ORDER BY at)
         FROM axis),
        (SELECT string_agg(@extschema@.audit_chart_rect(name,
             round(61 + step * (place - 1), 2), round(base - one * upto, 2),
             round(greatest(step - CASE WHEN step > 3 THEN 1 ELSE 0 END, 0.5), 2), round(one * n, 2),
             format('<title>%s: %s %s</title>', since, @extschema@.audit_number(n), name)), '' ORDER BY place, number)
         FROM stacks WHERE n > 0),
        (SELECT string_agg(format('<text class="axis" text-anchor="middle" x="%s" y="%s">%s</text>',
             round(61 + step * (place - 0.5), 1), base + 16, since), '' ORDER BY place)
         FROM bars WHERE (place - 1) % ceil(85 / step)::bigint = 0 AND step * (place - 0.5) < 625))
    FROM scale
$$;
COMMENT ON FUNCTION audit_html_chart_by_day(jsonb, text, integer[], integer) IS
'A chart of operations by day and result, as SVG';

CREATE FUNCTION audit_html_users(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_html_table('counts users', ARRAY['User', '', 'Total', 'Failed', 'Denied'],
        string_agg(@extschema@.audit_html_counts(user_id, ARRAY[total, failed, denied], format(
            '<td><svg viewBox="0 0 300 12" preserveAspectRatio="none" aria-hidden="true">%s%s%s</svg></td>',
            @extschema@.audit_chart_rect('success', 0, 0, round(one * (total - failed - denied), 1), 12),
            @extschema@.audit_chart_rect('failed', round(one * (total - failed - denied), 1), 0, round(one * failed, 1), 12),
            @extschema@.audit_chart_rect('denied', round(one * (total - denied), 1), 0, round(one * denied, 1), 12))), '' ORDER BY n))
    FROM (SELECT user_id, total, failed, denied, n, 300.0 / nullif(max(total) OVER (), 0) AS one
          FROM jsonb_array_elements(report->'by_user') WITH ORDINALITY AS u (e, n),
               jsonb_to_record(e) AS r (user_id text, total numeric, failed numeric, denied numeric)) AS users
$$;
COMMENT ON FUNCTION audit_html_users(jsonb) IS
'The most active users in HTML, with a bar for each';

CREATE FUNCTION audit_html_style()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT $css$
:root { color-scheme: light; }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { font: 14px/1.45 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; color: #1a1a1a; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid #0072b2; break-after: avoid; }
h3 { font-size: 1rem; margin: 0 0 .3rem; }
.subject { font-size: 1.15rem; margin: .15rem 0 .3rem; overflow-wrap: anywhere; }
.statement, .none, .note { color: #555; margin: 0 0 1rem; }
.note { font-size: .93em; margin: .4rem 0; }
dl { margin: 0; }
dl div { display: flex; gap: .8rem; padding: .2rem 0; border-bottom: 1px solid #e4e4e4; break-inside: avoid; }
dt { flex: 0 0 8em; color: #555; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.report dl { columns: 2; column-gap: 2rem; }
.report dt { flex-basis: 5.2em; }
.state { display: grid; grid-template-columns: repeat(2, 1fr); gap: 1rem 1.6rem; margin: 1.3rem 0 .6rem; }
.state section { min-width: 0; }
.state .integrity { grid-column: 1 / -1; }
.integrity dl { columns: 2; column-gap: 2rem; }
.integrity dt { flex-basis: 9.5em; }
.totals { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; padding: 0; list-style: none; }
.totals li { flex: 1 1 6rem; border: 1px solid #d0d0d0; border-top: 4px solid #555; border-radius: 3px; padding: .5rem .8rem; color: #555; }
.totals b { display: block; font-size: 1.4rem; color: #1a1a1a; font-variant-numeric: tabular-nums; }
.totals .success { border-top-color: #0072b2; } .totals .failed { border-top-color: #d55e00; }
.totals .denied { border-top-color: #e69f00; } .totals .noop { border-top-color: #bbb; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin: .4rem 0 1rem; }
thead { display: table-header-group; }
th, td { padding: .25rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; }
thead th { background: #f2f5f8; border-bottom: 1px solid #9ab; }
tbody th { font-weight: normal; }
tr { break-inside: avoid; }
.counts thead th:not(:first-child), .n { text-align: right; font-variant-numeric: tabular-nums; width: 12.5%; }
.users thead th:nth-child(2) { width: 35%; }
.users svg { width: 100%; height: .8em; display: block; margin-top: .3em; }
.list thead th { width: 18%; }
.list thead th:nth-child(1) { width: 23%; } .list thead th:nth-child(2) { width: 15%; } .list thead th:nth-child(5) { width: 26%; }
.alert { border: 3px solid #b00020; background: #fdecee; padding: .7rem 1rem; margin: 1rem 0; font-weight: bold; overflow-wrap: anywhere; break-inside: avoid; }
.findings thead th:nth-child(1), .findings thead th:nth-child(2) { width: 12%; } .findings thead th:nth-child(3) { width: 28%; }
.findings .violation td:first-child { font-weight: bold; color: #b00020; }
.zero { color: #999; }
.time { font-variant-numeric: tabular-nums; }
figure { margin: 1.1rem 0 0; break-inside: avoid; }
figcaption { font-weight: bold; margin-bottom: .3rem; }
figure svg { width: 100%; height: auto; display: block; }
.stripes { stroke: #fff; stroke-opacity: .55; stroke-width: 2; }
.dots { stroke: #000; stroke-width: 3; stroke-linecap: round; }
svg text { font-size: 11px; fill: #1a1a1a; }
svg .axis { font-size: 10px; fill: #555; }
svg .grid { stroke: #ddd; }
footer { margin-top: 2.5rem; color: #555; font-size: .9em; border-top: 1px solid #d0d0d0; padding-top: .6rem; }
@media (max-width: 44rem) { .state { grid-template-columns: 1fr; } .report dl, .integrity dl { columns: 1; } }
@media print {
  body { font-size: 9.5pt; line-height: 1.35; margin: 0; padding: 0; max-width: none; }
  h2 { margin-top: 1.6rem; }
  .counts, .list { font-size: 8.5pt; }
  th, td { padding: .12rem .35rem; }
  dl div { padding: .12rem 0; }
  .totals, .state { gap: .6rem 1.2rem; margin: .9rem 0 .5rem; }
  .totals li { padding: .3rem .6rem; }
  footer { display: none; }
}
$css$
$$;
COMMENT ON FUNCTION audit_html_style() IS
'The style sheet of a compliance report in HTML';

-- A string of a style sheet, in which no character of ASCII has a meaning
CREATE FUNCTION audit_css_string(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '"' || coalesce(string_agg(
        CASE WHEN c ~ '[A-Za-z0-9 ,.]' OR c > '~' COLLATE "C" THEN c
        ELSE '\' || lpad(to_hex(ascii(c)), 6, '0') END, '' ORDER BY n), '') || '"'
    FROM regexp_split_to_table(@extschema@.audit_text_value(value), '') WITH ORDINALITY AS v (c, n)
$$;
COMMENT ON FUNCTION audit_css_string(text) IS
'A value in a style sheet';

-- What each printed page says; the first one has it as its heading.
CREATE FUNCTION audit_html_page(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(
        E'@page { size: A4; margin: 17mm 14mm 16mm; font: 8pt Arial, "Liberation Sans", sans-serif; color: #555;\n'
        '  @top-left { content: %s; } @top-right { content: %s; }\n'
        '  @bottom-left { content: %s; } @bottom-right { content: "Page " counter(page) " of " counter(pages); } }\n'
        '@page :first { @top-left { content: none; } @top-right { content: none; } }\n',
        @extschema@.audit_css_string('Compliance report of ' || left(report#>>'{report,database}', 40)),
        @extschema@.audit_css_string(@extschema@.audit_report_period(report)),
        @extschema@.audit_css_string(format('Made by fraiseql_obs %s on %s',
            report#>>'{report,extension_version}', @extschema@.audit_moment(report#>>'{report,generated_at}'))))
$$;
COMMENT ON FUNCTION audit_html_page(jsonb) IS
'What a compliance report says on each page that is printed';

CREATE FUNCTION audit_html_totals(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<ul class="totals">\n%s</ul>\n', string_agg(format(E'<li class="%s"><b>%s</b>%s</li>\n',
        class, @extschema@.audit_number(counts[n]), name), '' ORDER BY n))
    FROM @extschema@.audit_result_counts(report->'by_result') AS counts,
         (VALUES (1, 'all', 'operations'), (2, 'success', 'succeeded'), (3, 'failed', 'failed'),
                 (4, 'denied', 'denied'), (5, 'noop', 'changed nothing')) AS names (n, class, name)
$$;
COMMENT ON FUNCTION audit_html_totals(jsonb) IS
'The totals of a compliance report in HTML';

CREATE FUNCTION audit_html_alert(report jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<p class="alert" role="alert">%s</p>\n', @extschema@.audit_html(alert))
    FROM @extschema@.audit_report_alert(report) AS alert
    WHERE alert IS NOT NULL
$$;
COMMENT ON FUNCTION audit_html_alert(jsonb) IS
'What a compliance report begins with if violations have been found, in HTML';

CREATE FUNCTION audit_html_findings(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT E'<h2>Findings of the verification</h2>\n' || @extschema@.audit_html_table('findings',
        ARRAY['Severity', 'Kind', 'Where', 'What'],
        string_agg(format(E'<tr class="%s"><td>%1$s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n',
            @extschema@.audit_html(severity), @extschema@.audit_html(kind),
            @extschema@.audit_html_cell(place), @extschema@.audit_html_cell(message)), '' ORDER BY n))
    FROM @extschema@.audit_report_findings(report)
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION audit_html_findings(jsonb) IS
'What the verification found that a compliance report made, in HTML';

-- What the figures are worth: whether the log was verified, how long it is
-- kept, and what it covers
CREATE FUNCTION audit_html_state(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<div class="state">\n%s</div>\n%s',
        (SELECT string_agg(format(E'<section class="%s">\n<h3>%s</h3>\n%s</section>\n', lower(s), s,
                    @extschema@.audit_html_facts(report, s)), '' ORDER BY n)
         FROM unnest(ARRAY['Integrity', 'Retention', 'Coverage']) WITH ORDINALITY AS sections (s, n)),
        (SELECT string_agg(format(E'<p class="note">%s</p>\n', @extschema@.audit_html(note)), '' ORDER BY n)
         FROM jsonb_array_elements_text(report#>'{coverage,notes}') WITH ORDINALITY AS notes (note, n)))
$$;
COMMENT ON FUNCTION audit_html_state(jsonb) IS
'What a compliance report states of the audit log itself, in HTML';

CREATE FUNCTION audit_html_count_tables(report jsonb, places integer[])
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(E'<h2>%s</h2>\n%s', title,
        @extschema@.audit_html_table('counts',
            ARRAY[header, 'Total', 'Success', 'Failed', 'Denied', 'No-op'],
            (SELECT string_agg(@extschema@.audit_html_counts(names[i], counts[i:i]), '' ORDER BY i)
             FROM generate_subscripts(names, 1) i))), '' ORDER BY place)
    FROM @extschema@.audit_report_tables(report)
    WHERE place = ANY (places)
$$;
COMMENT ON FUNCTION audit_html_count_tables(jsonb, integer[]) IS
'Some of the tables of counts of a compliance report in HTML';

CREATE FUNCTION audit_html_lists(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(E'<h2>%s: %s</h2>\n', title, @extschema@.audit_number(total))
        || CASE WHEN total > jsonb_array_length(entries)
           THEN format(E'<p class="note">The newest %s are listed.</p>\n', jsonb_array_length(entries)) ELSE '' END
        || @extschema@.audit_html_list(entries), '')
    FROM @extschema@.audit_report_lists(report)
$$;
COMMENT ON FUNCTION audit_html_lists(jsonb) IS
'The lists of entries of a compliance report in HTML';

CREATE FUNCTION audit_report_html(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat(
        E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
        E'<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>\n',
        E'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n',
        format(E'<title>Compliance report of %s, %s</title>\n<style>%s%s</style>\n</head>\n<body>\n',
            @extschema@.audit_html(report#>>'{report,database}'), @extschema@.audit_report_period(report),
            @extschema@.audit_html_style(), @extschema@.audit_html_page(report)),
        format(E'<h1>Compliance report</h1>\n<p class="subject"><bdi>%s</bdi>, %s</p>\n',
            @extschema@.audit_html(report#>>'{report,database}'), @extschema@.audit_report_period(report)),
        @extschema@.audit_html_alert(report),
        E'<p class="statement">States what the audit log has of the period; it certifies nothing.</p>\n',
        format(E'<div class="report">\n%s</div>\n', @extschema@.audit_html_facts(report, 'Report')),
        @extschema@.audit_html_totals(report),
        @extschema@.audit_html_state(report),
        @extschema@.audit_html_findings(report),
        @extschema@.audit_html_chart_by_day(report, 'Operations', '{2,3,4,5}', 210),
        @extschema@.audit_html_chart_by_day(report, 'Failed and denied operations', '{3,4}', 150),
        E'<p class="note">Failed is failure and timeout together, here and below.</p>\n',
        @extschema@.audit_html_count_tables(report, '{1}'),
        E'<h2>Most active users</h2>\n',
        @extschema@.audit_html_users(report),
        @extschema@.audit_html_count_tables(report, '{2,3}'),
        @extschema@.audit_html_lists(report),
        @extschema@.audit_html_count_tables(report, '{5}'),
        format(E'<footer>Made by fraiseql_obs %s on %s. Times are in the time zone %s.</footer>\n</body>\n</html>\n',
            @extschema@.audit_html(report#>>'{report,extension_version}'),
            @extschema@.audit_html(@extschema@.audit_moment(report#>>'{report,generated_at}')),
            @extschema@.audit_html(report#>>'{report,time_zone}')))
$$;
COMMENT ON FUNCTION audit_report_html(jsonb) IS
'A compliance report as one HTML file, which prints on A4';

-- What callers call

CREATE FUNCTION compliance_report_text(
    start_date date, end_date date, profile text DEFAULT 'default', verify boolean DEFAULT false)
RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_report_text(@extschema@.compliance_report(start_date, end_date, profile, verify))
$$;
COMMENT ON FUNCTION compliance_report_text(date, date, text, boolean) IS
'compliance_report() as text, for a terminal or a mail';

CREATE FUNCTION compliance_report_csv(
    start_date date, end_date date, profile text DEFAULT 'default', verify boolean DEFAULT false)
RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_report_csv(@extschema@.compliance_report(start_date, end_date, profile, verify))
$$;
COMMENT ON FUNCTION compliance_report_csv(date, date, text, boolean) IS
'compliance_report() as CSV: section, item, measure, value';

CREATE FUNCTION compliance_report_html(
    start_date date, end_date date, profile text DEFAULT 'default', verify boolean DEFAULT false)
RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_report_html(@extschema@.compliance_report(start_date, end_date, profile, verify))
$$;
COMMENT ON FUNCTION compliance_report_html(date, date, text, boolean) IS
'compliance_report() as one HTML file, which prints on A4';
