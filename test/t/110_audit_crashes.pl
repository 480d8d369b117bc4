# Whatever is killed, and when: what was sealed stays as it was, seals do not
# fork, and that failures may be missing is declared.
#
# FRAISEQL_OBS_CRASH_ROUNDS is how often, 6 times unless it is set.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{FRAISEQL_OBS_CRASH_ROUNDS} // 6;
my $node = start_node('audit_crashes', q(
	fraiseql_obs.audit_worker = on
	fraiseql_obs.audit_seal_interval = 1
	restart_after_crash = on
	checkpoint_timeout = 30s
));
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $anchor;
my %killed;

# A third commits, a third fails, and a third is rolled back.  A client of
# pgbench goes on after this error alone.
my $script = $node->basedir . '/load.sql';
append_to_file($script, <<'LOAD');
\set n random(1, 3)
BEGIN;
SELECT fraiseql_obs.log_operation('load', 'n', :n::text, user_id => 'u' || :client_id);
\if :n = 1
COMMIT;
\elif :n = 2
DO 'BEGIN RAISE serialization_failure; END';
\else
ROLLBACK;
\endif
LOAD

sub start_load
{
	return IPC::Run::start(
		[
			'pgbench', '-n', '-c', 4, '-T', 60, '-f', $script,
			'-h', $node->host, '-p', $node->port, 'app'
		],
		'>', \my $out, '2>', \my $err);
}

sub unclean_starts
{
	return $node->safe_psql('app', qq(
		SELECT count(*) FROM $log
		WHERE operation = 'audit.start' AND (details->>'unclean')::boolean));
}

# Ends a process without any chance to clean up.
sub kill_something
{
	my ($round) = @_;
	my $type = (
		'fraiseql_obs audit worker', 'client backend', 'postmaster',
		'fraiseql_obs audit launcher')[ $round % 4 ];
	my ($status, $pid) = $node->psql('postgres', qq(
		SELECT pid FROM pg_stat_activity
		WHERE backend_type = '$type' AND pid <> pg_backend_pid()
		ORDER BY random() LIMIT 1));

	if (($pid // '') ne '')
	{
		kill 'KILL', $pid;
	}
	else
	{
		my $postmaster = $node->{_pid};

		$type = 'postmaster';
		$node->kill9;
		usleep(10_000) while kill 0, $postmaster;
	}
	$killed{$type}++;
	return $type;
}

# Its children notice that the postmaster is gone, and leave the shared memory.
sub start_again
{
	foreach (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		usleep(100_000);
	}
	die 'the server does not start again';
}

sub violations
{
	my ($arguments) = @_;
	return $node->safe_psql('app', qq(
		SELECT kind, seal_no, message
		FROM fraiseql_obs.verify_audit_log($arguments)
		WHERE severity = 'violation'));
}

$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
$node->poll_query_until('app', "SELECT count(*) > 0 FROM $log WHERE operation = 'audit.start'")
  or die 'no worker';

my ($undeclared, $violated) = (0, 0);
foreach my $round (1 .. $rounds)
{
	my $before = unclean_starts();
	my $load = start_load();

	usleep(300_000 + rand(1_200_000));
	my $type = kill_something($round);
	$load->kill_kill(grace => 0);
	start_again() if $type eq 'postmaster';
	unless ($node->poll_query_until('app', qq(
		SELECT count(*) > $before FROM $log
		WHERE operation = 'audit.start' AND (details->>'unclean')::boolean)))
	{
		$undeclared++;
		diag("round $round: that a $type was killed is not declared");
	}

	my $found = violations('');
	$found .= violations("anchor => \$anchor\$$anchor\$anchor\$") if defined $anchor;
	if ($found ne '')
	{
		$violated++;
		diag("round $round, $type killed: $found");
	}
	$anchor = $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()') . "\n";
}
note(join ', ', map { "$killed{$_} times $_" } sort keys %killed);
is($undeclared, 0, "each crash is declared, in $rounds rounds");
is($violated, 0, 'what was sealed stays, and seals do not fork');
cmp_ok(unclean_starts(), '>=', $rounds, 'one entry a crash');
$node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log()');
is($node->safe_psql('app', qq(
	SELECT (SELECT count(*) FROM $log) - sum(n) FROM fraiseql_audit.fraiseql_audit_seals)),
	'0', 'every row is in one seal');
$node->stop;
done_testing();
