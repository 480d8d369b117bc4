# Analysis finds what is planted, says why, and is silent on quiet data and on
# too little data.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_analysis', "timezone = 'UTC'\nfraiseql_obs.audit_guard = off");

# Six quiet weeks up to 2025-03-01, a Saturday: "app.read" each five minutes by
# five users in working hours and by a robot at all hours, one failure in 20.
$node->safe_psql('app', q(
	CREATE ROLE tenant_reader LOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false, retention => '200 days');
	SELECT fraiseql_obs.grant_audit_reader('tenant_reader');
	SELECT fraiseql_obs.audit_ensure_partition('2025-01-15'::timestamptz + i * interval '1 month') FROM generate_series(0, 2) i;
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, user_id, result, duration_ms, entity_type, entity_id, tenant_id)
	SELECT at, 'app.read', 'robot', CASE WHEN i % 20 = 0 THEN 'failure' ELSE 'success' END, i % 100 + 1, 'Page', (i % 10)::text, 't1'
	FROM generate_series(0, 42 * 288 - 1) i, LATERAL (SELECT '2025-01-18'::timestamptz + i * interval '5 minutes' AS at) t;
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, user_id, entity_type, entity_id, tenant_id)
	SELECT at, 'app.write', 'user' || u, 'Order', u::text, 't2'
	FROM generate_series('2025-01-18'::timestamptz, '2025-02-28 23:00', '30 minutes') at, generate_series(1, 5) u
	WHERE extract(hour FROM at) BETWEEN 9 AND 16 AND extract(isodow FROM at) < 6));
my $refresh = 'SELECT fraiseql_obs.refresh_audit_rollups() > 0';
$node->safe_psql('app', $refresh);

my $friday = "since => '2025-02-28', until => '2025-03-01'";

# Rows of a call, of the columns
sub calls
{
	my ($columns, $call) = @_;
	return $node->safe_psql('app', "SELECT $columns FROM fraiseql_obs.$call");
}

sub quiet
{
	my ($name) = @_;
	foreach my $call ("failure_spikes($friday)", "repeated_denials($friday)",
		"new_actors($friday)", "off_hours($friday)", "volume_spikes($friday)",
		"silence(until => '2025-02-28 16:30')")
	{
		is(calls('*', $call), '', "$name: $call");
	}
	return;
}
quiet('quiet weeks');

# statistics
is(calls('operation, total, success, failed, failure_ratio, p50_ms, p95_ms, p99_ms, users, most_common_operation', "audit_statistics($friday)"),
	'|368|354|14|0.03804347826086957|51|94|99|6|app.read', 'statistics');
is(calls('operation, total, p50_ms', "audit_statistics($friday, by_operation => true)"),
	"app.read|288|51\napp.write|80|", 'statistics by operation, null where nothing was measured');
is(calls('total, p50_ms, users', "audit_statistics($friday, tenant_id => 'nobody')"), '0||0', 'statistics of nothing');
is(calls('operation, n, p95_ms, max_ms', "slow_operations($friday)"), 'app.read|288|94|100', 'slow operations');
is(calls('*', "slow_operations($friday, min_count => 289)"), '', 'slow operations: too few');
is(calls('*', "most_active_users(2, $friday)"), "robot|288|14|0\nuser1|16|0|0", 'most active users');
is(calls('*', "most_active_entities(2, $friday)"), "Page|0|29|1\nPage|1|29|1", 'most active entities');
is(calls('*', "most_active_entities(1, $friday, tenant_id => 't2')"), 'Order|1|16|1', 'most active entities of a tenant');

# anomalies on that Friday
$node->safe_psql('app', q(
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, user_id, result, tenant_id)
	SELECT '2025-02-28 10:00'::timestamptz + i * interval '1 minute', 'app.read', 'robot', 'failure', 't1' FROM generate_series(1, 30) i
	UNION ALL
	SELECT '2025-02-28 12:00'::timestamptz + i * interval '1 minute', 'secret.read', 'mallory', 'denied', 't2' FROM generate_series(1, 7) i
	UNION ALL
	SELECT '2025-02-28 13:00'::timestamptz + i * interval '1 hour', 'secret.read', 'slow', 'denied', 't2' FROM generate_series(1, 7) i
	UNION ALL
	SELECT '2025-02-28 14:00', 'export', 'user3', 'success', 't2'
	UNION ALL
	SELECT '2025-02-28 02:00'::timestamptz + i * interval '1 minute', 'app.write', 'user4', 'success', 't2' FROM generate_series(1, 6) i
	UNION ALL
	SELECT '2025-02-28 15:00'::timestamptz + i * interval '1 second', 'app.write', 'user5', 'success', 't2' FROM generate_series(1, 200) i;
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, client_addr, result)
	SELECT '2025-02-28 16:00'::timestamptz + i * interval '1 second', 'auth.login', '10.1.2.3', 'failure' FROM generate_series(1, 5) i;
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity'));

