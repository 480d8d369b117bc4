# When more is recorded than is sent, what is lost is counted, and nobody
# waits: each statement is sent, missed, or still there.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $endpoint = OtlpTest::Endpoint->new;
my $node = start_otlp_node('otlp_overflow', $endpoint->port, "fraiseql_obs.max_spans = 200\n");

# Nothing comes through: the ring comes round, again and again.
$endpoint->behave('status', '503 Retry-After: 3600');
make_spans($node, 1);
wait_for('the endpoint is down', sub { @{ $endpoint->requests } == 1 });
make_spans($node, 5000);
is(otlp($node), '5xx 1, pending 200', 'as many wait as are kept');
$endpoint->behave('ok');
$node->reload;
wait_for_metric($node, 'accepted 603, 2xx ' . (@{ $endpoint->requests } - 1) . ', 5xx 1, missed_total 4800',
	'the first one and the latest are sent, the others are counted')
  if wait_for('all is sent', sub { otlp($node) !~ /pending/ });

# They are counted while that goes on.
$endpoint->behave('status', '503 Retry-After: 1');
make_spans($node, 1000);
wait_for('missed ones are counted during an outage', sub { otlp($node) =~ /missed_total (\d+)/ && $1 > 5200 });
$endpoint->behave('ok');
wait_for('it is over', sub { otlp($node) !~ /pending/ });

# With many sessions at once no span is lost without being counted, or counted
# twice.
my ($recorded) = observe($node, q(SELECT sum(value) FROM fraiseql_obs.metrics()
	WHERE name IN ('fraiseql_obs_spans_total', 'fraiseql_obs_spans_dropped_total')));
$node->pgbench('-n -c 8 -t 2000', 0, [qr/16000\/16000/], [qr/^$/], 'many sessions',
	{ '185_load' => q(SELECT 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/) });
wait_for('all is sent again', sub { otlp($node) !~ /pending/ });
($recorded) = observe($node, q(SELECT sum(value) FROM fraiseql_obs.metrics()
	WHERE name IN ('fraiseql_obs_spans_total', 'fraiseql_obs_spans_dropped_total')));
my ($missed) = otlp($node) =~ /missed_total (\d+)/;
my ($accepted) = otlp($node) =~ /accepted (\d+)/;
is($missed + $accepted / 3, $recorded, 'all are sent or counted');

my %seen;
foreach my $request (@{ $endpoint->requests })
{
	$seen{$_}++ foreach $request->{body} =~ /"spanId":"(\w+)"/g;
}
my @twice = grep { $seen{$_} > 1 } keys %seen;
is(scalar(keys %seen), $accepted, 'they have arrived');

$node->stop;
done_testing();
