# A client that fetches in parts (ExecutorRun several times) made one call
# with all the rows.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('fetch_size');
my $client = RawProtocol->new($node, 'app');

is($client->query('BEGIN'), 'CZ(T)', 'transaction');
is( $client->parse('', op(fetched => 'SELECT generate_series(1, 25)'))
	  ->bind('', '')->execute('', 10)->sync,
	'12D10sZ(T)',
	'first part');
is(counts($node, 'fetched'), '', 'not counted while it is suspended');
is($client->execute('', 10)->sync, 'D10sZ(T)', 'second part');
is($client->execute('', 10)->sync, 'D5CZ(T)', 'last part');
is(counts($node, 'fetched'), '1|0|25', 'one call, all rows');

is($client->execute('', 10)->sync, 'CZ(T)', 'execute after the end');
is($client->query('COMMIT'), 'CZ(I)', 'commit');
is(counts($node, 'fetched'), '1|0|25', 'still one call');

# The last part is full: the client has to ask once more to know the end.
$client->query('BEGIN');
is( $client->parse('', op(exact_parts => 'SELECT generate_series(1, 20)'))
	  ->bind('', '')->execute('', 10)->execute('', 10)->execute('', 10)->sync,
	'12D10sD10sCZ(T)',
	'parts that end with the rows');
$client->query('COMMIT');
is(counts($node, 'exact_parts'), '1|0|20', 'one call, all rows');

is(totals($node), '2|0|45', 'nothing else was counted');
$client->terminate;
done_testing();
