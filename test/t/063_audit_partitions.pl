# An append never fails because a partition is missing: it is made on demand,
# once, also by two sessions at a time, and by a transaction whose snapshot is
# older than the partition.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_partitions', 'fraiseql_obs.audit_guard = off');
my $append = q(SELECT fraiseql_obs.log_operation('create', user_id => 'u') > 0;);
my $partitions = q(SELECT count(*) FROM pg_inherits
	WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass);

# Removes all partitions; what is in them goes along.
sub drop_partitions
{
	$node->safe_psql(
		'postgres', q(
		DO $$
		DECLARE
			partition regclass;
		BEGIN
			FOR partition IN
				SELECT inhrelid FROM pg_inherits
				WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass
			LOOP
				EXECUTE format('ALTER TABLE fraiseql_audit.fraiseql_audit_log
					DETACH PARTITION %s', partition);
				EXECUTE format('DROP TABLE %s', partition);
			END LOOP;
		END
		$$));
	return;
}

sub rows
{
	return $node->safe_psql('postgres',
		'SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log');
}

$node->safe_psql('postgres', 'CREATE ROLE part_owner; CREATE ROLE part_writer LOGIN');
$node->safe_psql('postgres',
	q(SELECT fraiseql_obs.create_audit_log(owner => 'part_owner', tenant_isolation => true);
	  SELECT fraiseql_obs.grant_audit_writer('part_writer')));
cmp_ok($node->safe_psql('postgres', $partitions), '>=', 8, 'made ahead');

# one session
drop_partitions();
is( $node->safe_psql('postgres', "SET ROLE part_writer; $append $append"),
	"t\nt",
	'an append makes what it misses');
is($node->safe_psql('postgres', $partitions), 1, 'one partition');
is(rows(), 2, 'with the rows');
is( $node->safe_psql(
		'postgres', q(
		SELECT relowner::regrole, relrowsecurity,
			(SELECT count(*) FROM pg_policy WHERE polrelid = c.oid),
			(SELECT string_agg(tgname || ' ' || tgenabled::text, ',' ORDER BY tgname)
			 FROM pg_trigger WHERE tgrelid = c.oid)
		FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
		WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass)),
	'part_owner|t|1|fraiseql_audit_append_only A,fraiseql_audit_door O',
	'dressed as those that are made ahead');

# an older snapshot
drop_partitions();
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	is( $node->safe_psql(
			'postgres', "BEGIN ISOLATION LEVEL $level; SELECT 1;
			$append $append COMMIT;"),
		"1\nt\nt",
		"$level makes a partition, and writes to it");
	is(rows(), 2, "$level: with the rows");
	drop_partitions();
}

# a partition that is made and rolled back is made again
is( $node->safe_psql(
		'postgres', "BEGIN; $append ROLLBACK; $append BEGIN; SAVEPOINT s; $append ROLLBACK TO s; $append COMMIT;"),
	"t\nt\nt\nt",
	'rolled back');
is(rows(), 2, 'what was rolled back is not there');
drop_partitions();
is( $node->safe_psql(
		'postgres', "BEGIN; SAVEPOINT s; $append ROLLBACK TO s; $append COMMIT; $append"),
	"t\nt\nt",
	'rolled back with a savepoint');
is(rows(), 2, 'made again');

# A session that knows its partition learns that it is gone.
is( $node->safe_psql(
		'postgres', "$append DO \$\$ DECLARE p regclass; BEGIN
			FOR p IN SELECT inhrelid FROM pg_inherits
				WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass
			LOOP EXECUTE format('ALTER TABLE fraiseql_audit.fraiseql_audit_log
				DETACH PARTITION %s', p); EXECUTE format('DROP TABLE %s', p);
			END LOOP; END \$\$; $append"),
	"t\nt",
	'a partition that a session knew is gone');
is(rows(), 1, 'and made again');

# While one session has made a partition and not yet committed, others wait for
# it: they take its partition, or make theirs if it goes away.
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my @sessions;
	my $gate = $node->background_psql('postgres');

	drop_partitions();
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	foreach my $sql (
		"BEGIN; $append SELECT pg_advisory_xact_lock(1); $end;",
		$append,
		"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; $append COMMIT;")
	{
		my ($out, $err) = ('', '');
		push @sessions,
		  {
			run => IPC::Run::start(
				[
					'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d',
					$node->connstr('postgres'), map { ('-c', $_) } split /(?<=;) */, $sql ],
				'<', \undef, '>', \$out, '2>', \$err),
			err => \$err
		  };
		next if @sessions > 1;
		$node->poll_query_until('postgres',
			q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'))
		  or die 'the first session does not hold what it made';
	}
	$node->poll_query_until('postgres',
		q(SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event_type = 'Lock'))
	  or die 'the others do not wait';
	$gate->quit;
	foreach my $session (@sessions)
	{
		ok($session->{run}->finish, "$end: a session is done")
		  or diag(${ $session->{err} });
	}
	is(rows(), $end eq 'COMMIT' ? 3 : 2, "$end: every row of all sessions");
	is($node->safe_psql('postgres', $partitions), 1, "$end: one partition");
}

# eight sessions at a time, in every round without a partition
my $errors = 0;
foreach my $round (1 .. 5)
{
	my @clients;

	drop_partitions();
	foreach my $number (1 .. 8)
	{
		my ($out, $err) = ('', '');
		push @clients, {
			run => IPC::Run::start(
				[
					'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d',
					$node->connstr('postgres') . ' options=' . (
						$number % 2
						? "'-c default_transaction_isolation=repeatable\\\\ read'"
						: "''"), '-c', $append, '-c', $append ],
				'<', \undef, '>', \$out, '2>', \$err),
			err => \$err
		};
	}
	foreach my $client (@clients)
	{
		next if $client->{run}->finish;
		$errors++;
		diag(${ $client->{err} });
	}
	is(rows(), 16, "round $round: every row of all sessions");
	is($node->safe_psql('postgres', $partitions), 1, "round $round: one partition");
}
is($errors, 0, 'no session failed');

$node->stop;
done_testing();
