# Clients that send nothing, a byte now and then, or do not read, as many as
# there may be and more, are in nobody's way: a probe is answered within six
# seconds at the worst.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);

my ($node, $port) = start_http_node('http_slow_clients', 'fraiseql_obs.max_operations = 1000');
my $pid = worker_pid($node);

# The longest of some probes
sub worst_probe
{
	my ($n) = @_;
	my $worst = 0;
	foreach (1 .. $n)
	{
		my $began = time();
		my $answer = ask($port, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 20);
		return 1000 if $answer->{status} ne '200';
		$worst = time() - $began if time() - $began > $worst;
	}
	return $worst;
}

sub is_closed
{
	my ($socket, $seconds) = @_;
	my $select = IO::Select->new($socket);
	return $select->can_read($seconds) && !sysread $socket, my $ignored, 1;
}

# Sends some more to all, which fails for those that were closed
sub send_all
{
	my ($bytes, @sockets) = @_;
	local $SIG{PIPE} = 'IGNORE';
	syswrite $_, $bytes foreach @sockets;
	return;
}

cmp_ok(worst_probe(20), '<', 6, 'a probe');

# idle, and far more than there may be
my @idle = map { dial($port) } 1 .. 150;
cmp_ok(worst_probe(10), '<', 6, 'beside those that send nothing');
my $began = time();
ok(is_closed($idle[-1], 20), 'they are disconnected');
cmp_ok(time() - $began, '<', 7, 'after five seconds');
cmp_ok(metric($node, 'fraiseql_obs_endpoint_connections_closed_total{reason="limit"}'), '>=', 100, 'most at once');
cmp_ok(metric($node, 'fraiseql_obs_endpoint_connections_closed_total{reason="deadline"}'), '>=', 1, 'the others then');
@idle = ();

# a header now and then, so that they are never without activity
my @drip = map { dial($port) } 1 .. 40;
send_all("GET /metrics HTTP/1.1\r\n", @drip);
$began = time();
my $worst = 0;
my $first_closed = 0;
while (time() - $began < 8)
{
	send_all("A: b\r\n", @drip);
	my $probe = worst_probe(1);
	$worst = $probe if $probe > $worst;
	sleep 0.2;
}
cmp_ok($worst, '<', 6, 'beside those that drip');
ok(is_closed($drip[-1], 0.1), 'they are disconnected, too');
@drip = ();

# operations with series, so that answers do not fit into what sockets hold
$node->safe_psql('app', join ';', map { op("operation_number_$_" => 'SELECT 1') } 1 .. 1000);
cmp_ok(length get($port, '/metrics')->{body}, '>', 1_000_000, 'a large answer');

# do not read, or a little now and then
my @slow;
foreach (1 .. 60)
{
	socket my $socket, PF_INET, SOCK_STREAM, 0 or die;
	setsockopt $socket, SOL_SOCKET, SO_RCVBUF, 4096;
	connect $socket, sockaddr_in($port, inet_aton('127.0.0.1')) or die;
	push @slow, $socket;
}
send_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" x 3, @slow);
cmp_ok(worst_probe(10), '<', 6, 'beside those that do not read');
is(get($port, '/metrics')->{status}, 200, 'a scrape is answered, too');
$began = time();
$worst = 0;
while (time() - $began < 12)
{
	foreach my $socket (@slow)
	{
		my $select = IO::Select->new($socket);
		sysread $socket, my $ignored, 100 if $select->can_read(0);
	}
	my $probe = worst_probe(1);
	$worst = $probe if $probe > $worst;
	sleep 0.2;
}
cmp_ok($worst, '<', 6, 'beside those that read a little now and then');
is(metric($node, 'fraiseql_obs_endpoint_connections'), '0', 'they are disconnected after ten seconds');
@slow = ();

# an open connection is kept for the next request, but takes nobody's place
my @kept = map { dial($port) } 1 .. 30;
send_all("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", @kept);
sleep 6;
my @more = map { dial($port) } 1 .. 20;
cmp_ok(worst_probe(5), '<', 6, 'beside those that are kept open');
my ($oldest, $newest) = @kept[ 0, -1 ];
like(receive($oldest, 1), qr/200 OK/, 'they were answered');
send_all("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", $newest);
like(receive($newest, 5), qr/200 OK.*200 OK/s, 'and are, after a pause');
ok(is_closed($oldest, 1), 'unless somebody else needed the place');

is(worker_pid($node), $pid, 'all by the same process');
my ($threads) = slurp_file("/proc/$pid/status") =~ /^Threads:\s+(\d+)/m;
is($threads, '1', 'with one thread');
$node->stop;
done_testing();
