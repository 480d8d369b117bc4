# With a certificate, the HTTP endpoint speaks TLS 1.2 and 1.3 and nothing
# else.  Another certificate takes its place at reload; one that cannot be used
# does not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run qw(run timeout);
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $folder = PostgreSQL::Test::Utils::tempdir;

sub make_certificate
{
	my ($name) = @_;
	my $done = system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$name"
		. " -keyout '$folder/$name.key' -out '$folder/$name.crt' 2>/dev/null") == 0;
	chmod 0600, "$folder/$name.key";
	return $done;
}

plan skip_all => 'no OpenSSL here' if !make_certificate('first');
make_certificate('second');

# What OpenSSL's client is told: (answer, name of the certificate, protocol)
sub openssl_get
{
	my ($to, $path, @options) = @_;
	my ($out, $err) = ('', '');

	eval {
		run [ 'openssl', 's_client', @$to, '-ign_eof', @options ],
		  '<', \"GET $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		  '>', \$out, '2>', \$err, timeout(30);
	};
	my ($status) = $out =~ m{^HTTP/1\.1 (\d+)}m;
	my ($name) = $out =~ /^subject=.*CN ?= ?(\w+)/m;
	my ($protocol) = $out =~ /^New, (TLSv[\d.]+),/m;
	return ($status // '', $name // '', $protocol // '', $out);
}

sub tls_get
{
	my ($port, $path, @options) = @_;
	return openssl_get([ '-connect', "127.0.0.1:$port" ], $path, @options);
}

sub wait_for_certificate
{
	my ($port, $name) = @_;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if (tls_get($port, '/healthz'))[1] eq $name;
		sleep 0.1;
	}
	return 0;
}

sub use_certificate
{
	my ($node, $cert, $key) = @_;
	$node->append_conf('postgresql.conf',
		"fraiseql_obs.http_tls_cert_file = '$cert'\nfraiseql_obs.http_tls_key_file = '$key'");
	$node->reload;
	return;
}

my ($node, $port) = start_http_node('http_tls');
my $keep = dial($port);
use_certificate($node, "$folder/first.crt", "$folder/first.key");
ok(wait_for_certificate($port, 'first'), 'TLS after a reload');
is(receive($keep, 5), '', 'who spoke without is disconnected');
my ($status, $name, $protocol, $out) = tls_get($port, '/metrics');
is("$status $protocol", '200 TLSv1.3', '/metrics');
like($out, qr/^fraiseql_obs_build_info/m, 'all of it');
is(join(' ', (tls_get($port, '/healthz', '-tls1_2'))[ 0, 2 ]), '200 TLSv1.2', 'TLS 1.2');
is((tls_get($port, '/healthz', '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'))[0], '', 'not TLS 1.1');
is(status_of($port, '/healthz'), '', 'nor HTTP without it');

# the Unix-domain socket, too
my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/http';
$node->append_conf('postgresql.conf', "fraiseql_obs.http_listen_addresses = '127.0.0.1, $socket'");
$node->reload;
$node->wait_for_log(qr/listening on "\Q$socket\E"/);
($status) = openssl_get([ '-unix', $socket ], '/healthz');
is($status, '200', 'TLS on a Unix-domain socket');
is(status_of($socket, '/healthz'), '', 'and nothing else');

# a reload of something else disconnects nobody
my @kept = ('openssl', 's_client', '-connect', "127.0.0.1:$port", '-quiet', '-ign_eof');
my ($in, $kept_out, $kept_err) = ('', '', '');
my $kept = IPC::Run::start(\@kept, '<', \$in, '>', \$kept_out, '2>', \$kept_err, timeout(60));
$in = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
$kept->pump until $kept_out =~ /200 OK.*alive/s;
$node->append_conf('postgresql.conf', 'work_mem = 5MB');
$node->reload;
$node->poll_query_until('postgres', q(SELECT current_setting('work_mem') = '5MB'));
sleep 0.5;
($in, $kept_out) = ("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", '');
$kept->finish;
like($kept_out, qr/200 OK/, 'a connection outlives a reload');

# the same files with something else in them, as certbot leaves them
system("cp -p '$folder/second.crt' '$folder/first.crt'; cp -p '$folder/second.key' '$folder/first.key'");
$node->reload;
ok(wait_for_certificate($port, 'second'), 'a certificate that was renewed');

# what cannot be used
make_certificate('third');
append_to_file("$folder/bad.crt", "nonsense\n");
foreach my $case (
	[ "$folder/bad.crt", "$folder/third.key", 'could not start the HTTP server', 'no certificate in the file' ],
	[ "$folder/third.crt", "$folder/second.key", 'could not start the HTTP server', "another certificate's key" ],
	[ "$folder/third.crt", "$folder/none.key", 'could not read private key file ".*none.key"', 'no key' ],
	[ "$folder/third.crt", '', '"fraiseql_obs.http_tls_key_file" is not set', 'no name of a key' ],
	[ '', "$folder/third.key", '"fraiseql_obs.http_tls_cert_file" is not set', 'no name of a certificate' ])
{
	my ($cert, $key, $message, $what) = @$case;
	my $from = -s $node->logfile;
	use_certificate($node, $cert, $key);
	$node->wait_for_log(qr/LOG: .*$message/, $from);
	is((tls_get($port, '/healthz'))[1], 'second', "$what: the certificate of before");
}
chmod 0644, "$folder/third.key";
my $from = -s $node->logfile;
$node->append_conf('postgresql.conf', "fraiseql_obs.http_listen_addresses = '127.0.0.1, 127.0.0.2'");
use_certificate($node, "$folder/third.crt", "$folder/third.key");
$node->wait_for_log(qr/LOG: .*private key file ".*third.key" must be readable by its owner alone/, $from);
is((tls_get($port, '/healthz'))[1], 'second', 'a key that others read: the certificate of before');
is(dial("127.0.0.2:$port"), undef, 'and no new address');
chmod 0600, "$folder/third.key";
ok(wait_for_certificate($port, 'third'), 'what failed is tried again');
ok(dial("127.0.0.2:$port"), 'with the new address');

# with a bad one from the start there is no endpoint rather than one without TLS
use_certificate($node, "$folder/bad.crt", "$folder/third.key");
$from = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/LOG: .*could not start the HTTP server/, $from);
is(status_of($port, '/healthz'), '', 'no TLS, no endpoint');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '0', 'which a metric says');
foreach my $files ([ '', "$folder/third.key" ], [ "$folder/third.crt", '' ])
{
	$from = -s $node->logfile;
	use_certificate($node, @$files);
	$node->restart;
	$node->wait_for_log(qr/LOG: .*"fraiseql_obs.http_tls_(cert|key)_file" is not set/, $from);
	is(status_of($port, '/healthz'), '', 'nor with one of the two files alone');
	is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '0', 'which a metric says, too');
}
use_certificate($node, '', '');
ok(wait_for_status($port, '/healthz', 200), 'unless it is to be without');
$node->stop;
done_testing();
