# The worker and its upkeep do everything with the rights of the log's owner, who
# is no superuser: also what runs because of what he has put in the place of
# tables, or made to refer to them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_rights', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off\nfraiseql_obs.audit_seal_interval = 1");
make_old_audit_log($node, 37, 30);
my $id = $node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('x')));

# who runs the code of the owner, which would make eve a superuser
set_guard($node, 'off');
$node->safe_psql('app', qq(
	CREATE ROLE eve LOGIN;
	CREATE TABLE called (by name, where_from text);
	GRANT INSERT ON called TO PUBLIC;
	SET ROLE keeper;
	CREATE FUNCTION fraiseql_audit.grab(name text) RETURNS boolean LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO public.called VALUES (current_user, name);
		PERFORM set_config('role', 'none', true);
		ALTER ROLE eve SUPERUSER;
		RETURN true;
	EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR invalid_parameter_value THEN
		INSERT INTO public.called VALUES (current_user, name);
		RETURN true;
	END \$\$;

	CREATE TYPE fraiseql_audit.moment AS (at timestamptz);
	CREATE FUNCTION fraiseql_audit.at(m fraiseql_audit.moment) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS \$\$
	BEGIN PERFORM fraiseql_audit.grab('cast'); RETURN m.at; END \$\$;
	CREATE CAST (fraiseql_audit.moment AS timestamptz) WITH FUNCTION fraiseql_audit.at AS IMPLICIT;
	CREATE TABLE fraiseql_audit.reference (at fraiseql_audit.moment, id bigint,
		FOREIGN KEY (at, id) REFERENCES fraiseql_audit.fraiseql_audit_log (created_at, id));
	INSERT INTO fraiseql_audit.reference
		SELECT ROW(created_at)::fraiseql_audit.moment, id FROM fraiseql_audit.fraiseql_audit_log WHERE id = $id;

	ALTER TABLE fraiseql_audit.fraiseql_audit_holds RENAME TO holds;
	CREATE VIEW fraiseql_audit.fraiseql_audit_holds AS
		SELECT * FROM fraiseql_audit.holds WHERE fraiseql_audit.grab('holds') OFFSET 0;
	INSERT INTO fraiseql_audit.holds (reason, placed_by, since, until) VALUES ('never', 'keeper', '2000-01-01', '2000-01-02');
	ALTER TABLE fraiseql_audit.fraiseql_audit_collapsed RENAME TO collapsed;
	CREATE VIEW fraiseql_audit.fraiseql_audit_collapsed AS
		SELECT * FROM fraiseql_audit.collapsed WHERE fraiseql_audit.grab('collapsed');
	RESET ROLE;
	TRUNCATE called));
set_guard($node, 'on');
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;

ok($node->poll_query_until('app', q(SELECT count(*) = 7 FROM fraiseql_audit.fraiseql_audit_partitions)), 'partitions are closed')
  or diag(slurp_file($node->logfile) =~ s/^(?!.*(ERROR|WARNING)).*\n//mgr);
ok($node->poll_query_until('app', q(SELECT count(*) = 0 FROM pg_class
	WHERE relkind = 'r' AND relname < 'fraiseql_audit_log_' || to_char(now() - interval '31 days', 'YYYYMMDD') AND relname ~ 'audit_log_\d+$')),
	'and detached and dropped');
is($node->safe_psql('app', q(SELECT string_agg(DISTINCT by || ' ' || where_from, ', ' ORDER BY by || ' ' || where_from) FROM called)),
	'keeper cast, keeper collapsed, keeper holds', 'code of the owner has run with the rights of the owner');
is($node->safe_psql('app', q(SELECT rolsuper FROM pg_roles WHERE rolname = 'eve')), 'f', 'and nobody has become a superuser');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no crash');

$node->stop;
done_testing();
