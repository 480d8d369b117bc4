# Who reads the audit log by the functions for it, a superuser or an auditor,
# runs no code of the log's owner with his own rights, whatever the owner has
# made of the tables.  The guard, which would refuse most of it, is off.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('hostile_owner', q(
	fraiseql_obs.audit_guard = off
	fraiseql_obs.audit_worker = off));

sub sql
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, defined $role ? (extra_params => [ '-U', $role ]) : ());
}

# all that reads, in the words of its documentation
my @readings = (
	(map { "SELECT count(*) FROM fraiseql_obs.$_" } (
		'recent_operations()', q(by_user('ann')), q(by_entity('a', 'b')), q(by_operation('login')), q(by_request('r')),
		'failed_operations()', 'holds(true)', 'audit_statistics(by_operation => true)', 'failure_spikes()', 'repeated_denials()',
		q(new_actors(min_history => '1 s')), 'off_hours()', 'volume_spikes()', 'silence()', 'most_active_users()',
		'most_active_entities()', 'slow_operations()', q(audit_counts('operation', now() - interval '1 day', now())),
		q(audit_tally('{operation}', 'day', now() - interval '1 day', now())),
		q(audit_actor_counts(now() - interval '1 day', now())), 'verify_audit_log()', 'request_timeline(\'r\')')),
	'SELECT fraiseql_obs.audit_checkpoint()', 'SELECT fraiseql_obs.audit_checkpoint_number(1)',
	(map { "SELECT length(fraiseql_obs.compliance_report$_(current_date - 1, current_date + 1, verify => true)::text)" } '', '_text', '_csv', '_html'));
my @of_superusers = ('SELECT count(*) FROM fraiseql_obs.audit_removable_partitions()',
	'SELECT fraiseql_obs.create_audit_log()', 'SELECT fraiseql_obs.maintain_audit_log()', 'SELECT fraiseql_obs.seal_audit_log()');

sub quoted
{
	my ($text) = @_;
	return "'" . $text =~ s/'/''/gr . "'";
}

sub json
{
	my ($text) = @_;
	return '"' . $text =~ s/"/\\"/gr . '"';
}

# Who ran the owner's code
sub victims
{
	return sql(q(SELECT string_agg(DISTINCT victim, ', ') FROM evil.victims));
}

# What was made of the log, undone by the next log
sub is_harmless
{
	my ($what, $attack, %are) = @_;

	sql(q(
		DROP SCHEMA IF EXISTS fraiseql_audit CASCADE;
		SET client_min_messages = error;
		DROP EXTENSION IF EXISTS fraiseql_obs CASCADE;
		CREATE EXTENSION fraiseql_obs;
		ALTER ROLE keeper NOSUPERUSER;
		CREATE SCHEMA fraiseql_audit AUTHORIZATION keeper;
		SELECT fraiseql_obs.create_audit_log(owner => 'keeper');
		SELECT fraiseql_obs.grant_audit_reader('auditor');
		SELECT fraiseql_obs.log_operation('login', 'a', 'b', user_id => 'ann', request_id => 'r', duration_ms => 1);
		SELECT fraiseql_obs.seal_audit_log()));
	sql($attack, 'keeper');
	sql('TRUNCATE evil.victims');
	my $errors = '';
	foreach my $reader (undef, 'auditor')
	{
		my (undef, undef, $error) = $node->psql('postgres', join(";\n", @readings, defined $reader ? () : @of_superusers),
			on_error_stop => 0, defined $reader ? (extra_params => [ '-U', $reader ]) : ());
		$errors .= join "\n", grep { /ERROR/ } split /\n/, $error;
	}
	is(victims(), $are{not_run} ? '' : 'keeper', "$what runs nothing but as its owner");
	is(sql(q(SELECT rolsuper FROM pg_roles WHERE rolname = 'keeper')), 'f', '... who is no superuser');
	is($errors, '', '... and all can be read') unless $are{fails};
}

sql(q(
	CREATE ROLE keeper LOGIN;
	CREATE ROLE auditor LOGIN IN ROLE pg_read_all_stats;
	CREATE SCHEMA evil AUTHORIZATION keeper;
	GRANT USAGE ON SCHEMA evil TO PUBLIC));
