# A statement that completed stays counted, once and as a success, when the
# next one of its transaction fails while its portal is still open.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('portal_then_error');
my $client = RawProtocol->new($node, 'app');

$client->query('BEGIN');
$client->extended_query(op(before_parse_error => 'SELECT generate_series(1, 3)'));
is($client->parse('', 'SELEC 1')->sync, 'E(42601)Z(E)', 'Parse fails');
is(counts($node, 'before_parse_error'), '1|0|3', 'counted');
$client->query('ROLLBACK');
is(counts($node, 'before_parse_error'), '1|0|3', 'once after rollback');

$client->query('BEGIN');
$client->extended_query(op(before_query_error => 'SELECT generate_series(1, 4)'));
is($client->query('SELECT no_such_column'), 'E(42703)Z(E)', 'query fails');
is(counts($node, 'before_query_error'), '1|0|4', 'counted');
$client->query('ROLLBACK');
is(counts($node, 'before_query_error'), '1|0|4', 'once after rollback');

$client->query('BEGIN');
$client->extended_query(op(before_rollback => 'SELECT generate_series(1, 5)'));
$client->query('ROLLBACK');
is(counts($node, 'before_rollback'), '1|0|5', 'once after plain rollback');

is(totals($node), '3|0|12', 'no other statement');
is(errors($node), "42601|1\n42703|1", 'each error once');
$client->terminate;
done_testing();
