# What processes do and which locks they hold is what pg_stat_activity and
# pg_locks show.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A sample's value as a subquery; several samples are summed
sub value
{
	my ($name, $labels) = @_;
	$labels //= '{}';
	return "(SELECT sum(value) FROM fraiseql_obs.metrics()"
	  . " WHERE name = 'fraiseql_obs_$name' AND labels \@> '$labels')";
}

my $node = start_node('activity', "autovacuum = on\nautovacuum_naptime = '1d'\nmax_prepared_transactions = 1");
$node->safe_psql('app', 'CREATE TABLE t (a int)');

# Processes, in one statement with the oracle
my $processes = q(SELECT string_agg(type || ' ' || n, ', ' ORDER BY type COLLATE "C") FROM (%s) AS p (type, n));
is( $node->safe_psql('postgres', sprintf($processes, q(SELECT labels->>'type', value FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_processes' AND value > 0))),
	$node->safe_psql('postgres', sprintf($processes, q(SELECT CASE WHEN backend_type ~ 'fraiseql_obs|logical replication|parallel'
			THEN 'background_worker' ELSE replace(backend_type, ' ', '_') END, count(*) FROM pg_stat_activity GROUP BY 1))),
	'processes by type');
is($node->safe_psql('postgres', 'SELECT ' . value('processes', '{"type": "autovacuum_launcher"}')), 1, 'among them the launcher of autovacuum');
is($node->safe_psql('postgres', 'SELECT ' . value('processes', '{"type": "autovacuum_worker"}')), 0, 'and none of its workers, which is said');

# Waits
my $holder = $node->background_psql('app');
my @waiting = map { $node->background_psql('app', on_error_stop => 0) } 1 .. 3;
is(observe($node, 'SELECT ' . value('active_connections')), 1, 'who asks is active');
is(observe($node, 'SELECT ' . value('active_connections', '{"wait_event_type": "none"}')), 1, 'and waits for nothing');
$holder->query_safe('BEGIN; LOCK TABLE t; SELECT pg_advisory_lock(1)');
$waiting[0]->query_until(qr/waits/, "\\echo waits\nSELECT count(*) FROM t;\n");
$waiting[1]->query_until(qr/waits/, "\\echo waits\nINSERT INTO t VALUES (1);\n");
$waiting[2]->query_until(qr/waits/, "\\echo waits\nSELECT pg_sleep(1000);\n");
$node->poll_query_until('postgres', q(SELECT count(*) = 3 FROM pg_stat_activity
	WHERE wait_event_type IN ('Lock', 'Timeout') AND backend_type = 'client backend' AND state = 'active'));
my $waits = q(SELECT string_agg(type || ' ' || n, ', ' ORDER BY type COLLATE "C") FROM (%s) AS w (type, n));
is( $node->safe_psql('postgres', sprintf($waits, q(SELECT labels->>'wait_event_type', value FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_active_connections' AND value > 0))),
	'Lock 2, Timeout 1, none 1', 'what active connections wait for');
is($node->safe_psql('postgres', q(SELECT count(*) FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_active_connections'
	AND labels->>'wait_event_type' IN ('LWLock', 'Lock', 'Activity', 'Client', 'Extension', 'IPC', 'Timeout', 'IO', 'none'))), 9, 'all types are there');
is($node->safe_psql('postgres', 'SELECT ' . value('db_connections', '{"datname": "app", "state": "active"}')), 3, 'they are active');

# Locks
is($node->safe_psql('postgres', 'SELECT ' . value('lock_waits', '{"datname": "app"}')), 2, 'who waits for a lock');
my $locks = q(SELECT string_agg(mode || ' ' || n, ', ' ORDER BY mode COLLATE "C") FROM (%s) AS l (mode, n));
is( $node->safe_psql('postgres', sprintf($locks, q(SELECT labels->>'mode', value FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_locks' AND labels->>'datname' = 'app' AND value > 0))),
	$node->safe_psql('postgres', sprintf($locks, q(SELECT mode, count(*) FROM pg_locks
		WHERE granted AND database = (SELECT oid FROM pg_database WHERE datname = 'app') GROUP BY mode))),
	'locks by mode');
is($node->safe_psql('postgres', 'SELECT ' . value('locks', '{"datname": "app", "mode": "AccessExclusiveLock"}')), 1, 'one is exclusive');
is( $node->safe_psql('postgres', q(SELECT sum(value) = (SELECT count(*) FROM pg_locks WHERE granted) FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_locks')),
	't', 'all locks, those of no database too');
$holder->query_safe("CREATE TABLE p (a int); PREPARE TRANSACTION 'p'");
is($node->safe_psql('postgres', 'SELECT ' . value('locks', '{"datname": "app", "mode": "AccessExclusiveLock"}') . ' >= 2'), 't', 'locks of a prepared transaction');
$holder->query_safe("ROLLBACK PREPARED 'p'; SELECT pg_advisory_unlock_all()");
$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_locks WHERE NOT granted));
is($node->safe_psql('postgres', 'SELECT ' . value('lock_waits')), 0, 'nobody waits any longer');
$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'));
$_->quit foreach $holder, @waiting;
$node->stop;
done_testing();
