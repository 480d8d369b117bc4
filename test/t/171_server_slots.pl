# What replication slots hold back is what pg_replication_slots shows, and one
# that lags is seen before and after it is lost.

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

my $node = start_node('slots', "wal_level = logical\nautovacuum = off\ncheckpoint_timeout = 1h\nmax_wal_size = 1GB", allows_streaming => 1);

sub of_slot { return value("replication_slot_$_[0]", qq({"slot": "$_[1]"})); }

# Of one column for a slot, in one statement with ours
sub agrees
{
	my ($name, $slot, $theirs, $what) = @_;
	ok( $node->poll_query_until('postgres', 'SELECT ' . of_slot($name, $slot)
			  . " IS NOT DISTINCT FROM (SELECT ($theirs)::float8 FROM pg_replication_slots WHERE slot_name = '$slot')"), $what)
	  or diag($node->safe_psql('postgres', 'SELECT ' . of_slot($name, $slot) . ", s.* FROM pg_replication_slots AS s"));
	return;
}

is($node->safe_psql('postgres', 'SELECT ' . value('replication_slot_active')), '', 'no slot');
$node->safe_psql('app', q(SELECT pg_create_physical_replication_slot('unused'), pg_create_physical_replication_slot('held', true),
	pg_create_logical_replication_slot('logical', 'pgoutput')));
agrees('active', $_, 'active::int', "$_: not in use") foreach 'unused', 'held', 'logical';
agrees('retained_bytes', 'unused', 'NULL', 'a slot that was never used holds nothing');
$node->safe_psql('app', 'CREATE TABLE t AS SELECT generate_series(1, 20000) AS a');
agrees('retained_bytes', 'held', 'pg_current_wal_insert_lsn() - restart_lsn', 'held: log that is kept');
cmp_ok($node->safe_psql('postgres', 'SELECT ' . of_slot('retained_bytes', 'held')), '>', 1000000, 'which grows');
agrees('retained_bytes', 'logical', 'pg_current_wal_insert_lsn() - restart_lsn', 'logical: log that is kept');
agrees('lag_bytes', 'logical', 'pg_current_wal_insert_lsn() - confirmed_flush_lsn', 'logical: what was not confirmed');
is($node->safe_psql('postgres', 'SELECT ' . of_slot('lag_bytes', 'held')), '', 'a physical one confirms nothing');
agrees('xmin_age_transactions', 'logical', 'age(catalog_xmin)', 'logical: rows that are kept');
agrees('xmin_age_transactions', 'held', 'NULL', 'held: none');
my $age = $node->safe_psql('postgres', 'SELECT ' . of_slot('xmin_age_transactions', 'logical'));
$node->safe_psql('app', 'INSERT INTO t VALUES (0)') foreach 1 .. 3;
cmp_ok($node->safe_psql('postgres', 'SELECT ' . of_slot('xmin_age_transactions', 'logical')), '>=', $age + 3, 'as transactions go on');

# In use by a standby
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'primary_slot_name = held');
$standby->start;
$node->wait_for_catchup($standby);
agrees('active', 'held', '1', 'held: in use');
ok($node->poll_query_until('postgres', 'SELECT ' . of_slot('retained_bytes', 'held') . ' < 1000000'), 'its standby follows');
$standby->stop;
ok($node->poll_query_until('postgres', 'SELECT ' . of_slot('active', 'held') . ' = 0'), 'held: not in use any longer');

# Lost
is($node->safe_psql('postgres', 'SELECT ' . of_slot('lost', 'held')), 0, 'held: not lost');
$node->safe_psql('postgres', q(ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'));
$node->reload;
$node->safe_psql('app', 'INSERT INTO t VALUES (0); SELECT pg_switch_wal()') foreach 1 .. 4;
$node->safe_psql('postgres', 'CHECKPOINT');
ok($node->poll_query_until('postgres', 'SELECT ' . of_slot('lost', 'held') . ' = 1'), 'held: lost');
agrees('lost', 'held', q((wal_status = 'lost')::int), 'as pg_replication_slots says');
agrees('retained_bytes', 'held', 'pg_current_wal_insert_lsn() - restart_lsn', 'what it retains');
$node->safe_psql('postgres', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots));
is($node->safe_psql('postgres', 'SELECT ' . value('replication_slot_active')), '', 'gone');
$node->stop;
done_testing();
