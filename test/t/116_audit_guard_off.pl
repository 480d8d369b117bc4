# While the guard is off, whoever changes the tables of an audit log leaves an
# entry in it, also if what was done is rolled back.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_guard_off', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
my $log = 'fraiseql_audit.fraiseql_audit_log';

$node->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	CREATE ROLE dba LOGIN SUPERUSER;
	CREATE TABLE others (a int);
	SELECT fraiseql_obs.audit_announce_start();
	SELECT fraiseql_obs.log_operation('op')));

# What somebody has left after some statements
sub left
{
	my ($sql) = @_;

	$node->psql('app', "$sql;", extra_params => [ '-U', 'dba' ]);
	return $node->safe_psql('app', qq(
		SELECT fraiseql_obs.audit_drain_ring() \\g /dev/null
		SELECT string_agg(format('%s %s %s: %s', db_role, result, regexp_replace(entity_id, '_[0-9]+\$', ''), coalesce(details::text, '-')), ', ' ORDER BY id)
		FROM $log WHERE operation = 'audit.guard_off' AND created_at >= (
			SELECT created_at FROM $log WHERE operation = 'op' ORDER BY id DESC LIMIT 1);
		SELECT fraiseql_obs.log_operation('op') \\g /dev/null));
}

is(left("UPDATE $log SET user_id = 'bob'"), '', 'on: refused, and no entry');
set_guard($node, 'off');
is(left("UPDATE $log SET user_id = 'bob'"), 'dba success fraiseql_audit_log: -', 'an UPDATE');
is(left("BEGIN; DELETE FROM $log; DROP TABLE fraiseql_audit.fraiseql_audit_holds; ROLLBACK"), 'dba success fraiseql_audit_log: -',
	'one entry of a transaction, though it is rolled back');
is(left("DELETE FROM $log WHERE operation = 'none'; BEGIN; TRUNCATE fraiseql_audit.fraiseql_audit_seals; SELECT 1/0; COMMIT"),
	'dba success fraiseql_audit_log: -, dba success fraiseql_audit_seals: -', 'two of two, though one fails');
is(left("UPDATE $log SET user_id = 'bob' WHERE operation = 'none'; " x 3), 'dba success fraiseql_audit_log: -', 'one of a session that repeats itself');
is(left("COPY fraiseql_audit.fraiseql_audit_holds (reason) FROM '/dev/null'"), 'dba success fraiseql_audit_holds: -', 'COPY');
is(left("ALTER TABLE $log DISABLE ROW LEVEL SECURITY"), 'dba success fraiseql_audit_log: -', 'ALTER TABLE');
is(left('CREATE TABLE child () INHERITS (fraiseql_audit.fraiseql_audit_holds)'), 'dba success fraiseql_audit_holds: -', 'a child');
is(left('CREATE FUNCTION fraiseql_obs.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$'), 'dba success f: -', 'a function');
is(left(q(INSERT INTO others VALUES (1); SELECT fraiseql_obs.log_operation('op'); SELECT fraiseql_obs.seal_audit_log();
	SELECT fraiseql_obs.place_hold('Case'))), '', 'what is not the log, or by our functions, is none');
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.verify_audit_log() WHERE kind = 'lost')), '0', 'nothing is lost');
set_guard($node, 'on');
is(left("DELETE FROM $log"), '', 'on again');

$node->stop;
done_testing();
