# pg_upgrade takes an audit log along: rows, seals, captured and adopted tables,
# and who may read.  While it works, none of our processes does.  (To the same
# version, which is all the same to pg_upgrade.)

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = q(
	fraiseql_obs.audit_worker = on
	fraiseql_obs.audit_seal_interval = 1
	log_min_messages = debug1
);
my $old = start_node('old', $conf);

# From 18 on a library may be where an extension_control_path is, where
# pg_upgrade does not find it.
if ($old->psql('app', q(LOAD '$libdir/fraiseql_obs')) != 0)
{
	$old->stop;
	plan skip_all => 'the library is not installed where pg_upgrade looks';
}

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_stat_statements,fraiseql_obs'\n$conf");

# What a report says of operations of the application
sub figures
{
	my ($node) = @_;
	return $node->safe_psql('app', q(
		SELECT jsonb_object_agg(key, value)
		FROM jsonb_each(fraiseql_obs.compliance_report(current_date - 1, current_date + 2)->'summary')
		WHERE key NOT LIKE 'audit.%'));
}

sub is_verified
{
	my ($node, $anchor, $what) = @_;
	is($node->safe_psql('app', "SELECT * FROM fraiseql_obs.verify_audit_log(anchor => \$a\$$anchor\n\$a\$)"), '', $what);
	return;
}

$old->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	CREATE ROLE keeper;
	CREATE ROLE reader LOGIN;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper');
	SELECT fraiseql_obs.grant_audit_reader('reader');
	CREATE TABLE customer (id integer PRIMARY KEY, name text);
	SELECT fraiseql_obs.audit_table('customer');
	INSERT INTO customer VALUES (1, 'Ann'), (2, 'Bob');
	CREATE TABLE history (at timestamptz, action text);
	INSERT INTO history VALUES (now(), 'of before');
	SELECT fraiseql_obs.adopt_audit_source('history', '{"created_at": "at", "operation": "action"}');
	GRANT SELECT ON history TO reader));
$old->psql('app', q(DO $$ BEGIN PERFORM fraiseql_obs.log_operation('fails'); RAISE 'rolled back'; END $$));
$old->poll_query_until('app', q(
	SELECT count(*) > 0 FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'fails'))
  or die 'nothing is written';
my $figures = figures($old);
$old->safe_psql('app', q(SELECT fraiseql_obs.place_hold('a case'); SELECT fraiseql_obs.seal_audit_log()));
my $last = $old->safe_psql('app', 'SELECT max(id) FROM fraiseql_audit.fraiseql_audit_log');
my $entries = "SELECT * FROM fraiseql_audit.fraiseql_audit_log WHERE id <= $last ORDER BY id";
my $rows = $old->safe_psql('app', $entries);
my $anchor = $old->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
is_verified($old, $anchor, 'verified before');
$old->stop;

command_ok(
	[
		'pg_upgrade', '--retain', '-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
		'-d', $old->data_dir, '-D', $new->data_dir, '-p', $old->port, '-P', $new->port, '-s', $new->host
	],
	'upgraded');
my $logs = '';
foreach my $log (glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log'))
{
	$logs .= slurp_file($log);
}
like($logs, qr/database system is ready/, 'servers were started for it');
unlike($logs, qr/fraiseql_obs audit|fraiseql_obs http|fraiseql_obs otlp/, 'without our processes');

$new->start;
# one that looks whether there is anything to do is gone at once
ok($new->poll_query_until('app', q(
	SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker')), 'dormant');
is($new->safe_psql('app', $entries), $rows, 'with its rows');
is($new->safe_psql('app', q(SELECT * FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '', 'and no violation');
is(figures($new), $figures, 'and its report');
cmp_ok($new->safe_psql('app', q(SELECT fraiseql_obs.log_operation('while dormant'))), '>', $last, 'written as ever');

$new->safe_psql('app', 'SELECT fraiseql_obs.create_audit_log()');
ok($new->poll_query_until('app', q(
	SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker')), 'a worker');
$new->safe_psql('app', q(UPDATE customer SET name = 'Carl' WHERE id = 2; SELECT fraiseql_obs.seal_audit_log()));
is_verified($new, $anchor, 'verified, against the checkpoint of before');
is( $new->safe_psql('app', qq(
		SELECT string_agg(concat_ws(' ', operation, entity_id), ', ' ORDER BY id)
		FROM fraiseql_audit.fraiseql_audit_log WHERE id > $last AND operation NOT LIKE 'audit.%')),
	'while dormant, update 2', 'captured as before');
is($new->safe_psql('app', 'SELECT reason FROM fraiseql_obs.holds()'), 'a case', 'held as before');
is( $new->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.by_operation('of before')), extra_params => [ '-U', 'reader' ]),
	'1', 'read, with what is adopted, by who may');
(undef, undef, my $error) = $new->psql('app', q(UPDATE fraiseql_audit.fraiseql_audit_log SET operation = 'x'));
like($error, qr/append-only/, 'guarded');
$new->stop;
done_testing();
