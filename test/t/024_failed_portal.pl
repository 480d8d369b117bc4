# A portal that fails is one call and one error, wherever it fails, and what
# the client does with the failed transaction adds errors but no calls.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('failed_portal');
my $client = RawProtocol->new($node, 'app');

$client->query('BEGIN');
is( $client->parse('', op(late => 'SELECT 1 / (5 - generate_series(1, 9))'))
	  ->bind('p', '')->execute('p', 3)->sync,
	'12D3sZ(T)',
	'a part');
is($client->execute('p', 3)->sync, 'D1E(22012)Z(E)', 'the next part fails');
is(counts($node, 'late'), '1|1|4', 'one failed call with its rows');
is($client->execute('p', 3)->sync, 'E(25P02)Z(E)',
	'execute in the failed transaction');
is($client->query(op(refused => 'SELECT 1')), 'E(25P02)Z(E)', 'query in it');
$client->query('ROLLBACK');
is(counts($node, 'late'), '1|1|4', 'still one');
is(counts($node, 'refused'), '', 'a refused statement is no call');

is($client->extended_query(op(in_planner => 'SELECT 1 / 0')),
	'1E(22012)Z(I)', 'fails in the planner, at Bind');
is(counts($node, 'in_planner'), '1|1|0', 'one failed call');

is( $client->parse('', op(bad_parameter => 'SELECT $1::int'))
	  ->bind('', '', 'x')->execute('', 0)->sync,
	'1E(22P02)Z(I)',
	'Bind cannot read a parameter');
is(errors($node), "22012|2\n22P02|1\n25P02|2", 'errors as they were sent');
$client->terminate;
done_testing();
