# On a hot standby the functions work and tell of the standby's own
# statements, also across its promotion.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = start_node('primary', undef, allows_streaming => 1);
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

$primary->safe_psql('app', op(on_primary => 'SELECT 1'));
$standby->safe_psql('app', op(on_standby => 'SELECT generate_series(1, 2)'));
$standby->psql('app', 'CREATE TABLE refused (a int)');

is(counts($standby, 'on_standby'), '1|0|2', 'a query on the standby');
is(counts($standby, 'on_primary'), '', 'not those of the primary');
is(counts($primary, 'on_standby'), '', 'nor the reverse');
is(errors($standby), '25006|1', 'a refused write');
is( metric($standby,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'2', 'export');
foreach my $function ('metrics', 'query_stats', 'operation_stats',
	'error_stats', 'slow_queries')
{
	cmp_ok(
		observe($standby, "SELECT count(*) >= 0 FROM fraiseql_obs.$function()"),
		'eq', 't', "$function()");
}
reset_counts($standby);
is(totals($standby), '0|0|0', 'reset works');

# the audit log is the primary's to write
$primary->safe_psql('app', 'CREATE EXTENSION IF NOT EXISTS fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
$primary->wait_for_catchup($standby);
my (undef, undef, $refused) = $standby->psql('app', q(\set VERBOSITY verbose
	SELECT fraiseql_obs.log_operation('x')));
like($refused, qr/25006: cannot execute log_operation\(\) during recovery/, 'log_operation()');

$standby->safe_psql('app', op(kept => 'SELECT 1'));
$standby->promote;
$standby->safe_psql('app', op(accepted => 'CREATE TABLE accepted (a int)'));
is(counts($standby, 'kept'), '1|0|1', 'promotion keeps the counters');
is(counts($standby, 'accepted'), '1|0|0', 'and it counts on');
done_testing();
