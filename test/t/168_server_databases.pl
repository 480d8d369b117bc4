# What is counted by database is what pg_stat_database counts.

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

# Becomes ours equal to theirs, which is more than that much?
sub agrees
{
	my ($node, $ours, $theirs, $more_than, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT abs($ours - $theirs) < 0.0001 AND $theirs > $more_than"), $name)
	  or diag($node->safe_psql('postgres', "SELECT $ours, $theirs"));
	return;
}

sub of_app
{
	my ($column) = @_;
	return "(SELECT $column FROM pg_stat_database WHERE datname = 'app')";
}

my $primary = start_node('primary', q(
track_io_timing = on
work_mem = 64kB
deadlock_timeout = 10ms
autovacuum = off
), allows_streaming => 1);
$primary->safe_psql('app', 'CREATE TABLE t AS SELECT a FROM generate_series(1, 20000) AS a; CREATE TABLE u (a int); INSERT INTO u VALUES (1)');
$primary->safe_psql('app', 'UPDATE t SET a = a + 1 WHERE a <= 10; DELETE FROM t WHERE a > 19990; CHECKPOINT');
$primary->safe_psql('app', 'SELECT count(*) FROM (SELECT a FROM t ORDER BY a OFFSET 0) AS s');
$primary->psql('app', 'SELECT 1 / 0');

# A deadlock
my @sessions = map { $primary->background_psql('app', on_error_stop => 0) } 1 .. 2;
$sessions[0]->query_safe('BEGIN; UPDATE u SET a = 2');
$sessions[1]->query_safe('BEGIN; LOCK TABLE t');
$sessions[0]->query_until(qr/waits/, "\\echo waits\nLOCK TABLE t;\n");
$primary->poll_query_until('app', 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted');
$sessions[1]->query('UPDATE u SET a = 3');
$_->quit foreach @sessions;

# A session that is terminated
my $session = $primary->background_psql('app', on_error_stop => 0);
$session->query_safe('BEGIN; SELECT pg_sleep(0.1)');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$primary->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$primary->poll_query_until('postgres', 'SELECT ' . of_app('numbackends') . ' = 0');

my %all = ('xact_commit' => 'db_transactions_total result committed', 'xact_rollback' => 'db_transactions_total result rolled_back',
	'blks_hit' => 'db_blocks_total result hit', 'blks_read' => 'db_blocks_total result read',
	(map { ("tup_$_" => "db_tuples_total action $_") } 'returned', 'fetched', 'inserted', 'updated', 'deleted'),
	'temp_files' => 'db_temp_files_total', 'temp_bytes' => 'db_temp_bytes_total', 'deadlocks' => 'db_deadlocks_total',
	'sessions' => 'db_sessions_total', 'sessions_killed' => 'db_sessions_lost_total cause killed');
my %may_be_zero = ('sessions_abandoned' => 'db_sessions_lost_total cause abandoned', 'sessions_fatal' => 'db_sessions_lost_total cause fatal');
my %milliseconds = ('session_time' => 'db_session_seconds_total', 'active_time' => 'db_active_seconds_total',
	'idle_in_transaction_time' => 'db_idle_in_transaction_seconds_total',
	'blk_read_time' => 'db_io_seconds_total action read');
sub ours
{
	my ($name, $label, $value) = split / /, $_[0];
	return value($name, defined $label ? qq({"datname": "app", "$label": "$value"}) : '{"datname": "app"}');
}
agrees($primary, ours($all{$_}), of_app($_), 0, $_) foreach sort keys %all;
agrees($primary, ours($may_be_zero{$_}), of_app($_), -1, $_) foreach sort keys %may_be_zero;
agrees($primary, ours($milliseconds{$_}), '(' . of_app($_) . ' / 1000)::float8', $_ =~ /^blk/ ? -1 : 0, $_)
  foreach sort keys %milliseconds;

# "other" is what is in none of its own: shared objects, and databases nobody
# has been to.
my $other = value('db_blocks_total', '{"datname": "other", "result": "hit"}');
my $before = observe($primary, "SELECT $other");
$primary->safe_psql('app', 'SELECT count(*) FROM pg_authid, pg_database');
ok($primary->poll_query_until('postgres', "SELECT $other > $before"), 'shared objects are in "other"');

# A reset of core's counters is one of the database's.
$primary->safe_psql('app', 'SELECT pg_stat_reset()');
cmp_ok(observe($primary, 'SELECT ' . ours($all{tup_inserted})), '<', 100, 'reset with core');
cmp_ok(observe($primary, "SELECT $other"), '>', $before, 'others are not');

# A conflict on a standby
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 10ms');
$standby->start;
$primary->wait_for_catchup($standby);
my $reader = $standby->background_psql('app', on_error_stop => 0);
$reader->query_safe('BEGIN; SELECT count(*) FROM t');
$primary->safe_psql('app', 'DROP TABLE t');
$primary->wait_for_catchup($standby);
agrees($standby, value('db_conflicts_total', '{"datname": "app", "cause": "lock"}'),
	"(SELECT confl_lock FROM pg_stat_database_conflicts WHERE datname = 'app')", 0, 'a conflict');
agrees($standby, value('db_conflicts_total', '{"datname": "app"}'), of_app('conflicts'), 0, 'the only one');
$_->stop foreach $standby, $primary;
done_testing();
