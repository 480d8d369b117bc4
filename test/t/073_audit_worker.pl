# A worker keeps the audit log of each database that has one: started on its
# own, back after it was ended, and in nobody's way.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node('audit_worker',
	"fraiseql_obs.audit_worker = on\nfraiseql_obs.audit_seal_interval = 1",
	allows_streaming => 1);

sub workers
{
	my ($server) = @_;
	return $server->safe_psql('postgres', q(
		SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity
		WHERE backend_type = 'fraiseql_obs audit worker'
			AND application_name = 'fraiseql_obs audit worker'));
}

# Waits until the databases that have a worker are these.
sub kept
{
	my ($databases, $name, $server) = @_;
	$server //= $node;
	ok($server->poll_query_until('postgres', qq(
		SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') = '$databases'
		FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker'
			AND application_name = 'fraiseql_obs audit worker')), $name)
	  or diag(workers($server));
	return;
}

sub rolled_up
{
	my ($database) = @_;
	return $node->poll_query_until($database, q(
		SELECT (SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log)
			= (SELECT coalesce(sum(n), 0) FROM fraiseql_audit.fraiseql_audit_counts
			   WHERE dimension = 'total')));
}

sub quick
{
	my ($sql, $name) = @_;
	my $start = time;
	$node->safe_psql('postgres', $sql);
	cmp_ok(time - $start, '<', 4, "$name: at once");
	return;
}

is(workers($node), '', 'no log, no worker');
is($node->safe_psql('postgres', q(
	SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit launcher')),
	'1', 'but a launcher');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
$node->safe_psql('app', 'BEGIN; SELECT fraiseql_obs.create_audit_log(); ROLLBACK');
$node->safe_psql('app', q(SELECT fraiseql_obs.create_audit_log();
	SELECT fraiseql_obs.log_operation('create')));
kept('app', 'started when the log is made');
ok(rolled_up('app'), 'does its work');

# ended by an administrator
my $first = $node->safe_psql('postgres', q(
	SELECT pid FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker'));
$node->safe_psql('postgres', "SELECT pg_terminate_backend($first)");
ok($node->poll_query_until('postgres', qq(
	SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'fraiseql_obs audit worker' AND pid <> $first)), 'back after it was terminated');
kept('app', 'and at work');

# a session's settings are not the worker's
$node->safe_psql('postgres', q(
	ALTER DATABASE app SET default_transaction_read_only = on;
	ALTER DATABASE app SET statement_timeout = '1ms';
	ALTER DATABASE app SET default_transaction_isolation = 'serializable'));
$node->restart;
kept('app', 'started with the server');
{
	local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c default_transaction_read_only=off';
	$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('update')));
}
$node->safe_psql('postgres', 'ALTER DATABASE app RESET ALL');
ok(rolled_up('app'), "whatever the database's settings are");

# settings of its own
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = off');
$node->reload;
kept('', 'ends when it is switched off');
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;
kept('app', 'and comes back');

# who wants the database for himself gets it
quick('ALTER DATABASE app RENAME TO app2', 'RENAME');
kept('app2', 'back under the new name');
quick('CREATE DATABASE copy TEMPLATE app2', 'TEMPLATE');
kept('app2', 'a copy has no active log');
$node->safe_psql('copy', 'SELECT fraiseql_obs.create_audit_log()');
kept('app2 copy', 'until create_audit_log() says so');
quick('DROP DATABASE copy', 'DROP DATABASE');
kept('app2', 'gone with the database');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
$node->psql('postgres', 'DROP DATABASE app2', extra_params => [ '-U', 'nobody' ]);
kept('app2', 'who may not drop the database does not stop it');

# a standby has none, until it is promoted
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('audit_worker_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q(
	SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'fraiseql_obs audit%')),
	'0', 'quiet on a standby');
$standby->promote;
kept('app2', 'at work after promotion', $standby);
$standby->stop;

# nothing is left to keep
$node->safe_psql('app2', 'SET client_min_messages = warning; DROP EXTENSION fraiseql_obs CASCADE');
kept('', 'ends with the extension');
$node->safe_psql('app2', 'CREATE EXTENSION fraiseql_obs');
kept('app2', 'and comes back with it');

my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 10, 'the server stops at once');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no crash');
done_testing();
