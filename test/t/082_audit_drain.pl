# What was rolled back is written once, by whoever drains first, also if a
# drainer fails, is terminated or competes with others; each database's by those
# who are in it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_drain', "fraiseql_obs.audit_ring_slots = 4096\nfraiseql_obs.audit_guard = off");

foreach my $database ('postgres', 'app')
{
	$node->safe_psql($database, q(
		CREATE EXTENSION IF NOT EXISTS fraiseql_obs;
		SELECT fraiseql_obs.create_audit_log();
		CREATE FUNCTION fail_many(operation text, n integer) RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 1 .. n LOOP
				BEGIN
					PERFORM fraiseql_obs.log_operation(operation, entity_id => i::text);
					RAISE EXCEPTION 'x';
				EXCEPTION WHEN OTHERS THEN NULL;
				END;
			END LOOP;
		END $$));
}

sub entries
{
	my ($database) = @_;
	return $node->safe_psql($database // 'postgres', q(
		SELECT string_agg(entries, ', ')
		FROM (SELECT concat_ws(' ', operation, count(*), count(DISTINCT entity_id)) AS entries
			FROM fraiseql_audit.fraiseql_audit_log GROUP BY operation ORDER BY operation) AS e));
}

sub slots
{
	my ($state) = @_;
	return $node->safe_psql('postgres', qq(
		SELECT value FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_audit_ring_slots' AND labels->>'state' = '$state'));
}

my $drain = 'SELECT fraiseql_obs.audit_drain_ring()';

# a batch at a time, oldest first
$node->safe_psql('postgres', q(SELECT fail_many('batch', 450)));
is($node->safe_psql('postgres', $drain), 200, 'a batch');
is( $node->safe_psql('postgres',
		q(SELECT max(entity_id::integer) FROM fraiseql_obs.by_operation('batch', 1000))),
	200, 'of the oldest');
is($node->safe_psql('postgres', "$drain; $drain; $drain"),
	"200\n50\n0", 'and the rest');
is(entries(), 'batch 450 450', 'each once');
is( $node->safe_psql('postgres', q(
		SELECT array_agg(entity_id::integer ORDER BY id) =
			(SELECT array_agg(i) FROM generate_series(1, 450) i)
		FROM fraiseql_audit.fraiseql_audit_log)), 't', 'in their order');

# another database's are not ours
$node->safe_psql('app', q(SELECT fail_many('elsewhere', 3)));
is($node->safe_psql('postgres', $drain), 0, 'nothing here');
is($node->safe_psql('app', $drain), 3, 'but there');
is(entries('app'), 'elsewhere 3 3', 'where they were logged');

# a drainer that has not committed yet, and then does not
$node->safe_psql('postgres', q(SELECT fail_many('taken', 5)));
my $drainer = $node->background_psql('postgres', on_error_stop => 0);
$drainer->query_safe('BEGIN');
is($drainer->query_safe($drain), 5, 'one has taken them');
is($node->safe_psql('postgres', $drain), 0, 'nothing is left for another');
is(slots('filled'), 5, 'they are not free before it commits');
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity WHERE state = 'idle in transaction'");
$drainer->{run}->kill_kill;
is($node->safe_psql('postgres', $drain), 5, 'terminated, it leaves them');
is($node->safe_psql('postgres', $drain), 0, 'once');

# terminated in the midst of writing, which waits for a lock
$node->safe_psql('postgres', q(SELECT fail_many('midst', 5)));
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE fraiseql_audit.fraiseql_audit_log IN EXCLUSIVE MODE');
foreach my $end ('cancel', 'terminate')
{
	$drainer = $node->background_psql('postgres', on_error_stop => 0);
	$drainer->query_until(qr/drains/, "\\echo drains\n$drain;\n");
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
	  or die 'nobody waits';
	$node->safe_psql('postgres',
		"SELECT pg_${end}_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
		"$end: it waits no longer");
	is(slots('filled'), 5, 'and has given back what it had taken');
	$drainer->{run}->kill_kill;
}
$locker->query_safe('COMMIT');
$locker->quit;
is($node->safe_psql('postgres', $drain), 5, 'all are written');

# a log that does not take any row for now
$node->safe_psql('postgres', q(SELECT fail_many('later', 5)));
$node->safe_psql('postgres',
	'ALTER TABLE fraiseql_audit.fraiseql_audit_log RENAME COLUMN trace_id TO trace');
my ($status, $out, $err) = $node->psql('postgres', $drain);
like($err, qr/column "trace_id" .* does not exist/, 'the drain fails');
$node->safe_psql('postgres',
	'ALTER TABLE fraiseql_audit.fraiseql_audit_log RENAME COLUMN trace TO trace_id');
is($node->safe_psql('postgres', $drain), 7, 'and nothing is lost, nor that the table was altered, twice');

# many at once, while more comes in, some of them terminated
my $script = PostgreSQL::Test::Utils::tempdir() . '/drain.sql';
append_to_file($script, "$drain;\n");
my $writers = IPC::Run::start [ 'psql', '-XAtq', '-d', $node->connstr('postgres'),
	map { ('-c', "SELECT fail_many('race', 100)") } 1 .. 40 ];
foreach my $round (1 .. 5)
{
	my @drainers = map {
		IPC::Run::start [
			'pgbench', '-n', '-c', '2', '-t', '40', '-f', $script,
			$node->connstr('postgres')
		  ],
		  '>', \my $out, '2>', \my $err
	} 1 .. 2;
	$node->safe_psql('postgres', q(
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'pgbench' AND pid % 2 = 0));
	$_->finish foreach @drainers;
}
$writers->finish;
1 while $node->safe_psql('postgres', $drain) > 0;
is( $node->safe_psql('postgres', q(
		SELECT count(*), count(DISTINCT details->'_failed'->'id')
		FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'race')),
	'4000|4000', 'many drain at once, and each is written once');
is(slots('free'), 4096, 'all slots are free');

is( $node->safe_psql('postgres', q(
		SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_audit_lost_total')),
	0, 'nothing was lost');


# databases that are dropped take their log along
$node->safe_psql('postgres', 'CREATE DATABASE gone TEMPLATE app');
$node->safe_psql('gone', q(SELECT fail_many('gone', 7)));
$node->safe_psql('app', q(SELECT fail_many('stays', 1)));
my $forget = 'SELECT fraiseql_obs.audit_forget_dropped_databases()';
is($node->safe_psql('postgres', $forget), 0, 'nothing to forget');
$node->safe_psql('postgres', 'DROP DATABASE gone');
is($node->safe_psql('postgres', $forget), 7, 'a database was dropped');
is(slots('filled'), 1, "another's operation is there still");
is( $node->safe_psql('postgres', q(
		SELECT labels->>'cause', value FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_audit_lost_total' AND value > 0)),
	'database_dropped|7', 'counted as lost');

# rows that the table does not take are lost, the others are not
$node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()');
is( $node->safe_psql('app', q(
	ALTER TABLE fraiseql_audit.fraiseql_audit_log ADD CONSTRAINT picky CHECK (entity_id <> 'bad');
	BEGIN;
	DO $$ BEGIN PERFORM fraiseql_obs.log_operation('picky', entity_id => 'good 1'); END $$;
	SAVEPOINT s;
	DO $$ BEGIN PERFORM fraiseql_obs.log_operation('picky', entity_id => 'bad'); EXCEPTION WHEN check_violation THEN END $$;
	ROLLBACK TO s;
	DO $$ BEGIN PERFORM fraiseql_obs.log_operation('picky', entity_id => 'good 2'); END $$;
	ROLLBACK;
	SELECT fraiseql_obs.audit_drain_ring();
	SELECT fraiseql_obs.audit_drain_ring();
	SELECT operation, entity_id, details->'lost' FROM fraiseql_obs.recent_operations(3) ORDER BY id)),
	"3\n0\npicky|good 1|\npicky|good 2|\naudit.lost||{\"rejected\": 1}",
	'what the table does not take is declared as lost');

$node->stop;
done_testing();
