-- What the application records: counters, gauges, histograms, requests, caches
-- and pools; and what is refused.
\set SHOW_CONTEXT never
SELECT fraiseql_obs.reset_metrics('app') IS NOT NULL AS reset;
CREATE VIEW app_samples AS
SELECT name, type, labels, value FROM fraiseql_obs.metrics()
WHERE name ~ '^(fraiseql_obs_(http|pool|cache)|regress_)'
  AND labels->>'cache_type' IS DISTINCT FROM 'shared_buffers'
  AND (labels->>'le' IS NULL OR value > 0)
ORDER BY name COLLATE "C", labels - 'le', (labels->>'le')::float8;

-- counters
SELECT fraiseql_obs.counter_add('regress_orders_total');
SELECT fraiseql_obs.counter_add('regress_orders_total', 2);
SELECT fraiseql_obs.counter_add('regress_orders_total', 0.5);
SELECT fraiseql_obs.counter_add('regress_orders_total', 1e15);
SELECT fraiseql_obs.counter_add('regress_orders_total', labels => '{"region": "eu", "paid": true, "n": 1.50}');
SELECT fraiseql_obs.counter_add('regress_orders_total', 3, '{"n": "1.50", "paid": "true", "region": "eu", "no": null, "empty": ""}');
SELECT fraiseql_obs.counter_add('regress_orders_total', 0, '{"region": "us"}');
SELECT * FROM app_samples;
SELECT fraiseql_obs.counter_add('regress_orders_total', -1);
SELECT fraiseql_obs.counter_add('regress_orders_total', 'NaN');
SELECT fraiseql_obs.counter_add('regress_orders_total', 'Infinity');
SELECT fraiseql_obs.counter_add('regress_orders_total', NULL);
SELECT fraiseql_obs.counter_add(NULL);

-- a counter stays a number, and does not go back
SELECT fraiseql_obs.counter_add('regress_huge_total', 1e308) FROM generate_series(1, 3);
SELECT value = 1.7976931348623157e308 AS greatest FROM app_samples WHERE name = 'regress_huge_total';
SELECT fraiseql_obs.record_cache('huge', 9223372036854775807, 9223372036854775807) FROM generate_series(1, 3);
SELECT name, value FROM app_samples WHERE labels = '{"cache_type": "huge"}';

-- gauges
SELECT fraiseql_obs.gauge_set('regress_depth', 5);
SELECT fraiseql_obs.gauge_set('regress_depth', -2.5);
SELECT fraiseql_obs.gauge_set('regress_depth', 'NaN', '{"queue": "a"}');
SELECT fraiseql_obs.gauge_set('regress_depth', '-Infinity', '{"queue": "b"}');
SELECT * FROM app_samples WHERE name = 'regress_depth';
SELECT fraiseql_obs.gauge_set('regress_depth', NULL);

-- what is called "other" counts as that, and of gauges there is no other "other"
SELECT fraiseql_obs.counter_add('regress_other_total', 1, '{"a": "x", "b": "y"}');
SELECT fraiseql_obs.counter_add('regress_other_total', 2, '{"a": "other", "b": "other"}') FROM generate_series(1, 2);
SELECT fraiseql_obs.counter_add('regress_other_total', 3, '{"a": "other"}');
SELECT fraiseql_obs.gauge_set('regress_other_depth', 4, '{"a": "other"}');
SELECT fraiseql_obs.record_pool('other', 5, 6);
SELECT * FROM app_samples WHERE name ~ 'other' OR labels->>'pool' = 'other';

