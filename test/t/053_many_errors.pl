# Of SQLSTATEs that somebody makes up, only so many are told apart: the rest
# is "other", the sum is what clients were sent, and the errors of PostgreSQL
# keep their own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('many_errors');

# more than the 256 places that errors.c leaves them
my $sql = join ";\n", map
{
	sprintf q(DO 'BEGIN RAISE ''x'' USING ERRCODE = ''X%04d''; END'), $_
} 1 .. 600;
$node->psql('app', "$sql;\n$sql;", on_error_stop => 0);

my ($kinds, $sum, $own) = split /\|/, observe($node, q(
	SELECT count(*), sum(errors), sum(errors) FILTER (WHERE sqlstate ~ '^X')
	FROM fraiseql_obs.error_stats()));
is($kinds, 257, 'bounded');
is($own, 512, 'first come have their own');
is($sum, 1200, 'no error is lost');
is( observe($node, q(
		SELECT sum(value) FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_db_query_errors_total')),
	'1200', 'nor in what is exported');
is( observe($node,
		'SELECT sum(errors) FROM fraiseql_obs.query_stats() AS s'
		  . ' JOIN pg_database AS d ON d.oid = s.dbid'
		  . " WHERE d.datname = 'app'"),
	'1200', 'and each was a failed call');

$node->psql('postgres', 'SELECT 1 / 0');
is( observe($node,
		'SELECT datname, sqlstate, errors FROM fraiseql_obs.error_stats()'
		  . " WHERE sqlstate = '22012'"),
	'postgres|22012|1', 'division by zero is still itself');
done_testing();
