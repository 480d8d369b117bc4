# What the owner of the audit log, or somebody who made a schema beforehand, has
# attached to its tables runs with no more than their own rights, whoever
# writes; without preloading, where nothing guards.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('audit_owner');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
$node->safe_psql('postgres', q(
	CREATE ROLE keeper NOLOGIN;
	CREATE ROLE member LOGIN IN ROLE keeper;
	CREATE ROLE eve LOGIN;
	GRANT CREATE ON DATABASE postgres TO eve));

sub superusers
{
	return $node->safe_psql('postgres', q(SELECT string_agg(rolname, ' ') FROM pg_roles
		WHERE rolsuper AND rolname IN ('keeper', 'member', 'eve')));
}

sub fails
{
	my ($sql, $message, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql);
	like($err, $message, $name);
	return;
}

# a schema of the extension's name, and one of the log's, that eve has made
$node->safe_psql('postgres', 'CREATE SCHEMA fraiseql_obs', extra_params => [ '-U', 'eve' ]);
fails('CREATE EXTENSION fraiseql_obs', qr/schema "fraiseql_obs" belongs to another role/,
	'no extension in a schema of somebody else');
$node->safe_psql('postgres', 'DROP SCHEMA fraiseql_obs');
$node->safe_psql('postgres', q(
	CREATE SCHEMA fraiseql_audit;
	CREATE FUNCTION fraiseql_audit.grab() RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE 'ALTER ROLE eve SUPERUSER';
		RETURN true;
	END $$;
	CREATE TABLE fraiseql_audit.fraiseql_audit_log (id int) PARTITION BY RANGE (id);
	CREATE VIEW fraiseql_audit.fraiseql_audit_settings AS SELECT fraiseql_audit.grab() AS guard_triggers;
), extra_params => [ '-U', 'eve' ]);
$node->safe_psql('postgres', 'CREATE EXTENSION fraiseql_obs');
fails('SELECT fraiseql_obs.log_operation($$x$$)', qr/audit log does not exist/, 'what eve has made is not found');
fails('SELECT fraiseql_obs.create_audit_log()', qr/schema "fraiseql_audit" belongs to role "eve"/,
	'and not taken');
is(superusers(), '', 'nothing of it was executed');
$node->safe_psql('postgres', 'SET client_min_messages = warning; DROP SCHEMA fraiseql_audit CASCADE');
$node->safe_psql('postgres', q(SELECT fraiseql_obs.create_audit_log(owner => 'keeper')));

# code of the owner in everything that is written
$node->safe_psql('postgres', q(
	SET ROLE keeper;
	CREATE FUNCTION fraiseql_audit.grab() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('search_path', 'fraiseql_audit', false);
		PERFORM set_config('role', 'none', true);
		EXECUTE 'ALTER ROLE member SUPERUSER';
	EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR invalid_parameter_value THEN
		RETURN;
	END $$;
	CREATE FUNCTION fraiseql_audit.seen(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
	BEGIN PERFORM fraiseql_audit.grab(); RETURN $1; END $$;
	CREATE FUNCTION fraiseql_audit.grab_it() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM fraiseql_audit.grab(); RETURN new; END $$;
	CREATE INDEX ON fraiseql_audit.fraiseql_audit_counts (fraiseql_audit.seen(n));
	CREATE INDEX ON fraiseql_audit.fraiseql_audit_rollup_state (fraiseql_audit.seen(seals));
	CREATE TRIGGER t BEFORE UPDATE ON fraiseql_audit.fraiseql_audit_rollup_state
		FOR EACH ROW EXECUTE FUNCTION fraiseql_audit.grab_it();
	CREATE TRIGGER t BEFORE INSERT ON fraiseql_audit.fraiseql_audit_log
		FOR EACH ROW EXECUTE FUNCTION fraiseql_audit.grab_it();
), extra_params => [ '-U', 'member' ]);
is($node->safe_psql('postgres', q(
	SET search_path = public;
	SELECT fraiseql_obs.log_operation('x') > 0;
	SELECT fraiseql_obs.refresh_audit_rollups();
	SELECT fraiseql_obs.seal_audit_log() > 0;
	SELECT fraiseql_obs.index_audit_partitions();
	SHOW search_path)), "t\n1\nt\n0\npublic", 'a superuser writes, and his settings stay');
is(superusers(), '', 'the code of the owner has the rights of the owner');
$node->safe_psql('postgres', q(SET ROLE keeper;
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON fraiseql_audit.fraiseql_audit_log
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fraiseql_audit.grab_it()),
	extra_params => [ '-U', 'member' ]);
fails(q(SELECT fraiseql_obs.log_operation('x')), qr/deferred trigger|cannot fire/i,
	'none of it runs later as somebody else')
  if $node->pg_version < 18;
is(superusers(), '', 'and nobody has become a superuser');
$node->safe_psql('postgres', 'DROP TRIGGER later ON fraiseql_audit.fraiseql_audit_log');

# a writer's settings do not decide about partitions
$node->safe_psql('postgres', q(
	DO $$ DECLARE p regclass; BEGIN
		FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass LOOP
			EXECUTE format('DROP TABLE %s', p);
		END LOOP;
	END $$;
	SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Shanghai'; SET default_tablespace = 'pg_global';
	SELECT fraiseql_obs.log_operation('x')));
is($node->safe_psql('postgres', q(
	SET timezone = 'UTC';
	SELECT string_agg(DISTINCT substring(pg_get_expr(relpartbound, oid) FROM '\d\d:\d\d:\d\d\+\d\d'), ' ') FROM pg_class
	WHERE relispartition AND relname LIKE 'fraiseql\_audit\_log\_%' AND relkind = 'r')),
	'00:00:00+00', 'partitions begin at midnight UTC');

# what has the name of a partition and is none
$node->safe_psql('postgres', q(
	DO $$ DECLARE p regclass; BEGIN
		FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass LOOP
			EXECUTE format('ALTER TABLE fraiseql_audit.fraiseql_audit_log DETACH PARTITION %s', p);
		END LOOP;
	END $$;));
fails(q(SELECT fraiseql_obs.log_operation('x')), qr/cannot make a partition of the audit log, for .* is in the way/,
	'what is in the way is named');

$node->stop;
done_testing();