sql(q(
	CREATE TABLE evil.victims (victim name);
	GRANT INSERT ON evil.victims TO PUBLIC;
	CREATE FUNCTION evil.act() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO evil.victims VALUES (current_user);
		ALTER ROLE keeper SUPERUSER;
	EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction THEN
		INSERT INTO evil.victims VALUES (current_user);
	END $$;
	CREATE FUNCTION evil.run() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
		'BEGIN PERFORM evil.act(); RETURN true; END';
	CREATE FUNCTION evil.run(anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS
		'BEGIN PERFORM evil.run(); RETURN $1; END'), 'keeper');

is_harmless('nothing', 'SELECT', not_run => 1);
is_harmless('a view beside the log', q(
	CREATE VIEW fraiseql_audit.fraiseql_audit_source_x AS
		SELECT l.* FROM fraiseql_audit.fraiseql_audit_log l WHERE evil.run();
	GRANT SELECT ON fraiseql_audit.fraiseql_audit_source_x TO auditor));
is_harmless('a view in the place of a table', join(';', map { qq(
	ALTER TABLE fraiseql_audit.$_ RENAME TO x_$_;
	CREATE VIEW fraiseql_audit.$_ AS SELECT * FROM fraiseql_audit.x_$_ WHERE evil.run(singleton)) }
	qw(fraiseql_audit_settings fraiseql_audit_rollup_state)), fails => 1);
is_harmless('an index', join(';', map { qq(
	CREATE INDEX ON fraiseql_audit.$_ ((evil.run()))) }
	qw(fraiseql_audit_log fraiseql_audit_settings fraiseql_audit_counts fraiseql_audit_holds fraiseql_audit_rollup_state
	fraiseql_audit_actor_days fraiseql_audit_seals fraiseql_audit_partitions fraiseql_audit_checkpoints)));
is_harmless('a policy on a table beside the log', join(';', map { qq(
	ALTER TABLE fraiseql_audit.$_ ENABLE ROW LEVEL SECURITY;
	CREATE POLICY x ON fraiseql_audit.$_ USING (evil.run())) }
	qw(fraiseql_audit_counts fraiseql_audit_holds fraiseql_audit_rollup_state fraiseql_audit_settings)), not_run => 1);
is_harmless('a type of its own', q(
	CREATE TYPE evil.number AS (n bigint);
	CREATE FUNCTION evil.cast(evil.number) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.run(); RETURN $1.n; END';
	CREATE CAST (evil.number AS bigint) WITH FUNCTION evil.cast(evil.number) AS IMPLICIT;
	ALTER TABLE fraiseql_audit.fraiseql_audit_rollup_state ALTER seals DROP DEFAULT, ALTER seals TYPE evil.number USING ROW(seals)::evil.number), fails => 1);

# Nor does the owner run any of theirs: what is searched for is no SQL, and
# nothing but the log is read.
sql(q(
	CREATE SCHEMA spy AUTHORIZATION auditor;
	GRANT USAGE ON SCHEMA spy TO PUBLIC));
sql(q(
	CREATE TABLE spy.seen (who name);
	GRANT INSERT ON spy.seen TO PUBLIC;
	CREATE FUNCTION spy.look() RETURNS text LANGUAGE plpgsql AS
		'BEGIN INSERT INTO spy.seen VALUES (current_user); RETURN true; END'), 'auditor');
foreach my $input ('spy.look()', 'true AND spy.look()::bool', q(x' OR spy.look() = 'true), q("a" OR spy.look()::bool --))
{
	foreach my $wanted (q({"user_id": %s}), q({"result": [%s]}), q({"failed": %s}), q({%s: "x"}), q(%s))
	{
		$node->psql('postgres', 'SELECT count(*) FROM fraiseql_obs.audit_search(' . quoted(sprintf $wanted, json($input)) . ', 9, NULL, NULL, NULL)',
			extra_params => [ '-U', 'auditor' ]);
	}
	sql("SELECT count(*) FROM fraiseql_obs.$_(" . quoted($input) . ')', 'auditor') foreach qw(by_user by_operation by_request);
	$node->psql('postgres', 'SELECT fraiseql_obs.audit_search(' . quoted($input) . ', 9, NULL, NULL, NULL)', extra_params => [ '-U', 'auditor' ]);
}
my $taking = sql(q(
	SELECT string_agg(p.oid::regprocedure::text, ' ')
	FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
	WHERE nspname = 'fraiseql_obs' AND prosrc = 'fraiseql_obs_audit_read' AND has_function_privilege('auditor', p.oid, 'EXECUTE')
	  AND proargtypes::oid[] && '{regclass,regtype,name,oid}'::regtype[]::oid[]));
is($taking, '', 'what an auditor has done as the owner names no relation');
is(sql('SELECT count(*) FROM spy.seen'), '0', 'what an auditor asks for is not run as the owner');

# Row security has the last word on the rows that a reader gets.
sql(q(
	DROP SCHEMA fraiseql_audit CASCADE;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper', tenant_isolation => true);
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.log_operation('login', tenant_id => 'a'), fraiseql_obs.log_operation('login', tenant_id => 'b')));
is(sql(q(SET fraiseql_obs.tenant_id = 'a'; SELECT count(*) FROM fraiseql_obs.recent_operations()), 'auditor'), '1', 'a tenant\'s reader sees its rows');
is(sql(q(SELECT count(*) FROM fraiseql_obs.recent_operations())), '2', 'a superuser all');
sql('ALTER TABLE fraiseql_audit.fraiseql_audit_log FORCE ROW LEVEL SECURITY', 'keeper');
my (undef, undef, $error) = $node->psql('postgres', 'SELECT count(*) FROM fraiseql_obs.recent_operations()');
like($error, qr/row security hides rows of the audit log from its owner/, 'or says that it cannot');
done_testing();
