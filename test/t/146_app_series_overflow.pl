# A client with endless distinct names and labels: who was there before keeps
# its series, all is counted, once, and neither shared memory nor that of the
# backend grows.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run qw(run);
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 50;
my $node = start_node('app_overflow', "fraiseql_obs.max_app_series = $limit\n");
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');

# Bytes of private memory of a process
sub private_bytes
{
	my ($pid) = @_;
	my $private = 0;
	my $kilobytes = 0;

	foreach my $line (split /\n/, slurp_file("/proc/$pid/smaps"))
	{
		$private = $1 eq 'p' if $line =~ /^[0-9a-f]+-[0-9a-f]+ ...(.)/;
		$kilobytes += $1 if $private && $line =~ /^Private_Dirty: +(\d+) kB/;
	}
	return $kilobytes * 1024;
}

sub shared_bytes
{
	return observe($node,
		q(SELECT sum(size) FROM pg_shmem_allocations WHERE name LIKE 'fraiseql\_obs%' OR name = '<anonymous>'));
}

sub is_valid
{
	my ($name) = @_;
	foreach my $format ('prometheus', 'openmetrics')
	{
		my $text = observe($node, "SELECT fraiseql_obs.export_metrics('$format')");
		my $said = '';
		run [ 'python3', "$FindBin::RealBin/../exposition_check", $format ],
		  '<', \"$text", '>&', \$said;
		is($said, '', "$name: $format is valid");
	}
	return;
}

# What is there before
my $good = q(
	SELECT fraiseql_obs.record_http_request('GET', '/good', 200, 0.25),
		fraiseql_obs.counter_add('good_total', 1, '{"who": "me"}'),
		fraiseql_obs.counter_add('bare_total'),
		fraiseql_obs.gauge_set('good_gauge', 7),
		fraiseql_obs.histogram_observe('good_seconds', 1, '{"who": "me"}'),
		fraiseql_obs.record_cache('good', 2, 1, 3),
		fraiseql_obs.record_pool('good', 1, 1, 0, 5));
$node->safe_psql('app', $good);
my $shared = shared_bytes();

# Endless labels, in one session
my $n = 3000;
my $hostile = $node->background_psql('app');
my $pid = $hostile->query_safe('SELECT pg_backend_pid()');
my $flood = q(
	SELECT count(*) FROM generate_series(%d, %d) i, LATERAL (SELECT
		fraiseql_obs.record_http_request('GET', '/evil/' || i, 500, 0.5),
		fraiseql_obs.counter_add('good_total', 2, jsonb_build_object('who', E'\n"\\\\' || i)),
		fraiseql_obs.counter_add('bare_total', 1, jsonb_build_object('who', i)),
		fraiseql_obs.gauge_set('good_gauge', i, jsonb_build_object('who', i)),
		fraiseql_obs.histogram_observe('good_seconds', 2, jsonb_build_object('who', i)),
		fraiseql_obs.record_cache('evil' || i, 1, 1, i),
		fraiseql_obs.record_pool('evil' || i, i, i)) r;);
$hostile->query_safe(sprintf $flood, 1, $n / 2);
my $private = private_bytes($pid);
$hostile->query_safe(sprintf $flood, $n / 2 + 1, $n);
cmp_ok(private_bytes($pid) - $private, '<', 65536, 'the backend has not grown');
is(shared_bytes(), $shared, 'nor has shared memory');

is(metric($node, 'fraiseql_obs_series{family="app"}'), $limit, 'all series are in use');
is(metric($node, 'fraiseql_obs_series_limit{family="app"}'), $limit, 'and are as many as they may be');

# Whoever was there goes on.
$node->safe_psql('app', $good);
my %expected = (
	'fraiseql_obs_http_requests_total{method="GET",endpoint="/good",status="200"}' => 2,
	'good_total{who="me"}' => 2,
	'bare_total' => 2,
	'good_gauge' => 7,
	'good_seconds_sum{who="me"}' => 2,
	'fraiseql_obs_cache_hits_total{cache_type="good"}' => 4,
	'fraiseql_obs_cache_size_bytes{cache_type="good"}' => 3,
	'fraiseql_obs_pool_connections_max{pool="good"}' => 5);
is(metric($node, $_), $expected{$_}, $_) foreach sort keys %expected;

# All is counted, most of it as "other".
foreach my $case (
	[ 'fraiseql_obs_http_requests_total', $n + 2, '{method="other",endpoint="other",status="other"}' ],
	[ 'fraiseql_obs_http_request_duration_seconds_count', $n + 2, '{method="other",endpoint="other"}' ],
	[ 'good_total', 2 * $n + 2, '{who="other"}' ],
	[ 'bare_total', $n + 2, '{series="other"}' ],
	[ 'good_seconds_count', $n + 2, '{who="other"}' ],
	[ 'fraiseql_obs_cache_misses_total', $n + 2, '{cache_type="other"}' ])
{
	my ($name, $sum, $other) = @$case;
	is( observe($node, qq(SELECT sum(value) FROM fraiseql_obs.metrics()
			WHERE name = '$name' AND labels->>'cache_type' IS DISTINCT FROM 'shared_buffers')),
		$sum, "sum of $name");
	cmp_ok(metric($node, "$name$other"), '>', $n / 2, "other of $name");
}
is( observe($node, q(SELECT count(*) FROM fraiseql_obs.metrics()
		WHERE name IN ('good_gauge', 'fraiseql_obs_cache_size_bytes', 'fraiseql_obs_pool_connections') AND labels::text ~ 'other')),
	'0', 'there is no "other" of what is not added');

# what has found no room: eight observations each, but for the series that did
my $had_room = $limit - 8;
is(metric($node, 'fraiseql_obs_series_overflow_total{family="app"}'), 8 * $n - $had_room, 'each is counted once');
is_valid('endless labels');

# Endless names
is(metric($node, 'fraiseql_obs_series_limit{family="app_names"}'), '252', 'names are bounded');
my $names = metric($node, 'fraiseql_obs_series{family="app_names"}');
$hostile->query_safe(q(SELECT count(*) FROM generate_series(1, 1000) i, LATERAL (SELECT
	fraiseql_obs.counter_add('evil_' || i || '_total'), fraiseql_obs.gauge_set('evil_gauge_' || i, 1)) r));
is(metric($node, 'fraiseql_obs_series{family="app_names"}'), '252', 'all names are in use');
is(metric($node, 'fraiseql_obs_series_overflow_total{family="app_names"}'), 2000 - 252 + $names, 'what had none is counted');
$node->safe_psql('app', $good);
is(metric($node, 'good_total{who="me"}'), '3', 'who was there goes on');
is(metric($node, 'evil_1_total{series="other"}'), '1', 'a name without series has "other"');
is_valid('endless names');

# Long arguments, none like the other
$private = private_bytes($pid);
$hostile->query_safe(q(SELECT count(fraiseql_obs.counter_add('good_total', 1, jsonb_build_object('who', i || repeat('x', 100000))))
	FROM generate_series(1, 200) i));
cmp_ok(private_bytes($pid) - $private, '<', 524288, 'long arguments are not kept');

# Room is made by a reset, also for this session.
reset_counts($node);
$hostile->query_safe('SELECT fraiseql_obs.counter_add(\'evil_1_total\', i) FROM generate_series(1, 3) i');
is(metric($node, 'evil_1_total'), '6', 'after a reset there is room');
is(metric($node, 'fraiseql_obs_series{family="app"}'), '1', 'and nothing else');
$hostile->quit;
done_testing();
