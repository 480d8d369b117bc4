# Portals that outlive savepoints, go with them or fail inside of them, and
# portals that somebody else reads or commits away: each is one call.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('portals_and_savepoints');
$node->safe_psql('app',
	"CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'");
reset_counts($node);
my $client = RawProtocol->new($node, 'app');

# Binds a portal of its operation's name and reads two rows.
sub open_portal
{
	my ($name, $sql) = @_;
	is( $client->parse('', op($name => $sql))->bind($name, '')
		  ->execute($name, 2)->sync,
		'12D2sZ(T)',
		"$name: a part");
	return;
}

$client->query('BEGIN');
open_portal('outer', 'SELECT generate_series(1, 9)');
$client->query('SAVEPOINT s');
open_portal('inner', 'SELECT generate_series(1, 9)');
is($client->execute('outer', 2)->sync, 'D2sZ(T)', 'outer: read inside');
is($client->query(op(bad => 'SELECT 1 / 0')), 'E(22012)Z(E)', 'failure');
$client->query('ROLLBACK TO s');
is(counts($node, 'inner'), '1|0|2', 'inner: went with the savepoint');
is(counts($node, 'outer'), '', 'outer: is still open');
is($client->execute('outer', 0)->sync, 'D5CZ(T)', 'outer: the rest');
$client->query('COMMIT');
is(counts($node, 'outer'), '1|0|9', 'outer: one call, all rows');
is(counts($node, 'bad'), '1|1|0', 'the failed one');
is(totals($node), '3|1|11', 'and nothing else');

reset_counts($node);
$client->query('BEGIN');
open_portal('failing', 'SELECT 1 / (5 - generate_series(1, 9))');
$client->query('SAVEPOINT s');
is($client->execute('failing', 4)->sync, 'D2E(22012)Z(E)', 'fails inside');
$client->query('ROLLBACK TO s');
is($client->execute('failing', 4)->sync, 'E(55000)Z(E)', 'and stays failed');
$client->query('ROLLBACK');
is(counts($node, 'failing'), '1|1|4', 'one failed call');
is(errors($node), "22012|1\n55000|1", 'both errors');

reset_counts($node);
$client->query('BEGIN');
open_portal('shared', 'SELECT generate_series(1, 9)');
is($client->query(op(fetch => 'FETCH 3 FROM shared')), 'TD3CZ(T)', 'FETCH');
is($client->query(op(rest => 'FETCH ALL FROM shared')), 'TD4CZ(T)', 'again');
$client->query('COMMIT');
is(counts($node, 'shared'), '1|0|9', 'the portal: all rows');
is(counts($node, 'fetch'), '1|0|3', 'FETCH: what it read');
is(counts($node, 'rest'), '1|0|4', 'FETCH ALL: what it read');
is(totals($node), '3|0|16', 'and nothing else');

# From 18 on, a procedure may not commit in the midst of a pipeline.
SKIP:
{
	skip 'refused by this version', 4 if $node->pg_version >= 18;

	# No block: the procedure commits what the portal lives in.
	reset_counts($node);
	is( $client->parse('', op(gone => 'SELECT generate_series(1, 9)'))
		  ->bind('gone', '')->execute('gone', 2)
		  ->parse('', op(call => 'CALL commits()'))->bind('', '')
		  ->execute('', 0)->execute('gone', 2)->sync,
		'12D2s12CE(34000)Z(I)',
		'committed away');
	is(counts($node, 'gone'), '1|0|2', 'the portal: rows it gave');
	is(counts($node, 'call'), '1|0|0', 'the procedure');
	is(totals($node), '2|0|2', 'and nothing else');
}
$client->terminate;
done_testing();
