# FRAISEQL_* environment variables set the values that the server starts with;
# the configuration file overrides them; a value that cannot be is a warning
# that names variable and range, and the default holds.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('environment', undef);

sub show
{
	my ($setting) = @_;
	return $node->safe_psql('postgres', "SHOW fraiseql_obs.$setting");
}

sub warnings_of_start
{
	my (%environment) = @_;
	local @ENV{ keys %environment } = values %environment;
	$node->stop;
	my $offset = -s $node->logfile;
	$node->start;
	return join '', grep { /WARNING|DETAIL/ }
	  split /^/, slurp_file($node->logfile, $offset);
}

is( warnings_of_start(
		FRAISEQL_OBSERVABILITY_ENABLED => 'off',
		FRAISEQL_METRICS_ENABLED => '0',
		FRAISEQL_TRACING_ENABLED => 'no',
		FRAISEQL_TRACE_SAMPLE_RATE => '0.25',
		FRAISEQL_SLOW_QUERY_THRESHOLD_MS => '250.5',
		FRAISEQL_INCLUDE_QUERY_BODIES => 'true',
		FRAISEQL_AUDIT_LOG_RETENTION_DAYS => '400',
		FRAISEQL_HEALTH_CHECK_TIMEOUT_MS => '1500'),
	'', 'no warning');
is(show('enabled'), 'off', 'enabled');
is(show('metrics_enabled'), 'off', 'metrics_enabled');
is(show('tracing_enabled'), 'off', 'tracing_enabled');
is(show('trace_sample_rate'), '0.25', 'trace_sample_rate');
is( $node->safe_psql('postgres',
		'SELECT setting FROM pg_settings'
		  . " WHERE name = 'fraiseql_obs.slow_query_threshold'"),
	'250.5', 'slow_query_threshold');
is(show('include_query_bodies'), 'on', 'include_query_bodies');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_settings WHERE name LIKE 'fraiseql_obs.%'"
		  . " AND source = 'environment variable'"),
	'8', 'the source is known');
is(show('audit_log_retention'), '400d', 'audit_log_retention');
is(show('health_check_timeout'), '1500ms', 'health_check_timeout');
is( $node->safe_psql('postgres',
		"SET fraiseql_obs.slow_query_threshold = '3ms';"
		  . ' SHOW fraiseql_obs.slow_query_threshold;'),
	'3ms', 'SET overrides');

$node->append_conf('postgresql.conf',
	"fraiseql_obs.slow_query_threshold = 42\nfraiseql_obs.enabled = on");
is( warnings_of_start(
		FRAISEQL_OBSERVABILITY_ENABLED => 'off',
		FRAISEQL_SLOW_QUERY_THRESHOLD_MS => '7'),
	'', 'no warning');
is(show('slow_query_threshold'), '42ms', 'the file overrides a number');
is(show('enabled'), 'on', 'the file overrides a Boolean');
$node->adjust_conf('postgresql.conf', 'fraiseql_obs.slow_query_threshold',
	undef);

my $log = warnings_of_start(
	FRAISEQL_METRICS_ENABLED => 'perhaps',
	FRAISEQL_SLOW_QUERY_THRESHOLD_MS => '0',
	FRAISEQL_HEALTH_CHECK_TIMEOUT_MS => '0');
like($log, qr/WARNING: +invalid value "perhaps".*"FRAISEQL_METRICS_ENABLED"/,
	'not a Boolean');
like(
	$log,
	qr/WARNING: +invalid value "0".*"FRAISEQL_SLOW_QUERY_THRESHOLD_MS"/,
	'zero is no threshold');
like($log, qr/0\.001 to 2147483647/, 'the range');
like(
	$log,
	qr/WARNING: +invalid value "0".*"FRAISEQL_HEALTH_CHECK_TIMEOUT_MS"/,
	'zero is no timeout');
is(show('health_check_timeout'), '5s', 'the default holds');
is(show('metrics_enabled'), 'on', 'the default holds');
is(show('slow_query_threshold'), '100ms', 'the default holds');

foreach my $value ('-1', 'nan', '1e300', '12 parsecs', 'x')
{
	$log = warnings_of_start(FRAISEQL_SLOW_QUERY_THRESHOLD_MS => $value);
	like($log, qr/WARNING: +invalid value "\Q$value\E"/, "$value");
	is(show('slow_query_threshold'), '100ms', 'the default holds');
}
foreach my $value ('-0.1', '1.1', 'nan', 'half')
{
	$log = warnings_of_start(FRAISEQL_TRACE_SAMPLE_RATE => $value);
	like($log, qr/WARNING: +invalid value "\Q$value\E"/, "$value");
	like($log, qr/a number from 0 to 1/, 'the range');
	is(show('trace_sample_rate'), '1', 'the default holds');
}
done_testing();
