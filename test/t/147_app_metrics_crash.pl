# Metrics of the application live as long as the server: a restart, or a backend
# that is killed while it records, starts them anew, and whoever had recorded
# before goes on.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run qw(start);
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('app_crash', 'restart_after_crash = on');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
my $count = "SELECT fraiseql_obs.counter_add('before_total')";

$node->safe_psql('app', $count);
is(metric($node, 'before_total'), '1', 'counted');
$node->restart;
is(metric($node, 'before_total'), '', 'a restart forgets');

my $script = $node->basedir . '/write.sql';
append_to_file($script, q(
\set n random(1, 300)
SELECT fraiseql_obs.counter_add('before_total', 1, jsonb_build_object('n', :n));
SELECT fraiseql_obs.record_http_request('GET', '/' || :n, 200, 0.1);
SELECT fraiseql_obs.gauge_set('gauge_' || :n, 1);
));
foreach my $round (1 .. 3)
{
	my $writers = start [ 'pgbench', '-n', '-c', 8, '-j', 2, '-T', 60,
		'-h', $node->host, '-p', $node->port, '-f', $script, 'app' ],
	  '>&', \my $out;
	$node->poll_query_until('postgres',
		q(SELECT sum(value) > 50 FROM fraiseql_obs.metrics() WHERE name = 'before_total'))
	  or die 'nobody writes';
	my $offset = -s $node->logfile;
	my $pid = $node->safe_psql('postgres',
		q(SELECT pid FROM pg_stat_activity WHERE datname = 'app' LIMIT 1));
	kill KILL => $pid;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	$writers->finish;
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come up';

	is(metric($node, 'before_total{n="1"}'), '', "round $round: nothing is left");
	is(metric($node, 'fraiseql_obs_series{family="app"}'), '0', 'no series');
	$node->safe_psql('app', $count) foreach 1 .. 3;
	is(metric($node, 'before_total'), '3', 'and it counts');
}

# A backend that is terminated while it records leaves nothing behind.
reset_counts($node);
my $session = $node->background_psql('app', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->{stdin} .= "SELECT count(fraiseql_obs.counter_add('loop_total')) FROM generate_series(1, 100000000);\n";
$session->{run}->pump_nb;
$node->poll_query_until('postgres',
	q(SELECT value > 1000 FROM fraiseql_obs.metrics() WHERE name = 'loop_total'))
  or die 'nobody writes';
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)"), 't', 'terminated');
my $counted = metric($node, 'loop_total');
cmp_ok($counted, '>', 1000, 'what it counted stays');
$node->safe_psql('postgres', "SELECT fraiseql_obs.reset_metrics('app')");
is(metric($node, 'loop_total'), '', 'and is forgotten at once by a reset');
$session->{run}->kill_kill;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing worse happened');
done_testing();
