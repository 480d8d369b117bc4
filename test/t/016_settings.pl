# A setting out of its range is refused with its range, wherever it is given,
# and what was in force stays.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('settings');

my %refused = (
	'slow_query_threshold' => [ '0', '-1', 'NaN', '1e30', 'soon' ],
	'slow_query_log_rate' => [ '-1', '10001', 'x' ],
	'track' => ['some'],
	'trace_sample_rate' => [ '-0.1', '1.1', 'NaN', 'half' ],
	'enabled' => ['maybe']);
foreach my $setting (sort keys %refused)
{
	foreach my $value (@{ $refused{$setting} })
	{
		my ($status, $out, $err) = $node->psql('postgres',
			"SET fraiseql_obs.$setting = '$value'");
		isnt($status, 0, "$setting = $value is refused");
		like($err, qr/ERROR: .*fraiseql_obs\.$setting/, 'and named');
	}
}
my ($status, $out, $err) =
  $node->psql('postgres', 'SET fraiseql_obs.max_queries = 500');
like($err, qr/cannot be changed without restarting/, 'sizes need a restart');
($status, $out, $err) =
  $node->psql('postgres', 'SET fraiseql_obs.no_such_setting = 1');
like($err, qr/invalid configuration parameter name/, 'the prefix is reserved');
foreach my $prefix ('fraiseql', 'app')
{
	is( $node->safe_psql('postgres',
			"SET $prefix.anything = 'x'; SHOW $prefix.anything"),
		'x', "the prefix $prefix is not");
}

# In the file it does not keep the server from starting.
foreach my $bad (
	[ 'max_queries', 1, '1000' ],
	[ 'max_operations', 1, '500' ],
	[ 'max_spans', 1, '4096' ],
	[ 'slow_query_threshold', 0, '100ms' ],
	[ 'track', 'some', 'top' ])
{
	my ($setting, $value, $default) = @$bad;
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', "fraiseql_obs.$setting = $value");
	$node->restart;
	like(
		slurp_file($node->logfile, $offset),
		qr/WARNING: .*"fraiseql_obs\.$setting"/,
		"$setting = $value in the file is a warning");
	is( $node->safe_psql('postgres', "SHOW fraiseql_obs.$setting"),
		$default, 'and the default holds');
	$node->adjust_conf('postgresql.conf', "fraiseql_obs.$setting", undef);
}
done_testing();
