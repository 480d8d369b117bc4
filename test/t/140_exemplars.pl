# Exemplars of the OpenMetrics export: on buckets of statements that are
# sampled, of the latest, and in no other format.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run qw(run);
use ObsTest;
use Test::More;

my $node = start_node('exemplars');

sub traceparent
{
	my ($trace, $flags) = @_;
	return sprintf "SET fraiseql_obs.traceparent = '00-%032x-00000000000000aa-$flags';", $trace;
}

sub export
{
	my ($format) = @_;
	return observe($node, "SELECT fraiseql_obs.export_metrics('$format')");
}

# "bound: trace" of the exemplars of a family, of "app" or of an operation
sub exemplars
{
	my ($family, $label) = @_;
	my @found;
	foreach (split /\n/, export('openmetrics'))
	{
		push @found, "$2: " . hex($3)
		  if /^fraiseql_obs_${family}_duration_seconds_bucket\{$label,(type="\w+",)?le="(.*?)"\} \d+ # \{trace_id="0{24}(\w{8})",span_id="\w{16}"\} \S+ \d+\.\d{3}$/;
	}
	return join ', ', @found;
}

my @database = ('db_query', 'datname="app"');
my @operation = ('operation', 'operation="op"');

$node->safe_psql('app', 'SELECT 1; SELECT pg_sleep(0.03)');
is(exemplars(@database), '', 'none without a trace');
$node->safe_psql('app', traceparent(1, '00') . "SELECT 1; SELECT pg_sleep(0.03)");
is(exemplars(@database), '', 'none of what is not sampled');
$node->psql('app', traceparent(1, '00') . 'SELECT 1 / 0');
is(exemplars(@database), '', 'nor of what is kept because it failed');

$node->safe_psql('app', traceparent(2, '01') . 'SELECT 1; SELECT pg_sleep(0.03)');
is(exemplars(@database), '0.0005: 2, 0.05: 2', 'in the buckets of their time');
is(exemplars(@operation), '', 'not of another family');
$node->safe_psql('app', traceparent(3, '01')
	  . "SET fraiseql_obs.operation_name = 'op'; SET fraiseql_obs.operation_type = 'query'; SELECT pg_sleep(0.03)");
is(exemplars(@database), '0.0005: 2, 0.05: 3', 'the latest');
is(exemplars(@operation), '0.05: 3', 'of an operation');
$node->safe_psql('app', traceparent(4, '00') . "SELECT pg_sleep(0.03)");
is(exemplars(@database), '0.0005: 2, 0.05: 3', 'what is not sampled does not displace it');

# They lead to spans that are there.
my ($trace_id, $span_id, $value) = export('openmetrics') =~ /le="0.05"\} \d+ # \{trace_id="(\w+)",span_id="(\w+)"\} (\S+)/;
is( observe($node, "SELECT kind, abs(busy_ms / 1000 - $value) < 1e-9 FROM fraiseql_obs.spans('$trace_id') WHERE span_id = '$span_id'"),
	'statement|t', 'each is a span');

# Valid by our own check, and by the strict parser of OpenMetrics
my $text = export('openmetrics');
my $said = '';
run [ 'python3', "$FindBin::RealBin/../exposition_check", 'openmetrics' ], '<', \$text, '>&', \$said;
is($said, '', 'our check');
SKIP:
{
	my $parser = 'from prometheus_client.openmetrics import parser';
	skip 'no python3-prometheus-client', 1 unless run [ '/usr/bin/python3', '-c', $parser ], '>&', \my $ignored;
	run [ '/usr/bin/python3', '-c', "import sys; $parser; print(sum(s.exemplar is not None"
		  . " for f in parser.text_string_to_metric_families(sys.stdin.read()) for s in f.samples))" ],
	  '<', \$text, '>&', \$said;
	is($said, "3\n", 'the strict parser');
}
unlike(export($_), qr/trace_id/, "none in $_") foreach 'prometheus', 'json';

# After a reset there is no observation that they could be one of.
observe($node, q(SELECT fraiseql_obs.reset_metrics('databases')));
is(exemplars(@database), '', 'none of an empty bucket');
is(exemplars(@operation), '0.05: 3', 'others stay');
observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
is(exemplars(@operation), '', 'they go with the spans');
done_testing();
