# Adopted tables are read by a tenant as far as the log is, and outlive the
# extension and a dump.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_sources');

$node->safe_psql('app', q(
	CREATE ROLE keeper NOLOGIN;
	CREATE ROLE reader LOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper', tenant_isolation => true);
	CREATE TABLE own_log (at timestamptz, what text, tenant text);
	INSERT INTO own_log VALUES ('2020-01-01', 'a', 't1'), ('2020-01-02', 'b', 't2'), ('2020-01-03', 'c', NULL);
	SELECT fraiseql_obs.grant_audit_reader('reader');
	GRANT SELECT ON own_log TO reader;
	SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "what", "tenant_id": "tenant"}')));

my $seen = q(SELECT string_agg(operation, ' ' ORDER BY operation) FROM fraiseql_obs.recent_operations() WHERE operation !~ '^audit\.');

sub sees
{
	my ($database, $name) = @_;
	my @reader = (extra_params => [ '-U', 'reader' ]);
	is($node->safe_psql($database, $seen), 'a b c', "$name: all rows for who sees all");
	is($node->safe_psql($database, $seen, @reader), '', "$name: no tenant, no row");
	is($node->safe_psql($database, "SET fraiseql_obs.tenant_id = 't2'; $seen", @reader),
		'b', "$name: those of the tenant");
	return;
}
sees('app', 'at first');

$node->safe_psql('app', 'SET client_min_messages = warning; DROP EXTENSION fraiseql_obs CASCADE');
is($node->safe_psql('app', 'SELECT count(*) FROM fraiseql_audit.fraiseql_audit_source_public_own_log'),
	'3', 'without the extension');
$node->safe_psql('app', q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.grant_audit_reader('reader')));
sees('app', 'with it again');

my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'app' ], 'dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'restored');
$node->safe_psql('restored', q(SELECT fraiseql_obs.create_audit_log(), fraiseql_obs.grant_audit_reader('reader')));
sees('restored', 'restored');

# the owner of the log may end it
is($node->safe_psql('app', q(SET ROLE keeper; SELECT fraiseql_obs.forget_audit_source('own_log'); RESET ROLE;
	SELECT count(*) FROM fraiseql_obs.recent_operations() WHERE operation !~ '^audit')), "\n0", 'forgotten');

$node->stop;
done_testing();
