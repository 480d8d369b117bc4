-- The formats that there are, and a name that is none.
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT 1 AS one;
SELECT fraiseql_obs.export_metrics() ~ '^# HELP fraiseql_obs_\S+ \S.*\n# TYPE fraiseql_obs_\S+ (counter|gauge|histogram)\n' AS prometheus;
SELECT fraiseql_obs.export_metrics('prometheus') ~ '\n$' AS ends_in_newline;
SELECT right(fraiseql_obs.export_metrics('openmetrics'), 6) = E'# EOF\n' AS openmetrics;
SELECT json_typeof(fraiseql_obs.export_metrics('json')::json) IS NOT NULL AS json;
SELECT fraiseql_obs.export_metrics('xml');
SELECT fraiseql_obs.export_metrics('');
SELECT fraiseql_obs.export_metrics('Prometheus');
SELECT fraiseql_obs.export_metrics(NULL) IS NULL AS nothing;

-- rows and text are one truth: the same names
SELECT count(*) AS missing_in_text
FROM (SELECT DISTINCT name FROM fraiseql_obs.metrics()) AS m,
     fraiseql_obs.export_metrics() AS text
WHERE strpos(text, E'\n' || m.name) = 0;
SELECT count(*) AS missing_in_rows
FROM fraiseql_obs.export_metrics() AS text,
     regexp_matches(text, '^# TYPE (\S+) (\S+)$', 'gn') AS type (f)
WHERE NOT EXISTS (SELECT FROM fraiseql_obs.metrics() AS m
                  WHERE m.name = f[1] OR m.name = f[1] || '_count');
