# With audit_failures on, a statement that fails in a request with an operation
# name has an entry, though the application logs nothing; once, and not besides
# an operation that it has logged.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_statements', q(
	fraiseql_obs.audit_failures = on
	fraiseql_obs.audit_ring_slots = 64));

$node->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	CREATE TABLE t (a integer PRIMARY KEY, b integer REFERENCES t DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO t VALUES (1);
	CREATE ROLE app;
	GRANT USAGE ON SCHEMA public TO app));

my $last_id = 0;

# "operation result sqlstate" of the entries that statements leave
sub leaves
{
	my ($name, $sql, $expected) = @_;
	$node->psql('app', "SET fraiseql_obs.operation_name = 'op'; $sql", on_error_stop => 0);
	1 while $node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()') > 0;
	my $entries = $node->safe_psql('app', qq(
		SELECT string_agg(concat_ws(' ', operation, result, sqlstate), ', ' ORDER BY id)
		FROM fraiseql_audit.fraiseql_audit_log WHERE id > $last_id));
	$last_id = $node->safe_psql('app',
		'SELECT coalesce(max(id), 0) FROM fraiseql_audit.fraiseql_audit_log');
	is($entries, $expected, $name);
	return;
}

# No audit log, nothing to write to
$node->psql('app', q(SET fraiseql_obs.operation_name = 'op'; SELECT 1 / 0));
$node->safe_psql('app', 'SELECT fraiseql_obs.create_audit_log()');
leaves('no entry before the log is used', 'SELECT 1', '');

leaves('permission denied', 'SET ROLE app; TABLE t', 'op denied 42501');
leaves('execution', 'SELECT 1 / a FROM generate_series(0, 0) a', 'op failure 22012');
leaves('planning', 'SELECT 1 / 0', 'op failure 22012');
leaves('constraint', 'INSERT INTO t VALUES (1)', 'op failure 23505');
leaves('at COMMIT', 'INSERT INTO t VALUES (2, 3)', 'op failure 23503');
leaves('COMMIT', 'BEGIN; INSERT INTO t VALUES (2, 3); COMMIT', 'op failure 23503');
leaves('syntax', 'SELEKT', 'op failure 42601');
leaves('utility', 'DROP TABLE nowhere', 'op failure 42P01');
leaves('timeout', "SET statement_timeout = '10ms'; SELECT pg_sleep(10)", 'op timeout 57014');
leaves('success', 'SELECT 1', '');
leaves('without an operation', 'RESET fraiseql_obs.operation_name; SELECT 1 / 0', '');
leaves('an operation in a comment',
	"RESET fraiseql_obs.operation_name; SELECT 1 / a FROM generate_series(0, 0) a /*action='show'*/",
	'show failure 22012');
leaves('switched off', 'SET fraiseql_obs.audit_failures = off; SELECT 1 / 0', '');
leaves('handled by a function',
	'DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END $$', '');
leaves('a function that fails',
	'DO $$ BEGIN PERFORM 1 / 0; END $$', 'op failure 22012');
leaves('in a transaction', 'BEGIN; SELECT 1; SELECT 1 / 0; SELECT 2; SELECT 3; ROLLBACK',
	'op failure 22012');
leaves('rolled back by command', 'BEGIN; SELECT 1; ROLLBACK', '');
leaves('each of a transaction', q(
	BEGIN; SAVEPOINT s; SELECT 1 / 0; ROLLBACK TO s; SELEKT; ROLLBACK TO s; COMMIT),
	'op failure 22012, op failure 42601');
leaves('a transaction that has logged an operation', q(
	BEGIN; SELECT fraiseql_obs.log_operation('logged'); SELECT 1 / 0; ROLLBACK),
	'logged failure 22012');
leaves('the same of a savepoint', q(
	BEGIN; SAVEPOINT s; SELECT fraiseql_obs.log_operation('logged'); SELECT 1 / 0;
	ROLLBACK TO s; COMMIT),
	'logged failure 22012');
leaves('one whose operation stands', q(
	BEGIN; SELECT fraiseql_obs.log_operation('logged'); SAVEPOINT s; SELECT 1 / 0;
	ROLLBACK TO s; COMMIT),
	'logged success, op failure 22012');

# What an entry says
$node->psql('app', q(
	SET fraiseql_obs.operation_name = 'createOrder';
	SET app.user_id = 'älice';
	SET fraiseql_obs.tenant_id = 'acme';
	SET fraiseql_obs.request_id = 'r-1';
	SET application_name = 'shop';
	SET SESSION AUTHORIZATION app;
	TABLE t));
$node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()');
is( $node->safe_psql('app', q(
		SELECT operation, result, error_message, user_id, tenant_id, request_id,
			application_name, db_role, client_addr IS NULL,
			details->'queryid' IS NOT NULL, details->'_failed'->'pid' IS NOT NULL,
			created_at - occurred_at < interval '1 minute'
		FROM fraiseql_obs.recent_operations(1))),
	'createOrder|denied|insufficient_privilege|älice|acme|r-1|shop|app|t|t|t|t',
	'who asked for what');

# Sessions that end while they do nothing have not failed.
my $session = $node->background_psql('app', on_error_stop => 0);
$session->query_safe(q(SET fraiseql_obs.operation_name = 'idle'));
$node->safe_psql('app',
	"SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity WHERE datname = 'app' AND pid <> pg_backend_pid()");
$session->{run}->kill_kill;
is($node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()'),
	0, 'an idle session that is terminated');

# When there is no room
$node->psql('app', "SET fraiseql_obs.operation_name = 'many';" . 'SELECT 1 / 0;' x 70,
	on_error_stop => 0);
$node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()');
is( $node->safe_psql('app', q(
		SELECT count(*) FILTER (WHERE operation = 'many'), max(details->'lost'->>'ring_full')
		FROM fraiseql_obs.recent_operations(65))),
	'64|6', 'the rest is declared lost');

$node->stop;
done_testing();
