-- compliance_report.sql - writes the compliance reports of this folder
--
--    psql -X -q -v ON_ERROR_STOP=1 -v folder=FOLDER -d DATABASE -f compliance_report.sql
--
-- in an empty database, as a superuser.  It makes an audit log, fills it with
-- the first quarter of 2025 of a shop that does not exist, and writes the report
-- of it in each form to FOLDER.  dev/examples does this; a test does it again,
-- and compares.
SET client_min_messages = warning;
SET TimeZone = 'Europe/Berlin';
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION fraiseql_obs;
SELECT fraiseql_obs.create_audit_log(retention => '400 days', guard_triggers => false) \g /dev/null
SELECT fraiseql_obs.audit_ensure_partition('2024-12-15'::timestamptz + n * interval '1 month')
FROM generate_series(0, 4) n \g /dev/null

-- A number from 0 to below 1, for a number and a purpose: the same everywhere
CREATE FUNCTION pg_temp.dice(n bigint, purpose text)
RETURNS double precision
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ('x' || substr(md5(purpose || n), 1, 8))::bit(32)::bigint / 4294967296.0
$$;

-- A column as it is in the digest of personal columns, by its number
CREATE FUNCTION pg_temp.tagged(tag text, value text)
RETURNS bytea
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(decode(tag, 'hex') || int4send(octet_length(convert_to(value, 'UTF8')))
                    || convert_to(value, 'UTF8'), '')
$$;

-- Who works there, and what for; the numbers are shares.
CREATE TEMP TABLE actor AS
SELECT *, sum(share) OVER (ORDER BY user_id COLLATE "C") / sum(share) OVER ()::numeric AS upto
FROM (VALUES
    ('ana.petrova', 'berlin', 'human_user', 16), ('ben.okafor', 'berlin', 'human_user', 13),
    ('chiara.conti', 'berlin', 'human_user', 11), ('dirk.janssen', 'hamburg', 'human_user', 9),
    ('emre.yildiz', 'hamburg', 'human_user', 8), ('freya.lund', 'hamburg', 'human_user', 8),
    ('greta.wolff', 'wien', 'human_user', 6), ('hugo.martin', 'wien', 'human_user', 5),
    ('ines.alvarez', 'wien', 'human_user', 4), ('jonas.keller', 'berlin', 'human_user', 3),
    ('billing', 'berlin', 'service_account', 9), ('stock-import', 'hamburg', 'system_job', 6),
    ('reorder-agent', 'wien', 'ai_agent', 2)) AS a (user_id, tenant_id, actor_type, share);
CREATE TEMP TABLE act AS
SELECT *, sum(share) OVER (ORDER BY operation COLLATE "C") / sum(share) OVER () AS upto
FROM (VALUES
    ('order.create', 'Order', 24), ('order.update', 'Order', 22), ('order.cancel', 'Order', 3),
    ('invoice.create', 'Invoice', 14), ('invoice.approve', 'Invoice', 7),
    ('customer.update', 'Customer', 10), ('customer.export', 'Customer', 1),
    ('price.change', 'Product', 4), ('login', NULL, 9), ('logout', NULL, 6),
    ('role.grant', 'Role', 0.3)) AS o (operation, entity_type, share);

-- Every day has its number of operations: weekends have few, the first of
-- January and a Sunday in February none.
CREATE TEMP TABLE entry AS
SELECT n, day + CASE WHEN extract(isodow FROM day) < 6
                THEN interval '6 hours' + interval '7 hours' * (pg_temp.dice(n, 'early') + pg_temp.dice(n, 'late'))
                ELSE interval '23 hours' * pg_temp.dice(n, 'early') END AS at,
       pg_temp.dice(n, 'actor') AS actor, pg_temp.dice(n, 'act') AS act,
       pg_temp.dice(n, 'entity') AS entity, pg_temp.dice(n, 'took') AS took,
       -- on the 18th of February the database was slow for some hours
       pg_temp.dice(n, 'result') * CASE WHEN day = '2025-02-18' THEN 0.15 ELSE 1 END AS result
FROM (SELECT day, row_number() OVER (ORDER BY day, i) AS n
      FROM (SELECT date '2025-01-01' + d AS day, d FROM generate_series(0, 89) d) AS days,
           generate_series(1, CASE WHEN day IN ('2025-01-01', '2025-02-09') THEN 0
                              WHEN extract(isodow FROM day) < 6 THEN 130 + d / 2 + (40 * pg_temp.dice(d, 'day'))::integer
                              ELSE 15 + (10 * pg_temp.dice(d, 'day'))::integer END) i) AS numbers;

CREATE TEMP TABLE event AS
SELECT at, tenant_id, user_id, actor_type, operation, entity_type,
       CASE entity_type WHEN 'Order' THEN 'O-' || 20000 + (9000 * entity)::integer
       WHEN 'Invoice' THEN 'R-2025-' || lpad((4000 * entity)::integer::text, 5, '0')
       WHEN 'Role' THEN (ARRAY['clerk', 'manager', 'accountant'])[1 + (3 * entity)::integer % 3]
       WHEN 'Customer' THEN (100 + 900 * entity)::integer::text
       WHEN 'Product' THEN 'P-' || (100 + 300 * entity)::integer END AS entity_id,
       CASE WHEN operation LIKE '%.update' AND result > 0.985 THEN 'noop' WHEN result > 0.02 THEN 'success'
       WHEN operation IN ('login', 'role.grant', 'customer.export') OR result < 0.004 AND operation <> 'logout' THEN 'denied'
       WHEN entity_type IS NULL OR result < 0.009 THEN 'timeout' ELSE 'failure' END AS result,
       round((8 + 400 * took ^ 6)::numeric, 1) AS duration_ms, NULL AS address