sub found
{
	my ($name) = @_;
	is(calls('hour, operation, failures, total, reason', "failure_spikes($friday)"),
		'2025-02-28 10:00:00+00|app.read|30|42|30 of 42 failed in this hour; 0.8 are usual, by the same hour of 4 weeks before',
		"$name: failure spike");
	is(calls('who, first_at, last_at, denials, operations, reason', "repeated_denials($friday)"),
		"user mallory|2025-02-28 12:01:00+00|2025-02-28 12:07:00+00|7|{secret.read}|user mallory denied 7 times within 00:10:00\n"
		  . 'address 10.1.2.3|2025-02-28 16:00:01+00|2025-02-28 16:00:05+00|5|{auth.login}|address 10.1.2.3 denied 5 times within 00:10:00',
		"$name: repeated denials");
	is(calls('*', "new_actors($friday)"),
		'user3|export|2025-02-28 14:00:00+00|1|first export by user3 since 2025-01-18', "$name: new actor");
	is(calls('*', "off_hours($friday)"),
		'user4|6|2025-02-28 02:01:00+00|2025-02-28 02:06:00+00|6 operations outside of 7:00 to 20:00 on working days; of 320 before, 0 were',
		"$name: off hours");
	is(calls('user_id, n, usual_per_day, reason', "volume_spikes($friday)"),
		'user5|216|16|216 operations in 1 day; 16.0 a day are usual, by 10 days before', "$name: volume spike");
	is(calls('*', "silence(until => '2025-03-01 03:00')"),
		'app.read|2025-02-28 23:45:00+00|166|none for 01:00:00; came in 166 of 168 hours before', "$name: silence");
	return;
}
found('in the tail');
$node->safe_psql('app', $refresh);
found('rolled up');

# thresholds decide
is(calls('*', "failure_spikes($friday, min_failures => 31)"), '', 'fewer failures than asked for');
is(calls('*', "failure_spikes($friday, factor => 100)"), '', 'not so much more than usual');
is(calls('who', "repeated_denials($friday, threshold => 8)"), '', 'fewer denials');
is(calls('who, denials', "repeated_denials($friday, within => '1 day', threshold => 7)"),
	"user mallory|7\nuser slow|7", 'denials in a longer time');
is(calls('who', "repeated_denials($friday, tenant_id => 't1')"), '', 'denials of another tenant');
is(calls('user_id', "new_actors('{secret.read}', $friday)"), "slow\nmallory", 'other operations');
is(calls('user_id', "off_hours($friday, from_hour => 1)"), '', 'longer hours');
is(calls('user_id', "off_hours($friday, time_zone => 'America/New_York', min_operations => 16, lookback => '1 day', min_usual => 1)"),
	'', 'who always works so');
is(calls('user_id', "volume_spikes($friday, factor => 14)"), '', 'not so much more than usual');
is(calls('operation', "silence('4 hours', '2025-03-01 03:00')"), '', 'not quiet for so long');
# daylight saving time: in Paris 01:30 UTC is 02:30 before, 03:30 after the change
is(calls('n', "off_hours('2025-02-28 02:00', '2025-02-28 03:00', 3, 24, time_zone => 'Europe/Paris')"), '', 'hours are those of the time zone');

