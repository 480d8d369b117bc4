# Portals that are open at the same time keep their own rows and outcome.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('interleaved_portals');
my $client = RawProtocol->new($node, 'app');

$client->query('BEGIN');
$client->parse('a', op(first => 'SELECT generate_series(1, 6)'))->bind('a', 'a')
  ->parse('b', op(second => 'SELECT generate_series(1, 60)'))->bind('b', 'b')
  ->parse('c', op(third => 'SELECT 1 / (4 - generate_series(1, 9))'))
  ->bind('c', 'c');
is($client->sync, '121212Z(T)', 'three portals');
is( $client->execute('a', 2)->execute('b', 20)->execute('c', 2)
	  ->execute('b', 20)->execute('a', 2)->sync,
	'D2sD20sD2sD20sD2sZ(T)',
	'parts of each in turn');
is($client->query(op(between => 'SELECT 1')), 'TD1CZ(T)', 'a query between');
is($client->execute('a', 0)->sync, 'D2CZ(T)', 'the first ends');
is(counts($node, 'first'), '1|0|6', 'the first is counted');
is(counts($node, 'second'), '', 'the second is not yet');
is($client->execute('c', 0)->sync, 'D1E(22012)Z(E)', 'the third fails');
$client->query('ROLLBACK');
is(counts($node, 'first'), '1|0|6', 'the first: all rows');
is(counts($node, 'second'), '1|0|40', 'the second: rows so far');
is(counts($node, 'third'), '1|1|3', 'the third: failed');
is(counts($node, 'between'), '1|0|1', 'the query between');
is(totals($node), '4|1|50', 'and nothing else');
$client->terminate;
done_testing();
