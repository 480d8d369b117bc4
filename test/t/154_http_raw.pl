# Whatever is sent to the HTTP endpoint, it is answered or the connection is
# closed, and the next one is served.

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

my ($node, $port) = start_http_node('http_raw');
my $pid = worker_pid($node);
my $host = "Host: x\r\n";
my $end = "Connection: close\r\n\r\n";

foreach my $case (
	[ '200', "GET /healthz HTTP/1.1\r\n${host}Content-Length: 0\r\n$end", 'a body of nothing' ],
	[ '413', "GET /metrics HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello", 'a body' ],
	[ '413', "GET /healthz HTTP/1.1\r\n${host}Content-Length: 1000000000\r\n\r\n", 'a body that is promised' ],
	[ '413', "GET /healthz HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 'a body in chunks' ],
	[ '405', "POST /metrics HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello", 'POST with one' ],
	[ '405', "PUT /metrics HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", 'one that waits to be asked for' ],
	[ '400', "GET /healthz HTTP/1.1\r\n${host}Content-Length: abc\r\n$end", 'a length that is none' ],
	[ '400', "GET /healthz HTTP/1.1\r\n${host}Content-Length: -1\r\n$end", 'a negative one' ],
	[ '400', "GET /healthz HTTP/1.1\r\n$end", 'no host' ],
	[ '400', "GET /healthz\r\n\r\n", 'no version' ],
	[ '505', "GET /healthz HTTP/2.0\r\n${host}$end", 'another version' ],
	[ '405', "G\x01T /healthz HTTP/1.1\r\n${host}$end", 'a bad method' ],
	[ '405', ('X' x 300) . " /healthz HTTP/1.1\r\n${host}$end", 'a long method' ],
	[ '405', "OPTIONS * HTTP/1.1\r\n${host}$end", 'no path' ],
	[ '404', "GET /" . ('a' x 3000) . " HTTP/1.1\r\n${host}$end", 'a long path' ],
	[ '414', "GET /" . ('a' x 100_000) . " HTTP/1.1\r\n${host}$end", 'a huge path' ],
	[ '431', "GET /healthz HTTP/1.1\r\n${host}A: " . ('a' x 100_000) . "\r\n$end", 'a huge header' ],
	[ '431', "GET /healthz HTTP/1.1\r\n$host" . "A: b\r\n" x 20_000 . $end, 'many headers' ],
	[ '404', "GET /\xff\xfe\x80 HTTP/1.1\r\n${host}$end", 'no UTF-8' ],
	[ '400', "GET /metrics?format=%00\xff&format HTTP/1.1\r\n${host}$end", 'no format' ],
	[ '', "nonsense\r\n\r\n", 'a single word, which closes the connection' ],
	[ '400', "GET /metrics?format=js%6Fn HTTP/1.1\r\n${host}$end", 'a format in percents' ],
	[ '200', "GET /health/ready?role=primary&role=replica HTTP/1.1\r\n${host}$end", 'the first role counts' ],
	[ '503', "GET /health/ready?role=replica&role=primary HTTP/1.1\r\n${host}$end", 'whatever follows' ],
	[ '200', "GET /health?role=primary&lag=0 HTTP/1.1\r\n${host}$end", 'health of a role' ],
	[ '503', "GET /health?role=replica HTTP/1.1\r\n${host}$end", 'which it has not' ],
	[ '200', "GET /healthz HTTP/1.0\r\n\r\n", 'HTTP/1.0' ])
{
	my ($status, $bytes, $name) = @$case;
	is(ask($port, $bytes, 20)->{status}, $status, $name);
}

like(ask($port, "GET /healthz HTTP/1.1\r\n${host}Content-Length: 99999999999999999999999\r\n$end", 20)->{status},
	qr/^4(00|13)$/, 'a huge length');

# zero bytes: refused, or what follows them is not seen
foreach my $bytes ("GET /nothing\0/healthz HTTP/1.1\r\n${host}$end", "GET \0/healthz HTTP/1.1\r\n${host}$end")
{
	like(ask($port, $bytes, 20)->{status}, qr/^(40[04])?$/, 'a zero byte in the path');
}
ask($port, "GET /healthz HTTP/1.1\r\n${host}A: b\0c\r\n$end", 20);
is(status_of($port, '/healthz'), 200, 'and in a header');

# several requests at once, and one in many pieces
my $one = "GET /healthz HTTP/1.1\r\n$host\r\n";
my $raw = ask($port, "$one${one}GET /nothing HTTP/1.1\r\n$host\r\n$one" . "GET /metrics HTTP/1.1\r\n$host$end")->{raw};
is(join(' ', $raw =~ m{^HTTP/1\.1 (\d+)}mg), '200 200 404 200 200', 'pipelined requests');
like($raw, qr/fraiseql_obs_build_info.*\n\z/s, 'each with its whole answer');
my $socket = dial($port);
foreach my $byte (split //, "GET /healthz HTTP/1.1\r\n$host$end")
{
	syswrite $socket, $byte;
	sleep 0.01;
}
like(receive($socket), qr{^HTTP/1\.1 200 OK}, 'byte by byte');

# who goes away
foreach (1 .. 20)
{
	my $gone = dial($port);
	syswrite $gone, 'GET /metrics HTTP/1.1';
	close $gone;
	$gone = dial($port);
	syswrite $gone, "GET /metrics HTTP/1.1\r\n$host\r\n" x 10;
	setsockopt $gone, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0);
	close $gone;
}
is(status_of($port, '/healthz'), 200, 'clients that go away');
$socket = dial($port);
syswrite $socket, "GET /healthz HTTP/1.1\r\n$host\r\n";
shutdown $socket, 1;
like(receive($socket), qr{^HTTP/1\.1 200 OK}, 'one that will not send more, and reads');

# noise, the same at each run
srand 4711;
foreach my $round (1 .. 300)
{
	my $noise = join '', map { chr int rand 256 } 1 .. rand 200;
	my $seed = "GET /metrics?format=json HTTP/1.1\r\n${host}Accept: a;q=0.5, b\r\nAccept-Encoding: gzip;q=1\r\nAuthorization: Bearer x\r\n$end";
	substr($seed, rand length $seed, rand 10) = substr $noise, 0, 10 foreach 1 .. 1 + rand 3;
	my $bytes = $round % 2 ? $seed : "$noise\r\n\r\n";
	my $connection = dial($port) or last;
	local $SIG{PIPE} = 'IGNORE';
	syswrite $connection, $bytes;
	shutdown $connection, 1;
	receive($connection, 0.1);
}
is(status_of($port, '/healthz'), 200, 'noise');
is(worker_pid($node), $pid, 'it is the same process to the end');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'and the server has not noticed');
unlike(slurp_file($node->logfile), qr/PANIC|FATAL|ERROR|signal 11|libmicrohttpd/, 'nor its log');
$node->stop;
done_testing();
