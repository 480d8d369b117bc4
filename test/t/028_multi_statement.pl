# The statements of one simple query message are counted one by one, up to and
# with the one that fails.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('multi_statement');
my $client = RawProtocol->new($node, 'app');

is( $client->query(
		join ';',
		op(one => 'SELECT 1'), op(two => 'SELECT generate_series(1, 2)'), '',
		op(three => 'CREATE TABLE made (a int)'),
		op(four => 'INSERT INTO made VALUES (1), (2), (3)')
	),
	'TD1CTD2CCCZ(I)',
	'four statements');
is(counts($node, 'one'), '1|0|1', 'the first');
is(counts($node, 'two'), '1|0|2', 'the second');
is(counts($node, 'three'), '1|0|0', 'the third');
is(counts($node, 'four'), '1|0|3', 'the fourth');
is(totals($node), '4|0|6', 'four in all');

is( $client->query(join ';',
		op(five => 'SELECT 4'), op(six => 'SELECT 1 / 0'),
		op(seven => 'SELECT 6')),
	'TD1CE(22012)Z(I)',
	'the second of three fails');
is(counts($node, 'five'), '1|0|1', 'the one before');
is(counts($node, 'six'), '1|1|0', 'the failed one');
is(counts($node, 'seven'), '', 'the one behind was not called');
is(errors($node), '22012|1', 'one error');

is($client->query(''), 'IZ(I)', 'empty query');
is($client->query(' ; ; '), 'IZ(I)', 'empty statements');
is(totals($node), '6|1|7', 'are no calls');
$client->terminate;
done_testing();
