# A trace is that of the statement's own request: not of the request that
# prepared it, nor of the one before in a pipeline or in a pool.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use RawProtocol;
use Test::More;

my $node = start_node('trace_of_statements',
	'fraiseql_obs.slow_query_threshold = 0.001');
my $client = RawProtocol->new($node, 'app');

sub traceparent
{
	my ($n) = @_;
	return sprintf '00-%032x-%016x-01', $n, $n;
}

sub traced
{
	my ($sql, $n) = @_;
	return sprintf q(%s /*action='s',traceparent='%s'*/), $sql, traceparent($n);
}

# The traces, as numbers, of the statements since last time
sub traces
{
	my $result = observe($node, q(
		SELECT string_agg(coalesce(ltrim(trace_id, '0') || ' ' || ltrim(span_id, '0'), '-'), ', ' ORDER BY finished_at)
		FROM fraiseql_obs.slow_queries(512) WHERE datname = 'app'));
	reset_counts($node);
	return $result;
}

# prepared by name: the comment is that of the first execution
$client->parse('named', traced('SELECT $1::int, pg_sleep(0.00001)', 1))->sync;
$client->bind('', 'named', 1)->execute('', 0)->sync;
$client->bind('', 'named', 2)->execute('', 0)->sync;
is(traces(), '1 1, -', 'named');
foreach my $n (1 .. 8)
{
	$client->bind('', 'named', $n)->execute('', 0)->sync;
}
is(traces(), join(', ', ('-') x 8), 'named, with a generic plan');
$client->query(q(SET fraiseql_obs.traceparent = ') . traceparent(2) . q('));
$client->bind('', 'named', 2)->execute('', 0)->sync;
$client->query('RESET fraiseql_obs.traceparent');
$client->bind('', 'named', 2)->execute('', 0)->sync;
is(traces(), '2 2, -', 'named, with the setting');
$client->query(q(SET application_name = ') . traceparent(3) . q('));
$client->bind('', 'named', 2)->execute('', 0)->sync;
$client->query(q(SET application_name = ') . traceparent(4) . q('));
$client->bind('', 'named', 2)->execute('', 0)->sync;
$client->query('RESET application_name');
$client->bind('', 'named', 2)->execute('', 0)->sync;
is(traces(), '3 3, 4 4, -', 'named, with application_name');

# not prepared: each has its own
foreach my $n (5, 6)
{
	$client->parse('', traced('SELECT $1::int, pg_sleep(0.00001)', $n))->bind('', '', 1)->execute('', 0)->sync;
}
is(traces(), '5 5, 6 6', 'unnamed');
foreach my $n (5 .. 7)
{
	$client->parse('', traced('SELECT $1::int, pg_sleep(0.00001)', $n))->bind('', '', 1)->execute('', 0);
}
$client->sync;
is(traces(), '5 5, 6 6, 7 7', 'a pipeline');
$client->query(traced('SELECT pg_sleep(0.00001)', 5));
$client->query('SELECT pg_sleep(0.00001)');
$client->query(traced('SELECT pg_sleep(0.00001)', 6));
is(traces(), '5 5, -, 6 6', 'simple queries');

# the first of several statements has a comment, and so the last
$client->query(traced('SELECT pg_sleep(0.00001)', 5) . '; SELECT pg_sleep(0.00001); ' . traced('SELECT pg_sleep(0.00001)', 6));
is(traces(), '5 5, -, 6 6', 'several statements in a string');

# a portal has the trace that it began with
$client->query('BEGIN');
$client->parse('', traced('SELECT generate_series(1, 4), pg_sleep(0.00001)', 5))->bind('p', '')->execute('p', 2)->sync;
$client->parse('', traced('SELECT generate_series(1, 2), pg_sleep(0.00001)', 6))->bind('q', '')->execute('q', 0)->sync;
$client->execute('p', 0)->sync;
$client->query('COMMIT');
is(traces(), '6 6, 5 5', 'interleaved portals');

# a session that has no comments, where nothing tells of a change
my $plain = RawProtocol->new($node, 'app');
foreach my $n (0, 5, 6, 0, 7, 0)
{
	$plain->query($n ? q(SET application_name = ') . traceparent($n) . q(') : 'RESET application_name');
	$plain->query('SELECT pg_sleep(0.00001)');
}
$plain->terminate;
is(traces(), '-, 5 5, 6 6, -, 7 7, -', 'application_name and no comments');

# what a function runs belongs to the client's statement
$client->query('SET fraiseql_obs.track = \'all\'');
$client->query(traced('DO $$ BEGIN PERFORM pg_sleep(0.001); END $$', 5));
is(traces(), '5 5, 5 5', 'nested');
$client->terminate;

# in the audit log
$node->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log();
	CREATE TABLE t (a integer PRIMARY KEY);
	SELECT fraiseql_obs.audit_table('t');));

sub logged
{
	my ($sql) = @_;
	$node->psql('app', $sql);
	return $node->safe_psql('app', q(
		SELECT coalesce(ltrim(trace_id, '0'), '-') || ' ' || coalesce(ltrim(span_id, '0'), '-')
		FROM fraiseql_obs.recent_operations(1)));
}

my $log = q(SELECT fraiseql_obs.log_operation('o'));
is(logged($log), '- -', 'no trace');
is(logged(traced($log, 5)), '5 5', 'of the comment');
is(logged(sprintf q(SET fraiseql_obs.traceparent = '%s'; %s), traceparent(2), $log),
	'2 2', 'of the setting');
is(logged(sprintf q(SET application_name = '%s'; %s), traceparent(3), $log),
	'3 3', 'of application_name');
is(logged(sprintf q(DO $$ BEGIN SET LOCAL fraiseql_obs.traceparent = '%s'; PERFORM fraiseql_obs.log_operation('o'); END $$), traceparent(4)),
	'4 4', 'of what the statement itself has set');
is(logged(sprintf q(SET fraiseql_obs.traceparent = '%s'; SELECT fraiseql_obs.log_operation('o', trace_id => 'mine')), traceparent(2)),
	'mine -', 'as the caller says');
is(logged(sprintf q(SET fraiseql_obs.traceparent = '%s'; SELECT fraiseql_obs.log_operation('o', span_id => 'mine')), traceparent(2)),
	'2 mine', 'as the caller says in part');
is(logged(sprintf q(SET fraiseql_obs.traceparent = '%s'; INSERT INTO t VALUES (1)), traceparent(6)),
	'6 6', 'of a captured row');
$node->psql('app', sprintf(
	q(SET fraiseql_obs.audit_failures = on; SET fraiseql_obs.operation_name = 'f';
	SET fraiseql_obs.traceparent = '%s'; SELECT 1 / 0), traceparent(7)));
$node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()');
is( $node->safe_psql('app', q(
		SELECT operation, ltrim(trace_id, '0'), ltrim(span_id, '0')
		FROM fraiseql_obs.recent_operations(1) WHERE result = 'failure')),
	'f|7|7', 'of a failed statement');
$node->stop;
done_testing();
