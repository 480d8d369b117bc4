# A portal that nobody closes is counted when its rows have been sent, not
# when the next statement or the end of the transaction removes it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('open_portal');
my $client = RawProtocol->new($node, 'app');

$client->query('BEGIN');
is($client->extended_query(op(unnamed => 'SELECT generate_series(1, 3)')),
	'12D3CZ(T)', 'unnamed portal runs to its end');
is(counts($node, 'unnamed'), '1|0|3', 'counted while the portal is open');
is( metric($node,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'1', 'and exported');

is( $client->parse('', op(named => 'SELECT generate_series(1, 4)'))
	  ->bind('p', '')->execute('p', 0)->sync,
	'12D4CZ(T)',
	'named portal runs to its end');
is(counts($node, 'named'), '1|0|4', 'counted while the portal is open');

is($client->extended_query(op(following => 'SELECT 5')),
	'12D1CZ(T)', 'another statement takes the unnamed portal');
is(counts($node, 'unnamed'), '1|0|3', 'the first is not counted again');
$client->query('COMMIT');
is(totals($node), '3|0|8', 'nor is any at commit');

# A transaction of its own ends at Sync.
is($client->extended_query(op(alone => 'SELECT 6')), '12D1CZ(I)', 'no block');
is(counts($node, 'alone'), '1|0|1', 'counted once');
$client->terminate;

# The client goes away with the portal open.
$client = RawProtocol->new($node, 'app');
$client->query('BEGIN');
$client->extended_query(op(abandoned => 'SELECT generate_series(1, 7)'));
$client->terminate;
$node->poll_query_until('postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'app')");
is(counts($node, 'abandoned'), '1|0|7', 'counted once without its client');
done_testing();
