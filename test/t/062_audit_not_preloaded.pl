# The audit log works without shared_preload_libraries, and takes the request
# context from plain SET; what needs the library says so.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('audit_not_preloaded');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION fraiseql_obs');
is( $node->safe_psql(
		'postgres', 'SELECT fraiseql_obs.create_audit_log()'),
	'fraiseql_audit.fraiseql_audit_log',
	'made');

# before anything has loaded the library in the session, and after
my $log = q(SELECT fraiseql_obs.log_operation('create', 'order', '7') > 0;
	SELECT user_id, tenant_id, operation
	FROM fraiseql_obs.recent_operations(1););
is( $node->safe_psql(
		'postgres', "SET app.user_id = 'ann'; SET app.tenant_id = 'acme'; $log"),
	"t\nann|acme|create",
	'context from the settings of the application');
is( $node->safe_psql(
		'postgres', "SET fraiseql_obs.user_id = 'bob'; $log"),
	"t\nbob||create",
	'context from our settings');
is( $node->safe_psql(
		'postgres',
		"SELECT fraiseql_obs.log_operation('first') > 0;
		 SET fraiseql_obs.user_id = 'cid'; SET fraiseql_obs.tenant_id = 'x'; $log"),
	"t\nt\ncid|x|create",
	'also when the library is loaded before');
is( $node->safe_psql(
		'postgres', q(
		SELECT fraiseql_obs.log_operation('delete', result => 'denied', user_id => 'eve') > 0;
		SELECT count(*) FROM fraiseql_obs.by_user('ann');
		SELECT count(*) FROM fraiseql_obs.by_entity('order', '7');
		SELECT user_id FROM fraiseql_obs.failed_operations();
		SELECT count(*) FROM fraiseql_audit.v_audit_log)),
	"t\n1\n3\neve\n5",
	'read');

is( $node->safe_psql('postgres', q(SET fraiseql_obs.audit_log_retention = '9999 days';
		SELECT fraiseql_obs.audit_report('2026-01-01', '2026-01-02', 'default')#>'{retention,days}')),
	'90', 'no retention that a reader has made up');

my ($status, $out, $err) = $node->psql('postgres',
	'DELETE FROM fraiseql_audit.fraiseql_audit_log');
like($err, qr/audit log is append-only/, 'guarded');
($status, $out, $err) =
  $node->psql('postgres', 'SELECT fraiseql_obs.export_metrics()');
like(
	$err,
	qr/must be loaded via "shared_preload_libraries"/,
	'what needs the library says so');

# The library is loaded: what was before is said once, and is no crash.
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'fraiseql_obs'\nfraiseql_obs.audit_worker = off");
$node->restart;
my $starts = q(SELECT fraiseql_obs.audit_announce_start();
	SELECT result, details->'unclean', details->'not_loaded' FROM fraiseql_audit.fraiseql_audit_log
	WHERE operation = 'audit.start' ORDER BY id DESC LIMIT 1);
my $gaps = q(SELECT string_agg(kind, ' ' ORDER BY row_id) FROM fraiseql_obs.verify_audit_log() WHERE severity = 'gap');
is($node->safe_psql('postgres', $starts), "t\nfailure|false|true", 'loaded for the first time');
is($node->safe_psql('postgres', $gaps), 'not_loaded', 'verification says so');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', $starts), "t\nfailure|true|", 'a crash is one');
is($node->safe_psql('postgres', $gaps), 'not_loaded unclean', 'and told apart');
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'a dump');
command_like(
	[ 'python3', "$FindBin::RealBin/../../bin/fraiseql-obs-verify", $dump ],
	qr/library had not been loaded.*server had not been stopped cleanly/s,
	'also in a dump');

$node->stop;
done_testing();
