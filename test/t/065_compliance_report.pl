# The compliance report says what a count of the rows says: on random data, in
# time zones that are half and quarters of hours off UTC, over changes of
# daylight saving time, with rows at the very edges of the period.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('compliance_report', 'fraiseql_obs.audit_guard = off');

$node->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	CREATE ROLE auditor LOGIN;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false, retention => '3 years');
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.audit_ensure_partition('2025-09-15 UTC'::timestamptz + i * interval '1 month')
	FROM generate_series(0, 8) i;
	-- a quarter of an hour's edges, and moments in between
	CREATE FUNCTION public.add_rows(seed float8, n integer) RETURNS void LANGUAGE sql AS $$
		SELECT setseed(seed);
		INSERT INTO fraiseql_audit.fraiseql_audit_log
			(created_at, operation, entity_type, result, user_id, tenant_id)
		SELECT timestamptz '2025-09-20 UTC' + CASE i % 3
				WHEN 0 THEN floor(random() * 200 * 96) * interval '15 minutes'
				WHEN 1 THEN floor(random() * 200 * 96) * interval '15 minutes' - interval '1 us'
				ELSE random() * interval '200 days' END,
			'op' || floor(random() * 4), nullif('Type' || floor(random() * 3), 'Type0'),
			(ARRAY['success', 'success', 'failure', 'denied', 'timeout', 'noop'])[1 + floor(random() * 6)],
			nullif('u' || floor(3000 * random() ^ 4), 'u7'), nullif('t' || floor(random() * 3), 't0')
		FROM generate_series(1, n) i
	$$;
	-- what differs between a report and the rows
	CREATE FUNCTION public.differences(start_date date, end_date date) RETURNS SETOF text
	LANGUAGE plpgsql AS $$
	DECLARE
		r jsonb := fraiseql_obs.audit_report(start_date, end_date, 'default');
	BEGIN
		CREATE TEMP TABLE mine ON COMMIT DROP AS
			SELECT * FROM fraiseql_audit.fraiseql_audit_log
			WHERE created_at >= start_date AND created_at < end_date;
		IF (r->>'total_operations')::bigint <> (SELECT count(*) FROM mine) THEN
			RETURN NEXT 'total';
		END IF;
		IF r->'summary' <> (SELECT coalesce(jsonb_object_agg(operation, o), '{}') FROM
				(SELECT operation, jsonb_object_agg(result, n) AS o
				 FROM (SELECT operation, result, count(*) AS n FROM mine GROUP BY 1, 2) c GROUP BY 1) s) THEN
			RETURN NEXT 'summary';
		END IF;
		IF (SELECT jsonb_object_agg(d->>'day', d->'total') FROM jsonb_array_elements(r->'by_day') d)
			<> (SELECT jsonb_object_agg(day::text, (SELECT count(*) FROM mine WHERE created_at::date = day))
				FROM (SELECT start_date + i AS day FROM generate_series(0, end_date - start_date - 1) i) d) THEN
			RETURN NEXT 'by_day';
		END IF;
		IF EXISTS (SELECT FROM jsonb_array_elements(r->'by_day') d WHERE (d->>'total')::bigint
			<> (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(d->'results'))) THEN
			RETURN NEXT 'results of by_day';
		END IF;
		IF (SELECT jsonb_agg(u - 'place' ORDER BY u->'place') FROM (
				SELECT jsonb_build_object('user_id', user_id, 'total', count(*),
					'failed', count(*) FILTER (WHERE result IN ('failure', 'timeout')),
					'denied', count(*) FILTER (WHERE result = 'denied'),
					'place', row_number() OVER (ORDER BY count(*) DESC, user_id COLLATE "C")) AS u
				FROM mine WHERE user_id IS NOT NULL GROUP BY user_id
				ORDER BY count(*) DESC, user_id COLLATE "C" LIMIT 10) s)
			IS DISTINCT FROM nullif(r->'by_user', '[]') THEN
			RETURN NEXT 'by_user';
		END IF;
		-- of lists that are too short for all
		FOR most IN 1 .. 3 LOOP
			IF (SELECT jsonb_agg(c) FROM fraiseql_obs.audit_actor_counts(start_date, end_date, most) c)
				IS DISTINCT FROM (SELECT jsonb_agg(u) FROM (
					SELECT user_id, count(*) AS n, count(*) FILTER (WHERE result IN ('failure', 'timeout')) AS failed,
						count(*) FILTER (WHERE result = 'denied') AS denied
					FROM mine WHERE user_id IS NOT NULL GROUP BY user_id
					ORDER BY n DESC, user_id COLLATE "C" LIMIT most) u) THEN
				RETURN NEXT 'first ' || most;
			END IF;
		END LOOP;
		IF (SELECT jsonb_object_agg(coalesce(e->>'entity_type', '-'), e->'total') FROM jsonb_array_elements(r->'by_entity_type') e)
			IS DISTINCT FROM (SELECT jsonb_object_agg(coalesce(entity_type, '-'), n)
				FROM (SELECT entity_type, count(*) AS n FROM mine GROUP BY 1) c) THEN
			RETURN NEXT 'by_entity_type';
		END IF;
		IF (SELECT jsonb_object_agg(coalesce(e->>'tenant_id', '-'), e->'total') FROM jsonb_array_elements(r->'by_tenant') e)
			IS DISTINCT FROM (SELECT jsonb_object_agg(coalesce(tenant_id, '-'), n)
				FROM (SELECT tenant_id, count(*) AS n FROM mine GROUP BY 1) c) THEN
			RETURN NEXT 'by_tenant';
		END IF;
		IF (r#>>'{failed,total}')::bigint <> (SELECT count(*) FROM mine WHERE result IN ('failure', 'timeout'))
			OR (SELECT jsonb_agg(e->'id') FROM jsonb_array_elements(r#>'{failed,entries}') e)
			IS DISTINCT FROM (SELECT jsonb_agg(id ORDER BY created_at DESC, id DESC) FROM (
				SELECT * FROM mine WHERE result IN ('failure', 'timeout')
				ORDER BY created_at DESC, id DESC LIMIT 100) f) THEN
			RETURN NEXT 'failed';
		END IF;
		DROP TABLE mine;
	END $$));

# Reports of random periods; returns those that differ.
sub differences
{
	my ($zone, $seed, $periods) = @_;
	return $node->safe_psql(
		'app', qq(SET TimeZone = '$zone'; SET client_min_messages = warning;
		SELECT setseed($seed) \\g /dev/null
		SELECT from_day, until_day, d
		FROM (SELECT from_day, from_day + 1 + floor(random() * (
					CASE WHEN i % 2 = 0 THEN 3 ELSE 150 END))::int AS until_day
			FROM (SELECT i, date '2025-09-18' + floor(random() * 190)::int AS from_day
				FROM generate_series(1, $periods) i) AS f) AS p,
			LATERAL differences(from_day, until_day) AS d));
}

my $seed = 0;
my $refresh = 'SELECT fraiseql_obs.refresh_audit_rollups()';
foreach my $zone ('UTC', 'Asia/Kathmandu', 'Asia/Kolkata', 'Europe/Paris',
	'Australia/Lord_Howe', 'America/St_Johns', 'Pacific/Chatham')
{
	$seed += 0.01;
	# their times are made up, so they are not where a tail begins
	$node->safe_psql('app', "SELECT add_rows($seed, 2000);
		UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity'");
	is(differences($zone, $seed, 6), '', "$zone: before a refresh");
	$node->safe_psql('app', $refresh);
	is(differences($zone, $seed, 12), '', "$zone: after it");
}
# the test can fail
$node->safe_psql('app', q(UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n + 1 WHERE dimension = 'operation'));
isnt(differences('UTC', 0.5, 10), '', 'what differs is found');
$node->safe_psql('app', q(UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n - 1 WHERE dimension = 'operation'));

# an edge of a day belongs to the day that begins with it
$node->safe_psql('app', q(
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation) VALUES
	('2026-03-29 00:00 Europe/Paris', 'edge'), ('2026-03-30 00:00 Europe/Paris', 'edge'),
	('2026-03-29 23:59:59.999999 Europe/Paris', 'edge');
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity'));
is( $node->safe_psql('app', qq(SET TimeZone = 'Europe/Paris'; $refresh \\g /dev/null
	SELECT fraiseql_obs.compliance_report('2026-03-29', '2026-03-30')#>>'{summary,edge,success}')),
	'2', 'a day of 23 hours, its end exclusive');

# where rows are gone, and counts by day of UTC do not tell: 19 at the first edge
$node->safe_psql('postgres', 'CREATE DATABASE gone');
$node->safe_psql('gone', q(CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	SELECT fraiseql_obs.audit_ensure_partition('2025-03-01 UTC'::timestamptz + i * interval '1 day') FROM generate_series(0, 9) i;
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, result, user_id, tenant_id, entity_type)
	SELECT '2025-03-01 UTC'::timestamptz + i * interval '1 hour', 'op', CASE i % 2 WHEN 0 THEN 'success' ELSE 'denied' END, 'u', 't', 'T'
	FROM generate_series(0, 239) i;
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity'));
my $gone = q(SET TimeZone = 'America/New_York';
	SELECT r->'total_operations', (SELECT sum((d->>'total')::int) FROM jsonb_array_elements(r->'by_day') d),
		(SELECT sum(value::int) FROM jsonb_each_text(r->'by_result')), r->'summary', r#>'{denied,total}',
		r#>'{by_user,0,total}', r#>'{by_tenant,0,total}', r#>'{by_entity_type,0,total}', r#>>'{coverage,notes,0}'
	FROM fraiseql_obs.audit_report('2025-03-02', '2025-03-09', 'default') r);
my $counts = '168|168|168|{"op": {"denied": 84, "success": 84}}|84';
$node->safe_psql('gone', $refresh);
like($node->safe_psql('gone', $gone), qr/^\Q$counts|168|168|168|Operations\E/, 'before rows are gone');
$node->safe_psql('gone', q(DO $$
	BEGIN
		EXECUTE (SELECT string_agg(format('DROP TABLE %s', p), ';') FROM (
			SELECT inhrelid::regclass AS p FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
			WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass
			ORDER BY pg_get_expr(relpartbound, c.oid) LIMIT 4) d);
	END $$));
like($node->safe_psql('gone', $gone), qr/^\Q$counts|149|149|149|19 operations at the edges of the period are missing\E/,
	'after that the report still agrees with itself, and says what is missing');

# the report as the auditor gets it
my $report = q(SELECT fraiseql_obs.compliance_report('2025-10-01', '2026-04-01', 'soc2'));
my @auditor = (extra_params => [ '-U', 'auditor' ]);
is( $node->safe_psql('app', "SELECT string_agg(k, ' ' ORDER BY k) FROM jsonb_object_keys(($report)) k", @auditor),
	'audit_log_access by_day by_entity_type by_result by_tenant by_user coverage denied failed gaps holds integrity period report retention summary total_operations',
	'its parts');
is( $node->safe_psql('app', "SELECT r#>>'{report,generated_by}', r#>>'{report,profile}', r#>'{period,days}', r#>'{period,end}', r#>'{retention,profile_minimum_days}', r#>'{retention,meets_profile}' FROM ($report) AS t (r)", @auditor),
	'auditor|soc2|182|"2026-04-01"|400|true', 'who, for what and when');
is( $node->safe_psql('app', q(SELECT db_role, operation, entity_id, details FROM fraiseql_obs.recent_operations(1)), @auditor),
	'auditor|audit.report|soc2|{"end": "2026-04-01", "start": "2025-10-01"}', 'making it is an entry');
is( $node->safe_psql('app', q(SET TimeZone = 'UTC'; SELECT r#>>'{audit_log_access,total}', jsonb_array_length(r#>'{audit_log_access,entries}'),
		r#>>'{audit_log_access,entries,0,db_role}'
	FROM fraiseql_obs.compliance_report(current_date, current_date + 1) r), @auditor),
	'3|3|auditor', 'and in the next report');
$node->safe_psql('app', $refresh);
is( $node->safe_psql('app', q(SET TimeZone = 'UTC'; SELECT r#>>'{audit_log_access,total}', jsonb_array_length(r#>'{audit_log_access,entries}')
	FROM fraiseql_obs.compliance_report(current_date, current_date + 1) r), @auditor),
	'4|4', 'also after a refresh');
like( $node->safe_psql('app', "BEGIN READ ONLY; $report"),
	qr/That this report was made is not in the log: the transaction was read-only/, 'in a read-only transaction');

# days that are to come, and before the log began
my $day = q((now() AT TIME ZONE 'UTC')::date);
$node->safe_psql('postgres', 'CREATE DATABASE gaps');
$node->safe_psql('gaps', qq(CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false, retention => '3 years');
	SELECT fraiseql_obs.audit_ensure_partition(now() - interval '7 days');
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation) VALUES ($day - 7, 'op'), ($day - 5, 'op');
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity'));
sub gaps
{
	my ($from, $to) = @_;
	return $node->safe_psql('gaps', qq(SET TimeZone = 'UTC';
		WITH r AS MATERIALIZED (SELECT fraiseql_obs.compliance_report($day + ($from), $day + ($to)) AS r)
		SELECT (SELECT string_agg((d::date - $day)::text, ' ') FROM jsonb_array_elements_text(r#>'{gaps,days_without_operations}') d),
			r#>'{gaps,days_before_log}', r#>'{gaps,days_to_come}', r#>'{gaps,is_over}',
			(SELECT regexp_replace(value, '[0-9]{4}-[0-9-]+', 'day', 'g') FROM fraiseql_obs.audit_report_facts(r) WHERE name = 'Days without any'),
			(SELECT string_agg(note, ' ') FROM jsonb_array_elements_text(r#>'{coverage,notes}') note WHERE note ~ 'not over|before the oldest')
		FROM r));
}
my $not_over = 'The period is not over: what is still to come is not in this report.';
my $too_early = 'Days of the period that are before the oldest entry of the log, which has nothing of them: %s.';
foreach my $refreshed (0, 1)
{
	is(gaps(-7, -3), '-6 -4|0|0|true|2: day, day|', 'days without any');
	is(gaps(-10, -4), "-6|3|0|true|1: day; 3 before the log begins|" . sprintf($too_early, 3), 'before the log');
	is(gaps(-9, -7), "|2|0|true|2 before the log begins|" . sprintf($too_early, 2), 'all before it');
	is(gaps(-1, 3), "-1|0|2|false|1: day; 2 to come; the period is not over|$not_over", 'to come');
	is(gaps(1, 3), "|0|2|false|2 to come; the period is not over|$not_over", 'all to come');
	$node->safe_psql('gaps', 'SELECT fraiseql_obs.refresh_audit_rollups()');
}
$node->safe_psql('gaps', 'DELETE FROM fraiseql_audit.fraiseql_audit_log WHERE created_at < now() - interval \'6 days\'');
is(gaps(-7, -3), '-6 -4|0|0|true|2: day, day|', 'rows that are gone were there');

# bad input
sub fails
{
	my ($call, $message, @extra) = @_;
	my (undef, undef, $err) = $node->psql('app', "SELECT fraiseql_obs.compliance_report($call)");
	like($err, $message, $call);
	return;
}
fails("'2026-02-01', '2026-01-01'", qr/end of the compliance report, 2026-01-01, is not after its start, 2026-02-01.*HINT:  The end is exclusive/s);
fails("'2026-02-01', '2026-02-01'", qr/is not after its start/);
fails("NULL, '2026-01-01'", qr/must be dates, and not null or infinite/);
fails("'2026-01-01', 'infinity'", qr/must be dates, and not null or infinite/);
fails("'1900-01-01', '2026-01-01'", qr/period of 46021 days is too long.*HINT/s);
fails("'2026-01-01', '2026-02-01', 'iso'", qr/invalid compliance profile "iso".*HINT:  Valid profiles/s);
fails("'2026-01-01', '2026-02-01', NULL", qr/compliance profile must not be null.*HINT:  Valid profiles/s);
my (undef, undef, $err) = $node->psql('app', "SET TimeZone = '<ODD>+3:07'; $report");
like($err, qr/time zone "<ODD>\+3:07" is no multiple of 15 minutes off UTC.*HINT/s, 'a time zone that is odd');
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.by_operation('audit.report', since => 'yesterday'))),
	'5', 'a report that failed is no entry');

# a reader of a tenant gets that tenant's figures
$node->safe_psql('postgres', 'CREATE DATABASE tenants');
$node->safe_psql('tenants', q(CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(tenant_isolation => true);
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.log_operation('op', tenant_id => 't' || i % 3, user_id => 'u' || i % 5) FROM generate_series(1, 30) i;
	SELECT fraiseql_obs.refresh_audit_rollups()));
is( $node->safe_psql('tenants', q(SET TimeZone = 'UTC'; SET fraiseql_obs.tenant_id = 't1';
	SELECT r->'total_operations', r->'summary', jsonb_array_length(r->'by_user'), r#>'{by_tenant}', r#>'{coverage,limited_by_row_security}',
		r#>'{retention,days}', r#>'{retention,meets_profile}'
	FROM fraiseql_obs.compliance_report(current_date, current_date + 1, 'sox') r), @auditor),
	'10|{"op": {"success": 10}}|5|[{"total": 10, "results": {"success": 10}, "tenant_id": "t1"}]|true|90|false', 'a tenant\'s report');
is( $node->safe_psql('tenants', q(SELECT (SELECT count(*) FROM fraiseql_audit.fraiseql_audit_counts),
	(SELECT count(*) FROM fraiseql_audit.fraiseql_audit_actor_days)), @auditor),
	'0|0', 'whose reader does not see the rollups');

$node->stop;
done_testing();