# too little data
is(calls('*', "failure_spikes('2025-01-20', '2025-01-21', min_failures => 1, factor => 0.1, deviations => 0.001)"), '', 'the first week is compared with nothing');
is(calls('*', "new_actors('{app.read}', '2025-01-18', '2025-01-19')"), '', 'all are new when the log begins');
is(calls('*', "off_hours('2025-01-18', '2025-01-19')"), '', 'nobody is known then');
is(calls('*', "volume_spikes('2025-01-20', '2025-01-21')"), '', 'nor what is usual');
is(calls('*', "silence(until => '2025-01-19')"), '', 'nor what comes regularly');
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('empty', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
is($node->safe_psql('empty', "SELECT * FROM fraiseql_obs.$_()"), '', "$_() of an empty log")
  foreach (qw(failure_spikes repeated_denials new_actors off_hours volume_spikes silence most_active_users most_active_entities slow_operations));

# bad thresholds
sub fails
{
	my ($call, $message) = @_;
	my (undef, undef, $err) = $node->psql('app', "SELECT * FROM fraiseql_obs.$call");
	like($err, $message, $call);
	return;
}
fails("failure_spikes('2025-02-02', '2025-02-01')", qr/until, .*, is not after since.*HINT/s);
fails("audit_statistics(NULL)", qr/since and until must be times, and not null or infinite/);
fails("audit_statistics('-infinity')", qr/must be times/);
fails("failure_spikes(weeks => 0)", qr/weeks must be more than zero.*HINT/s);
fails("off_hours(weekdays => '{1,8}')", qr/weekdays must be from 1 to 7.*HINT/s);
fails("new_actors(operations => '{}')", qr/operations must not be null or empty\nHINT:  Name those that are sensitive/);
fails("failure_spikes(factor => NULL)", qr/factor must be more than zero/);
fails("repeated_denials(within => '-1 hour')", qr/within must be more than zero/);
fails("repeated_denials(threshold => -1)", qr/threshold must be more than zero/);
fails("new_actors(NULL)", qr/operations must not be null or empty/);
fails("off_hours(usual_share => 7)", qr/usual_share must not be more than 1\nHINT:  It is a share/);
fails("off_hours(usual_share => 'NaN')", qr/usual_share must not be more than 1/);
fails("silence(regularity => 2)", qr/regularity must not be more than 1/);
unlike(($node->psql('app', "SELECT * FROM fraiseql_obs.silence(regularity => 1)"))[2], qr/ERROR/, 'all of them is a share');
fails("off_hours(from_hour => 20, to_hour => 8)", qr/from_hour must be before to_hour/);
fails("off_hours(time_zone => 'Mars/Olympus')", qr/time zone "Mars\/Olympus" not recognized/);
fails("silence(quiet => NULL)", qr/quiet must be more than zero/);
fails('most_active_users(0)', qr/limit must be more than zero/);
fails('slow_operations(NULL)', qr/limit must be more than zero/);

# what came after the quiet time began, in a quarter that began before it
is(calls('operation', "silence('10 minutes', '2025-03-01 00:04')"), '', 'not silent for so long');
# 02:00 in New York, where the clock is put forward in the week between
$node->safe_psql('app', q(
	SELECT fraiseql_obs.audit_ensure_partition('2024-12-15'::timestamptz - i * interval '1 month') FROM generate_series(0, 2) i;
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, result)
	SELECT '2024-11-08 10:30Z'::timestamptz - k * interval '168 hours' + i * interval '1 second', 'dst.read', CASE WHEN k = 0 THEN 'failure' ELSE 'success' END
	FROM generate_series(0, 4) k, generate_series(1, 20) i;
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity'));
is( $node->safe_psql('app', q(SET TimeZone = 'America/New_York';
		SELECT hour AT TIME ZONE 'UTC', failures FROM fraiseql_obs.failure_spikes('2024-11-08 00:00Z', '2024-11-09 00:00Z'))),
	'2024-11-08 10:00:00|20', 'a spike after a change of the clock');
# many denials of one user
$node->safe_psql('app', q(
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, user_id, result)
	SELECT '2025-02-20 UTC'::timestamptz + i * interval '30 ms', 'op' || i % 12, 'loop', 'denied' FROM generate_series(1, 16000) i));
is( $node->safe_psql('app', q(SET temp_file_limit = '20MB'; SET statement_timeout = '20s';
		SELECT who, denials, cardinality(operations) FROM fraiseql_obs.repeated_denials('2025-02-20', '2025-02-21'))),
	'user loop|16000|10', 'many denials, in little space');
is(calls('user_id', "most_active_users(300000000, $friday) LIMIT 1"), 'robot', 'a large limit');

# a tenant's reader gets flags of that tenant alone
$node->safe_psql('app', q(
	ALTER TABLE fraiseql_audit.fraiseql_audit_log ENABLE ROW LEVEL SECURITY;
	CREATE POLICY fraiseql_audit_tenant ON fraiseql_audit.fraiseql_audit_log USING (tenant_id = current_setting('app.tenant_id', true))));
my @tenant = (extra_params => [ '-U', 'tenant_reader' ]);
foreach (['t1', "1|0|0|0|0"], ['t2', "0|1|1|1|1"])
{
	my ($tenant, $wanted) = @$_;
	is( $node->safe_psql('app', "SET app.tenant_id = '$tenant';
			SELECT (SELECT count(*) FROM fraiseql_obs.failure_spikes($friday)), (SELECT count(*) FROM fraiseql_obs.repeated_denials($friday)),
				(SELECT count(*) FROM fraiseql_obs.new_actors($friday)), (SELECT count(*) FROM fraiseql_obs.off_hours($friday)),
				(SELECT count(*) FROM fraiseql_obs.volume_spikes($friday))", @tenant),
		$wanted, "what tenant $tenant is told");
}

$node->stop;
done_testing();
