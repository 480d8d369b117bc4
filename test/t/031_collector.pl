# What the collector says of the server agrees with the views of PostgreSQL,
# is fresh in any transaction and leaves the transaction's own snapshot alone.

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

sub connections
{
	my ($node) = @_;
	return observe($node,
			q(SELECT string_agg(labels->>'state' || ' ' || value, ', '
				ORDER BY labels->>'state' COLLATE "C")
			FROM fraiseql_obs.metrics()
			WHERE name = 'fraiseql_obs_db_connections'
				AND labels->>'datname' = 'app' AND value > 0));
}

my $node = start_node('primary', 'max_prepared_transactions = 2',
	allows_streaming => 1);
$node->safe_psql('app', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS a');

# Connections
my @sessions = map { $node->background_psql('app', on_error_stop => 0) } 1 .. 3;
$sessions[1]->query_safe('BEGIN');
$sessions[2]->query_safe('BEGIN');
$sessions[2]->query('SELECT 1 / 0');
is( connections($node),
	'idle 1, idle_in_transaction 1, idle_in_transaction_aborted 1',
	'connections by state');
is(observe($node, 'SELECT ' . value('db_connections')),
	4, 'all connections, with the one that asks');
is( observe($node, 'SELECT ' . value('db_connections_max')
		  . " = current_setting('max_connections')::int"),
	't', 'max_connections');

# The oldest transaction
$sessions[1]->query_safe('SELECT pg_sleep(1.1)');
is(observe($node, 'SELECT ' . value('oldest_transaction_age_seconds')
		  . ' BETWEEN 1.1 AND 100'),
	't', 'age of the oldest transaction');
$_->quit foreach @sessions;
$node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'app'");
is(observe($node, 'SELECT ' . value('oldest_transaction_age_seconds') . ' < 1'),
	't', 'and when it is gone');

# A prepared transaction holds the horizon back, without a session.
$node->safe_psql('app',
	"BEGIN; INSERT INTO t VALUES (0); PREPARE TRANSACTION 'p'");
$node->safe_psql('app', 'INSERT INTO t VALUES (0)') foreach 1 .. 5;
is(observe($node, 'SELECT ' . value('oldest_xmin_age_transactions') . ' >= 6'),
	't', 'a prepared transaction holds the horizon back');
$node->safe_psql('app', "ROLLBACK PREPARED 'p'");
is(observe($node, 'SELECT ' . value('oldest_xmin_age_transactions') . ' < 6'),
	't', 'and lets it go');
is( observe($node, 'SELECT ' . value('oldest_unfrozen_age_transactions')
		  . ' = (SELECT max(age(datfrozenxid)) FROM pg_database)'),
	't', 'age of the oldest transaction that is not frozen');
is( observe($node, 'SELECT ' . value('oldest_unfrozen_age_multixacts')
		  . ' = (SELECT max(mxid_age(datminmxid)) FROM pg_database)'),
	't', 'age of the oldest multixact that is not frozen');

# What core counts.  Nobody else is active, and what a session did is counted
# when it has gone.
my $in_core = sub {
	my ($column, $where) = @_;
	return "(SELECT sum($column) FROM pg_stat_database WHERE $where)";
};
my $of_app = '{"datname": "app", "result": ';
foreach my $case (
	[
		value('db_transactions_total', $of_app . '"committed"}'),
		$in_core->('xact_commit', "datname = 'app'"), 'commits'
	],
	[
		value('db_transactions_total', $of_app . '"rolled_back"}'),
		$in_core->('xact_rollback', "datname = 'app'"), 'rollbacks'
	],
	[
		value('cache_hits_total'), $in_core->('blks_hit', 'true'),
		'hits in shared buffers'
	],
	[
		value('cache_misses_total'), $in_core->('blks_read', 'true'),
		'misses in shared buffers'
	],
	[
		value('wal_records_total'),
		'(SELECT wal_records FROM pg_stat_wal)', 'records of WAL'
	],
	[
		value('wal_bytes_total'), '(SELECT wal_bytes FROM pg_stat_wal)',
		'bytes of WAL'
	])
{
	my ($ours, $theirs, $name) = @$case;

	ok( $node->poll_query_until('postgres',
			"SELECT $ours = $theirs AND $theirs > 0"),
		"$name as core counts them");
}
is( observe($node, 'SELECT ' . value('cache_size_bytes')
		  . " = pg_size_bytes(current_setting('shared_buffers'))"),
	't', 'size of shared buffers');
my $checkpoints = value('checkpoints_total', '{"cause": "requested"}');
my $before = observe($node, "SELECT $checkpoints");
$node->safe_psql('postgres', 'CHECKPOINT');
ok($node->poll_query_until('postgres', "SELECT $checkpoints = $before + 1"),
	'a checkpoint');

# Fresh in any transaction, and no surprise for it
my $commits = value('db_transactions_total', $of_app . '"committed"}');
my $their_commits = $in_core->('xact_commit', "datname = 'app'");
my $wal = value('wal_records_total');
my $their_wal = '(SELECT wal_records FROM pg_stat_wal)';
foreach my $consistency ('none', 'cache', 'snapshot')
{
	my $session = $node->background_psql('postgres');
	my $look = sub { return $session->query_safe("SELECT $_[0]"); };

	$session->query_safe("SET stats_fetch_consistency = $consistency; BEGIN");
	my $our_commits = $look->($commits);
	my $our_wal = $look->($wal);
	my $core_commits = $look->($their_commits);
	my $core_wal = $look->($their_wal);
	$node->safe_psql('app', 'INSERT INTO t VALUES (1)');
	$node->poll_query_until('postgres',
		"SELECT $their_commits > $core_commits");

	cmp_ok($look->($commits), '>', $our_commits,
		"$consistency: transactions are fresh");
	cmp_ok($look->($wal), '>', $our_wal, "$consistency: WAL is fresh");
	my $same = $consistency eq 'none' ? '>' : '==';
	cmp_ok($look->($their_commits), $same, $core_commits,
		"$consistency: pg_stat_database is as without us");
	cmp_ok($look->($their_wal), $same, $core_wal,
		"$consistency: pg_stat_wal is as without us");
	$session->quit;
}

# Databases that nobody has used since the start are in the sums.
$node->safe_psql('postgres', 'CREATE DATABASE gone');
$node->safe_psql('gone', 'SELECT count(*) FROM pg_class');
my $hits = value('cache_hits_total');
$node->poll_query_until('postgres', "SELECT $hits = "
	  . $in_core->('blks_hit', 'true'));
$node->restart;
is(observe($node, "SELECT $hits >= " . $in_core->('blks_hit', "datname = 'gone'")),
	't', 'a database nobody has connected to is in the sum');
my $before_drop = observe($node, "SELECT $hits");
$node->safe_psql('postgres', 'DROP DATABASE gone');
cmp_ok(observe($node, "SELECT $hits"),
	'>=', $before_drop, 'a sum does not fall with DROP DATABASE');
$before_drop = observe($node, "SELECT $hits");
$node->safe_psql('app', 'SELECT pg_stat_reset()');
cmp_ok(observe($node, "SELECT $hits"),
	'>=', $before_drop, 'nor with pg_stat_reset()');

# Replication
is(observe($node, 'SELECT ' . value('in_recovery')), 0, 'a primary');
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(observe($standby, 'SELECT ' . value('in_recovery')), 1, 'a standby');
ok( $standby->poll_query_until('postgres',
		'SELECT ' . value('replication_streaming') . ' = 1'),
	'it streams');
is( observe($node,
		'SELECT ' . value('replication_senders', '{"state": "streaming"}')),
	1, 'the primary sends');
ok( $node->poll_query_until('postgres',
		'SELECT '
		  . value('replication_lag_bytes',
			'{"application_name": "standby", "stage": "replayed"}')
		  . ' = 0'),
	'the standby is not behind');
ok( $standby->poll_query_until('postgres',
		'SELECT ' . value('replication_replay_delay_seconds') . ' = 0 AND '
		  . value('replication_replay_lag_bytes') . ' = 0'),
	'and knows it');
$node->safe_psql('app', 'INSERT INTO t VALUES (2)');
$node->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$node->safe_psql('app', 'INSERT INTO t SELECT generate_series(1, 1000)');
$node->wait_for_catchup($standby, 'flush');
is( observe($standby,
		'SELECT ' . value('replication_replay_lag_bytes') . ' > 10000 AND '
		  . value('replication_replay_delay_seconds') . ' > 0'),
	't', 'a standby that does not replay is behind');
ok( $node->poll_query_until('postgres',
		'SELECT '
		  . value('replication_lag_bytes', '{"stage": "replayed"}')
		  . ' > 10000 AND '
		  . value('replication_lag_bytes', '{"stage": "flushed"}')
		  . ' < 10000'),
	'and the primary sees which stage');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');

# A lock on catalogs does not stop a scrape.
my $scraper = $node->background_psql('postgres');
my $locker = $node->background_psql('postgres');
$scraper->query_safe("SET statement_timeout = '10s'");
$locker->query_safe('BEGIN; LOCK pg_database, pg_tablespace, pg_authid,'
	  . ' pg_stat_database IN ACCESS EXCLUSIVE MODE');
is( $scraper->query(
		"SELECT fraiseql_obs.export_metrics() ~ 'fraiseql_obs_build_info'"),
	't', 'locked catalogs do not stop an export');
$locker->quit;
$scraper->quit;

done_testing();
