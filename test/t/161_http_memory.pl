# Scrapes, as many as there may be, leave nothing behind: no memory, no file.
#
# FRAISEQL_OBS_SCRAPES is how many.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $scrapes = $ENV{FRAISEQL_OBS_SCRAPES} || 10_000;
my ($node, $port) = start_http_node('http_memory', 'log_statement = none');
my $pid = worker_pid($node);
$node->safe_psql('app', join ';', map { op("operation_$_" => 'SELECT 1') } 1 .. 50);

# Bytes of its own, and open files
sub usage
{
	my ($memory) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	return ($memory, scalar(() = glob "/proc/$pid/fd/*"));
}

# Requests through one connection, in all forms, and some that are refused
sub scrape
{
	my ($n) = @_;
	my @requests = map { "GET $_ HTTP/1.1\r\nHost: x\r\n\r\n" }
	  ('/metrics', '/metrics?format=openmetrics', '/metrics?format=json', '/health', '/health/ready', '/nothing', '/metrics?format=x');
	my $answers = 0;
	while ($n > 0)
	{
		my $now = $n > 100 ? 100 : $n;
		my $socket = dial($port);
		foreach my $i (1 .. $now)
		{
			my $request = $requests[ $i % @requests ];
			$request =~ s/\r\n\r\n$/\r\nConnection: close\r\n\r\n/ if $i == $now;
			syswrite $socket, $request;
		}
		my $received = receive($socket);
		$answers += () = $received =~ m{HTTP/1\.1 (?:200|400|404) }g;
		$n -= $now;
	}
	return $answers;
}

is(scrape(2000), 2000, 'some scrapes first');
sleep 1;
my ($memory, $files) = usage();
is(scrape($scrapes), $scrapes, 'and then very many');
my ($memory_after, $files_after) = usage();
foreach (1 .. 100)
{
	# a connection that we have closed may not be for a moment
	last if $files_after == $files;
	sleep 0.1;
	(undef, $files_after) = usage();
}
cmp_ok($memory_after - $memory, '<', 256, 'kilobytes more than before');
is($files_after, $files, 'and as many files');
is(worker_pid($node), $pid, 'by the same process');
note("$memory kB before, $memory_after kB after");
$node->stop;
done_testing();
