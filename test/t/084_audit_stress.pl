# Sessions that log operations in random transactions, with savepoints and
# PL/pgSQL blocks that end in random ways, while others drain: afterwards each
# operation has one entry, and it says how the operation ended.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_stress', q(
	fraiseql_obs.audit_ring_slots = 8192
	log_min_messages = fatal));

$node->safe_psql('postgres', q(
	SELECT fraiseql_obs.create_audit_log();
	CREATE TABLE once (a integer PRIMARY KEY);
	INSERT INTO once VALUES (1)));

my $seed = $ENV{FRAISEQL_OBS_SEED} // time;
srand $seed;
note "FRAISEQL_OBS_SEED=$seed";

my @errors = ('SELECT 1 / 0', 'INSERT INTO once VALUES (1)',
	'TABLE nowhere', 'SELEKT');

my %expected;
my $operations = 0;

sub any
{
	return $_[ rand @_ ];
}

# A call that logs a new operation; its number goes to the list
sub operation
{
	my ($logged) = @_;
	push @$logged, ++$operations;
	return "fraiseql_obs.log_operation('stress', 'Round', '$operations')";
}

sub end
{
	my ($logged, $result) = @_;
	$expected{$_} = $result foreach @$logged;
	return;
}

# A PL/pgSQL block; its operations are added to those of around it, or have
# ended with it
sub block
{
	my ($logged, $depth) = @_;
	my @inner;
	my $body = '';

	foreach (1 .. 1 + rand 3)
	{
		$body .= $depth < 3 && rand() < 0.4
		  ? block(\@inner, $depth + 1)
		  : 'PERFORM ' . operation(\@inner) . ';';
	}
	if (rand() < 0.5)
	{
		push @$logged, @inner;
		return "BEGIN $body EXCEPTION WHEN OTHERS THEN NULL; END;";
	}
	end(\@inner, 'failure');
	my $error = any(q(PERFORM 1 / 0), q(RAISE unique_violation),
		q(INSERT INTO once VALUES (1)), q(RAISE 'x'));
	return "BEGIN $body $error; EXCEPTION WHEN OTHERS THEN "
	  . (rand() < 0.3 ? 'PERFORM ' . operation($logged) : 'NULL')
	  . '; END;';
}

# The statements of a (sub)transaction, without its begin and end
sub statements
{
	my ($logged, $depth) = @_;
	my $sql = '';

	foreach (1 .. 1 + rand 4)
	{
		my $what = rand;

		if ($what < 0.5)
		{
			$sql .= 'SELECT ' . operation($logged) . ";\n";
		}
		elsif ($what < 0.7)
		{
			$sql .= 'DO $$ BEGIN ' . block($logged, 0) . " END \$\$;\n";
		}
		elsif ($depth < 4)
		{
			my @inner;
			$sql .= "SAVEPOINT s$depth;\n" . statements(\@inner, $depth + 1);
			if (rand() < 0.5)
			{
				push @$logged, @inner;
				$sql .= "RELEASE s$depth;\n";
			}
			else
			{
				end(\@inner, 'failure');
				$sql .= any(@errors) . ";\n" if rand() < 0.5;
				$sql .= "ROLLBACK TO s$depth;\n";
			}
		}
	}
	return $sql;
}

sub transaction
{
	my @logged;
	my $sql = "BEGIN;\n" . statements(\@logged, 0);

	if (rand() < 0.4)
	{
		end(\@logged, 'success');
		return $sql . "COMMIT;\n";
	}
	end(\@logged, 'failure');
	$sql .= any(@errors) . ";\n" if rand() < 0.5;
	return $sql . "ROLLBACK;\n";
}

my @sessions;
foreach my $session (1 .. 4)
{
	my $file = PostgreSQL::Test::Utils::tempdir() . "/session$session.sql";
	my @unfinished;

	append_to_file($file, transaction()) foreach 1 .. 150;

	# and it leaves in the midst of one
	append_to_file($file, "BEGIN;\n" . statements(\@unfinished, 0));
	end(\@unfinished, 'failure');
	push @sessions,
	  IPC::Run::start [ 'psql', '-XAtq', '-f', $file, $node->connstr('postgres') ],
	  '>', \my $out, '2>', \my $err;
}
my $script = PostgreSQL::Test::Utils::tempdir() . '/drain.sql';
append_to_file($script, "SELECT fraiseql_obs.audit_drain_ring();\n");
my $drainers = IPC::Run::start [
	'pgbench', '-n', '-c', '2', '-T', '3600', '-f', $script,
	$node->connstr('postgres')
  ],
  '>', \my $out, '2>', \my $err;
$_->finish foreach @sessions;
$drainers->signal('TERM');
$drainers->finish;
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'");
1 while $node->safe_psql('postgres', 'SELECT fraiseql_obs.audit_drain_ring()') > 0;

my %got;
foreach my $row (split /\n/, $node->safe_psql('postgres', q(
	SELECT entity_id, result FROM fraiseql_audit.fraiseql_audit_log
	WHERE operation = 'stress')))
{
	my ($number, $result) = split /\|/, $row;
	$got{$number} = exists $got{$number} ? "$got{$number} and $result" : $result;
}
my @wrong = grep { ($got{$_} // 'none') ne $expected{$_} } sort keys %expected;
is_deeply(
	[ map { "$_: " . ($got{$_} // 'none') . ", not $expected{$_}" } @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ] ],
	[], "each of $operations operations has its entry");
is(scalar keys %got, $operations, 'and there is no other');
my $failures = grep { $_ eq 'failure' } values %expected;
cmp_ok($failures, '>', $operations / 4, "$failures of them have failed");
is( $node->safe_psql('postgres', q(
	SELECT string_agg(concat_ws(' ', labels->>'state', value), ', ')
	FROM fraiseql_obs.metrics()
	WHERE name = 'fraiseql_obs_audit_ring_slots' AND value > 0)),
	'free 8192', 'all slots are free');
is( $node->safe_psql('postgres', q(
	SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_audit_lost_total')),
	0, 'nothing was lost');
is( $node->safe_psql('postgres', q(
	SELECT string_agg(concat_ws(' ', labels->>'result', value), ', ' ORDER BY labels->>'result')
	FROM fraiseql_obs.metrics()
	WHERE name = 'fraiseql_obs_audit_events_total' AND value > 0)),
	"failure $failures, success " . ($operations - $failures),
	'and the metrics say the same');

$node->stop;
done_testing();
