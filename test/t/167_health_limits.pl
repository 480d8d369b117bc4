# From when on checks warn or fail is in the settings: connections, the age of
# transactions, transaction identifiers, disks, audit logs, crashes.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = start_node('limits', q(
max_connections = 8
superuser_reserved_connections = 2
max_prepared_transactions = 2
autovacuum = off
fraiseql_obs.health_crash_warning = '1h'
));

$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');

# Sets limits and waits until they are seen.
sub limits
{
	my (%limits) = @_;
	foreach my $name (sort keys %limits)
	{
		$node->safe_psql('postgres', "ALTER SYSTEM SET fraiseql_obs.health_$name = '$limits{$name}'");
	}
	$node->reload;
	foreach my $name (keys %limits)
	{
		$node->poll_query_until('postgres', qq(SELECT setting = '$limits{$name}'
			FROM pg_settings WHERE name = 'fraiseql_obs.health_$name'));
	}
	return;
}

sub check
{
	my ($name) = @_;
	return $node->safe_psql('postgres', qq(SELECT concat_ws(' ', h #>> '{checks,$name,status}', h #>> '{checks,$name,message}')
		FROM fraiseql_obs.health() AS h));
}

sub fact
{
	my ($check, $name) = @_;
	return $node->safe_psql('postgres', "SELECT fraiseql_obs.health() #>> '{checks,$check,$name}'");
}

# Not even a superuser sets them in a session.
my ($status, $out, $err) = $node->psql('postgres', 'SET fraiseql_obs.health_disk_warning = 1');
like($err, qr/cannot be changed now/, 'limits are the server\'s');

# Connections: 6 are for everybody, and one of them asks.
is(fact('connections', 'limit'), '6', 'connections that are for everybody');
is(fact('connections', 'reserved'), '2', 'and those that are not');
is($node->safe_psql('postgres', q(SELECT (h #>> '{checks,connections,used}')::int = count(*) FROM fraiseql_obs.health() AS h, pg_stat_activity
	WHERE backend_type = 'client backend' GROUP BY h)), 't', 'those in use');
my @sessions = map { $node->background_psql('app') } 1 .. 3;
is(check('connections'), 'healthy', 'four of six');
push @sessions, $node->background_psql('app');
is(check('connections'), 'degraded 5 of 6 connections are in use', 'five of six');
push @sessions, $node->background_psql('app');
push @sessions, $node->background_psql('app');
is(check('connections'), 'degraded 7 of 6 connections are in use', 'superusers have more');
limits(connections_warning => 0);
is(check('connections'), 'healthy', 'no limit');
limits(connections_failure => 100);
is(check('connections'), 'unhealthy 7 of 6 connections are in use', 'a failure');
is($node->safe_psql('postgres', q(SELECT fraiseql_obs.readiness()->>'status')), 'not_ready', 'sends clients away');
limits(connections_failure => 0);

# All of them.  Who asked before must have gone.
my $others = q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres');
usleep(100_000) while $sessions[0]->query_safe($others) > 0;
push @sessions, $node->background_psql('app') foreach 1 .. 2;
(undef, undef, $err) = $node->psql('postgres', 'SELECT 1');
like($err, qr/too many clients/, 'nobody gets in any longer');
is($sessions[0]->query_safe(q(SELECT concat_ws(' ', fraiseql_obs.health() #>> '{checks,connections,used}', fraiseql_obs.readiness()->>'status'))),
	'8 ready', 'who is in sees it, and no limit says that it is a failure');
is($sessions[0]->query_safe(q(SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_db_connections')), '8', 'metrics agree');
(shift @sessions)->quit foreach 1 .. 6;
$node->poll_query_until('postgres', q(SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = 'app'));
my ($one, $other) = @sessions;

# Transactions
limits(transaction_warning => 2);
is(check('transactions'), 'healthy', 'no old transaction');
$one->query_safe('BEGIN; SELECT pg_sleep(2.1)');
like(check('transactions'), qr/^degraded a transaction has been open for [23] s$/, 'an old transaction');
cmp_ok(fact('transactions', 'oldest_seconds'), '>=', 2.1, 'its age');
$one->query_safe('COMMIT');
limits(transaction_warning => 0);

# A prepared transaction holds the horizon back without a session.
$one->query_safe("CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (0); PREPARE TRANSACTION 'p'");
$other->query_safe('INSERT INTO t VALUES (0)') foreach 1 .. 5;
cmp_ok(fact('xid_age', 'oldest_xmin'), '>=', 6, 'a prepared transaction holds the horizon back');
is($node->safe_psql('postgres', q(SELECT (h #>> '{checks,xid_age,oldest_xmin}')::int = max(age(transaction))
	FROM fraiseql_obs.health() AS h, pg_prepared_xacts GROUP BY h)), 't', 'by as much as its age');
is($node->safe_psql('postgres', q(SELECT (h #>> '{checks,xid_age,oldest_unfrozen}')::int = max(age(datfrozenxid))
	FROM fraiseql_obs.health() AS h, pg_database GROUP BY h)), 't', 'the age of what is not frozen');
is($node->safe_psql('postgres', q(SELECT (h #>> '{checks,xid_age,oldest_multixact}')::int = max(mxid_age(datminmxid))
	FROM fraiseql_obs.health() AS h, pg_database GROUP BY h)), 't', 'and of multixacts');
my $age = fact('xid_age', 'oldest_unfrozen');
limits(xid_age_warning => $age + 1);
is(check('xid_age'), 'healthy', 'not too old');
limits(xid_age_warning => $age);
like(check('xid_age'), qr/^degraded the oldest transaction that is not frozen is \d+ back$/, 'too old');
$one->query_safe("ROLLBACK PREPARED 'p'");
cmp_ok(fact('xid_age', 'oldest_xmin'), '<', 6, 'the horizon goes on');
limits(xid_age_warning => 0);
is(check('xid_age'), 'healthy', 'no limit');

# Disks
cmp_ok(fact('disk', 'data_size_bytes'), '>', 1000000, 'size of the disk of data');
cmp_ok(fact('disk', 'wal_available_bytes'), '<=', fact('disk', 'wal_size_bytes'), 'some of it is there');
limits(disk_warning => 100);
like(check('disk'), qr/^degraded \d+\.\d % of the space for data are left$/, 'not all of it');
limits(disk_failure => 100);
like(check('disk'), qr/^unhealthy \d+\.\d % of the space for data are left$/, 'a failure');
limits(disk_warning => 0, disk_failure => 0);
is(check('disk'), 'healthy', 'no limit');
is(fact('disk', 'data_size_bytes'), '', 'nor is it asked for');

# Audit logs
is(fact('audit', 'logs'), '0', 'no audit log');
limits(seal_lag_warning => 2);
$node->safe_psql('app', 'SELECT fraiseql_obs.create_audit_log()');
$node->append_conf('postgresql.conf', "fraiseql_obs.audit_seal_interval = 1\nfraiseql_obs.audit_worker = on");
$_->quit foreach $one, $other;
$node->restart;
ok($node->poll_query_until('postgres', q(SELECT h #>> '{checks,audit,logs}' = '1' AND h #>> '{checks,audit,workers}' = '1'
	FROM fraiseql_obs.health() AS h)), 'an audit log and its worker');
is(check('audit'), 'healthy', 'it seals');
my $locker = $node->background_psql('app');
$locker->query_safe('BEGIN; LOCK TABLE fraiseql_audit.fraiseql_audit_seals');
$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('to be sealed')));
ok($node->poll_query_until('postgres', q(SELECT h #>> '{checks,audit,message}' ~ '^an audit log has not been sealed for [0-9]+ s$'
	FROM fraiseql_obs.health() AS h)), 'it cannot');
$locker->query_safe('COMMIT');
$locker->quit;
ok($node->poll_query_until('postgres', q(SELECT h #>> '{checks,audit,status}' = 'healthy' FROM fraiseql_obs.health() AS h)), 'it can again');

# Crashes
is(check('crash'), 'healthy', 'no crash');
$node->stop('immediate');
$node->start;
like(check('crash'), qr/^degraded the server was restarted after a crash \d+ s ago$/, 'as if crashed');
is($node->safe_psql('postgres', q(SELECT (fraiseql_obs.health() #>> '{checks,crash,restarted_at}')::timestamptz
	BETWEEN pg_postmaster_start_time() - '1 s'::interval AND now())), 't', 'when');
limits(crash_warning => 0);
is(check('crash'), 'healthy', 'no limit');
$node->restart;
is(fact('crash', 'restarted_at'), '', 'stopped in order and started');

# No check takes its time here.
is($node->safe_psql('postgres', q(SELECT string_agg(c.key, ' ') FROM jsonb_each(fraiseql_obs.health()->'checks') AS c
	WHERE c.value->>'message' ~ 'health_check_timeout')), '', 'all is checked in time');
$node->stop;
done_testing();
