# Every execution of a prepared statement is a call of the statement itself;
# PREPARE, EXECUTE and DEALLOCATE are none.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('prepared');
my $client = RawProtocol->new($node, 'app');

is($client->parse('s', op(protocol => 'SELECT generate_series(1, $1::int)'))->sync,
	'1Z(I)', 'prepared');
is(totals($node), '0|0|0', 'no call yet');

# more often than plan_cache_mode needs to take a generic plan
foreach my $n (1 .. 10)
{
	$client->bind('', 's', $n)->execute('', 0)->sync;
}
is(counts($node, 'protocol'), '10|0|55', 'ten executions');
$client->bind('', 's', 1)->sync;
is(counts($node, 'protocol'), '10|0|55', 'Bind alone is no call');
$client->terminate;

reset_counts($node);
$node->safe_psql(
	'app', q(
	PREPARE p (int) AS SELECT generate_series(1, $1);
	EXECUTE p (1);
	EXECUTE p (2);
	EXECUTE p (3);
	DEALLOCATE p;
));
is( observe($node, q(
		SELECT count(*), sum(calls), sum(rows), bool_and(toplevel)
		FROM fraiseql_obs.query_stats() AS s
		JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = 'app')),
	'1|3|6|t', 'EXECUTE counts the statement, as top level');

is(scalar($node->psql('app', 'EXECUTE no_such_statement')),
	3, 'EXECUTE of what is not there');
is(errors($node), '26000|1', 'its error is counted');
is(totals($node), '3|0|6', 'no call');
done_testing();
