# When the audit ring is full, an operation goes on and is counted if it is
# lost, waits, or is refused, as audit_on_failure says; and the counts are exact.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('ring_full', q(
	fraiseql_obs.audit_ring_slots = 64
	max_prepared_transactions = 5));

$node->safe_psql('postgres', 'SELECT fraiseql_obs.create_audit_log()');
$node->safe_psql('postgres', q(
	CREATE FUNCTION log_many(operation text, n integer) RETURNS bigint
	LANGUAGE sql AS $$
		SELECT count(fraiseql_obs.log_operation(operation)) FROM generate_series(1, n)
	$$));

sub psql
{
	my ($sql) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', $sql, on_error_stop => 0);
	return $err;
}

sub slots
{
	return $node->safe_psql('postgres', q(
		SELECT string_agg(concat_ws(' ', labels->>'state', value), ', ' ORDER BY labels->>'state')
		FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_audit_ring_slots' AND value > 0));
}

sub lost
{
	return $node->safe_psql('postgres', q(
		SELECT string_agg(concat_ws(' ', labels->>'cause', value), ', ' ORDER BY labels->>'cause')
		FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_audit_lost_total' AND value > 0));
}

# Drains everything; "operation n" of the failures that have been added, and
# what was declared lost
my $last_id = 0;

sub drained
{
	1 while $node->safe_psql('postgres',
		'SELECT fraiseql_obs.audit_drain_ring()') > 0;
	my $entries = $node->safe_psql('postgres', qq(
		SELECT string_agg(entry, ', ' ORDER BY entry)
		FROM (SELECT concat_ws(' ', operation, count(*), details->'lost') AS entry
			FROM fraiseql_audit.fraiseql_audit_log
			WHERE id > $last_id AND result = 'failure'
			GROUP BY operation, details->'lost') AS entries));
	$last_id = $node->safe_psql('postgres',
		'SELECT max(id) FROM fraiseql_audit.fraiseql_audit_log');
	return $entries;
}

# continue
psql(q(BEGIN; SELECT log_many('a', 70); COMMIT));
is(slots(), 'free 64', 'more than there is room for, committed');
is(lost(), '', 'of which nothing is lost');
psql(q(BEGIN; SELECT log_many('a', 70); ROLLBACK));
is(slots(), 'filled 64', 'rolled back');
is(lost(), 'ring_full 6', 'of which the rest is lost');
psql(q(
	BEGIN; SELECT log_many('b', 1);
	SAVEPOINT s; SELECT log_many('b', 10);
	SAVEPOINT t; SELECT log_many('b', 100); RELEASE t;
	ROLLBACK TO s;
	SAVEPOINT s; SELECT log_many('b', 1000); RELEASE s;
	COMMIT));
is(lost(), 'ring_full 116', 'only what is rolled back is lost');
is(drained(), 'a 64, audit.lost 1 {"ring_full": 116}',
	'what is lost is declared');
is(lost(), 'ring_full 116', 'and stays counted');
is(drained(), '', 'once');

# a declaration that is rolled back has not been
psql(q(BEGIN; SELECT log_many('a', 65); ROLLBACK));
psql(q(BEGIN; SELECT fraiseql_obs.audit_drain_ring(); ROLLBACK));
psql(q(BEGIN; SAVEPOINT s; SELECT fraiseql_obs.audit_drain_ring(); ROLLBACK TO s; COMMIT));
psql(q(BEGIN; SAVEPOINT s; SELECT fraiseql_obs.audit_drain_ring(); RELEASE s; ROLLBACK));
is(drained(), 'a 64, audit.lost 1 {"ring_full": 1}', 'declared once');

# what is prepared is not followed without a slot
psql(q(
	BEGIN; SELECT log_many('a', 63); ROLLBACK;
	BEGIN; SELECT log_many('b', 3); PREPARE TRANSACTION 'p';
	ROLLBACK PREPARED 'p'));
is(slots(), 'filled 63, prepared 1', 'one is prepared');
is(drained(), 'a 63, audit.lost 1 {"prepared": 2}, b 1',
	'of prepared operations those with a slot are written');
is(slots(), 'free 64', 'all are free');

# fail_operation
psql(q(BEGIN; SELECT log_many('a', 64); ROLLBACK));
my $err = psql(q(
	SET fraiseql_obs.audit_on_failure = fail_operation;
	CREATE TABLE work (a integer);
	BEGIN; INSERT INTO work VALUES (1); SELECT log_many('c', 1); COMMIT));
like(
	$err,
	qr/ERROR:  no room for another operation that could fail\nDETAIL:  All 64 slots of the audit ring are in use, and "fraiseql_obs.audit_on_failure" is "fail_operation".\nHINT:  Drain the ring with fraiseql_obs.audit_drain_ring\(\), or increase "fraiseql_obs.audit_ring_slots"./,
	'refused, and what to do is said');
is($node->safe_psql('postgres', 'SELECT count(*) FROM work'),
	0, 'nothing was done');
is(drained(), 'a 64, audit.lost 1 {"refused": 1}', 'and it is declared');
psql(q(
	SET fraiseql_obs.audit_on_failure = fail_operation;
	BEGIN; SELECT log_many('c', 64); ROLLBACK;
	DO $$ BEGIN
		PERFORM log_many('d', 1);
	EXCEPTION WHEN insufficient_resources THEN NULL;
	END $$));
is(drained(), 'audit.lost 1 {"refused": 1}, c 64',
	'as many as there are slots are done');

# block
psql(q(BEGIN; SELECT log_many('a', 64); ROLLBACK));
$err = psql(q(
	SET fraiseql_obs.audit_on_failure = block;
	SET fraiseql_obs.audit_block_timeout = '100ms';
	SELECT log_many('e', 1)));
like($err, qr/"fraiseql_obs.audit_on_failure" is "block"/, 'waits no longer');
$err = psql(q(
	SET fraiseql_obs.audit_on_failure = block;
	SET fraiseql_obs.audit_block_timeout = '1h';
	SET statement_timeout = '100ms';
	SELECT log_many('e', 1)));
like($err, qr/statement timeout/, 'may be interrupted');
my $waiter = $node->background_psql('postgres');
$waiter->query_safe($_)
  foreach 'SET fraiseql_obs.audit_on_failure = block',
  q(SET fraiseql_obs.audit_block_timeout = '1h');
$waiter->query_until(qr/waits/, "\\echo waits\nSELECT log_many('f', 2);\n");
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Extension'"),
	'one waits');
is(drained(), 'a 64, audit.lost 1 {"refused": 1}', 'until the ring is drained');
$waiter->query_safe('SELECT 1');
$waiter->quit;
is( $node->safe_psql('postgres',
		q(SELECT count(*) FROM fraiseql_obs.by_operation('f', result => 'success'))),
	2, 'and is done then');

# only superusers decide
like(
	psql(q(CREATE ROLE app; SET ROLE app; SET fraiseql_obs.audit_on_failure = continue)),
	qr/permission denied/,
	'not everybody sets the policy');

# Exact, also if many fail at the same time
my @sessions = map { $node->background_psql('postgres') } 1 .. 4;
my $rounds = 25;
$_->query_until(qr/begins/,
	"\\echo begins\n"
	  . "BEGIN; SELECT log_many('g', 40); SAVEPOINT s; SELECT log_many('g', 7); ROLLBACK TO s; ROLLBACK;\n" x $rounds)
  foreach @sessions;
my $written = 0;

sub drain
{
	my $n;
	do
	{
		$n = $node->safe_psql('postgres', 'SELECT fraiseql_obs.audit_drain_ring()');
		$written += $n;
	} while ($n > 0);
	return;
}

drain() foreach 1 .. $rounds;
$_->query_safe('SELECT 1') foreach @sessions;
$_->quit foreach @sessions;
drain();
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'g'"),
	$written, 'each slot was written once');
my $lost = $node->safe_psql('postgres', qq(
	SELECT coalesce(sum((details->'lost'->>'ring_full')::integer), 0)
	FROM fraiseql_audit.fraiseql_audit_log
	WHERE id > $last_id AND operation = 'audit.lost'));
cmp_ok($written, '>', 64, 'several times the ring');
cmp_ok($lost, '>', 0, 'and some were lost');
is($written + $lost, 4 * $rounds * 47,
	'all operations were written or declared lost');
is(slots(), 'free 64', 'all slots are free');

$node->stop;
done_testing();
