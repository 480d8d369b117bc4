# With more distinct statements than series, some are folded into "other", and
# nothing is lost: the sum over all series is what was run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('overflow',
	"fraiseql_obs.max_queries = 100\npg_stat_statements.max = 5000");

# "series (without other)|other series|calls|rows"
sub sums
{
	return observe($node, q(
		SELECT count(*) FILTER (WHERE queryid IS NOT NULL) <= 100,
			count(*) FILTER (WHERE queryid IS NULL AND userid IS NULL
				AND dbid IS NULL AND toplevel IS NULL),
			sum(calls), sum(rows)
		FROM fraiseql_obs.query_stats()
		WHERE dbid IS NULL
			OR dbid = (SELECT oid FROM pg_database WHERE datname = 'app')));
}

# A table of its own makes each statement distinct.
$node->safe_psql('app', join ';',
	map { "CREATE TABLE t$_ AS SELECT generate_series(1, 3) AS a" } 1 .. 40);
reset_counts($node);

# Distinct by the number of columns and the alias-free shape
my @statements;
foreach my $table (1 .. 40)
{
	push @statements, map { "SELECT a" . ", a" x $_ . " FROM t$table" } 0 .. 49;
}
$node->safe_psql('app', join ';', @statements);

my ($bounded, $other, $calls, $rows) = split /\|/, sums();
is($bounded, 't', 'no more series than allowed');
is($other, '1', 'one series for the rest');
is($calls, '2000', 'no call is lost');
is($rows, '6000', 'no row is lost');
is( metric($node,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'2000', 'the same of the database');
is(metric($node, 'fraiseql_obs_series_limit{family="queries"}'),
	'100', 'the limit is exported');
cmp_ok(metric($node, 'fraiseql_obs_series{family="queries"}'),
	'<=', 100, 'and the number in use');
cmp_ok(
	metric($node, 'fraiseql_obs_series_overflow_total{family="queries"}')
	  + metric($node, 'fraiseql_obs_series_evicted_total{family="queries"}'),
	'>', 0, 'and what came of it');

# A statement that is called often keeps its series.
$node->safe_psql(
	'app',
	join ';',
	map { (op(often => 'SELECT count(*) FROM t1'), $_) } @statements);
is( observe($node,
		'SELECT calls FROM fraiseql_obs.query_stats()'
		  . " WHERE query LIKE 'SELECT count(*) FROM t1%'"),
	'2000', 'the one that is called all the time');
($bounded, $other, $calls, $rows) = split /\|/, sums();
is($calls, '6000', 'no call is lost');
is($rows, '14000', 'no row is lost');
done_testing();
