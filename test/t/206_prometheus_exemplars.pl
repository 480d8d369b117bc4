# A real Prometheus takes the exemplars of its scrapes, keeps them, and leads
# from a bucket to the spans of a request.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PrometheusTest;
use Test::More;
use Time::HiRes qw(sleep time);

PrometheusTest::program();
my ($node, $port) = start_http_node('prometheus_exemplars');
my $prometheus = PrometheusTest->new(PostgreSQL::Test::Utils::tempdir, qq(
  - job_name: postgresql
    static_configs: [ { targets: [ '127.0.0.1:$port' ] } ]
), '--enable-feature=exemplar-storage');
my $begun = time() - 1;

# The exemplars that are kept of a family with some labels, once there are so
# many
sub exemplars
{
	my ($selector, $n) = @_;
	my @found;

	foreach (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $answer = $prometheus->ask_api('query_exemplars', $selector, sprintf '&start=%.3f&end=%.3f', $begun, time() + 60);

		@found = map { my $series = $_; map { { series => $series->{seriesLabels}, %$_ } } @{ $series->{exemplars} } } @{ $answer->{data} // [] };
		last if @found >= $n;
		sleep 0.2;
	}
	return @found;
}

# A statement of a request that is sampled: its time in seconds
sub request
{
	my ($trace, $operation, $seconds) = @_;
	$node->safe_psql('app', "SET fraiseql_obs.traceparent = '00-$trace-00000000000000aa-01';"
		  . "SET fraiseql_obs.operation_name = E'$operation'; SELECT pg_sleep($seconds)");
	return;
}

# Label values that have to be escaped stand before an exemplar, too.
my $operation = q(op "a\\\\b" # {trace_id=\n);
my $shown = q(op "a\\b" # {trace_id= );
my ($first, $second) = ('0123456789abcdef' x 2, 'fedcba9876543210' x 2);
my $selector = 'fraiseql_obs_operation_duration_seconds_bucket{job="postgresql"}';
request($first, $operation, 0.03);
my @exemplars = exemplars($selector, 1);
is(scalar @exemplars, 1, 'an exemplar');
is_deeply([ sort keys %{ $exemplars[0]{labels} } ], [ 'span_id', 'trace_id' ], 'with its labels');
is($exemplars[0]{labels}{trace_id}, $first, 'that of the request');
is($exemplars[0]{series}{operation}, $shown, 'of its operation');
is($exemplars[0]{series}{le}, '0.05', 'in the bucket of its time');
cmp_ok(abs($exemplars[0]{timestamp} - ($begun + time()) / 2), '<=', (time() - $begun) / 2, 'at its time');
is( observe($node, "SELECT kind, operation = \$\$$shown\$\$, abs(busy_ms / 1000 - $exemplars[0]{value}) < 1e-9"
	. " FROM fraiseql_obs.spans('$exemplars[0]{labels}{trace_id}') WHERE span_id = '$exemplars[0]{labels}{span_id}'"),
	'statement|t|t', 'its value is how long its span took');

# Of all statements of the database as well, and the next one beside the last
is(join(' ', map { "$_->{series}{le}: $_->{labels}{trace_id}" } exemplars('fraiseql_obs_db_query_duration_seconds_bucket', 1)),
	"0.05: $first", 'that of the database');
request($second, $operation, 0.06);
request($first, $operation, 0.03);
is( join(' ', sort map { "$_->{series}{le}: " . substr $_->{labels}{trace_id}, 0, 4 } exemplars($selector, 3)),
	'0.05: 0123 0.05: 0123 0.1: fedc', 'history, which the server forgets, is kept');

# Not what was not sampled
$node->safe_psql('app', "SET fraiseql_obs.traceparent = '00-$second-00000000000000aa-00'; SELECT pg_sleep(0.3)");
ok(@{ $prometheus->query(q(fraiseql_obs_db_query_duration_seconds_count{datname="app"} == 4)) }, q(all are there));
is(scalar(grep { $_->{series}{le} eq '0.5' } exemplars('fraiseql_obs_db_query_duration_seconds_bucket', 3)),
	0, 'none of what is not sampled');
is($prometheus->complaints, '', 'Prometheus has nothing to say of it');
$prometheus->stop;
$node->stop;
done_testing();
