# A file system that hangs makes the server not ready, and is no reason to say
# that the HTTP endpoint is not alive.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# A statvfs() that does not return while a file is there
my $folder = PostgreSQL::Test::Utils::tempdir;
append_to_file("$folder/hang.c", qq(
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/statvfs.h>
#include <unistd.h>
int statvfs(const char *path, struct statvfs *space)
{
	int (*real)(const char *, struct statvfs *) = dlsym(RTLD_NEXT, "statvfs");
	while (access("$folder/hangs", F_OK) == 0)
		usleep(10000);
	return real(path, space);
}
));
plan skip_all => 'no C compiler here'
  if system("cc -shared -fPIC -o '$folder/hang.so' '$folder/hang.c' -ldl 2>/dev/null") != 0;
chmod 0755, $folder;

my ($node, $port) = start_http_node('http_disk_hangs', "fraiseql_obs.health_check_timeout = '1s'");
$node->stop;
{
	local $ENV{LD_PRELOAD} = "$folder/hang.so";
	$node->start;
}
ok(wait_for_status($port, '/health/ready', 200), 'ready');
is(status_of($port, '/metrics'), 200, 'metrics');
my $pid = worker_pid($node);

append_to_file("$folder/hangs", '');
my $answer = get($port, '/health/ready');
is("$answer->{status} $answer->{body}", qq(503 {"status": "not_ready", "failed": ["disk"]}\n), 'not ready');
my $before = time();
is(status_of($port, '/health/ready'), 503, 'nor the next time') foreach 1 .. 10;
is(status_of($port, '/healthz'), 200, 'but alive');
is(status_of($port, '/health/startup'), 200, 'and started');
cmp_ok(time() - $before, '<', 5, 'for which nobody waits again');
$answer = get($port, '/health');
my $health = decode_json($answer->{body});
is("$answer->{status} $health->{status} $health->{checks}{disk}{status}", '503 unhealthy unhealthy', 'what is wrong');
like($health->{checks}{disk}{message}, qr/^a file system has not answered for \d+ s$/, 'and for how long');
cmp_ok($health->{checks}{disk}{unanswered_seconds}, '>', 1, 'as a number, too');
is($health->{checks}{connections}{status}, 'healthy', 'what is in memory is told');
$answer = get($port, '/metrics');
like("$answer->{status} $answer->{body}", qr/^503 service unavailable\na file system has not answered for \d+ s\n$/, 'no metrics');

unlink "$folder/hangs";
ok(wait_for_status($port, '/health/ready', 200), 'ready again');
is(status_of($port, '/metrics'), 200, 'with metrics');
is(decode_json(get($port, '/health')->{body})->{checks}{disk}{unanswered_seconds}, undef, 'all is answered');
is(worker_pid($node), $pid, 'by the same process');

append_to_file("$folder/hangs", '');
is(status_of($port, '/health/ready'), 503, 'it hangs again');
$before = time();
$node->stop('fast');
cmp_ok(time() - $before, '<', 10, 'which does not keep the server from stopping');
unlike(slurp_file($node->logfile), qr/was terminated by signal/, 'nothing has crashed');
done_testing();
