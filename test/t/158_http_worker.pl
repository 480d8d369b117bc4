# The process of the HTTP endpoint comes back when it ends, ends with the
# postmaster, is in nobody's way, and survives what befalls the server.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# Waits until the process is another one, and answers.
sub has_come_back
{
	my ($node, $port, $pid) = @_;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $now = worker_pid($node);
		return wait_for_status($port, '/metrics', 200) if defined $now && $now != $pid;
		sleep 0.1;
	}
	return 0;
}

my ($node, $port) = start_http_node('http_worker', 'restart_after_crash = on');

foreach my $round (1, 2)
{
	my $pid = worker_pid($node);
	kill 'TERM', $pid;
	ok(has_come_back($node, $port, $pid), "comes back after SIGTERM, $round");
}
my $pid = worker_pid($node);
is($node->safe_psql('postgres', 'SELECT fraiseql_obs.http_restart()'), 't', 'http_restart()');
ok(has_come_back($node, $port, $pid), 'begins anew');
(undef, undef, my $error) = $node->psql('postgres', 'CREATE ROLE nobody; SET ROLE nobody; SELECT fraiseql_obs.http_restart()');
like($error, qr/permission denied/, 'which is not for everybody');
foreach my $signal ('INT', 'HUP', 'USR1', 'PIPE')
{
	$pid = worker_pid($node);
	kill $signal, $pid;
	sleep 0.2;
	is(status_of($port, '/healthz') . ' ' . worker_pid($node), "200 $pid", "SIG$signal does no harm");
}

# a second one, which there may be when somebody was quick, leaves
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'HTTP')), '0', 'nobody sees it in pg_stat_activity');

# what waits for all processes of a database does not wait for it
my $hung = dial($port);
syswrite $hung, 'GET /metrics HTTP/1.1';
$node->safe_psql('postgres', 'CREATE DATABASE gone');
my $began = time();
$node->safe_psql('postgres', 'DROP DATABASE gone');
cmp_ok(time() - $began, '<', 4, 'DROP DATABASE beside a client that hangs');
close $hung;

# a backend that crashes takes everybody with it, and the endpoint is back soon
$pid = worker_pid($node);
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $backend = $session->query('SELECT pg_backend_pid()');
kill 'KILL', $backend;
ok(has_come_back($node, $port, $pid), 'comes back after a crash');
eval { $session->quit };
ok($node->poll_query_until('postgres', 'SELECT true'), 'so does the server');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '1', 'listening');

# so does it if it was started later
$node->append_conf('postgresql.conf', 'fraiseql_obs.http_port = 0');
$node->restart;
$node->append_conf('postgresql.conf', "fraiseql_obs.http_port = $port");
$node->reload;
ok(wait_for_status($port, '/healthz', 200), 'started at a reload');
$pid = worker_pid($node);
$session = $node->background_psql('postgres', on_error_stop => 0);
$backend = $session->query('SELECT pg_backend_pid()');
kill 'KILL', $backend;
ok(has_come_back($node, $port, $pid), 'comes back after a crash, too');
eval { $session->quit };
$node->poll_query_until('postgres', 'SELECT true');

# without the postmaster it is not
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
$pid = worker_pid($node);
kill 'KILL', $postmaster;
ok(wait_for_status($port, '/healthz', ''), 'ends when the postmaster dies');
foreach (1 .. 100)
{
	last if !-e "/proc/$pid";
	sleep 0.1;
}
ok(!-e "/proc/$pid", 'at once');
sleep 1;
unlink $node->data_dir . '/postmaster.pid';
$node->{_pid} = undef;
$node->start;
ok(wait_for_status($port, '/metrics', 200), 'the next server has one again');
$node->stop;
unlike(slurp_file($node->logfile), qr/signal 11|PANIC/, 'nothing has crashed');
done_testing();
