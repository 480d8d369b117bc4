# The HTTP endpoint listens on all addresses and on one of them at a time, which
# the kernel does not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IO::Socket::INET;
use IO::Socket::IP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = start_http_node('http_addresses', "fraiseql_obs.http_listen_addresses = '127.0.0.1'\n");
my $one = "127.0.0.1:$port";
my $another = "127.0.0.2:$port";
my $from = -s $node->logfile;

sub listen_on
{
	my ($addresses) = @_;
	$node->append_conf('postgresql.conf', "fraiseql_obs.http_listen_addresses = '$addresses'");
	$node->reload;
	return;
}

# What the metric says, once it does
sub is_up
{
	my ($up, $name) = @_;
	$node->poll_query_until('postgres', "SELECT value = $up FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_endpoint_listener_up'");
	return is(metric($node, 'fraiseql_obs_endpoint_listener_up'), $up, $name);
}

is(status_of($another, '/healthz'), '', 'one address');
foreach my $both ('127.0.0.1, 0.0.0.0', '0.0.0.0, 127.0.0.1', '127.0.0.1, *')
{
	listen_on($both);
	ok(wait_for_status($another, '/healthz', 200), "$both: all");
	is(status_of($one, '/healthz'), 200, 'and the one');
	is_up(1, 'says the metric');
	listen_on('127.0.0.1');
	ok(wait_for_status($another, '/healthz', ''), 'the one alone');
	is(status_of($one, '/healthz'), 200, 'is listened on');
	is_up(1, 'says the metric');
}
listen_on('0.0.0.0');
ok(wait_for_status($another, '/healthz', 200), 'all');
listen_on('127.0.0.1, 0.0.0.0');
$node->restart;
ok(wait_for_status($another, '/healthz', 200), 'both from the start');
is(status_of($one, '/healthz'), 200, 'the one, too');
unlike(slurp_file($node->logfile, $from), qr/could not listen/, 'nothing was in its own way');

SKIP:
{
	skip 'no IPv6', 6 if !IO::Socket::IP->new(LocalHost => '::1', Listen => 1);
	my $six = sub {
		my $socket = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port) or return '';
		syswrite $socket, "GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
		return receive($socket) =~ m{^HTTP/1\.1 (\d+)} ? $1 : '';
	};
	listen_on('127.0.0.1, ::1');
	ok(wait_for_status($another, '/healthz', ''), 'one address of each kind');
	is($six->(), 200, 'that of IPv6');
	$from = -s $node->logfile;
	listen_on('127.0.0.1, ::1, ::');
	$node->wait_for_log(qr/HTTP endpoint is listening on "\[::\]:$port"/, $from);
	is($six->(), 200, 'all of IPv6');
	is(status_of($one, '/healthz'), 200, 'are not in the way of IPv4');
	is(status_of($another, '/healthz'), '', 'nor among it');
	unlike(slurp_file($node->logfile, $from), qr/could not listen/, 'nothing is in the way');
}

# somebody else has an address, so that not all can be had
listen_on('127.0.0.1');
ok(wait_for_status($another, '/healthz', ''), 'one address');
my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => $port, Listen => 1, ReuseAddr => 1) or die;
$from = -s $node->logfile;
listen_on('127.0.0.1, 0.0.0.0');
$node->wait_for_log(qr/LOG:  HTTP endpoint could not listen on all addresses\n.*DETAIL:  "0\.0\.0\.0:$port": Address already in use\./, $from);
is(status_of($one, '/healthz'), 200, 'then the one is listened on');
is_up(0, 'and the metric says that not all are');
close $other;
ok(wait_for_status($another, '/healthz', 200), 'until they can be had');
is_up(1, 'and the metric says that');
$node->stop;
done_testing();
