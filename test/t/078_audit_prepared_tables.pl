# Who takes an audit log that stands, or installs the extension where one does,
# runs nothing with his rights that the owner of its tables has attached to them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('audit_prepared_tables');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE eve LOGIN; CREATE ROLE ben LOGIN');
my @eve = (extra_params => [ '-U', 'eve' ]);

# A log of eve's without some of its tables, and code of hers on the others
my $prepare = q(
	CREATE TABLE public.called (by name, where_from text);
	GRANT INSERT ON called TO PUBLIC;
	CREATE FUNCTION fraiseql_audit.grab(where_from text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.called VALUES (current_user, where_from);
		PERFORM set_config('role', 'none', true);
		ALTER ROLE ben SUPERUSER;
	EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR invalid_parameter_value THEN
		INSERT INTO public.called VALUES (current_user, where_from);
	END $$;
	CREATE FUNCTION fraiseql_audit.grab_it() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM fraiseql_audit.grab(tg_op); RETURN new; END $$;

	DROP TABLE fraiseql_audit.fraiseql_audit_seals, fraiseql_audit.fraiseql_audit_checkpoints;
	ALTER TABLE fraiseql_audit.fraiseql_audit_rollup_state DROP origin, DROP incarnation, DROP database_oid,
		DROP seals, DROP tree, DROP last_hash, DROP seen_id;
	CREATE TRIGGER t BEFORE UPDATE ON fraiseql_audit.fraiseql_audit_rollup_state
		FOR EACH ROW EXECUTE FUNCTION fraiseql_audit.grab_it();
	CREATE TRIGGER t BEFORE TRUNCATE ON fraiseql_audit.fraiseql_audit_counts
		FOR EACH STATEMENT EXECUTE FUNCTION fraiseql_audit.grab_it();
	TRUNCATE called);

sub prepare
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER eve");
	$node->safe_psql($database, q(SET client_min_messages = warning; CREATE EXTENSION fraiseql_obs;
		SELECT fraiseql_obs.create_audit_log(owner => 'eve');
		DROP EXTENSION fraiseql_obs CASCADE; DROP SCHEMA fraiseql_obs));
	$node->safe_psql($database, $prepare, @eve);
	return;
}

sub has_not_grabbed
{
	my ($database, $name) = @_;
	is($node->safe_psql($database, q(SELECT string_agg(DISTINCT by || ' ' || where_from, ', ' ORDER BY by || ' ' || where_from) FROM called)),
		'eve TRUNCATE, eve UPDATE', "$name: her code has run with her rights");
	is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_roles WHERE rolname IN ('eve', 'ben') AND rolsuper)),
		'0', "$name: nobody has become a superuser");
	is($node->safe_psql($database, q(SELECT fraiseql_obs.log_operation('x') > 0; SELECT fraiseql_obs.seal_audit_log() > 0)),
		"t\nt", "$name: the log goes on");
	is($node->safe_psql($database, q(SELECT string_agg(DISTINCT relowner::regrole::text, ' ') FROM pg_class
		WHERE relnamespace = 'fraiseql_audit'::regnamespace AND relkind IN ('r', 'p'))),
		'eve', "$name: all is hers");
	return;
}

# the log of the database's owner is found by CREATE EXTENSION
prepare('found');
$node->safe_psql('found', 'CREATE EXTENSION fraiseql_obs');
has_not_grabbed('found', 'found');

# that of somebody else is named
prepare('named');
$node->safe_psql('named', q(ALTER DATABASE named OWNER TO postgres; CREATE EXTENSION fraiseql_obs));
is($node->safe_psql('named', 'SELECT count(*) FROM called'), '0', 'not found');
$node->safe_psql('named', q(SELECT fraiseql_obs.create_audit_log(owner => 'eve')));
has_not_grabbed('named', 'named');

# what is no table of a log, or another role's, is in the way
$node->safe_psql('postgres', 'CREATE DATABASE way');
$node->safe_psql('way', q(CREATE EXTENSION fraiseql_obs; CREATE SCHEMA fraiseql_audit; GRANT CREATE, USAGE ON SCHEMA fraiseql_audit TO eve));
foreach my $what (
	"VIEW fraiseql_audit.fraiseql_audit_seals AS SELECT 1 AS seal_no",
	'TABLE fraiseql_audit.fraiseql_audit_holds (hold_id bigint)')
{
	my ($kind, $name) = $what =~ /^(\w+) (\S+)/;
	$node->safe_psql('way', "CREATE $what", @eve);
	my ($status, $out, $err) = $node->psql('way', 'SELECT fraiseql_obs.create_audit_log()');
	like($err, qr/cannot make the audit log, for "$name" is in the way/, "$name: no log is made beside it");
	$node->safe_psql('way', "DROP $kind $name", @eve);
}
is($node->safe_psql('way', 'SELECT fraiseql_obs.create_audit_log()'), 'fraiseql_audit.fraiseql_audit_log', 'when it has gone it is made');
foreach my $what (
	"VIEW fraiseql_audit.fraiseql_audit_other AS SELECT 1 AS seal_no",
	'TABLE fraiseql_audit.fraiseql_audit_other (hold_id bigint)')
{
	my ($kind, $name) = $what =~ /^(\w+) (\S+)/;
	$node->safe_psql('way', "CREATE $what", @eve);
	my ($status, $out, $err) = $node->psql('way', 'SELECT fraiseql_obs.create_audit_log()');
	like($err, qr/cannot make the audit log, for "\S+" is in the way/, "$name: nor taken");
	$node->safe_psql('way', "DROP $kind $name", @eve);
}
is($node->safe_psql('way', 'SET client_min_messages = warning; SELECT fraiseql_obs.create_audit_log()'),
	'fraiseql_audit.fraiseql_audit_log', 'and then it is');

$node->stop;
done_testing();