-- histograms, of seconds and of other things
SELECT fraiseql_obs.histogram_observe('regress_wait_seconds', v, '{"q": "a"}')
FROM unnest('{0, 0.0005, 0.00050001, 0.25, 10, 11}'::float8[]) v;
SELECT fraiseql_obs.histogram_observe('regress_size_bytes', v, buckets => '{1000, 1e6, 1048576, 1e9, 2e16}')
FROM unnest('{1000, 1001, 1000000, 1e10, 1e17}'::float8[]) v;
SELECT fraiseql_obs.histogram_observe('regress_size_bytes', 1);
SELECT fraiseql_obs.histogram_observe('regress_tiny', 1e-6, buckets => '{0.00001, 0.5}');
SELECT * FROM app_samples WHERE name ~ 'wait|size|tiny';
SELECT labels->>'le' AS bounds FROM fraiseql_obs.metrics()
WHERE name IN ('regress_size_bytes_bucket', 'regress_tiny_bucket');
SELECT fraiseql_obs.histogram_observe('regress_size_bytes', 1, buckets => '{1}');
SELECT fraiseql_obs.histogram_observe('regress_wait_seconds', -1);
SELECT fraiseql_obs.histogram_observe('regress_wait_seconds', 'NaN');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => b::float8[])
FROM unnest(ARRAY['{2, 1}']) b;
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{1, 1}');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{0, 1}');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{1, NULL}');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{1, Infinity}');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{}');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{{1, 2}}');
SELECT fraiseql_obs.histogram_observe('regress_bad', 1, buckets => '{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}');

-- names
CREATE FUNCTION pg_temp.attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT fraiseql_obs.' || call;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT name, pg_temp.attempt(format('gauge_set(%L, 1)', name))
FROM unnest(ARRAY['', '1a', 'a b', 'a-b', 'a.b', 'a:b', 'é', E'a\nb', 'fraiseql_obs_x', 'fraiseql_obs_http_requests_total',
                  'a_total', 'a_sum', 'a_count', 'a_bucket', 'a_created', 'a_info', '_total',
                  'up', 'scrape_', 'scrape_duration_seconds', 'regress_up', 'regress_scrape_x', 'regress_fraiseql_obs', 'regress_sum_x', 'Regress_A_9']) AS name;
SELECT name, pg_temp.attempt(format('counter_add(%L)', name))
FROM unnest(ARRAY['regress_orders', '_total', 'regress_a_sum_total', 'regress_a_total_total', 'fraiseql_obs_x_total',
                  'scrape_errors_total', 'regress_retry_count_total', 'regress__total', 'regress_b_total']) AS name;
SELECT pg_temp.attempt(format('gauge_set(%L, 1)', 'regress_' || repeat('x', 119)));
SELECT pg_temp.attempt(format('gauge_set(%L, 1)', 'regress_' || repeat('x', 120)));
SELECT pg_temp.attempt(format('gauge_set(%L, 1)', repeat('x', 1000000)));

-- one name, one type; without _total, as OpenMetrics has it
SELECT fraiseql_obs.gauge_set('regress_orders', 1);
SELECT fraiseql_obs.histogram_observe('regress_depth', 1);
SELECT fraiseql_obs.counter_add('regress_depth_total');
SELECT fraiseql_obs.gauge_set('regress_wait_seconds', 1);

-- labels
SELECT labels, pg_temp.attempt(format('gauge_set(%L, 1, %L)', 'regress_labels', labels))
FROM unnest(ARRAY['[]', '1', '"a"', 'null', '{"1": "a"}', '{"": "a"}', '{"a b": "a"}', '{"a:b": "a"}', '{"__a": "a"}',
                  '{"le": "1"}', '{"quantile": "1"}', '{"é": "a"}', '{"a": []}', '{"a": {"b": 1}}', '{"_a": "a"}', '{"lee": "a"}', '{}',
                  '{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}', '{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}']) AS labels;
SELECT pg_temp.attempt(format('gauge_set(%L, 1, %L)', 'regress_labels', jsonb_build_object(repeat('n', 63), 1)));
SELECT pg_temp.attempt(format('gauge_set(%L, 1, %L)', 'regress_labels', jsonb_build_object(repeat('n', 64), 1)));
SELECT pg_temp.attempt(format('gauge_set(%L, 1, %L)', 'regress_labels',
                              (SELECT jsonb_object_agg(repeat('n', 60) || i, 1) FROM generate_series(1, 7) i)));

