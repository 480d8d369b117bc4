# Tables that a standing log gets when the extension is created are the log's,
# not the extension's: pg_dump takes them along, and DROP EXTENSION leaves them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_members', 'fraiseql_obs.audit_guard = off');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('app', "SET client_min_messages = warning; $sql");
}
my $tables = q(SELECT count(*), md5(string_agg(relname, ' ' ORDER BY relname)) FROM pg_class
	WHERE relnamespace = '"Audit of app"'::regnamespace AND relkind IN ('r', 'p', 'S'));

sql(q(CREATE ROLE keeper NOLOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log('Audit of app', owner => 'keeper');
	SELECT fraiseql_obs.log_operation('first')));
my $wanted = sql($tables);

# as if it had been made before there were any tables but the first ones
sql(q(DROP EXTENSION fraiseql_obs CASCADE;
	SET search_path = "Audit of app";
	DROP TABLE fraiseql_audit_seals, fraiseql_audit_checkpoints, fraiseql_audit_partitions, fraiseql_audit_holds,
		fraiseql_audit_erasures, fraiseql_audit_collapsed, fraiseql_audit_actor_operations, fraiseql_audit_actor_state;
	ALTER TABLE fraiseql_audit_rollup_state DROP origin, DROP incarnation, DROP database_oid, DROP seals,
		DROP tree, DROP last_hash, DROP seen_id;
	RESET search_path;
	CREATE EXTENSION fraiseql_obs));
is(sql($tables), $wanted, 'a standing log gets what it did not have');
is(sql(q(SELECT string_agg(pg_describe_object(classid, objid, objsubid), ', ') FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fraiseql_obs')
		AND pg_describe_object(classid, objid, objsubid) LIKE '%Audit of app%')), '',
	'nothing of it is a member of the extension');
is(sql(q(SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ' ') FROM pg_class
	WHERE relnamespace = '"Audit of app"'::regnamespace AND relkind IN ('r', 'p', 'S'))), 'keeper', "all are the owner's");
is(sql(q(SELECT count(*) FROM fraiseql_obs.place_hold('reason', user_id => 'u');
	SELECT fraiseql_obs.seal_audit_log() > 0; SELECT fraiseql_obs.maintain_audit_log(false)->'failed')),
	"1\nt\n[]", 'and of use');

my ($dump, undef) = run_command([ 'pg_dump', '-s', '-d', $node->connstr('app') ]);
like($dump, qr/CREATE TABLE "Audit of app"\.$_/, "pg_dump has $_")
  foreach (qw(fraiseql_audit_seals fraiseql_audit_holds fraiseql_audit_actor_state));

sql('DROP EXTENSION fraiseql_obs CASCADE');
is(sql($tables), $wanted, 'all outlive the extension');
is(sql(q(SELECT user_id FROM "Audit of app".fraiseql_audit_holds)), 'u', 'with what they have');

$node->stop;
done_testing();
