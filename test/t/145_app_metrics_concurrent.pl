# Sixteen sessions record at the same time, and others come and go: every sum is
# what was recorded, no counter goes backwards, and no session counts for a
# series that has become another one's.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run qw(start);
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('app_concurrent', 'fraiseql_obs.max_app_series = 200');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');

# pgbench with a script, not waited for
sub bench
{
	my ($name, $sql, @options) = @_;
	my $script = $node->basedir . "/$name.sql";
	my $out = '';

	append_to_file($script, $sql);
	my $run = start [ 'pgbench', '-n', '-h', $node->host, '-p', $node->port,
		'-f', $script, @options, 'app' ], '>&', \$out;
	return { run => $run, out => \$out, name => $name };
}

sub finish
{
	my ($bench) = @_;
	ok($bench->{run}->finish, $bench->{name}) or diag ${ $bench->{out} };
	return;
}

# The sum of a sample over its labels
sub sum
{
	my ($name, $where) = @_;
	$where //= 'true';
	return observe($node,
		"SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = '$name' AND $where");
}

# Fractions of two, so that the sums are exact
my $script = q(
\set n random(1, 20)
\set s random(200, 204)
SELECT fraiseql_obs.record_http_request('GET', '/r/' || :n::int, :s, 0.25);
SELECT fraiseql_obs.counter_add('work_done_total', 1.5, jsonb_build_object('n', :n::int));
SELECT fraiseql_obs.counter_add('plain_total');
SELECT fraiseql_obs.histogram_observe('batch_rows', :n, buckets => '{5,10}');
SELECT fraiseql_obs.record_cache('query', 3, 1, 1000 + :n);
SELECT fraiseql_obs.record_pool('main', :n, 1);
);
my $kept = bench('sessions', $script, '-M', 'prepared', '-c', 16, '-j', 2, '-t', 300);
my $brief = bench('short sessions', $script, '-C', '-c', 4, '-t', 40);

# Nobody sees a sum that is less than one before.
is( observe($node, q(
	DO $$
	DECLARE
		before jsonb := '{}';
		now jsonb;
		lost text;
	BEGIN
		FOR i IN 1 .. 150 LOOP
			SELECT jsonb_object_agg(name || labels, value) INTO now
			FROM fraiseql_obs.metrics()
			WHERE type <> 'gauge' AND name ~ '^(fraiseql_obs_(http|cache)|work|plain|batch)';
			SELECT key INTO lost FROM jsonb_each_text(before)
			WHERE value::numeric > coalesce((now->>key)::numeric, 0);
			IF lost IS NOT NULL THEN
				RAISE '% went back', lost;
			END IF;
			before := coalesce(now, '{}');
			PERFORM pg_sleep(0.01);
		END LOOP;
	END $$)), '', 'no counter goes backwards');
finish($kept);
finish($brief);

my $n = 16 * 300 + 4 * 40;
is(sum('fraiseql_obs_http_requests_total'), $n, 'requests');
is(sum('fraiseql_obs_http_request_duration_seconds_count'), $n, 'their durations');
is(sum('fraiseql_obs_http_request_duration_seconds_sum'), $n / 4, 'the sum of these');
is(sum('fraiseql_obs_http_request_duration_seconds_bucket', q(labels->>'le' = '0.1')), 0, 'none is shorter');
is(sum('fraiseql_obs_http_request_duration_seconds_bucket', q(labels->>'le' = '0.25')), $n, 'and none longer');
is(sum('work_done_total'), $n * 1.5, 'fractions');
is(sum('plain_total'), $n, 'whole numbers');
is(sum('batch_rows_count'), $n, 'values of a histogram');
is(sum('fraiseql_obs_cache_hits_total', q(labels->>'cache_type' = 'query')), 3 * $n, 'hits');
is(sum('fraiseql_obs_cache_misses_total', q(labels->>'cache_type' = 'query')), $n, 'misses');
is(metric($node, 'fraiseql_obs_series_overflow_total{family="app"}'), '0', 'all had room');

# Series are forgotten while they are counted for, and are others' then.  Each
# is added its own number alone, so what it has is a multiple of that.
reset_counts($node);
my $writers = bench('writers', q(
\set n random(2, 40)
SELECT fraiseql_obs.counter_add('multiples_total', :n, jsonb_build_object('n', :n::int));
SELECT fraiseql_obs.counter_add('multiples_of_' || :n::int || '_total', :n);
SELECT fraiseql_obs.counter_add('multiples_total', :n, jsonb_build_object('n', :n::int));
), '-M', 'prepared', '-c', 8, '-j', 2, '-T', 300);
is( observe($node, q(
	DO $$
	DECLARE
		wrong text;
		seen bigint := 0;
		found bigint;
		i int := 0;
	BEGIN
		-- until enough was seen, however slow the machine is
		WHILE seen < 3000 AND clock_timestamp() < now() + interval '4 minutes' LOOP
			SELECT string_agg(name || labels || ' ' || value, ', ' )
				FILTER (WHERE value::bigint % coalesce(labels->>'n', substring(name FROM '\d+'))::bigint <> 0), count(*)
			INTO wrong, found
			FROM fraiseql_obs.metrics() WHERE name ~ '^multiples';
			IF wrong IS NOT NULL THEN
				RAISE '%', wrong;
			END IF;
			seen := seen + found;
			i := i + 1;
			PERFORM pg_sleep(0.002 * (i % 10)), fraiseql_obs.reset_metrics('app');
		END LOOP;
		IF seen < 3000 THEN
			RAISE 'only % samples', seen;
		END IF;
	END $$)), '', 'nobody counts for the series of another');
$writers->{run}->kill_kill;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing worse happened');
done_testing();
