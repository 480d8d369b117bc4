# What the tests of the HTTP endpoint share: a server with one, and a client
# that sends what it is told, byte by byte.

package HttpTest;

use strict;
use warnings FATAL => 'all';

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use ModuleTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use parent 'Exporter';
our @EXPORT = qw(start_http_node need_endpoint free_port get ask dial receive
  status_of wait_for_status worker_pid);

sub free_port
{
	return PostgreSQL::Test::Cluster::get_free_port();
}

# The test needs the module, which is built where libmicrohttpd is.
sub need_endpoint
{
	my ($node) = @_;

	need_module($node, 'fraiseql_obs_http', 'libmicrohttpd');
	return;
}

# A running server with an endpoint on a port, which is returned, too
sub start_http_node
{
	my ($name, $conf, %init) = @_;
	my $port = free_port();
	my $node = start_node($name,
		"fraiseql_obs.http_port = $port\n" . ($conf // ''), %init);

	need_endpoint($node);
	wait_for_status($port, '/healthz', 200);
	return ($node, $port);
}

# A connection: to a port of this machine, to "address:port", or to the path of
# a Unix-domain socket; undef if there is nobody
sub dial
{
	my ($to, %options) = @_;

	return IO::Socket::UNIX->new(Peer => $to) if $to =~ m{^/};
	return IO::Socket::INET->new(
		PeerAddr => $to =~ /:/ ? $to : "127.0.0.1:$to",
		Timeout => 10,
		%options);
}

# What comes until the other side closes, or for so many seconds
sub receive
{
	my ($socket, $seconds) = @_;
	my $deadline = time() + ($seconds // 30);
	my $select = IO::Select->new($socket);
	my $received = '';

	while ((my $left = $deadline - time()) > 0)
	{
		next if !$select->can_read($left);
		my $n = sysread $socket, $received, 1 << 20, length $received;
		last if !$n;
	}
	return $received;
}

# Sends these bytes; the answer as {status, headers, body, raw}, with the names
# of headers in lower case; status is '' if there is none.
sub ask
{
	my ($to, $bytes, $seconds) = @_;
	my $socket = dial($to) or return { status => '', headers => {}, body => '', raw => '' };

	local $SIG{PIPE} = 'IGNORE';
	syswrite $socket, $bytes;
	my $raw = receive($socket, $seconds);
	my ($head, $body) = split /\r\n\r\n/, $raw, 2;
	my ($first, @lines) = split /\r\n/, $head // '';
	my ($status) = ($first // '') =~ m{^HTTP/1\.1 (\d+) };
	my %headers = map { /^([^:]+): (.*)$/ ? (lc $1 => $2) : () } @lines;

	return {
		status => $status // '',
		headers => \%headers,
		body => $body // '',
		raw => $raw
	};
}

# GET or another method, with headers
sub get
{
	my ($to, $path, %headers) = @_;
	my $method = delete $headers{method} // 'GET';
	my %all = (Host => 'test', Connection => 'close', %headers);

	return ask($to,
			"$method $path HTTP/1.1\r\n"
		  . join('', map { "$_: $all{$_}\r\n" } sort keys %all)
		  . "\r\n");
}

sub status_of
{
	my ($to, $path, %headers) = @_;
	return get($to, $path, %headers)->{status};
}

# Waits until the endpoint answers so; '' is no answer at all.
sub wait_for_status
{
	my ($to, $path, $status) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if status_of($to, $path) eq $status;
		sleep 0.1;
	}
	return 0;
}

# The worker's process
sub worker_pid
{
	my ($node) = @_;

	return process_titled($node, 'fraiseql_obs HTTP endpoint');
}

1;
