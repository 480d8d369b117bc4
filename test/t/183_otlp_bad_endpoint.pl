# Whatever the endpoint does, the sender goes on when it is over, ends at once
# when it is told to, keeps little of it, and no statement notices.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IO::Socket::INET;
use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $endpoint = OtlpTest::Endpoint->new;
my $node = start_otlp_node('otlp_bad', $endpoint->port, "fraiseql_obs.otlp_timeout = '2s'");
my $pid = worker_pid($node);

# Kilobytes that the process has never exceeded
sub most_memory
{
	my ($kb) = slurp_file("/proc/$pid/status") =~ /VmHWM:\s+(\d+)/;
	return $kb;
}

make_spans($node, 100);
wait_for('well', sub { otlp($node) =~ /^accepted 300,/ });
my $memory = most_memory();

my $accepted = 300;
foreach my $bad ('hang', 'drip', 'endless_headers', 'endless_continue')
{
	$endpoint->behave($bad);
	$endpoint->forget;
	make_spans($node, 1);
	wait_for($bad, sub { @{ $endpoint->requests } > 0 });
	my $before = time();
	$node->safe_psql('app', 'SELECT 1');
	cmp_ok(time() - $before, '<', 2, 'no statement waits');
	$endpoint->behave('ok');
	$accepted += 3;
	wait_for('it goes on', sub { otlp($node) =~ /^accepted $accepted,/ });
}

# who says that they are accepted is believed, though he says more
foreach my $bad ('endless_body', 'half')
{
	$endpoint->behave($bad);
	$endpoint->forget;
	make_spans($node, 1);
	$accepted += 3;
	wait_for($bad, sub { otlp($node) =~ /^accepted $accepted,/ });
	is(scalar @{ $endpoint->requests }, 1, 'is not asked again');
	$endpoint->behave('ok');
}
is(worker_pid($node), $pid, 'it is the same process');
cmp_ok(most_memory() - $memory, '<', 8192, 'which has not grown much');

# a listener that accepts nobody
my $deaf = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
configure($node, otlp_endpoint => 'http://127.0.0.1:' . $deaf->sockport);
make_spans($node, 1);
wait_for('nobody answers', sub { otlp($node) =~ /none [6-9]|none \d\d/ });

# told to end in the middle of that, it does so at once
$endpoint->behave('hang');
$endpoint->forget;
configure($node, otlp_timeout => '600s', otlp_endpoint => 'http://127.0.0.1:' . $endpoint->port);
make_spans($node, 1);
wait_for('hangs', sub { @{ $endpoint->requests } > 0 });
$endpoint->forget;
ok(ends_within($pid, 'TERM', 3), 'SIGTERM ends it');
wait_for('another one takes its place', sub { (worker_pid($node) // $pid) != $pid });
wait_for('and sends the same', sub { @{ $endpoint->requests } > 0 });
my $before = time();
$node->stop('fast');
cmp_ok(time() - $before, '<', 10, 'the server stops');
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'nothing has crashed');
done_testing();
