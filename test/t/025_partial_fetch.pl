# A portal that the client does not read to its end is one call, with the rows
# that were sent, when the portal goes: closed, replaced, committed, rolled
# back, or lost with a failed transaction.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('partial_fetch');
my $client = RawProtocol->new($node, 'app');

sub fetch_two
{
	my ($name, $portal) = @_;
	$client->query('BEGIN');
	is( $client->parse('', op($name => 'SELECT generate_series(1, 9)'))
		  ->bind($portal, '')->execute($portal, 2)->sync,
		'12D2sZ(T)',
		"$name: two rows of nine");
	return;
}

fetch_two('closed', 'p');
is($client->close_portal('p')->sync, '3Z(T)', 'close');
is(counts($node, 'closed'), '1|0|2', 'counted at Close');
$client->query('COMMIT');

fetch_two('replaced', '');
$client->extended_query('SELECT 1');
is(counts($node, 'replaced'), '1|0|2', 'counted when it is replaced');
$client->query('COMMIT');

fetch_two('committed', '');
$client->query('COMMIT');
is(counts($node, 'committed'), '1|0|2', 'counted at commit');

fetch_two('rolled_back', '');
$client->query('ROLLBACK');
is(counts($node, 'rolled_back'), '1|0|2', 'counted at rollback');

fetch_two('lost', '');
is($client->query('SELEC'), 'E(42601)Z(E)', 'the transaction fails');
$client->query('ROLLBACK');
is(counts($node, 'lost'), '1|0|2', 'counted, and not as the failed one');

fetch_two('disconnected', '');
$client->terminate;
$node->poll_query_until('postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'app')");
is(counts($node, 'disconnected'), '1|0|2', 'counted at the end');

is(totals($node), '7|0|13', 'nothing twice');
is(errors($node), '42601|1', 'one error');
done_testing();
