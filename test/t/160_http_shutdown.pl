# In a smart shutdown the HTTP endpoint answers until the last session has gone,
# that the server is not ready; in a fast one it ends at once, whoever is
# connected to it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my ($node, $port) = start_http_node('http_shutdown');

my $session = $node->background_psql('app');
$session->query_safe('SELECT 1');
my $stop = IPC::Run::start([ 'pg_ctl', '-D', $node->data_dir, '-m', 'smart', '-w', 'stop' ],
	'>', \my $out, '2>', \my $err);
ok(wait_for_status($port, '/health/ready', 503), 'a smart shutdown: not ready');
is(status_of($port, '/healthz'), 200, 'alive');
is(decode_json(get($port, '/health')->{body})->{checks}{server}{state}, 'stopping', 'and why');
like(get($port, '/metrics')->{body}, qr/datname="app",state="idle"\} 1$/m, 'metrics tell who is left');
is($session->query_safe('SELECT 2'), '2', 'who can do as before');
$session->quit;
$stop->finish;
is(status_of($port, '/healthz'), '', 'and when he has gone, the endpoint has, too');
$node->_update_pid(0);

# clients that hang, in each state
$node->start;
ok(wait_for_status($port, '/healthz', 200), 'the next server');
foreach my $mode ('fast', 'immediate')
{
	my @clients = map { dial($port) } 1 .. 40;
	syswrite $clients[0], 'GET /metrics HTTP/1.1';
	syswrite $clients[1], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" x 10;
	my $began = time();
	$node->stop($mode);
	cmp_ok(time() - $began, '<', 10, "$mode beside clients that hang");
	is(status_of($port, '/healthz'), '', 'nobody is there');
	$node->start;
	ok(wait_for_status($port, '/healthz', 200), 'the port is free for the next server');
}
$node->stop;
done_testing();
