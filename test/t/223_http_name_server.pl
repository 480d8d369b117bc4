# A name server that does not answer keeps nobody waiting for the HTTP endpoint:
# neither who probes it, nor who changes where it listens, nor who ends it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ModuleTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# A getaddrinfo() that takes an hour for some hosts, and a second for others
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
	if (host != NULL && hints != NULL && !(hints->ai_flags & AI_NUMERICHOST))
	{
		if (strcmp(host, "hangs.example") == 0)
			sleep(3600);
		if (strcmp(host, "slow.example") == 0)
			return sleep(1), real("127.0.0.2", service, hints, found);
	}
	return real(host, service, hints, found);
}
));
plan skip_all => 'no C compiler here'
  if system("cc -shared -fPIC -o '$folder/slow.so' '$folder/slow.c' -ldl 2>/dev/null") != 0;

sub listen_on
{
	my ($node, $addresses) = @_;
	$node->append_conf('postgresql.conf', "fraiseql_obs.http_listen_addresses = '$addresses'");
	$node->reload;
	return;
}

my ($node, $port) = start_http_node('http_name_server');
my $pid = worker_pid($node);
$node->stop;
{
	local $ENV{LD_PRELOAD} = "$folder/slow.so";
	$node->append_conf('postgresql.conf', "fraiseql_obs.http_listen_addresses = 'hangs.example, 127.0.0.1'");
	$node->start;
}
ok(wait_for_status($port, '/healthz', 200), 'what is an address is listened on at once');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '0', 'which is not everywhere, as a metric says');
$pid = worker_pid($node);

# elsewhere, by another name
listen_on($node, '127.0.0.1, slow.example');
ok(wait_for_status("127.0.0.2:$port", '/healthz', 200), 'by a name that a name server takes a second for');
is(status_of($port, '/healthz'), 200, 'and by the address');
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '1', 'which is everywhere');
listen_on($node, 'localhost');
ok(wait_for_status("127.0.0.2:$port", '/healthz', ''), 'by a name that is known here');
is(status_of($port, '/healthz'), 200, 'where it listens');

# the old place is kept while a name server does not answer
listen_on($node, 'hangs.example');
ok($node->poll_query_until('postgres', q(SELECT value = 0 FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_endpoint_listener_up')),
	'it hangs again');
my $before = time();
is(status_of($port, '/healthz'), 200, 'probes are answered') foreach 1 .. 20;
cmp_ok(time() - $before, '<', 5, 'at once');
is(worker_pid($node), $pid, 'by the same process');
unlike(slurp_file($node->logfile), qr/could not listen/, 'and nothing is complained about');

# nor does it keep the server from stopping
$before = time();
$node->stop('fast');
cmp_ok(time() - $before, '<', 5, 'the server stops');
unlike(slurp_file($node->logfile), qr/was terminated by signal/, 'nothing has crashed');
done_testing();
