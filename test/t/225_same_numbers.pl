# A histogram has the same numbers in every format and in metrics(), those of an
# operation summed over the databases.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ExpositionTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('primary', 'fraiseql_obs.max_operations = 100');

# The samples of what nothing is counted for by exporting, with numbers as perl
# writes them
sub of_histograms
{
	my (%samples) = @_;
	return { map { $_ => 0 + $samples{$_} }
		  grep { /^(?:fraiseql_obs_operation_duration|t)_seconds_/ }
		  keys %samples };
}

# Compares all of them, and returns those of metrics().
sub same_everywhere
{
	my ($when) = @_;
	my $rows = of_histograms(samples_of_rows($node, 'postgres'));

	foreach my $format ('prometheus', 'openmetrics')
	{
		is_deeply(of_histograms(samples_of_text(export($node, $format))),
			$rows, "$when: $format and metrics()");
	}
	is_deeply(of_histograms(samples_of_json(export($node, 'json'))),
		$rows, "$when: json and metrics()");
	return %$rows;
}

# Calls of one operation, one of which takes its time
sub operate
{
	my ($database, $operation, $type, $calls) = @_;

	$node->safe_psql($database,
			"SET fraiseql_obs.operation_name = '$operation';"
		  . "SET fraiseql_obs.operation_type = '$type';"
		  . 'SELECT pg_sleep(0.03);'
		  . 'SELECT 1;' x ($calls - 1));
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE second');
operate('app', 'buy "\\one', 'mutation', 3);
operate('second', 'buy "\\one', 'mutation', 4);
operate('app', 'buy "\\one', '', 2);
$node->safe_psql('postgres', q(
	SELECT fraiseql_obs.histogram_observe('t_seconds', n / 10.0,
			jsonb_build_object('a', a), '{0.00005,0.15,1,2500000}')
		FROM generate_series(1, 12) AS n, unnest(ARRAY['b', 'quo"te', E'two\nlines']) AS a;
	SELECT fraiseql_obs.histogram_observe('t_seconds', 1e7, NULL, '{0.00005,0.15,1,2500000}')));
my %samples = same_everywhere('with room');

my $buy = '{"operation":"buy \\"\\\\one","type":"mutation"}';
is($samples{"fraiseql_obs_operation_duration_seconds_count $buy"},
	7, 'calls of an operation in both databases');
my $slow = grep { /_duration_seconds_bucket.*"le":"0.025".*mutation/ && $samples{$_} == 5 } keys %samples;
is($slow, 1, 'those that were not slow');

my @all = grep { /^t_seconds_bucket.*\+Inf/ } keys %samples;
my @least = grep { /^t_seconds_bucket.*"0\.15"/ } keys %samples;
is(join(' ', sort { $a <=> $b } @samples{@all}), '1 12 12 12', 'all values');
is(join(' ', sort { $a <=> $b } @samples{@least}), '0 1 1 1', 'the least of them');
cmp_ok(abs($samples{'t_seconds_sum {"a":"quo\\"te"}'} - 7.8), '<', 1e-9, 'their sum');

# Some have to give way, and there is one that is called as what they become.
operate('app', "many$_", 'query', 1) foreach 1 .. 120;
operate('app', 'other', '', 5);
operate('second', 'other', '', 5);
%samples = same_everywhere('without room');
my $calls = 0;
$calls += $samples{$_}
  foreach grep { /^fraiseql_obs_operation_duration_seconds_count/ } keys %samples;
is($calls, 9 + 120 + 10, 'no call is lost');

$node->stop;
done_testing();