-- values are cut at a character, made text of one line, and counted
SELECT value AS truncated FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_label_truncated_total' \gset
SELECT fraiseql_obs.gauge_set('regress_cut', 1, jsonb_build_object('v', 'x' || repeat('é', 100)));
SELECT fraiseql_obs.gauge_set('regress_cut', 2, jsonb_build_object('v', 'x' || repeat('é', 100)));
SELECT fraiseql_obs.gauge_set('regress_cut', 3, jsonb_build_object('v', 'x' || repeat('é', 63) || 'y'));
SELECT fraiseql_obs.gauge_set('regress_cut', 4, jsonb_build_object('v', E'a\r\nb\tc"d\\e\x7f'));
SELECT fraiseql_obs.gauge_set('regress_cut', 5, (SELECT jsonb_object_agg('l' || i, repeat(i::text, 1000)) FROM generate_series(1, 8) i));
SELECT labels, value FROM app_samples WHERE name = 'regress_cut';
SELECT value - :truncated AS truncated FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_label_truncated_total';

-- HTTP requests
SELECT fraiseql_obs.record_http_request('GET', '/users/{id}', 200, 0.004);
SELECT fraiseql_obs.record_http_request('get', '/users/{id}?token=secret', 200, 0.25);
SELECT fraiseql_obs.record_http_request('GET', '/users/{id}', 404, 0.5);
SELECT fraiseql_obs.record_http_request('BREW', '', 418, 0);
SELECT * FROM app_samples WHERE name ~ 'http';
SELECT fraiseql_obs.record_http_request('GET', '/', 99, 0);
SELECT fraiseql_obs.record_http_request('GET', '/', 600, 0);
SELECT fraiseql_obs.record_http_request('GET', '/', 200, -0.1);
SELECT fraiseql_obs.record_http_request('GET', '/', 200, 'NaN');
SELECT fraiseql_obs.record_http_request('GET', '/', 200, 'Infinity');
SELECT fraiseql_obs.record_http_request(NULL, '/', 200, 0);
SELECT fraiseql_obs.record_http_request('GET', NULL, 200, 0);
SELECT fraiseql_obs.record_http_request('GET', '/', NULL, 0);
SELECT fraiseql_obs.record_http_request('GET', '/', 200, NULL);

-- caches
SELECT fraiseql_obs.record_cache('query', 9, 1, 4096);
SELECT fraiseql_obs.record_cache('query', 0, 10, 8192);
SELECT fraiseql_obs.record_cache('empty', 0, 0);
SELECT name, labels, value FROM app_samples WHERE name ~ 'cache' AND labels->>'cache_type' IN ('query', 'empty');
SELECT fraiseql_obs.record_cache('shared_buffers', 1, 1);
SELECT fraiseql_obs.record_cache('', 1, 1);
SELECT fraiseql_obs.record_cache(NULL, 1, 1);
SELECT fraiseql_obs.record_cache('query', -1, 1);
SELECT fraiseql_obs.record_cache('query', 1, -1);
SELECT fraiseql_obs.record_cache('query', 1, 1, -1);
SELECT fraiseql_obs.record_cache('query', 1, NULL);

-- pools
SELECT fraiseql_obs.record_pool('main', 3, 7, 0, 20);
SELECT fraiseql_obs.record_pool('main', 4, 6, 2, 20);
SELECT fraiseql_obs.record_pool('small', 0, 1);
SELECT name, labels, value FROM app_samples WHERE name ~ 'pool' AND labels->>'pool' <> 'other';
SELECT fraiseql_obs.record_pool('main', -1, 0);
SELECT fraiseql_obs.record_pool('main', 1, 0, -1);
SELECT fraiseql_obs.record_pool('main', NULL, 0);
SELECT fraiseql_obs.record_pool('', 1, 0);

