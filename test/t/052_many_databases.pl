# With more databases than are told apart, the rest is counted into one called
# "other", and the sum over all of them is what was run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('many_databases');
$node->safe_psql('postgres', "CREATE DATABASE small TEMPLATE template0");

# more than the 64 entries that counters.h has
foreach my $n (1 .. 70)
{
	$node->safe_psql('postgres', "CREATE DATABASE d$n TEMPLATE small");
}
reset_counts($node);
foreach my $n (1 .. 70)
{
	$node->safe_psql("d$n", op(shared => 'SELECT generate_series(1, 2)'));
	$node->psql("d$n", 'SELECT 1 / 0');
}

my $count = 'fraiseql_obs_db_query_duration_seconds_count';
my $sum = observe($node, qq(
	SELECT count(*) FILTER (WHERE value > 0) <= 64,
		sum(value) FILTER (WHERE labels ->> 'datname' ~ '^d[0-9]'),
		sum(value) FILTER (WHERE labels ->> 'datname' = 'other')
	FROM fraiseql_obs.metrics() WHERE name = '$count'));
my ($bounded, $named, $other) = split /\|/, $sum;
is($bounded, 't', 'no more databases than are told apart');
cmp_ok($named, '>=', 120, 'many have their own') or diag $sum;
cmp_ok($other, '>', 0, 'the rest is "other"');
is($named + $other, 140, 'and nothing is lost');

is( observe(
		$node, 'SELECT sum(calls), sum(rows) FROM fraiseql_obs.operation_stats()'),
	'70|140', 'operations: sum of all databases');
is( observe(
		$node, "SELECT sum(errors) FROM fraiseql_obs.error_stats()"
		  . " WHERE sqlstate = '22012'"),
	'70', 'errors: sum of all databases');
is( observe($node, q(
		SELECT sum(calls), count(*) FROM fraiseql_obs.query_stats() AS s
		JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname ~ '^d[0-9]')),
	'140|140', 'queries know all databases');

# A database that goes gives its place to nobody by mistake.
$node->safe_psql('postgres', 'DROP DATABASE d1');
$node->safe_psql('postgres', 'ALTER DATABASE d2 RENAME TO renamed');
$node->safe_psql('renamed', 'SELECT 1');
is( observe($node, qq(
		SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = '$count'
		AND labels ->> 'datname' !~ '^(postgres|small|template.)')),
	'141', 'nothing is lost after a drop and a rename');
done_testing();
