# Spans of portals that are read in parts, cancelled, or never closed, and of
# several statements in a message: one for each statement, with its parents.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('spans_portals');
my $trace = 'a' x 32;

# "name rows sqlstate" of the statements of a trace in the order in which they
# began, with the number of their parts
sub spans
{
	my ($kind) = @_;
	return observe($node, qq(
		SELECT string_agg(concat_ws(' ', s.name, s.rows, s.sqlstate,
			(SELECT string_agg(substr(c.kind, 1, 1), '' ORDER BY c.kind DESC)
			 FROM fraiseql_obs.spans('$trace') c WHERE c.parent_span_id = s.span_id)), ', ' ORDER BY s.started_at)
		FROM fraiseql_obs.spans('$trace') s WHERE s.kind = '$kind'));
}

sub start
{
	my ($client) = @_;
	observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
	$client->query("SET fraiseql_obs.traceparent = '00-$trace-${\ ('b' x 16)}-01'");
	return;
}

my $client = RawProtocol->new($node, 'app');
$client->query('CREATE TABLE t AS SELECT 1 AS a');

# read in parts, to the end
start($client);
$client->query('BEGIN');
$client->parse('', 'SELECT generate_series(1, 25)')->bind('', '')->execute('', 10)->sync;
is(spans('statement'), '', 'not yet');
select(undef, undef, undef, 0.1);
$client->execute('', 10)->sync;
$client->execute('', 10)->sync;
$client->query('COMMIT');
is(spans('statement'), 'SELECT 25 pe', 'one span with all rows');
is(spans('commit'), '', 'a COMMIT of nothing has none');
is( observe($node, qq(SELECT duration_ms > 90, busy_ms < 90 FROM fraiseql_obs.spans('$trace') WHERE kind = 'statement')),
	't|t', 'from the first to the last, busy without the time between');

# in part, and never closed
start($client);
$client->query('BEGIN');
$client->parse('', 'SELECT generate_series(1, 25)')->bind('', '')->execute('', 10)->sync;
$client->query('INSERT INTO t VALUES (2)');
$client->query('COMMIT');
is(spans('statement'), 'SELECT 10 pe, INSERT 1 pe', 'a portal that is dropped');
is(spans('commit'), 'COMMIT', 'and the commit');

# a statement runs while a portal is open: neither is the other's
start($client);
$client->query('BEGIN');
$client->parse('', 'SELECT generate_series(1, 25)')->bind('one', '')->execute('one', 10)->sync;
$client->parse('', 'SELECT generate_series(1, 3)')->bind('two', '')->execute('two', 0)->sync;
$client->execute('one', 0)->sync;
$client->query('ROLLBACK');
is(spans('statement'), 'SELECT 25 pe, SELECT 3 pe', 'interleaved portals');
is( observe($node, qq(SELECT DISTINCT parent_span_id FROM fraiseql_obs.spans('$trace') WHERE kind = 'statement')),
	'b' x 16, 'are both the caller\'s');

# several statements in a message, of which one fails
start($client);
$client->query('SELECT 1; INSERT INTO t VALUES (3); SELECT 1 / 0; SELECT 4');
is(spans('statement'), 'SELECT 1 pe, INSERT 1 pe, SELECT 0 22012 p', 'up to the one that fails');
is(spans('commit'), '', 'which is not committed');

# prepared: planned once
start($client);
$client->parse('p', 'SELECT a FROM t WHERE a = $1')->sync;
$client->bind('', 'p', 1)->execute('', 0)->sync for 1 .. 7;
is(spans('statement'), join(', ', ('SELECT 1 pe') x 6, 'SELECT 1 e'), 'a generic plan is not planned again');

# cancelled, while it waits and while it computes
start($client);
$client->query(q(SET statement_timeout = '100ms'));
$client->query('SELECT pg_sleep(10)');
$client->query('SELECT count(*) FROM generate_series(1, 1000000000)');
$client->query('CREATE TABLE u AS SELECT pg_sleep(10)::text');
is( spans('statement'),
	'SELECT 0 57014 pe, SELECT 0 57014 pe, CREATE TABLE AS 0 57014', 'timed out');
is( observe($node, qq(SELECT bool_and(duration_ms BETWEEN 50 AND 9000 AND failed)
	FROM fraiseql_obs.spans('$trace') WHERE kind = 'statement')),
	't', 'with the time that they took');
$client->terminate;

# a session that is ended
my $session = $node->background_psql('app', on_error_stop => 0);
observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
$session->query_safe("SET fraiseql_obs.traceparent = '00-$trace-${\ ('b' x 16)}-01'");
$session->query_until(qr/start/, "\\echo start\nSELECT pg_sleep(60);\n");
$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
observe($node, q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'app'));
is(spans('statement'), 'SELECT 0 57P01 pe', 'terminated');
$session->{run}->finish;
done_testing();
