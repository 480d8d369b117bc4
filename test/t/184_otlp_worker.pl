# The sender is there when it is asked for and quiet when it is not, follows
# the settings, comes back when it ends, and has libcurl to itself.

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

sub has_libcurl
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/maps") =~ m{/libcurl}m ? 1 : 0;
}

# nobody has asked
my $node = start_node('otlp_worker', "restart_after_crash = on
fraiseql_obs.slow_query_threshold = '1h'
fraiseql_obs.otlp_interval = '50ms'");
need_sender($node);
is(worker_pid($node), undef, 'no process');
is(otlp($node), '', 'no metrics');
make_spans($node, 2);

# somebody asks: what is there already is sent, too
my $first = OtlpTest::Endpoint->new;
configure($node, otlp_endpoint => 'http://127.0.0.1:' . $first->port);
wait_for('what was recorded before is sent', sub { otlp($node) =~ /^accepted 6,/ });
my $pid = worker_pid($node);
ok(has_libcurl($pid), 'libcurl is in its process');
my $session = $node->background_psql('postgres');
my $backend = $session->query('SELECT pg_backend_pid()');
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
ok(!has_libcurl($backend), 'in no other');
ok(!has_libcurl($postmaster), 'not in the postmaster either');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'span')),
	'0', 'it takes no connection');
$session->quit;

# another endpoint, also while the first one does not answer
my $second = OtlpTest::Endpoint->new;
$first->behave('hang');
make_spans($node, 1);
wait_for('the first one hangs', sub { @{ $first->requests } > 1 });
configure($node, otlp_endpoint => 'http://127.0.0.1:' . $second->port . '/');
wait_for('the second one gets them', sub { otlp($node) =~ /^accepted 9,/ });
is($second->requests->[0]{line}, 'POST /v1/traces HTTP/1.1', 'at the same path');
is(worker_pid($node), $pid, 'from the same process');

# none: what is recorded meanwhile waits
configure($node, otlp_endpoint => '');
wait_for('off', sub { otlp($node) eq '' });
make_spans($node, 1);
sleep 1;
is(scalar @{ $second->requests }, 1, 'nothing is sent');
is(worker_pid($node), $pid, 'the process sleeps');
configure($node, otlp_endpoint => 'http://127.0.0.1:' . $second->port);
wait_for('on', sub { otlp($node) =~ /^accepted 12,/ });
like(otlp($node), qr/^accepted 12, 2xx \d$/, 'none was missed');

# signals
foreach my $signal ('INT', 'HUP', 'USR1', 'PIPE')
{
	kill $signal, $pid;
	sleep 0.2;
	is(worker_pid($node), $pid, "SIG$signal does no harm");
}
ok(ends_within($pid, 'TERM', 3), 'SIGTERM ends it');
wait_for('it comes back', sub { (worker_pid($node) // $pid) != $pid });
make_spans($node, 1);
wait_for('and goes on', sub { otlp($node) =~ /^accepted 15,/ });

# a crash takes it along, and it is back with the server
$pid = worker_pid($node);
kill 'KILL', $pid;
wait_for('it comes back after a crash', sub { (worker_pid($node) // $pid) != $pid });
$node->poll_query_until('postgres', 'SELECT true');
make_spans($node, 1);
wait_for('and sends', sub { otlp($node) =~ /^accepted 3,/ });

# two reloads at once start one
$node->restart;
configure($node, otlp_interval => '20ms');
configure($node, otlp_interval => '50ms');
sleep 1;
make_spans($node, 1);
wait_for('sends', sub { otlp($node) =~ /^accepted 3,/ });

# without the postmaster it is not
($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
$pid = worker_pid($node);
kill 'KILL', $postmaster;
wait_for('it ends when the postmaster dies', sub { !-e "/proc/$pid" });
sleep 1;
unlink $node->data_dir . '/postmaster.pid';
$node->{_pid} = undef;
$node->start;
make_spans($node, 1);
wait_for('the next server has one', sub { otlp($node) =~ /^accepted 3,/ });

$node->stop;
done_testing();
