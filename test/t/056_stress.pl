# Sessions that come, go, fail, are cancelled and terminated, while others read
# and reset: nothing crashes, and afterwards counting is exact.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('stress', q(
	fraiseql_obs.max_queries = 100
	fraiseql_obs.max_operations = 20
	fraiseql_obs.track = all
	fraiseql_obs.slow_query_threshold = 1
	fraiseql_obs.include_query_bodies = on
	fraiseql_obs.slow_query_log_rate = 5
));
$node->safe_psql('app', join ';',
	map { "CREATE TABLE t$_ AS SELECT 1 AS a" } 1 .. 150);

my %scripts = (
	work => q(
		\set t random(1, 150)
		\set f random(0, 9)
		SET fraiseql_obs.operation_name = 'operation :t';
		SELECT a FROM t:t;
		DO 'BEGIN PERFORM a FROM t:t; EXCEPTION WHEN others THEN NULL; END';
		SELECT pg_sleep(0.002) FROM t:t;
		DO 'BEGIN PERFORM 1 / :f; EXCEPTION WHEN others THEN NULL; END';
	),
	kill => q(
		SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE datname = 'app' ORDER BY random() LIMIT 1;
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = 'app' ORDER BY random() LIMIT 1;
		\sleep 50 ms
	),
	read => q(
		SELECT count(*) FROM fraiseql_obs.query_stats();
		SELECT count(*) FROM fraiseql_obs.v_slow_queries;
		SELECT octet_length(fraiseql_obs.export_metrics());
		SELECT fraiseql_obs.reset_metrics();
	));
# A client of pgbench that fails is gone, so each runs for a second, again and
# again.
my @runs;
foreach my $name (sort keys %scripts)
{
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, $scripts{$name});
	push @runs,
	  IPC::Run::start(
		[
			'sh', '-c',
			'i=0; while [ $i -lt 8 ]; do i=$((i + 1));'
			  . ' pgbench -n -C -T 1 -h "$1" -p "$2" -c "$3" -f "$4" "$5";'
			  . ' done',
			'sh', $node->host, $node->port, $name eq 'work' ? 6 : 1, $file,
			$name eq 'work' ? 'app' : 'postgres'
		],
		'>', '/dev/null', '2>', '/dev/null');
}
$_->finish foreach @runs;

is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server is up');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/,
	'nothing crashed');
$node->poll_query_until('postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'app')");
reset_counts($node);
is(totals($node), '0|0|0', 'nothing is left after a reset');
is( observe($node, 'SELECT count(*) FROM fraiseql_obs.slow_queries()'),
	'0', 'no slow queries either');
$node->safe_psql('app', op(exact => 'SELECT 1')) foreach 1 .. 10;
is(counts($node, 'exact'), '10|0|10', 'counting is exact');
is( metric($node,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'10', 'in every place');
done_testing();