FROM entry JOIN LATERAL (SELECT * FROM actor WHERE upto > entry.actor ORDER BY upto LIMIT 1) AS a ON true
     JOIN LATERAL (SELECT * FROM act WHERE upto > entry.act ORDER BY upto LIMIT 1) AS o ON true
UNION ALL
-- somebody guesses the password of an account, at night
SELECT timestamp '2025-03-12 02:41' + i * interval '4 seconds', 'berlin', 'jonas.keller', 'human_user',
       'login', NULL, NULL, 'denied', 6.2, '203.0.113.77'
FROM generate_series(1, 40) i
UNION ALL
-- what the audit log says of itself
SELECT timestamp '2025-02-03 09:12', NULL, 'auditor', NULL, 'audit.report', 'compliance_report', 'soc2', 'success', NULL, NULL
UNION ALL
SELECT timestamp '2025-03-03 10:05', NULL, 'auditor', NULL, 'audit.report', 'compliance_report', 'soc2', 'success', NULL, NULL;

INSERT INTO fraiseql_audit.fraiseql_audit_log
    (created_at, occurred_at, tenant_id, user_id, actor_type, operation,
     entity_type, entity_id, result, sqlstate, error_message, details,
     duration_ms, db_role, client_addr)
SELECT at, at, tenant_id, user_id, actor_type, operation, entity_type, entity_id, result,
       CASE WHEN operation = 'login' THEN NULL
       ELSE CASE result WHEN 'timeout' THEN '57014' WHEN 'failure' THEN '40001' WHEN 'denied' THEN '42501' END END,
       CASE result WHEN 'timeout' THEN 'canceling statement due to statement timeout'
       WHEN 'failure' THEN 'changed by somebody else in the meantime'
       WHEN 'denied' THEN CASE operation WHEN 'login' THEN 'wrong password' ELSE 'needs the role "manager"' END END,
       CASE WHEN operation = 'audit.report' THEN jsonb_build_object(
            'start', date_trunc('month', at)::date - interval '1 month', 'end', date_trunc('month', at)::date) END,
       duration_ms, CASE WHEN user_id = 'auditor' THEN 'auditor' ELSE 'shop_app' END, address::inet
FROM (SELECT at AT TIME ZONE 'Europe/Berlin' AS at, tenant_id, user_id, actor_type, operation, entity_type,
             entity_id, result, duration_ms, address
      FROM event ORDER BY at, user_id COLLATE "C", operation COLLATE "C", entity_id COLLATE "C") AS events;
UPDATE fraiseql_audit.fraiseql_audit_log
SET personal_salt = '\x00', personal_digest = sha256(
        '\x00'::bytea || '\x01' || pg_temp.tagged('06', user_id) || pg_temp.tagged('0b', details::text)
        || pg_temp.tagged('10', error_message) || pg_temp.tagged('13', host(client_addr)));

-- It is sealed, and verified against a checkpoint.
SELECT fraiseql_obs.seal_audit_log() \g /dev/null
SELECT * FROM fraiseql_obs.verify_audit_log(anchor => fraiseql_obs.audit_checkpoint()) \g /dev/null

-- The report, with fixed values for what is another whenever it is made
CREATE TEMP TABLE example AS
SELECT report || jsonb_build_object(
           'report', report->'report' ||
               '{"database": "shop", "generated_at": "2025-04-01T09:30:00+02:00",
                 "generated_by": "auditor", "server_version": "17.4"}',
           'coverage', report->'coverage' || '{"rollups_as_of": "2025-04-01T09:25:00+02:00"}',
           'integrity', report->'integrity' || jsonb_build_object(
               'head', report#>'{integrity,head}' ||
                   '{"origin": "b51b4e17-36a5-4f7b-9d41-3c8a7ddcfc7d", "sealed_at": "2025-04-01T09:25:00+02:00",
                     "root": "jjaTqUWUJcf4VBVzvJktW0JbfrKnZZ5lbJBNfitTSJs="}',
               'verification', report#>'{integrity,verification}' ||
                   '{"at": "2025-04-01T09:27:12+02:00", "by": "auditor"}')) AS report
FROM fraiseql_obs.compliance_report('2025-01-01', '2025-04-01', 'soc2') AS report;

\set file :folder '/compliance_report.json'
SELECT jsonb_pretty(report) FROM example \g :file
\set file :folder '/compliance_report.txt'
SELECT rtrim(fraiseql_obs.audit_report_text(report), E'\n') FROM example \g :file
\set file :folder '/compliance_report.csv'
SELECT rtrim(fraiseql_obs.audit_report_csv(report), E'\n') FROM example \g :file
\set file :folder '/compliance_report.html'
SELECT rtrim(fraiseql_obs.audit_report_html(report), E'\n') FROM example \g :file
