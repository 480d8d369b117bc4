# A name server that does not answer keeps nobody waiting: neither who ends the
# sender nor who changes the endpoint.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# A getaddrinfo() that takes an hour for one host
my $folder = PostgreSQL::Test::Utils::tempdir;
append_to_file("$folder/slow.c", q(
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
	if (host != NULL && strcmp(host, "slow.example") == 0)
		sleep(3600);
	return real(host, service, hints, found);
}
));
plan skip_all => 'no C compiler here'
  if system("cc -shared -fPIC -o '$folder/slow.so' '$folder/slow.c' -ldl 2>/dev/null") != 0;

my $endpoint = OtlpTest::Endpoint->new;
my $node = start_otlp_node('otlp_name_server', 1);
$node->stop;
{
	local $ENV{LD_PRELOAD} = "$folder/slow.so";
	$node->start;
}
my $pid = worker_pid($node);
configure($node, otlp_endpoint => 'http://slow.example', otlp_timeout => '1s');
make_spans($node, 1);
wait_for('in time', sub { slurp_file($node->logfile) =~ /could not resolve host "slow.example" in time/ });

# it goes on elsewhere by an address, and by a name when that can be asked for
configure($node, otlp_endpoint => 'http://127.0.0.1:' . $endpoint->port);
wait_for('elsewhere', sub { @{ $endpoint->requests } == 1 });
is(worker_pid($node), $pid, 'by the same process');

# another try hangs, and is left alone
configure($node, otlp_endpoint => 'http://slow.example', otlp_timeout => '600s');
make_spans($node, 1);
sleep 1;
ok(ends_within($pid, 'TERM', 3), 'SIGTERM ends it');
configure($node, otlp_endpoint => 'http://localhost:' . $endpoint->port);
wait_for('the next one sends', sub { @{ $endpoint->requests } == 2 });
my $before = time();
$node->stop('fast');
cmp_ok(time() - $before, '<', 10, 'the server stops');
unlike(slurp_file($node->logfile), qr/was terminated by signal/, 'nothing has crashed');
done_testing();