-- whatever becomes of the transaction
BEGIN;
SELECT fraiseql_obs.counter_add('regress_rolled_back_total');
ROLLBACK;
SELECT name, value FROM app_samples WHERE name = 'regress_rolled_back_total';

-- switched off, nothing is recorded
SET fraiseql_obs.metrics_enabled = off;
SELECT fraiseql_obs.counter_add('regress_rolled_back_total');
SELECT fraiseql_obs.record_http_request('GET', '/off', 200, 0);
RESET fraiseql_obs.metrics_enabled;
SELECT name, value FROM app_samples WHERE name = 'regress_rolled_back_total' OR labels->>'endpoint' = '/off';

-- all formats have them
SELECT count(*) > 30 AS samples, count(*) FILTER (WHERE strpos(text, E'\n' || m.name || '{') = 0 AND strpos(text, E'\n' || m.name || ' ') = 0) AS missing
FROM app_samples m, fraiseql_obs.export_metrics() AS text;
SELECT line FROM fraiseql_obs.export_metrics('openmetrics') AS text, regexp_split_to_table(text, '\n') AS line
WHERE line ~ 'regress_(orders|size)';
SELECT f->>'name' AS name, f->>'type' AS type, f->>'help' AS help, jsonb_array_length(f->'samples') AS samples
FROM jsonb_path_query(fraiseql_obs.export_metrics('json')::jsonb, '$.metrics[*]') AS f
WHERE f->>'name' ~ '^regress_(orders|depth|wait)';

-- who may record
CREATE ROLE regress_metrics_writer;
CREATE ROLE regress_metrics_nobody IN ROLE pg_monitor;
SELECT fraiseql_obs.grant_metrics_writer('regress_metrics_writer');
SELECT fraiseql_obs.grant_metrics_writer(NULL);
SELECT fraiseql_obs.grant_metrics_writer('public');
\set VERBOSITY sqlstate
SET ROLE regress_metrics_nobody;
SELECT fraiseql_obs.counter_add('regress_mine_total');
SELECT fraiseql_obs.gauge_set('regress_mine', 1);
SELECT fraiseql_obs.histogram_observe('regress_mine_seconds', 1);
SELECT fraiseql_obs.record_http_request('GET', '/mine', 200, 0);
SELECT fraiseql_obs.record_cache('mine', 1, 0);
SELECT fraiseql_obs.record_pool('mine', 1, 0);
SELECT fraiseql_obs.grant_metrics_writer('regress_metrics_nobody');
SET ROLE regress_metrics_writer;
SELECT fraiseql_obs.counter_add('regress_mine_total');
SELECT fraiseql_obs.gauge_set('regress_mine', 1);
SELECT fraiseql_obs.histogram_observe('regress_mine_seconds', 1);
SELECT fraiseql_obs.record_http_request('GET', '/mine', 200, 0);
SELECT fraiseql_obs.record_cache('mine', 1, 0);
SELECT fraiseql_obs.record_pool('mine', 1, 0);
SELECT count(*) FROM fraiseql_obs.metrics();
SELECT fraiseql_obs.reset_metrics('app');
SELECT fraiseql_obs.grant_metrics_writer('regress_metrics_nobody');
RESET ROLE;
\set VERBOSITY default
SELECT count(*) FROM app_samples WHERE name ~ 'mine' OR labels::text ~ 'mine';

-- forgotten, and another type then
SELECT fraiseql_obs.reset_metrics('app') IS NOT NULL AS reset;
SELECT * FROM app_samples;
SELECT name, labels, value FROM fraiseql_obs.metrics() WHERE name ~ '_series' AND labels->>'family' ~ '^app'
ORDER BY name COLLATE "C", labels;
SELECT fraiseql_obs.gauge_set('regress_orders', 1);
SELECT * FROM app_samples;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
SELECT * FROM app_samples;
DROP VIEW app_samples;
DROP OWNED BY regress_metrics_writer;
DROP ROLE regress_metrics_writer, regress_metrics_nobody;
