# Each statement of a pipeline is counted for itself; what the server skips
# after a failure was not called.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('pipeline');
$node->safe_psql('app', 'CREATE TABLE piped (a int)');
reset_counts($node);
my $client = RawProtocol->new($node, 'app');

$client->parse('', op(inserting => "INSERT INTO piped VALUES ($_)"))->bind('', '')
  ->execute('', 0)
  foreach 1 .. 5;
$client->parse('', op(selecting => 'SELECT a FROM piped'))->bind('', '')->execute('', 0);
is($client->sync, ('12C' x 5) . '12D5CZ(I)', 'six statements, one Sync');
is(counts($node, 'inserting'), '5|0|5', 'the inserts');
is(counts($node, 'selecting'), '1|0|5', 'the select');

# A pipeline is one transaction: the insert is undone and was called.
$client->parse('', op(inserting => 'INSERT INTO piped VALUES (6)'))->bind('', '')
  ->execute('', 0);
$client->parse('', op(divided => 'SELECT 1 / a FROM piped WHERE a > $1'))
  ->bind('', '', 0)->execute('', 2);
$client->parse('', op(failing => 'SELECT 1 / (a - 3) FROM piped'))
  ->bind('', '')->execute('', 0);
$client->parse('', op(skipped => 'SELECT a FROM piped'))->bind('', '')
  ->execute('', 0);
is($client->sync, '12C12D2s12D2E(22012)Z(I)', 'failure in the middle');
is(counts($node, 'inserting'), '6|0|6', 'the insert before');
is(counts($node, 'failing'), '1|1|2', 'the failing one, rows it sent');
is(counts($node, 'skipped'), '', 'the skipped one');
is(counts($node, 'divided'), '1|0|2', 'the suspended one');
is(errors($node), '22012|1', 'one error');

is($client->extended_query('SELECT count(*) FROM piped'),
	'12D1CZ(I)', 'the session goes on');
$client->terminate;
done_testing();
