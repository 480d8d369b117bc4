-- W3C Trace Context: each rule of the specification with its section, in level
-- 1 unless another is named.  What is not valid is as if it were not there.
\set tp '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
CREATE FUNCTION extracted(headers jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN source = 'new' THEN 'new' ELSE concat_ws(' ', trace_id, parent_span_id, sampled, tracestate) END
    FROM fraiseql_obs.extract_trace_context(headers)
$$;
-- what became of a traceparent: sampled, random
CREATE FUNCTION taken(traceparent text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    set text := fraiseql_obs.set_trace_context(jsonb_build_object('traceparent', traceparent));
BEGIN
    RETURN CASE WHEN set LIKE '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-%' THEN 'taken, flags ' || right(set, 2)
                ELSE 'ignored' END;
END
$$;
SELECT section, rule, taken(traceparent) FROM (VALUES
    (1, '3.2.2', 'sampled', :'tp'),
    (2, '3.2.2', 'not sampled', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00'),
    (3, '3.2.2.5', 'reserved flags are not passed on, nor taken for sampled', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fc'),
    (4, '3.2.2.5', 'sampled is one bit of many', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09'),
    (5, 'level 2, Random Trace ID Flag', 'the random flag is kept', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02'),
    (6, 'level 2, Random Trace ID Flag', 'both flags', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff'),
    (7, '3.2.2', 'white space around it', E' \t00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\t '),
    (8, '3.2.2', 'white space within', '00-4bf92f3577b34da6a3ce929d0e0e4736 -00f067aa0ba902b7-01'),
    (9, '3.2.2', 'empty', ''),
    (10, '3.2.2', 'another delimiter', '00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01'),
    (11, '3.2.2', 'capitals', '00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01'),
    (12, '3.2.2.1', 'version ff', 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    (13, '3.2.2.1', 'no hex in the version', '0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    (14, '3.2.2.1', 'capitals in the version', 'CC-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    (15, '3.2.2.1', 'a short version', '0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    (16, '3.2.2.1', 'a long version', '000-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    (17, '3.2.2.2', 'version 00 with more', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more'),
    (18, '3.2.2.2', 'version 00 with a dash more', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-'),
    (19, '3.2.2.3', 'trace-id of zeros', '00-00000000000000000000000000000000-00f067aa0ba902b7-01'),
    (20, '3.2.2.3', 'no hex in the trace-id', '00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01'),
    (21, '3.2.2.3', 'a short trace-id', '00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01'),
    (22, '3.2.2.3', 'a long trace-id', '00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01'),
    (23, '3.2.2.4', 'parent-id of zeros', '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01'),
    (24, '3.2.2.4', 'no hex in the parent-id', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b.-01'),
    (25, '3.2.2.4', 'a short parent-id', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01'),
    (26, '3.2.2.4', 'a long parent-id', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b77-01'),
    (27, '3.2.2.5', 'no hex in the flags', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0.'),
    (28, '3.2.2.5', 'short flags', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1'),
    (29, '3.2.2.5', 'long flags', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-001'),
    (30, '3.2.4', 'a version to come', 'cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    (31, '3.2.4', 'a version to come, with more', '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like'),
    (32, '3.2.4', 'a version to come, with a dash', '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-'),
    (33, '3.2.4', 'a version to come, with more and no dash', '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what'),
    (34, '3.2.4', 'a version to come that is short', '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0'),
    (35, '3.2.4', 'a version to come with capitals', '01-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01')
) AS cases (n, section, rule, traceparent) ORDER BY n;

-- names of headers in any case; several lines
SELECT section, rule, extracted(headers) FROM (VALUES
    (1, '3.2.1', 'a name in capitals', jsonb_build_object('TRACEPARENT', :'tp')),
    (2, '3.2.1', 'a name in any case', jsonb_build_object('TraceParent', :'tp', 'TrAcEsTaTe', 'a=1')),
    (3, '3.2.1', 'another name', jsonb_build_object('trace-parent', :'tp')),
    (4, '3.2.1', 'a line in an array', jsonb_build_object('traceparent', jsonb_build_array(:'tp'))),
    (5, '3.2.2', 'two lines', jsonb_build_object('traceparent', jsonb_build_array(:'tp', '00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01'))),
    (6, '3.2.2', 'two headers', jsonb_build_object('traceparent', :'tp', 'Traceparent', :'tp')),
    (7, '3.3', 'tracestate without traceparent', jsonb_build_object('tracestate', 'a=1')),
    (8, '3.3', 'tracestate of an invalid traceparent', jsonb_build_object('traceparent', '00', 'tracestate', 'a=1')),
    (9, '3.3', 'an invalid tracestate', jsonb_build_object('traceparent', :'tp', 'tracestate', 'a')),
    (10, '3.3.1', 'another name', jsonb_build_object('traceparent', :'tp', 'trace-state', 'a=1')),
    (11, '3.3.1.1', 'several lines are one', jsonb_build_object('traceparent', :'tp', 'tracestate', jsonb_build_array('a=1,b=2', 'c=3', 'd=4'))),
    (12, '3.3.1.1', 'several lines, some of them empty', jsonb_build_object('traceparent', :'tp', 'tracestate', jsonb_build_array('', 'a=1', ' ', 'b=2', ''))),
    (13, 'level 2, Combined Header Value', 'a key on two lines', jsonb_build_object('traceparent', :'tp', 'tracestate', jsonb_build_array('a=1', 'a=2')))
) AS cases (n, section, rule, headers) ORDER BY n;

-- tracestate
CREATE FUNCTION state(tracestate text) RETURNS text LANGUAGE sql AS $$
    SELECT s.tracestate FROM fraiseql_obs.extract_trace_context(jsonb_build_object(
        'traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'tracestate', state.tracestate)) AS s
$$;
SELECT section, rule, CASE WHEN length(tracestate) > 80 THEN CASE WHEN state(tracestate) = tracestate THEN 'as it was'
    WHEN length(state(tracestate)) > 80 THEN length(state(tracestate))::text ELSE state(tracestate) END ELSE state(tracestate) END AS state
FROM (VALUES
    (1, '3.3.1.1', 'one', 'rojo=00f067aa0ba902b7'),
    (2, '3.3.1.1', 'two', 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'),
    (3, '3.3.1.1', 'empty', ''),
    (4, '3.3.1.1', 'blank', E' \t'),
    (5, '3.3.1.1', 'empty members', ',a=1,,b=2,'),
    (6, '3.3.1.1', 'white space around members', E' a=1 \t , \t b=2,\tc=3 '),
    (7, '3.3.1.1', '32 members', (SELECT string_agg('a' || i || '=' || i, ',' ORDER BY i) FROM generate_series(1, 32) i)),
    (8, '3.3.1.1', '33 members', (SELECT string_agg('a' || i || '=' || i, ',' ORDER BY i) FROM generate_series(1, 33) i)),
    (9, '3.3.1.1', '32 members among empty ones', (SELECT string_agg('a' || i || '=' || i, ', ,' ORDER BY i) FROM generate_series(1, 32) i)),
    (10, 'level 2, Combined Header Value', 'a key twice', 'a=1,b=2,a=3'),
    (11, '3.3.1.2', 'no equals sign', 'a=1,b'),
    (12, '3.3.1.2', 'two equals signs', 'a=1=2'),
    (13, '3.3.1.3.1', 'every character of a key', 'abcdefghijklmnopqrstuvwxyz0123456789_-*/=1'),
    (14, '3.3.1.3.1', 'a key in capitals', 'A=1'),
    (15, '3.3.1.3.1', 'a dot in a key', 'a.b=1'),
    (16, '3.3.1.3.1', 'a space behind a key', 'a =1'),
    (17, '3.3.1.3.1', 'no key', '=1'),
    (18, '3.3.1.3.1', 'a key that begins with a dash', '-a=1'),
    (19, '3.3.1.3.1', 'a key of a tenant', 'fw529a3039@dt=FfbzGa'),
    (20, '3.3.1.3.1', 'a tenant that begins with a digit', '5fw@dt=1'),
    (21, '3.3.1.3.1', 'no tenant', '@dt=1'),
    (22, 'level 2, Key', 'a key that begins with a digit', '0a=1'),
    (23, 'level 2, Key', 'at signs anywhere else', 'a@@b@=1'),
    (24, '3.3.1.3.1', 'a key of 256 characters', repeat('k', 256) || '=1'),
    (25, '3.3.1.3.1', 'a key of 257 characters', repeat('k', 257) || '=1'),
    (26, '3.3.1.3.1', 'a tenant of 241 and a system of 14', repeat('t', 241) || '@' || repeat('v', 14) || '=1'),
    (27, '3.3.1.3.2', 'every character of a value', 'a= !"#$%&''()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`'),
    (28, '3.3.1.3.2', 'every other one', 'a=abcdefghijklmnopqrstuvwxyz{|}~'),
    (29, '3.3.1.3.2', 'spaces in front of a value and within', 'a=  b  c '),
    (30, '3.3.1.3.2', 'no value', 'a=,b=1'),
    (31, '3.3.1.3.2', 'a blank value', 'a=  '),
    (32, '3.3.1.3.2', 'a tab in a value', E'a=b\tc'),
    (33, '3.3.1.3.2', 'a control character in a value', E'a=b\x7fc'),
    (34, '3.3.1.3.2', 'a value that is not ASCII', 'a=é'),
    (35, '3.3.1.3.2', 'a value of 256 characters', 'a=' || repeat('v', 256)),
    (36, '3.3.1.3.2', 'a value of 257 characters', 'a=' || repeat('v', 257)),
    (37, '3.3.1.5', '512 characters', 'a=' || repeat('v', 253) || ',b=' || repeat('v', 254)),
    (38, '3.3.1.5', '513 characters: a long member goes, the last first', 'a=' || repeat('v', 253) || ',b=' || repeat('v', 255)),
    (39, '3.3.1.5', 'long members before others', 'a=' || repeat('v', 200) || ',b=1,c=' || repeat('v', 200) || ',d=' || repeat('v', 126)),
    (40, '3.3.1.5', 'then those at the end', (SELECT string_agg(chr(96 + i) || '=' || repeat('v', 100), ',' ORDER BY i) FROM generate_series(1, 6) i)),
    (41, '3.3.1.5', 'one that is too long', repeat('k', 256) || '=' || repeat('v', 256))
) AS cases (n, section, rule, tracestate) ORDER BY n;

-- where there is no traceparent
SELECT source, trace_id, parent_span_id, sampled, tracestate FROM (VALUES
    (1, '{"X-Trace-ID": "4bf92f3577b34da6a3ce929d0e0e4736"}'::jsonb),
    (2, '{"X-Trace-ID": "4bf92f35-77b3-4da6-A3CE-929d0e0e4736"}'),
    (3, '{"X-Trace-ID": "a3ce929d0e0e4736"}'),
    (4, '{"x-trace-id": " test-trace-123 "}'),
    (5, '{"X-TRACE-ID": ["", "test-trace-123"]}'),
    (6, '{"X-Request-ID": "test-trace-123"}'),
    (7, '{"X-Request-ID": "7f3c", "X-Trace-ID": "test-trace-123"}'),
    (8, '{"X-Request-ID": "7f3c", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}'),
    (9, '{"X-Request-ID": "7f3c", "traceparent": "garbage"}'),
    (10, '{"X-Trace-ID": "00000000000000000000000000000000"}'),
    (11, '{"X-Trace-ID": "100% = é, or so"}')
) AS cases (n, headers), fraiseql_obs.extract_trace_context(headers) ORDER BY n;

-- nothing is an error, and nothing is the same trace twice
SELECT n, source, trace_id ~ '^[0-9a-f]{32}$' AND trace_id <> repeat('0', 32) AS trace, span_id ~ '^[0-9a-f]{16}$' AS span,
       parent_span_id, sampled, tracestate
FROM (VALUES (1, NULL::jsonb), (2, '{}'), (3, '[]'), (4, '["traceparent"]'), (5, '"traceparent"'), (6, 'null'), (7, '17'),
             (8, '{"traceparent": null}'), (9, '{"traceparent": 17, "x-trace-id": true}'), (10, '{"traceparent": {"a": "b"}}'),
             (11, '{"traceparent": [[]], "x-trace-id": []}'), (12, '{"": "", "x-request-id": "  "}'),
             (13, '{"traceparent": [null, {"traceparent": "x"}], "X-Request-ID": [{}, [], 3]}')) AS cases (n, headers),
     fraiseql_obs.extract_trace_context(headers) ORDER BY n;
SELECT count(DISTINCT trace_id), count(DISTINCT span_id) FROM generate_series(1, 1000) i, fraiseql_obs.extract_trace_context(to_jsonb(i));
SELECT length(tracestate), length(trace_id) FROM fraiseql_obs.extract_trace_context(jsonb_build_object('x-trace-id', repeat('é', 1000000)));
SELECT length(fraiseql_obs.set_trace_context(jsonb_build_object('x-request-id', repeat('é', 1000000),
    'tracestate', (SELECT jsonb_agg('k' || i || '=') FROM generate_series(1, 10000) i))));

-- sampling of what starts here: by the rate, from the last 56 bits of the id
SET fraiseql_obs.trace_sample_rate = 0.25;
SELECT sampled, count(*) BETWEEN CASE WHEN sampled THEN 150 ELSE 650 END AND CASE WHEN sampled THEN 350 ELSE 850 END AS share
FROM generate_series(1, 1000) i, fraiseql_obs.extract_trace_context(to_jsonb(i)) GROUP BY sampled ORDER BY sampled;
SELECT id, sampled FROM unnest('{ffffffffffffffffffbfffffffffffff,000000000000000000c0000000000000,ffffffffffffffffff00000000000000,000000000000000000ffffffffffffff}'::text[]) AS id,
    fraiseql_obs.extract_trace_context(jsonb_build_object('x-trace-id', id));
SET fraiseql_obs.trace_sample_rate = 0;
SELECT bool_or(sampled) FROM generate_series(1, 100) i, fraiseql_obs.extract_trace_context(to_jsonb(i));
SELECT sampled FROM fraiseql_obs.extract_trace_context(jsonb_build_object('traceparent', :'tp'));
RESET fraiseql_obs.trace_sample_rate;
SET fraiseql_obs.tracing_enabled = off;
SELECT sampled FROM fraiseql_obs.extract_trace_context('{}');
RESET fraiseql_obs.tracing_enabled;

-- in, and out again
CREATE FUNCTION injected() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(key || ': ' || CASE WHEN key = 'traceparent' THEN overlay(value PLACING 'span............' FROM 37) ELSE value END, E'\n'
                      ORDER BY key COLLATE "C") FROM jsonb_each_text(fraiseql_obs.inject_trace_context())
$$;
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT fraiseql_obs.set_trace_context(jsonb_build_object('traceparent', :'tp', 'tracestate', 'congo=t61rcWkgMzE, rojo=1', 'X-Request-ID', '7f3c'));
SELECT current_setting('fraiseql_obs.traceparent'), current_setting('fraiseql_obs.tracestate'), current_setting('fraiseql_obs.request_id');
SELECT injected();
SELECT count(DISTINCT fraiseql_obs.inject_trace_context()->>'traceparent') FROM generate_series(1, 100);
-- a service behind this one is in the same trace
SELECT trace_id, parent_span_id = substr(h->>'traceparent', 37, 16) AS parent, sampled, tracestate, source
FROM fraiseql_obs.inject_trace_context() AS h, fraiseql_obs.extract_trace_context(h);
ROLLBACK;
SELECT current_setting('fraiseql_obs.traceparent') = '' AS over;
-- an identifier of one's own, and through a service behind this one
BEGIN;
SELECT right(fraiseql_obs.set_trace_context('{"X-Trace-ID": "test-trace-123"}'), 2);
SELECT injected();
SELECT right(fraiseql_obs.set_trace_context(fraiseql_obs.inject_trace_context() - 'X-Trace-ID' - 'X-Request-ID'), 2);
SELECT injected();
COMMIT;
-- one that may not stand in a header as it is
BEGIN;
SELECT right(fraiseql_obs.set_trace_context('{"X-Request-ID": "a%20b=c, é\r\nSet-Cookie: x"}'), 2);
SELECT injected();
COMMIT;
-- without a context there is a new one; with a comment, it is that
SELECT injected() ~ '^X-Trace-ID: ([0-9a-f]{32})\ntraceparent: 00-\1-span............-03$';
SELECT injected() /*traceparent='00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-02',tracestate='a%3D1%2Cb%3D2'*/;
-- settings by hand that are not valid
SET fraiseql_obs.traceparent = 'x';
SET fraiseql_obs.tracestate = 'a=1';
SELECT fraiseql_obs.inject_trace_context() ? 'tracestate';
RESET fraiseql_obs.traceparent;
RESET fraiseql_obs.tracestate;
\pset format aligned
\pset tuples_only off

-- for everybody who may use the schema
GRANT USAGE ON SCHEMA fraiseql_obs TO regress_fraiseql_app;
SET ROLE regress_fraiseql_app;
SELECT fraiseql_obs.set_trace_context(jsonb_build_object('traceparent', :'tp'));
SELECT fraiseql_obs.inject_trace_context() IS NOT NULL AS injected, source FROM fraiseql_obs.extract_trace_context(NULL);
RESET ROLE;
REVOKE USAGE ON SCHEMA fraiseql_obs FROM regress_fraiseql_app;
DROP FUNCTION extracted, taken, state, injected;
