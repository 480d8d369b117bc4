# A function may read a portal of the client's, and handle its failure.  The
# portal is then gone without an end, and neither it nor anything that the
# function does is taken for the client's statement.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('portal_read_by_function');
$node->safe_psql(
	'app', q{
CREATE FUNCTION bomb(i int) RETURNS int LANGUAGE plpgsql AS
	'BEGIN RETURN 10 / (3 - i); END';
CREATE FUNCTION read_all(name refcursor) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v int;
BEGIN
	LOOP
		FETCH name INTO v;
		EXIT WHEN NOT FOUND;
		PERFORM v + 4711;
	END LOOP;
	RETURN 'read';
EXCEPTION WHEN division_by_zero THEN
	RETURN 'caught';
END $$;
CREATE FUNCTION loops() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT generate_series(1, 3) LOOP
		PERFORM 4712;
	END LOOP;
	RETURN NULL;
END $$;
CREATE TABLE deferred (a int);
CREATE CONSTRAINT TRIGGER loops AFTER INSERT ON deferred
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loops();
});

my $client = RawProtocol->new($node, 'app');

# The function reads the portal to its failure and goes on.
reset_counts($node);
$client->query('BEGIN');
$client->parse('',
	op(portal => 'SELECT bomb(i) FROM generate_series(1, 10) i'));
is($client->bind('P', '')->execute('P', 1)->sync, '12D1sZ(T)', 'one row');
is($client->query(op(reader => "SELECT read_all('P')")),
	'TD1CZ(T)', 'the rest fails, and that is handled');
is($client->query(op(after => "SELECT 'after'")), 'TD1CZ(T)', 'another');
is($client->close_portal('P')->sync, '3Z(T)', 'the portal is closed');
is($client->query('SELEC'), 'E(42601)Z(E)', 'an error sent after that');
$client->query('ROLLBACK');
is(counts($node, 'portal'), '1|1|2', 'the portal: a failed call');
is(counts($node, 'reader'), '1|0|1', 'who read it');
is(counts($node, 'after'), '1|0|1', 'the one after');
is(totals($node), '3|1|4', 'and nothing else');

# It does not fail: what the function does then is still the function's.
reset_counts($node);
$client->query('BEGIN');
$client->parse('', op(portal => 'SELECT generate_series(1, 5)'));
is($client->bind('P', '')->execute('P', 1)->sync, '12D1sZ(T)', 'one row');
is($client->query(op(reader => "SELECT read_all('P')")), 'TD1CZ(T)', 'rest');
$client->query('COMMIT');
is(counts($node, 'portal'), '1|0|5', 'the portal: all rows');
is(totals($node), '2|0|6', 'and nothing else');

# A loop over a query has a portal, too, and COMMIT's is nobody's.
reset_counts($node);
$client->query(op(insert => 'INSERT INTO deferred VALUES (1), (2)'));
is(counts($node, 'insert'), '1|0|2', 'the insert');
is(totals($node), '1|0|2', 'and nothing of its deferred triggers');
$client->terminate;
done_testing();
