# Without shared_preload_libraries the extension can be created and dropped,
# its functions say what is missing, and no statement is disturbed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('not_preloaded');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION fraiseql_obs');

my $message =
  qr/ERROR: +55000: fraiseql_obs must be loaded via "shared_preload_libraries"/;

# each function without arguments that it must have, and each view
my @calls = split /\n/, $node->safe_psql(
	'postgres', q(
	SELECT 'SELECT * FROM ' || p.oid::regproc || '()'
	FROM pg_proc AS p
	WHERE pronamespace = 'fraiseql_obs'::regnamespace
		AND pronargs = pronargdefaults AND prokind = 'f'
		-- the audit log works without, and so do headers and logs of errors
		AND proname || prosrc !~ 'audit|trace_context|error_logs'
	UNION ALL
	SELECT 'SELECT * FROM ' || c.oid::regclass
	FROM pg_class AS c
	WHERE relnamespace = 'fraiseql_obs'::regnamespace AND relkind = 'v'
	ORDER BY 1));
cmp_ok(scalar @calls, '>=', 11, 'functions and views');

# and those by which the application records
push @calls,
  "SELECT fraiseql_obs.record_http_request('GET', '/', 200, 0)",
  "SELECT fraiseql_obs.record_cache('query', 1, 0)",
  "SELECT fraiseql_obs.record_pool('main', 1, 0)",
  "SELECT fraiseql_obs.counter_add('a_total')",
  "SELECT fraiseql_obs.gauge_set('a', 1)",
  "SELECT fraiseql_obs.histogram_observe('a_seconds', 1)";

foreach my $call (@calls)
{
	my ($status, $out, $err) = $node->psql('postgres', $call,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, $message, $call);
}

# LOAD in a session is too late, and harmless.
my ($status, $out, $err) =
  $node->psql('postgres', "LOAD 'fraiseql_obs'; SELECT 1 / 1");
is($out, '1', 'statements work after LOAD');
$node->safe_psql('postgres',
	"LOAD 'fraiseql_obs'; SET fraiseql_obs.operation_name = 'x'");
($status, $out, $err) =
  $node->psql('postgres', 'SELECT fraiseql_obs.export_metrics()',
	extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, $message, 'functions still say so');

$node->safe_psql('postgres', 'DROP EXTENSION fraiseql_obs');
done_testing();
