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
    SELECT coalesce(replace(regexp_replace(moment, '\.\d+', ''), 'T', ' '), 'not available')
$$;
COMMENT ON FUNCTION audit_moment(text) IS
'A time of a report for people to read, to the second';

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

-- The tables of counts: section, name and counts by result
CREATE FUNCTION audit_report_tables(report jsonb)
RETURNS TABLE (place integer, title text, header text, names text[], counts numeric[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
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
             jsonb_array_elements(report->t.part) e)
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
        (2, 'Report', 'Period', format('%s to %s, the end exclusive (%s days)',
            report#>>'{period,start}', report#>>'{period,end}', report#>>'{period,days}')),
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
        (14, 'Coverage', 'Counted from rollups', @extschema@.audit_number((report#>>'{coverage,from_rollups}')::numeric)),
        (15, 'Coverage', 'Counted from rows', @extschema@.audit_number((report#>>'{coverage,from_rows}')::numeric)),
        (16, 'Coverage', 'Rollups as of', @extschema@.audit_moment(report#>>'{coverage,rollups_as_of}')),
        (17, 'Coverage', 'Limited by row security', CASE report#>>'{coverage,limited_by_row_security}'
            WHEN 'true' THEN 'YES' WHEN 'false' THEN 'no' END),
        (18, 'Coverage', 'Other sources', coalesce((
            SELECT string_agg(s, ', ') FROM jsonb_array_elements_text(report#>'{coverage,sources}') s), 'none')),
        (19, 'Coverage', 'Days without operations', (
            SELECT CASE WHEN count(*) = 0 THEN 'none'
                   ELSE count(*) || ': ' || string_agg(d, ', ') FILTER (WHERE n <= 20)
                        || CASE WHEN count(*) > 20 THEN ' ...' ELSE '' END END
            FROM jsonb_array_elements_text(report#>'{gaps,days_without_operations}')
                 WITH ORDINALITY AS g (d, n))),
        (20, 'Integrity', 'Verdict', report#>>'{integrity,verdict}'),
        (21, 'Integrity', 'Reason', report#>>'{integrity,reason}')
        ) AS facts (place, section, name, value)
    ORDER BY place
$$;
COMMENT ON FUNCTION audit_report_facts(jsonb) IS
'What a compliance report states besides counts';

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

CREATE FUNCTION audit_report_text(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH columns AS (
        SELECT lpad('Total', 11) || lpad('Success', 11) || lpad('Failed', 11)
               || lpad('Denied', 11) || lpad('No-op', 11) AS header)
    SELECT concat(
        E'COMPLIANCE REPORT\n=================\n',
        (SELECT string_agg(format(E'%s%s\n', rpad(name, 24), value), '')
         FROM @extschema@.audit_report_facts(report) WHERE section = 'Report'),
        E'\nThis report states what the audit log has; it certifies nothing.\n',
        (SELECT string_agg(
            @extschema@.audit_text_heading(title) || rpad(t.header, 24) || c.header || E'\n'
            || (SELECT string_agg(@extschema@.audit_text_line(
                    @extschema@.audit_text_value(names[i]), counts[i:i]) || E'\n', '' ORDER BY i)
                FROM generate_subscripts(names, 1) i)
            || CASE WHEN place = 1 THEN @extschema@.audit_text_line(
                    'All', @extschema@.audit_result_counts(report->'by_result')) || E'\n' ELSE '' END,
            '' ORDER BY place)
         FROM @extschema@.audit_report_tables(report) t, columns c),
        @extschema@.audit_text_heading('Most active users'),
        coalesce((SELECT rpad('User', 24) || lpad('Total', 11) || lpad('Failed', 11) || lpad('Denied', 11) || E'\n'
                || string_agg(@extschema@.audit_text_line(
                    @extschema@.audit_text_value(e->>'user_id'),
                    ARRAY[(e->>'total')::numeric, (e->>'failed')::numeric, (e->>'denied')::numeric])
                    || E'\n', '' ORDER BY n)
            FROM jsonb_array_elements(report->'by_user') WITH ORDINALITY AS u (e, n)
            HAVING count(*) > 0), E'none\n'),
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
        (SELECT string_agg(@extschema@.audit_text_heading(section) || facts, '' ORDER BY place)
         FROM (SELECT section, string_agg(format(E'%s%s\n', rpad(name, 24), value), '') AS facts,
                      min(n) AS place
               FROM @extschema@.audit_report_facts(report) WITH ORDINALITY AS f (section, name, value, n)
               WHERE section <> 'Report' GROUP BY section) AS sections),
        E'\nNotes\n-----\n',
        (SELECT string_agg(rtrim(regexp_replace('* ' || note, '(.{1,77})(\s+|$)', E'\\1\n  ', 'g')) || E'\n', '')
         FROM jsonb_array_elements_text(report#>'{coverage,notes}') note))
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
        SELECT 1 AS place, row_number() OVER () AS line, 0::bigint AS part, section, name AS item, 'value' AS measure,
               CASE WHEN value ~ '^[0-9,]+$' THEN replace(value, ',', '') ELSE value END AS value
        FROM @extschema@.audit_report_facts(report)
        UNION ALL
        SELECT 1 + place, i, m, title, names[i],
               (ARRAY['total', 'success', 'failed', 'denied', 'noop'])[m], counts[i][m]::text
        FROM @extschema@.audit_report_tables(report),
             generate_subscripts(names, 1) i, generate_series(1, 5) m
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
        SELECT 9, n, 0, 'Notes', n::text, 'note', note
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
-- colour-blind readers (Okabe and Ito), and no fact is in a colour alone.

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

CREATE FUNCTION audit_html_table(caption text, headers text[], body text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body IS NULL THEN E'<p class="none">None.</p>\n' ELSE
        format(E'<table>\n<caption>%s</caption>\n<thead><tr>%s</tr></thead>\n<tbody>\n%s</tbody>\n</table>\n',
               @extschema@.audit_html(caption),
               (SELECT string_agg(format('<th scope="col">%s</th>', @extschema@.audit_html(h)), '' ORDER BY n)
                FROM unnest(headers) WITH ORDINALITY AS t (h, n)), body) END
$$;
COMMENT ON FUNCTION audit_html_table(text, text[], text) IS
'A table in HTML; body: its rows';

CREATE FUNCTION audit_html_counts(name text, counts numeric[])
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<tr><th scope="row"><bdi>%s</bdi></th>%s</tr>\n', @extschema@.audit_html(name),
        string_agg(format('<td class="n%s">%s</td>', CASE WHEN n = 0 THEN ' zero' ELSE '' END,
                          @extschema@.audit_number(n)), '' ORDER BY i))
    FROM unnest(counts) WITH ORDINALITY AS c (n, i)
$$;
COMMENT ON FUNCTION audit_html_counts(text, numeric[]) IS
'A row of a table of counts in HTML';

CREATE FUNCTION audit_html_facts(report jsonb, section text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<dl>\n%s</dl>\n', string_agg(format(E'<div><dt>%s</dt><dd><bdi>%s</bdi></dd></div>\n',
        @extschema@.audit_html(f.name), @extschema@.audit_html(f.value)), ''))
    FROM @extschema@.audit_report_facts(report) f
    WHERE f.section = audit_html_facts.section
$$;
COMMENT ON FUNCTION audit_html_facts(jsonb, text) IS
'Facts of a section of a compliance report in HTML';

CREATE FUNCTION audit_html_list(title text, entries jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_html_table(
        format('%s: the newest %s', title, jsonb_array_length(entries)),
        ARRAY['Time', 'Operation', 'Who', 'On what', 'Outcome'],
        string_agg(format(
            E'<tr><td class="time">%s</td><td><bdi>%s</bdi></td><td><bdi>%s</bdi></td><td><bdi>%s</bdi></td><td><bdi>%s</bdi></td></tr>\n',
            @extschema@.audit_html(@extschema@.audit_moment(e->>'created_at')),
            @extschema@.audit_html(e->>'operation'),
            @extschema@.audit_html(concat_ws(', ', e->>'user_id', 'role ' || (e->>'db_role'), 'tenant ' || (e->>'tenant_id'))),
            @extschema@.audit_html(concat_ws(' ', e->>'entity_type', e->>'entity_id')),
            @extschema@.audit_html(concat_ws(': ', concat_ws(' ', e->>'result', e->>'sqlstate'), e->>'error_message', e->>'details'))),
            '' ORDER BY n))
    FROM jsonb_array_elements(entries) WITH ORDINALITY AS l (e, n)
$$;
COMMENT ON FUNCTION audit_html_list(text, jsonb) IS
'A list of entries of a compliance report in HTML';

-- The four series of charts, in the order of audit_result_counts()
CREATE FUNCTION audit_chart_series()
RETURNS TABLE (n integer, name text, fill text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    VALUES (2, 'success', '#0072b2'), (3, 'failed', 'url(#failed)'),
           (4, 'denied', 'url(#denied)'), (5, 'no-op', '#bbbbbb')
$$;
COMMENT ON FUNCTION audit_chart_series() IS
'What the charts of a compliance report stack, and how it is filled';

CREATE FUNCTION audit_chart_legend()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<defs><pattern id="failed" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        || '<rect width="6" height="6" fill="#d55e00"/><rect width="2" height="6" fill="#ffffff" fill-opacity="0.55"/></pattern>'
        || '<pattern id="denied" width="6" height="6" patternUnits="userSpaceOnUse">'
        || '<rect width="6" height="6" fill="#e69f00"/><circle cx="3" cy="3" r="1.5" fill="#000000"/></pattern></defs>'
        || string_agg(format('<rect x="%s" y="4" width="12" height="12" fill="%s"/><text x="%s" y="14">%s</text>',
               60 + 100 * (n - 2), fill, 78 + 100 * (n - 2), name), '' ORDER BY n)
    FROM @extschema@.audit_chart_series()
$$;
COMMENT ON FUNCTION audit_chart_legend() IS
'The legend of the chart by day, and the patterns of its series';

-- The bars of the chart by day: days, or weeks or months where there are more
-- days than can be told apart.
CREATE FUNCTION audit_chart_bars(report jsonb)
RETURNS TABLE (unit text, place bigint, bars bigint, since date, counts numeric[])
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
           min(day), ARRAY[sum(c[1]), sum(c[2]), sum(c[3]), sum(c[4]), sum(c[5])]
    FROM days, unit
    GROUP BY unit, date_trunc(unit, day::timestamp)
$$;
COMMENT ON FUNCTION audit_chart_bars(jsonb) IS
'The bars of the chart by day';

CREATE FUNCTION audit_html_chart_by_day(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH bars AS (SELECT * FROM @extschema@.audit_chart_bars(report)),
    -- the axis ends at a round number: 1, 2 or 5 times a power of ten
    highest AS (SELECT greatest(max(counts[1]), 1) AS n, max(unit) AS unit, max(bars) AS bars FROM bars),
    scale AS (
        SELECT unit, bars, least(640.0 / bars, 48) AS step,
               (SELECT min(m * power(10::numeric, d)) FROM generate_series(0, 18) d, unnest(ARRAY[1, 2, 5]) m
                WHERE m * power(10::numeric, d) >= n) AS top
        FROM highest),
    stacks AS (
        SELECT b.place, b.since, s.name, s.fill, b.counts[s.n] AS n,
               (SELECT coalesce(sum(c), 0) FROM unnest(b.counts[2:s.n]) c) AS upto
        FROM bars b, @extschema@.audit_chart_series() s
        WHERE b.counts[s.n] > 0)
    SELECT format(
        E'<figure>\n<svg viewBox="0 0 720 260" role="img" aria-labelledby="by-day"><title id="by-day">Operations by %s and result</title>%s%s%s%s</svg>\n<figcaption>Operations by %1$s, stacked by result.</figcaption>\n</figure>\n',
        unit, @extschema@.audit_chart_legend(),
        (SELECT string_agg(format(
             '<line class="grid" x1="60" x2="705" y1="%s" y2="%1$s"/><text class="axis" text-anchor="end" x="54" y="%s">%s</text>',
             round(225 - 190 * i / 2.0, 1), round(229 - 190 * i / 2.0, 1),
             CASE WHEN top * i % 2 = 0 THEN @extschema@.audit_number(top * i / 2) ELSE '' END), '')
         FROM generate_series(0, 2) i),
        (SELECT string_agg(format('<rect x="%s" y="%s" width="%s" height="%s" fill="%s"><title>%s: %s %s</title></rect>',
             round(62 + step * (place - 1), 2), round(225 - 190 * upto / top, 2),
             round(greatest(step - CASE WHEN step > 3 THEN 1 ELSE 0 END, 0.5), 2),
             round(190 * s.n / top, 2), fill, since, @extschema@.audit_number(s.n), name), '' ORDER BY place, upto)
         FROM stacks s),
        (SELECT string_agg(format('<text class="axis" x="%s" y="242">%s</text>',
             round(62 + step * (place - 1), 1), since), '' ORDER BY place)
         FROM bars b WHERE (place - 1) % greatest(ceil(b.bars / 8.0)::bigint, ceil(78 / step)::bigint) = 0))
    FROM scale
$$;
COMMENT ON FUNCTION audit_html_chart_by_day(jsonb) IS
'The chart of operations by day and result, as SVG';

CREATE FUNCTION audit_html_chart_of_users(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN count(*) = 0 THEN E'<p class="none">None.</p>\n' ELSE format(
        E'<figure>\n<svg viewBox="0 0 720 %s" role="img" aria-labelledby="by-user"><title id="by-user">Most active users</title>%s</svg>\n<figcaption>Most active users, with all their operations.</figcaption>\n</figure>\n',
        count(*) * 24 + 8,
        string_agg(format(
            '<text x="212" y="%s" text-anchor="end">%s</text><rect x="220" y="%s" width="%s" height="16" fill="#0072b2"/><text class="axis" x="%s" y="%s">%s</text>',
            n * 24 - 6,
            @extschema@.audit_html(CASE WHEN length(e->>'user_id') > 28 THEN left(e->>'user_id', 27) || U&'\2026' ELSE e->>'user_id' END),
            n * 24 - 19, round(380 * total / most, 1), round(226 + 380 * total / most, 1),
            n * 24 - 6, @extschema@.audit_number(total)), '' ORDER BY n)) END
    FROM (SELECT e, n, (e->>'total')::numeric AS total, max((e->>'total')::numeric) OVER () AS most
          FROM jsonb_array_elements(report->'by_user') WITH ORDINALITY AS u (e, n)) AS users
$$;
COMMENT ON FUNCTION audit_html_chart_of_users(jsonb) IS
'The chart of the most active users, as SVG';

CREATE FUNCTION audit_html_style()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT $css$
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid #0072b2; break-after: avoid; }
.statement { color: #444; margin: 0 0 1.2rem; }
dl { margin: 0; columns: 2; column-gap: 2rem; }
dl div { display: flex; gap: .8rem; padding: .22rem 0; border-bottom: 1px solid #e4e4e4; break-inside: avoid; }
dt { flex: 0 0 10.5rem; color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
.totals { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; padding: 0; list-style: none; }
.totals li { flex: 1 1 6rem; border: 1px solid #d0d0d0; border-radius: 4px; padding: .55rem .8rem; }
.totals b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem; }
caption { text-align: left; color: #555; padding: .2rem 0; caption-side: top; }
thead { display: table-header-group; }
th, td { padding: .25rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; }
thead th { background: #f2f5f8; border-bottom: 1px solid #9ab; }
tbody th { font-weight: normal; }
tr { break-inside: avoid; }
.counts thead th:not(:first-child), .n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.zero { color: #999; }
.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
.none { color: #555; }
.verdict { font-weight: bold; }
figure { margin: .6rem 0 1rem; break-inside: avoid; }
figcaption { color: #555; font-size: .9em; }
svg { width: 100%; height: auto; }
svg text { font-size: 12px; fill: #1a1a1a; }
svg .axis { font-size: 11px; fill: #555; }
svg .grid { stroke: #ddd; }
footer { margin-top: 2.5rem; color: #555; font-size: .9em; border-top: 1px solid #d0d0d0; padding-top: .6rem; }
@page { size: A4; margin: 16mm 14mm; }
@media print { th, td { padding: .14rem .4rem; } .totals { gap: .5rem; } .totals b { font-size: 1.2rem; } body { font-size: 10.5px; margin: 0; padding: 0; max-width: none; } thead th { -webkit-print-color-adjust: exact; print-color-adjust: exact; } svg { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
$css$
$$;
COMMENT ON FUNCTION audit_html_style() IS
'The style sheet of a compliance report in HTML';

CREATE FUNCTION audit_html_totals(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'<ul class="totals">\n%s</ul>\n', string_agg(format(E'<li><b>%s</b>%s</li>\n',
        @extschema@.audit_number(counts[n]), name), '' ORDER BY n))
    FROM @extschema@.audit_result_counts(report->'by_result') AS counts,
         unnest(ARRAY['operations', 'succeeded', 'failed', 'denied', 'changed nothing'])
         WITH ORDINALITY AS names (name, n)
$$;
COMMENT ON FUNCTION audit_html_totals(jsonb) IS
'The totals of a compliance report in HTML';

CREATE FUNCTION audit_html_count_tables(report jsonb, places integer[])
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(E'<h2>%s</h2>\n<div class="counts">\n%s</div>\n', title,
        @extschema@.audit_html_table(
            'Failed is failure and timeout together.',
            ARRAY[header, 'Total', 'Success', 'Failed', 'Denied', 'No-op'],
            (SELECT string_agg(@extschema@.audit_html_counts(names[i], counts[i:i]), '' ORDER BY i)
             FROM generate_subscripts(names, 1) i))), '' ORDER BY place)
    FROM @extschema@.audit_report_tables(report)
    WHERE place = ANY (places)
$$;
COMMENT ON FUNCTION audit_html_count_tables(jsonb, integer[]) IS
'Some of the tables of counts of a compliance report in HTML';

CREATE FUNCTION audit_report_html(report jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat(
        E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
        E'<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>\n',
        E'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n',
        format(E'<title>Compliance report of %s, %s to %s</title>\n<style>%s</style>\n</head>\n<body>\n',
            @extschema@.audit_html(report#>>'{report,database}'), report#>>'{period,start}',
            report#>>'{period,end}', @extschema@.audit_html_style()),
        E'<h1>Compliance report</h1>\n<p class="statement">States what the audit log has of the period; it certifies nothing.</p>\n',
        @extschema@.audit_html_facts(report, 'Report'),
        @extschema@.audit_html_totals(report),
        @extschema@.audit_html_chart_by_day(report),
        @extschema@.audit_html_count_tables(report, '{1}'),
        E'<h2>Most active users</h2>\n',
        @extschema@.audit_html_chart_of_users(report),
        E'<div class="counts">\n',
        @extschema@.audit_html_table('Operations of each', ARRAY['User', 'Total', 'Failed', 'Denied'],
            (SELECT string_agg(@extschema@.audit_html_counts(e->>'user_id',
                ARRAY[(e->>'total')::numeric, (e->>'failed')::numeric, (e->>'denied')::numeric]), '' ORDER BY n)
             FROM jsonb_array_elements(report->'by_user') WITH ORDINALITY AS u (e, n))),
        E'</div>\n',
        @extschema@.audit_html_count_tables(report, '{2,3}'),
        (SELECT string_agg(format(E'<h2>%s: %s</h2>\n', title, @extschema@.audit_number(total))
                           || @extschema@.audit_html_list(title, entries), '')
         FROM @extschema@.audit_report_lists(report)),
        (SELECT string_agg(format(E'<h2>%s</h2>\n', s) || @extschema@.audit_html_facts(report, s), '')
         FROM unnest(ARRAY['Retention', 'Coverage', 'Integrity']) s),
        (SELECT format(E'<h2>Notes</h2>\n<ul>\n%s</ul>\n', string_agg(format(E'<li>%s</li>\n', @extschema@.audit_html(note)), ''))
         FROM jsonb_array_elements_text(report#>'{coverage,notes}') note),
        @extschema@.audit_html_count_tables(report, '{4}'),
        format(E'<footer>Made by fraiseql_obs %s on %s. Times are in the time zone %s.</footer>\n</body>\n</html>\n',
            @extschema@.audit_html(report#>>'{report,extension_version}'),
            @extschema@.audit_html(@extschema@.audit_moment(report#>>'{report,generated_at}')),
            @extschema@.audit_html(report#>>'{report,time_zone}')))
$$;
COMMENT ON FUNCTION audit_report_html(jsonb) IS
'A compliance report as one HTML file, which prints on A4';

-- What callers call

CREATE FUNCTION compliance_report_text(
    start_date date, end_date date, profile text DEFAULT 'default')
RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_report_text(@extschema@.compliance_report(start_date, end_date, profile))
$$;
COMMENT ON FUNCTION compliance_report_text(date, date, text) IS
'compliance_report() as text, for a terminal or a mail';

CREATE FUNCTION compliance_report_csv(
    start_date date, end_date date, profile text DEFAULT 'default')
RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_report_csv(@extschema@.compliance_report(start_date, end_date, profile))
$$;
COMMENT ON FUNCTION compliance_report_csv(date, date, text) IS
'compliance_report() as CSV: section, item, measure, value';

CREATE FUNCTION compliance_report_html(
    start_date date, end_date date, profile text DEFAULT 'default')
RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @extschema@.audit_report_html(@extschema@.compliance_report(start_date, end_date, profile))
$$;
COMMENT ON FUNCTION compliance_report_html(date, date, text) IS
'compliance_report() as one HTML file, which prints on A4';
