# Where the HTTP endpoint listens follows the configuration, and a mistake in it
# costs nobody the endpoint that there was.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IO::Socket::INET;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

sub configure
{
	my ($node, @settings) = @_;
	$node->append_conf('postgresql.conf', join "\n", map { "fraiseql_obs.$_" } @settings);
	$node->reload;
	return;
}

my ($node, $first) = start_http_node('http_settings');
my ($second, $third) = (free_port(), free_port());
my $pid = worker_pid($node);

configure($node, "http_port = $second");
ok(wait_for_status($second, '/healthz', 200), 'another port');
ok(wait_for_status($first, '/healthz', ''), 'in place of the first');

# a port that somebody else has
my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $third, Listen => 1, ReuseAddr => 1);
my $from = -s $node->logfile;
configure($node, "http_port = $third");
$node->wait_for_log(qr/LOG:  HTTP endpoint could not listen on any address\n.*DETAIL:  "127\.0\.0\.1:$third": Address already in use\.\n.*HINT:  It listens where it did before, /, $from);
is(status_of($second, '/healthz'), 200, 'a port that is taken leaves the old one');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '0', 'which a metric says');
sleep 3.5;
my $log = slurp_file($node->logfile, $from);
is(scalar(() = $log =~ /could not listen/g), 1, 'and the log once, though it was tried again');
close $other;
ok(wait_for_status($third, '/healthz', 200), 'until it is free');
ok(wait_for_status($second, '/healthz', ''), 'then the old one is closed');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '1', 'and the metric is what it was');

# other addresses, of which one is in the way of the other
configure($node, "http_listen_addresses = '*'");
ok(wait_for_status("127.0.0.2:$third", '/healthz', 200), 'all addresses');
is(status_of($third, '/healthz'), 200, 'the old one among them');
configure($node, "http_listen_addresses = 'localhost'");
ok(wait_for_status("127.0.0.2:$third", '/healthz', ''), 'a name');
is(status_of($third, '/healthz'), 200, 'which is the old address');

foreach my $wrong ('no.such.host.invalid', '300.1.1.1', '192.0.2.1', '"', '/no/such/folder/socket', '/' . 'x' x 200)
{
	$from = -s $node->logfile;
	configure($node, "http_listen_addresses = '$wrong'");
	$node->wait_for_log(qr/LOG:  HTTP endpoint could not listen on any address/, $from);
	is(status_of($third, '/healthz'), 200, substr("$wrong leaves the old one", 0, 50));
}

# as many mistakes as there can be addresses, and more
foreach my $n (16, 20)
{
	$from = -s $node->logfile;
	configure($node, "http_listen_addresses = '" . join(',', map { "198.51.100.$_" } 1 .. $n) . "'");
	$node->wait_for_log(qr/LOG:  HTTP endpoint could not listen on any address/, $from);
	is(status_of($third, '/healthz'), 200, "$n wrong addresses leave the old one");
}
$from = -s $node->logfile;
configure($node, "http_listen_addresses = '127.0.0.1, 127.0.0.2'");
ok(wait_for_status("127.0.0.2:$third", '/healthz', 200), 'then another');
is(status_of($third, '/healthz'), 200, 'beside the old one');
unlike(slurp_file($node->logfile, $from), qr/could not listen/, 'which is not in its own way');

# Unix-domain sockets, one of them left over from somebody who crashed
my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/http';
my $stale = IO::Socket::UNIX->new(Local => $socket, Listen => 1) or die;
close $stale;
ok(-S $socket, 'a socket that nobody listens on');
configure($node, "http_listen_addresses = '$socket, 127.0.0.1'");
ok(wait_for_status($socket, '/metrics', 200), 'a Unix-domain socket');
is(status_of($third, '/healthz'), 200, 'beside an address');
is(sprintf('%o', (stat $socket)[2] & 07777), '660', 'for its owner and group');
my $used = "$socket.used";
my $user = IO::Socket::UNIX->new(Local => $used, Listen => 1) or die;
$from = -s $node->logfile;
configure($node, "http_listen_addresses = '$used'");
$node->wait_for_log(qr/DETAIL:  ".*used": Address already in use/, $from);
ok(-S $used, "somebody else's socket is left alone");
is(status_of($socket, '/healthz'), 200, 'and the old one stays');
append_to_file("$socket.txt", 'text');
$from = -s $node->logfile;
configure($node, "http_listen_addresses = '$socket.txt'");
$node->wait_for_log(qr/DETAIL:  ".*txt": Address already in use/, $from);
is(slurp_file("$socket.txt"), 'text', 'as is a file');

# off and on
configure($node, "http_listen_addresses = '127.0.0.1'", 'http_port = 0');
ok(wait_for_status($third, '/healthz', ''), 'off');
ok(!-e $socket, 'the socket has no file any more');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '', 'nor the endpoint metrics');
my (undef, undef, $error) = $node->psql('postgres', 'SELECT fraiseql_obs.http_restart()');
like($error, qr/ERROR:  the HTTP endpoint is turned off\nHINT: /, 'there is nothing to start again');
configure($node, "http_port = $first");
ok(wait_for_status($first, '/healthz', 200), 'and on');
is(worker_pid($node), $pid, 'all by the same process');

# from the start: first nobody can listen, and the server runs all the same
$other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $third, Listen => 1, ReuseAddr => 1);
$node->append_conf('postgresql.conf', "fraiseql_obs.http_port = $third");
$from = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/LOG:  HTTP endpoint could not listen on any address\n.*DETAIL:  .*\n.*HINT:  It tries again, /, $from);
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '0', 'a server whose port is taken starts');
close $other;
ok(wait_for_status($third, '/healthz', 200), 'and gets it later');

# off at the start, and on later
configure($node, 'http_port = 0');
$node->restart;
is(worker_pid($node), undef, 'no process where it is off');
configure($node, "http_port = $first");
ok(wait_for_status($first, '/healthz', 200), 'one at a reload');
is($node->safe_psql('postgres', 'SELECT fraiseql_obs.http_restart()'), 't', 'which can be told to begin anew');
ok(wait_for_status($first, '/healthz', 200), 'and does');
$node->stop('fast');
is(status_of($first, '/healthz'), '', 'and ends with the server');
done_testing();
