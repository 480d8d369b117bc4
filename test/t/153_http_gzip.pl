# Whoever asks for it gets a compressed answer, unless from the machine itself.

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

eval { require IO::Uncompress::Gunzip; 1 } or plan skip_all => 'no IO::Uncompress::Gunzip';

# An address of this machine that is not its loopback's: what would be ours if
# we sent something far away, which we do not
my $probe = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '192.0.2.1', PeerPort => 9);
my $address = $probe ? $probe->sockhost : '';
plan skip_all => 'this machine has no address' if $address =~ /^(127\.|0\.0\.0\.0|$)/;

my ($node, $port) = start_http_node('http_gzip',
	"fraiseql_obs.http_listen_addresses = '127.0.0.1, $address'");
my $there = "$address:$port";
ok(wait_for_status($there, '/healthz', 200), 'listens on both');

my $answer = get($there, '/metrics', 'Accept-Encoding' => 'gzip');
plan skip_all => 'built without zlib' if $answer->{status} eq '200' && !$answer->{headers}{'content-encoding'};
is($answer->{headers}{'content-encoding'}, 'gzip', 'compressed');
is($answer->{headers}{vary}, 'Accept, Accept-Encoding', 'which depends on what was asked for');
is($answer->{headers}{'content-length'}, length $answer->{body}, 'its length');
IO::Uncompress::Gunzip::gunzip(\$answer->{body}, \my $text);
like($text, qr/^fraiseql_obs_build_info\{.*\} 1$/m, 'metrics are in it');
my $plain = get($there, '/metrics')->{body};
cmp_ok(length($answer->{body}) * 3, '<', length $plain, 'and much shorter');
$answer = get($there, '/metrics', 'Accept-Encoding' => 'gzip', Accept => 'application/openmetrics-text');
IO::Uncompress::Gunzip::gunzip(\$answer->{body}, \$text);
like($text, qr/\n# EOF\n\z/, 'in all formats to the end');

foreach my $case ([ 'gzip, deflate, br', 1 ], [ '*', 1 ], [ 'x-gzip', 1 ], [ 'GZIP;q=0.1', 1 ], [ 'deflate, gzip;q=1.0', 1 ],
	[ '', 0 ], [ 'identity', 0 ], [ 'gzip;q=0', 0 ], [ '*;q=0', 0 ], [ 'br', 0 ], [ 'gzip;q=0, *', 0 ], [ 'gzipx', 0 ])
{
	my ($accept, $gzip) = @$case;
	my $got = get($there, '/metrics', 'Accept-Encoding' => $accept)->{headers}{'content-encoding'};
	is(defined $got ? 1 : 0, $gzip, "Accept-Encoding: $accept");
}
is(get($port, '/metrics', 'Accept-Encoding' => 'gzip')->{headers}{'content-encoding'},
	undef, 'not from the machine itself');
is(get($there, '/healthz', 'Accept-Encoding' => 'gzip')->{headers}{'content-encoding'},
	undef, 'nor what is short');
like(slurp_file($node->logfile), qr/HTTP endpoint tells everybody who can connect about this server/,
	'who listens to others without a token is told');
$node->stop;
done_testing();
