# The HTTP endpoint says what export_metrics() says, in the format that is
# asked for, and that there are no other paths and methods.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run qw(run);
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = start_http_node('http_scrape');
my $plain = 'text/plain; version=0.0.4; charset=utf-8';
my $open = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

# names and labels of all samples, sorted
sub series
{
	my ($text) = @_;
	return join "\n", sort map { s/ [^ ]+$//r } grep { !/^#/ } split /\n/, $text;
}

$node->safe_psql('app', op("say \"hi\"\\\xe2\x82\xac" => 'SELECT 1'));
get($port, '/metrics');
my $answer = get($port, '/metrics');
is($answer->{status}, 200, '/metrics');
is($answer->{headers}{'content-type'}, $plain, 'its type');
is($answer->{headers}{'cache-control'}, 'no-store', 'not to be kept');
is($answer->{headers}{'content-length'}, length $answer->{body}, 'its length');
is(series($answer->{body}), series(observe($node, 'SELECT fraiseql_obs.export_metrics()')),
	'the series of export_metrics()');
like($answer->{body}, qr/^fraiseql_obs_db_query_duration_seconds_count\{datname="app"\} 1$/m,
	'the figures of this server');
foreach my $check ([ 'python3', "$FindBin::RealBin/../exposition_check", 'prometheus' ],
	[ 'promtool', 'check', 'metrics' ])
{
  SKIP:
	{
		skip "no $check->[0]", 1 if !grep { -x "$_/$check->[0]" } split /:/, $ENV{PATH};
		run $check, '<', \$answer->{body}, '>&', \my $said;
		is("$said(" . ($? >> 8) . ')', '(0)', "$check->[0] has nothing to say");
	}
}

# what Prometheus 2 and 3, curl and a browser send
my $prometheus2 = 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
my $prometheus3 = 'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1';
foreach my $case (
	[ $prometheus2, $open ],
	[ $prometheus3, $open ],
	[ '*/*', $plain ],
	[ 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', $plain ],
	[ 'application/openmetrics-text', $open ],
	[ 'application/openmetrics-text; version="1.0.0"', $open ],
	[ 'application/openmetrics-text;version=0.0.1', $plain ],
	[ 'application/openmetrics-text;version=2.0.0', $plain ],
	[ 'application/openmetrics-text;q=0', $plain ],
	[ 'application/openmetrics-text;q=0.3, text/plain;q=0.4', $plain ],
	[ 'application/openmetrics-text;q=0.4, text/plain;q=0.3', $open ],
	[ 'application/openmetrics-text;q=1.5', $plain ],
	[ ',;,=;q="', $plain ])
{
	my ($accept, $type) = @$case;
	is(get($port, '/metrics', Accept => $accept)->{headers}{'content-type'},
		$type, "Accept: $accept");
}
like(get($port, '/metrics', Accept => $prometheus2)->{body}, qr/\n# EOF\n\z/, 'OpenMetrics has an end');
is(get($port, '/metrics?format=prometheus', Accept => $prometheus2)->{headers}{'content-type'},
	$plain, 'a format in the URL counts more');
is(get($port, '/metrics?format=openmetrics')->{headers}{'content-type'}, $open, 'each format');
$answer = get($port, '/metrics?x=y&format=json');
is($answer->{headers}{'content-type'}, 'application/json', 'JSON');
is(ref decode_json($answer->{body})->{metrics}, 'ARRAY', 'which it is');
$answer = get($port, '/metrics?format=xml');
is($answer->{status}, 400, 'no such format');
like($answer->{body}, qr/format is one of prometheus, openmetrics, json/, 'and which there are');

# probes, under all their names
foreach my $path ('/healthz', '/livez', '/health/ready', '/readyz', '/readiness', '/health/startup')
{
	is(status_of($port, $path), 200, $path);
}

# HEAD is GET without the body
$answer = get($port, '/metrics', method => 'HEAD');
is("$answer->{status} '$answer->{body}'", "200 ''", 'HEAD');
cmp_ok($answer->{headers}{'content-length'}, '>', 1000, 'says how much it would be');
foreach my $method ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', 'get')
{
	$answer = get($port, '/metrics', method => $method);
	is("$answer->{status} $answer->{headers}{allow}", '405 GET, HEAD', $method);
}
foreach my $path ('/', '/metrics/', '/metricsX', '/Metrics', '//metrics', '/%6detrics', '/metrics/../metrics', '/healthz/x')
{
	is(status_of($port, $path), 404, "no $path");
}
is(status_of($port, "http://somebody:80/metrics?format=json"), 200, 'a URL as proxies send it');
is(status_of($port, "http://somebody"), 404, 'one without a path');

# what was answered is counted
is(metric($node, 'fraiseql_obs_endpoint_listener_up'), '1', 'it listens');
is(metric($node, 'fraiseql_obs_endpoint_requests_total{path="/metrics",status="405"}'), '7', 'requests by path and status');
is(metric($node, 'fraiseql_obs_endpoint_requests_total{path="/healthz",status="200"}') > 1, 1, 'aliases are one path');
is(metric($node, 'fraiseql_obs_endpoint_requests_total{path="other",status="404"}'), '9', 'other paths are one, too');

$node->stop;
done_testing();
