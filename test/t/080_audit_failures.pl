# An operation that was logged has exactly one entry, whichever way its
# transaction ends: a success if it was committed, and a failure with the right
# result and SQLSTATE if it was rolled back.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RawProtocol;
use Test::More;

my $node = start_node('audit_failures', q(
	deadlock_timeout = '100ms'
	max_prepared_transactions = 2));

$node->safe_psql('postgres', q(
	SELECT fraiseql_obs.create_audit_log();
	CREATE TABLE t (a integer PRIMARY KEY, b integer REFERENCES t DEFERRABLE);
	INSERT INTO t VALUES (1), (2);
	CREATE ROLE mallory;
	CREATE FUNCTION log(operation text) RETURNS void LANGUAGE sql AS
		'SELECT fraiseql_obs.log_operation(operation)';
	CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS
		'BEGIN PERFORM 1 / 0; END'));

# "operation result sqlstate" of the entries that have come since last time,
# with those that rolling back has left
my %seen;

sub entries
{
	1 while $node->safe_psql('postgres',
		'SELECT fraiseql_obs.audit_drain_ring()') > 0;
	my @new = grep { !$seen{$_}++ } split /\n/, $node->safe_psql('postgres', q(
		SELECT concat_ws(' ', operation, result, sqlstate, '#' || id)
		FROM fraiseql_audit.fraiseql_audit_log ORDER BY operation, id));
	return join(', ', map { s/ #.*//r } @new);
}

# What a session of psql leaves, which goes on after errors
sub leaves
{
	my ($name, $sql, $expected) = @_;
	$node->psql('postgres', $sql, on_error_stop => 0);
	is(entries(), $expected, $name);
	return;
}

leaves('commit', q(BEGIN; SELECT log('a'); COMMIT), 'a success');
leaves('autocommit', q(SELECT log('a')), 'a success');
leaves('ROLLBACK', q(BEGIN; SELECT log('a'); ROLLBACK), 'a failure');
leaves('constraint', q(BEGIN; SELECT log('a'); INSERT INTO t VALUES (1); COMMIT),
	'a failure 23505');
leaves('permission denied',
	q(BEGIN; SELECT log('a'); SET LOCAL ROLE mallory; TABLE t; COMMIT),
	'a denied 42501');
leaves('syntax error', q(BEGIN; SELECT log('a'); SELEKT; COMMIT),
	'a failure 42601');
leaves('error in the same statement', q(SELECT log('a'), 1 / (random() * 0)::int),
	'a failure 22012');
leaves('several statements in a string', q(SELECT log('a')\; SELECT log('b')\; SELECT fails()),
	'a failure 22012, b failure 22012');
leaves('deferred constraint', q(
	BEGIN;
	SET CONSTRAINTS ALL DEFERRED;
	SELECT log('a');
	INSERT INTO t VALUES (3, 99);
	COMMIT),
	'a failure 23503');
leaves('an error in an aborted transaction is not the reason', q(
	BEGIN; SELECT log('a'); SELECT fails(); SELECT 1; SELEKT; ROLLBACK),
	'a failure 22012');
leaves('an error of the transaction before is not the reason', q(
	SELECT fails(); BEGIN; SELECT log('a'); ROLLBACK), 'a failure');
leaves('read-only transaction', q(BEGIN READ ONLY; SELECT log('a'); COMMIT),
	'a failure 25006');
leaves('statement_timeout', q(
	SET statement_timeout = '50ms';
	BEGIN; SELECT log('a'); SELECT pg_sleep(60); COMMIT),
	'a timeout 57014');
leaves('a cancel long after a timeout', q(
	SET statement_timeout = '50ms'; SELECT pg_sleep(60); RESET statement_timeout;
	BEGIN; SELECT log('a'); SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60); COMMIT),
	'a failure 57014');
leaves('transaction control that the client is refused', q(
	BEGIN; SELECT log('a'); VACUUM; COMMIT), 'a failure 25001');

# Savepoints
leaves('ROLLBACK TO', q(
	BEGIN; SELECT log('a'); SAVEPOINT s; SELECT log('b'); ROLLBACK TO s;
	SELECT log('c'); COMMIT),
	'a success, b failure, c success');
leaves('error behind a savepoint', q(
	BEGIN; SELECT log('a'); SAVEPOINT s; SELECT log('b'); SELECT fails();
	ROLLBACK TO s; SELECT log('c'); COMMIT),
	'a success, b failure 22012, c success');
leaves('error behind a savepoint, then ROLLBACK', q(
	BEGIN; SELECT log('a'); SAVEPOINT s; SELECT log('b'); SELECT fails();
	SELECT 1; ROLLBACK),
	'a failure, b failure 22012');
leaves('COMMIT of what has failed behind a savepoint', q(
	BEGIN; SELECT log('a'); SAVEPOINT s; SELECT log('b'); SELECT fails(); COMMIT),
	'a failure, b failure 22012');
leaves('released savepoints', q(
	BEGIN; SAVEPOINT s; SAVEPOINT t; SELECT log('a'); RELEASE t; SELECT log('b');
	RELEASE s; SAVEPOINT u; SELECT log('c'); RELEASE u; ROLLBACK),
	'a failure, b failure, c failure');
leaves('released, then rolled back', q(
	BEGIN; SAVEPOINT s; SAVEPOINT t; SELECT log('a'); RELEASE t; ROLLBACK TO s;
	SELECT log('b'); COMMIT),
	'a failure, b success');
leaves('an error that a function handled is not why the client rolls back', q(
	BEGIN; SAVEPOINT s;
	DO $$ BEGIN PERFORM log('a'); PERFORM fails(); EXCEPTION WHEN OTHERS THEN PERFORM log('b'); END $$;
	ROLLBACK TO s; COMMIT),
	'a failure 22012, b failure');

# Functions that handle errors, in PL/pgSQL
sub function_leaves
{
	my ($name, $body, $expected) = @_;
	leaves($name, "DO \$\$ $body \$\$", $expected);
	return;
}

function_leaves('EXCEPTION', q(
	BEGIN
		PERFORM log('a');
		BEGIN
			PERFORM log('b');
			PERFORM fails();
		EXCEPTION WHEN division_by_zero THEN
			PERFORM log('c');
		END;
	END), 'a success, b failure 22012, c success');
function_leaves('RAISE', q(
	BEGIN
		PERFORM log('a');
		RAISE EXCEPTION 'x' USING ERRCODE = 'insufficient_privilege';
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a denied 42501');
function_leaves('a SQLSTATE that is not known', q(
	BEGIN
		PERFORM log('a');
		RAISE EXCEPTION SQLSTATE 'ZZ001';
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a failure ZZ001');
function_leaves('notices and warnings are no errors', q(
	BEGIN
		PERFORM log('a');
		RAISE EXCEPTION 'x';
	EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'y'; RAISE WARNING 'z';
	END), 'a failure P0001');
function_leaves('an error that no handler is for', q(
	BEGIN
		BEGIN
			PERFORM log('a');
			PERFORM fails();
		EXCEPTION WHEN undefined_table THEN NULL;
		END;
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a failure 22012');
function_leaves('raised again', q(
	BEGIN
		PERFORM log('a');
		BEGIN
			PERFORM log('b');
			PERFORM fails();
		EXCEPTION WHEN OTHERS THEN RAISE;
		END;
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a failure 22012, b failure 22012');
function_leaves('raised again, after an entry', q(
	BEGIN
		PERFORM log('a');
		BEGIN
			PERFORM log('b');
			PERFORM fails();
		EXCEPTION WHEN OTHERS THEN
			PERFORM log('c');
			RAISE;
		END;
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a failure 22012, b failure 22012, c failure 22012');
function_leaves('another error in the handler', q(
	BEGIN
		PERFORM log('a');
		BEGIN
			PERFORM log('b');
			PERFORM fails();
		EXCEPTION WHEN OTHERS THEN
			RAISE lock_not_available;
		END;
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a timeout 55P03, b failure 22012');
function_leaves('a block that goes well within one that does not', q(
	BEGIN
		BEGIN PERFORM log('a'); EXCEPTION WHEN OTHERS THEN NULL; END;
		PERFORM fails();
	EXCEPTION WHEN OTHERS THEN NULL;
	END), 'a failure 22012');
function_leaves('one after the other', q(
	BEGIN
		FOR i IN 1 .. 3 LOOP
			BEGIN
				PERFORM log('a');
				PERFORM 1 / (i - 2);
				PERFORM log('b');
			EXCEPTION WHEN OTHERS THEN PERFORM log('c');
			END;
		END LOOP;
	END),
	'a success, a success, a failure 22012, b success, b success, c success');
leaves('a handler in a function above', q(
	CREATE FUNCTION handles() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM works();
	EXCEPTION WHEN OTHERS THEN NULL;
	END $$;
	CREATE FUNCTION works() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN PERFORM log('a'); PERFORM fails(); END $$;
	SELECT handles(), log('b')),
	'a failure 22012, b success');
leaves('timeouts and cancels that are handled', q(
	SET statement_timeout = '50ms';
	DO $$
	BEGIN PERFORM log('a'); PERFORM pg_sleep(60);
	EXCEPTION WHEN query_canceled THEN PERFORM log('b'); END $$;
	RESET statement_timeout;
	DO $$
	BEGIN PERFORM log('c'); PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(60);
	EXCEPTION WHEN query_canceled THEN PERFORM log('d'); END $$),
	'a timeout 57014, b success, c failure 57014, d success');

# Procedures
leaves('procedures that end transactions', q(
	CREATE PROCEDURE p() LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM log('a');
		COMMIT;
		PERFORM log('b');
		ROLLBACK;
		BEGIN PERFORM log('c'); PERFORM fails(); EXCEPTION WHEN OTHERS THEN NULL; END;
		PERFORM log('d');
		ROLLBACK;
		PERFORM log('e');
		COMMIT;
		PERFORM log('f');
		PERFORM fails();
	END $$;
	CALL p()),
	'a success, b failure, c failure 22012, d failure, e success, f failure 22012');
leaves('a deferred trigger', q(
	CREATE TABLE d (a integer);
	CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN PERFORM log('b'); PERFORM fails(); EXCEPTION WHEN OTHERS THEN NULL; END;
		PERFORM log('c');
		IF NEW.a < 0 THEN RAISE check_violation; END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON d DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION late();
	BEGIN; SELECT log('a'); INSERT INTO d VALUES (1); COMMIT;
	BEGIN; SELECT log('x'); INSERT INTO d VALUES (-1); COMMIT),
	'a success, b failure 22012, b failure 22012, c success, c failure 23514, x failure 23514');

# The extended protocol
my $client = RawProtocol->new($node, 'postgres');
$client->parse('', q(SELECT log('a')))->bind('', '')->execute('', 0)
  ->parse('', q(SELECT fails()))->bind('', '')->execute('', 0)
  ->parse('', q(SELECT log('b')))->bind('', '')->execute('', 0)->sync;
is(entries(), 'a failure 22012', 'pipeline');
$client->extended_query('BEGIN');
$client->extended_query(q(SELECT log('a')));
$client->extended_query('ROLLBACK');
is(entries(), 'a failure', 'ROLLBACK by the extended protocol');
$client->extended_query('BEGIN');
$client->extended_query(q(SELECT log('a')));
$client->terminate;
$node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'raw'");
is(entries(), 'a failure', 'a client that leaves');

# Whatever comes from other sessions
sub begin
{
	my (@sql) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe($_) foreach @sql;
	return $session;
}

# Sends a statement and does not wait for what becomes of it
sub send_sql
{
	my ($session, $sql) = @_;
	$session->query_until(qr/sent/, "\\echo sent\n$sql;\n");
	return;
}

sub wait_for
{
	my ($condition, $n) = @_;
	$n //= 1;
	$node->poll_query_until('postgres',
		"SELECT count(*) = $n FROM pg_stat_activity"
		  . " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND $condition")
	  or die "nobody is there: $condition";
	return;
}

my $session = begin('BEGIN', q(SELECT log('a')));
send_sql($session, 'SELECT pg_sleep(60)');
wait_for("wait_event = 'PgSleep'");
$node->safe_psql('postgres',
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
$session->query('ROLLBACK');
is(entries(), 'a failure 57014', 'cancel');

send_sql($session, q(BEGIN; SELECT log('a'); SAVEPOINT s; SELECT log('b'); SELECT pg_sleep(60)));
wait_for("wait_event = 'PgSleep'");
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
is(entries(), 'a failure 57P01, b failure 57P01', 'pg_terminate_backend');
$session->{run}->kill_kill;

$session = begin('BEGIN', q(SELECT log('a')));
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity WHERE state = 'idle in transaction'");
is(entries(), 'a failure 57P01', 'pg_terminate_backend of an idle transaction');
$session->{run}->kill_kill;

$session = begin(q(SET idle_in_transaction_session_timeout = '50ms'));
send_sql($session, q(BEGIN; SELECT log('a')));
wait_for('true', 0);
is(entries(), 'a timeout 25P03', 'idle_in_transaction_session_timeout');
$session->{run}->kill_kill;

my @sessions = map { begin('BEGIN', "SELECT log('$_')", "UPDATE t SET b = NULL WHERE a = $_") } 1, 2;
send_sql($sessions[0], 'UPDATE t SET b = NULL WHERE a = 2');
wait_for("wait_event_type = 'Lock'");
$sessions[1]->query('UPDATE t SET b = NULL WHERE a = 1');
$_->query('COMMIT') foreach @sessions;
like(
	entries(),
	qr/^1 (success, 2 failure 40P01|failure 40P01, 2 success)$/,
	'deadlock');

$sessions[0]->query($_)
  foreach 'BEGIN', q(SELECT log('a')), 'UPDATE t SET b = NULL WHERE a = 1';
$sessions[1]->query($_)
  foreach q(SET lock_timeout = '50ms'), 'BEGIN', q(SELECT log('b')),
  'UPDATE t SET b = NULL WHERE a = 1', 'COMMIT';
$sessions[0]->query('COMMIT');
is(entries(), 'a success, b timeout 55P03', 'lock_timeout');

$_->query("BEGIN ISOLATION LEVEL SERIALIZABLE") foreach @sessions;
$sessions[0]->query(q(SELECT log('a'), (SELECT count(*) FROM t)));
$sessions[1]->query(q(SELECT log('b'), (SELECT count(*) FROM t)));
$sessions[0]->query('INSERT INTO t VALUES (10)');
$sessions[1]->query('INSERT INTO t VALUES (11)');
$sessions[0]->query('COMMIT');
$sessions[1]->query('COMMIT');
is(entries(), 'a success, b failure 40001', 'serialization failure');
$_->quit foreach @sessions;

# Two-phase commit
leaves('PREPARE TRANSACTION', q(
	BEGIN; SELECT log('a'); SAVEPOINT s; SELECT log('b'); PREPARE TRANSACTION 'one';
	BEGIN; SELECT log('c'); SAVEPOINT s; SELECT log('d'); ROLLBACK TO s; PREPARE TRANSACTION 'two';
	BEGIN; SELECT log('e'); PREPARE TRANSACTION 'three'),
	'd failure, e failure 53200');
$node->safe_psql('postgres', "COMMIT PREPARED 'one'");
is(entries(), 'a success, b success', 'COMMIT PREPARED');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'two'");
is(entries(), 'c failure', 'ROLLBACK PREPARED');

# Nobody keeps a slot.
is( $node->safe_psql('postgres', q(
	SELECT string_agg(concat_ws(' ', labels->>'state', value), ', ' ORDER BY labels->>'state')
	FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_audit_ring_slots')),
	'filled 0, free 1024, prepared 0, reserved 0',
	'all slots are free again');
is( $node->safe_psql('postgres', q(
	SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_audit_lost_total')),
	0, 'and nothing was lost');

$node->stop;
done_testing();
