# Several sessions at once, each with more distinct statements than series:
# the sum over all series is what was run, and never goes backwards.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('overflow_concurrent',
	"fraiseql_obs.max_queries = 100\nfraiseql_obs.max_operations = 20");
$node->safe_psql('app', join ';',
	map { "CREATE TABLE t$_ AS SELECT 1 AS a" } 1 .. 300);
reset_counts($node);

# Fails if the sum over all series, as others see it, is less than it was.
my $watch = q(
	DO $$
	DECLARE
		before numeric := 0;
		sum numeric;
	BEGIN
		FOR i IN 1 .. 200 LOOP
			SELECT coalesce(sum(calls), 0) INTO sum
			FROM fraiseql_obs.query_counters()
			WHERE dbid IS NULL
				OR dbid = (SELECT oid FROM pg_database WHERE datname = 'app');
			IF sum < before THEN
				RAISE 'the sum went from % to %', before, sum;
			END IF;
			before := sum;
			PERFORM pg_sleep(0.01);
		END LOOP;
	END $$);

my $script = $node->basedir . '/distinct.sql';
append_to_file(
	$script, q(
	\set t random(1, 300)
	SET fraiseql_obs.operation_name = 'operation :t';
	SELECT a FROM t:t;
	SELECT a, a FROM t:t;
));

# Every connection is new, so that processes come and go meanwhile.
my $out = '';
my $pgbench = IPC::Run::start(
	[
		'pgbench', '-n', '-C', '-M', 'simple', '-c', '6', '-j', '2',
		'-t', '150', '-h', $node->host, '-p', $node->port, '-f', $script,
		'app'
	],
	'>&', \$out);
is(observe($node, $watch), '', 'the sum never goes backwards');
ok($pgbench->finish, 'pgbench') or diag $out;

# 900 transactions of two statements
is( metric($node,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'1800', 'statements of the database');
is( observe(
		$node, "SELECT sum(calls) FROM fraiseql_obs.operation_stats()"),
	'1800', 'calls of all operations');
my $other = observe($node, q(
	SELECT coalesce(sum(calls), 0) FROM fraiseql_obs.query_stats()
	WHERE dbid IS NULL));
my $named = observe($node, q(
	SELECT sum(calls) FROM fraiseql_obs.query_stats()
	WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'app')));

is($named + $other, 1800, 'calls of all queries');
done_testing();
