# A mistake in the settings of sending spans is told when it is made or in the
# server log, with what to do; secrets are in neither.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $endpoint = OtlpTest::Endpoint->new;
my $node = start_otlp_node('otlp_settings', $endpoint->port);

# What fails has a span, which would be counted.
$ENV{PGOPTIONS} = '-c fraiseql_obs.tracing_enabled=off';

# what an endpoint must be
foreach (
	[ 'localhost:4318', 'must begin with' ],
	[ 'ftp://localhost', 'must begin with' ],
	[ 'http://', 'has no host' ],
	[ 'http://:4318', 'has no host' ],
	[ 'https:///x', 'has no host' ],
	[ 'http://a b', 'must be percent-encoded' ],
	[ "http://a\tb", 'must be percent-encoded' ],
	[ "http://b\xc3\xa4r", 'Punycode' ],
	[ 'http://user:s3cret@localhost', 'no user and no password' ],
	[ 'http://localhost?key=s3cret', 'neither a query nor a fragment' ],
	[ 'http://localhost/#x', 'neither a query nor a fragment' ],
	[ 'http://localhost:99999', 'Its port' ],
	[ 'http://localhost:0/x', 'Its port' ],
	[ 'http://[::1]:http', 'Its port' ],
	[ 'http://localhost:4318/v1/traces', 'which is appended' ],
	[ 'https://localhost/x/v1/traces//', 'which is appended' ],
	[ 'http://' . 'a' x 1000, 'too long' ])
{
	my ($value, $reason) = @$_;
	my ($status, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET fraiseql_obs.otlp_endpoint = '$value'");
	isnt($status, 0, substr($value, 0, 40) . ' is refused');
	like($error, qr/DETAIL: .*\Q$reason\E/, 'with the reason');
}
foreach my $value ('', 'HTTP://LOCALHOST', 'https://[::1]:4318', 'http://[::1]', 'http://localhost:/', 'http://a:65535/x:y', 'http://a/b%20c/', 'http://a/v1/tracesx')
{
	is($node->psql('postgres', "ALTER SYSTEM SET fraiseql_obs.otlp_endpoint = '$value'"), 0, "'$value' is not");
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET fraiseql_obs.otlp_endpoint');
my (undef, undef, $error) = $node->psql('postgres', "SET fraiseql_obs.otlp_endpoint = ''");
like($error, qr/cannot be changed now/, 'not in a session');
(undef, undef, $error) = $node->psql('postgres',
	'CREATE ROLE nobody; SET ROLE nobody; SHOW fraiseql_obs.otlp_endpoint');
like($error, qr/must be superuser|permission denied/, 'not shown to everybody');

delete $ENV{PGOPTIONS};

# files of headers
my $folder = PostgreSQL::Test::Utils::tempdir;
my $begin = -s $node->logfile;
my $n = 0;
my $accepted = 0;

sub with_headers
{
	my ($content, $mode) = @_;
	my $file = "$folder/headers" . $n++;
	append_to_file($file, $content);
	chmod $mode, $file;
	$endpoint->forget;
	configure($node, otlp_headers_file => $file);
	return $file;
}

sub is_told
{
	my ($name, $content, $mode, $message) = @_;
	my $offset = -s $node->logfile;

	with_headers($content, $mode);
	make_spans($node, 1);
	$accepted += 3;
	wait_for("$name is told", sub { slurp_file($node->logfile, $offset) =~ /could not send spans to "[^"]*": $message/ });
	is(scalar @{ $endpoint->requests }, 0, 'and nothing is sent');
	return;
}

is_told('a file for everybody', "Authorization: s3cret\n", 0644, 'headers file "[^"]*" must be readable by its owner alone');
is_told('no header', "a: b\ns3cret\n", 0600, 'line 2 of headers file "[^"]*" is not of the form "name: value"');
is_told('an odd name', "s3 cret: x\n", 0600, 'line 1 of headers file "[^"]*" is not of the form');
is_told('no value', "s3cret: \n", 0600, 'line 1 of headers file "[^"]*" has no value');
is_told('a control character', "a: s3cret\x01\n", 0600, 'line 1 of headers file "[^"]*" has a control character');
is_told('a carriage return', "a: s3cret\rb: c\n", 0600, 'line 1 of headers file "[^"]*" has a control character');
is_told('a header of ours', "x: y\ncontent-LENGTH: 1\n", 0600, 'line 2 of headers file "[^"]*" has a header that cannot be set');
is_told('a zero byte', "a: s3cret\0\n", 0600, 'headers file "[^"]*" has a zero byte');
is_told('a long file', 'a: ' . 'b' x 20000, 0600, 'headers file "[^"]*" is too large');
configure($node, otlp_headers_file => "$folder/none");
wait_for('no file', sub { slurp_file($node->logfile) =~ /could not read headers file/ });

# one that is right, and is exchanged without a reload
my $file = with_headers("# comment: x\n\n  \nAuthorization:Bearer s3cret\nX-A: b c\t\n", 0600);
wait_for('all is sent', sub { otlp($node) =~ /^accepted $accepted,/ });
my $headers = $endpoint->requests->[-1]{headers};
my %sent = map { split /:\s*/, $_, 2 } map { "$_:$headers->{$_}" } keys %$headers;
is($sent{'x-a'}, 'b c', 'a header');
unlink $file;
append_to_file($file, "Authorization: Bearer n3xt\n");
chmod 0600, $file;
$endpoint->forget;
make_spans($node, 1);
wait_for('another token', sub { @{ $endpoint->requests } == 1 });
is($endpoint->requests->[0]{headers}{authorization}, 'Bearer n3xt', 'is sent');
unlike(slurp_file($node->logfile, $begin), qr/s3cret|n3xt/, 'no secret is in the log');

# neither proxies nor redirections
$node->stop;
{
	local $ENV{http_proxy} = 'http://127.0.0.1:1';
	local $ENV{ALL_PROXY} = 'http://127.0.0.1:1';
	$node->start;
}
$endpoint->forget;
make_spans($node, 1);
wait_for('no proxy is used', sub { @{ $endpoint->requests } == 1 });
$endpoint->behave('status', '307 Location: http://127.0.0.1:' . $endpoint->port . '/elsewhere');
make_spans($node, 1);
wait_for('a redirection', sub { otlp($node) =~ /failed 3/ });
is(scalar @{ $endpoint->requests }, 2, 'is not followed');

# the first of two that is not there
$endpoint->behave('ok');
configure($node, otlp_endpoint => 'http://localhost:' . $endpoint->port);
make_spans($node, 1);
wait_for('a host with several addresses', sub { otlp($node) =~ /^accepted 6/ });
configure($node, otlp_endpoint => 'http://no.such.host.invalid');
make_spans($node, 1);
wait_for('a host that is not there', sub { slurp_file($node->logfile) =~ /could not send spans to "http:\/\/no[^"]*": could not resolve host/ });
$node->stop;
done_testing();
