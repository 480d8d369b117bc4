# What the owner of a database has prepared in it under our names is not believed
# by the processes that look into every database with the rights of a superuser,
# and the extension is not installed beside it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_prepared',
	"fraiseql_obs.audit_worker = off\nfraiseql_obs.audit_seal_interval = 1\nmax_worker_processes = 20");
$node->safe_psql('postgres', 'CREATE ROLE eve LOGIN; CREATE ROLE ben LOGIN');
my @eve = (extra_params => [ '-U', 'eve' ]);

sub is_harmless
{
	my ($name) = @_;
	is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_roles WHERE rolname IN ('eve', 'ben') AND rolsuper)),
		'0', "$name: nobody has become a superuser");
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, "$name: no crash");
	return;
}

# In each database another registry; what would be called is there, too.
my $grab = q(
	CREATE SCHEMA fraiseql_obs;
	CREATE TABLE public.called (by name);
	CREATE TABLE public.fraiseql_audit_log (id bigint);
	GRANT INSERT ON called TO PUBLIC;
	CREATE FUNCTION fraiseql_obs.grab() RETURNS name LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.called VALUES (current_user);
		EXECUTE 'ALTER ROLE eve SUPERUSER';
		RETURN 'public';
	EXCEPTION WHEN insufficient_privilege THEN
		RETURN 'public';
	END $$;
	CREATE FUNCTION fraiseql_obs.audit_drain_ring() RETURNS bigint LANGUAGE sql AS 'SELECT 0 FROM fraiseql_obs.grab()';
	CREATE FUNCTION fraiseql_obs.audit_announce_start() RETURNS bigint LANGUAGE sql AS 'SELECT 0 FROM fraiseql_obs.grab()';
	CREATE FUNCTION fraiseql_obs.audit_log() RETURNS regclass LANGUAGE sql AS
		'SELECT ''public.fraiseql_audit_log''::regclass FROM fraiseql_obs.grab()';
	CREATE FUNCTION fraiseql_obs.seal_audit_log(interval DEFAULT NULL) RETURNS bigint LANGUAGE sql AS 'SELECT 0 FROM fraiseql_obs.grab()';
);
my $row = q(fraiseql_obs.grab() AS schema_name, (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
	(SELECT oid FROM pg_database WHERE datname = current_database()) AS database_oid);
my %registries = (
	view => "CREATE VIEW fraiseql_obs.audit_registry AS SELECT $row",
	matview => "CREATE MATERIALIZED VIEW fraiseql_obs.audit_registry AS SELECT $row",
	right => "CREATE TABLE fraiseql_obs.audit_registry AS SELECT $row",
	types => q(CREATE TABLE fraiseql_obs.audit_registry AS SELECT 7::smallint AS schema_name, true AS system_identifier, false AS database_oid),
	narrow => q(CREATE TABLE fraiseql_obs.audit_registry (x text); INSERT INTO fraiseql_obs.audit_registry VALUES ('x')),
	none => q(CREATE TABLE fraiseql_obs.audit_registry (); INSERT INTO fraiseql_obs.audit_registry DEFAULT VALUES),
	index => q(CREATE TABLE fraiseql_obs.other (id int); CREATE INDEX audit_registry ON fraiseql_obs.other (id)),
	type => q(CREATE TYPE fraiseql_obs.audit_registry AS (schema_name name)));
foreach my $name (sort keys %registries)
{
	$node->safe_psql('postgres', "CREATE DATABASE prepared_$name OWNER eve");
	$node->safe_psql("prepared_$name", "$grab $registries{$name}", @eve);
}

# a table that is locked keeps nobody from looking into the next database
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
$node->restart;
my $locker = $node->background_psql('prepared_right');
$locker->query_safe('SET ROLE eve; BEGIN; LOCK fraiseql_obs.audit_registry');
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;
ok($node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'fraiseql_obs audit worker' AND datname = 'app'
		AND application_name = 'fraiseql_obs audit worker')), 'the worker of another database is started');
$locker->quit;

# a superuser who writes there
foreach my $name (sort keys %registries)
{
	my ($status, $out, $err) = $node->psql("prepared_$name", q(CREATE TABLE t (i int); INSERT INTO t VALUES (1); DROP TABLE t;
		SELECT count(*) FROM called WHERE by <> 'eve'));
	is("$out$err", '0', "$name: nothing was called");
	($status, $out, $err) = $node->psql("prepared_$name", 'CREATE EXTENSION fraiseql_obs');
	like($err, qr/schema "fraiseql_obs" belongs to another role/, "$name: no extension beside it");
}
is_harmless('prepared');

# a schema of a superuser in which somebody else makes functions, or has made some
$node->safe_psql('postgres', 'CREATE DATABASE granted');
$node->safe_psql('granted', 'CREATE SCHEMA fraiseql_obs; GRANT CREATE, USAGE ON SCHEMA fraiseql_obs TO eve');
$node->safe_psql('granted', q(CREATE FUNCTION fraiseql_obs.audit_log(int) RETURNS int LANGUAGE sql AS 'SELECT 1'), @eve);
foreach my $step (
	[ '', qr/eve may create objects in schema "fraiseql_obs"\nHINT: .*REVOKE CREATE ON SCHEMA fraiseql_obs FROM eve/ ],
	[ 'REVOKE CREATE ON SCHEMA fraiseql_obs FROM eve', qr/function fraiseql_obs\.audit_log\(integer\) belongs to another role/ ],
	[ 'GRANT CREATE ON SCHEMA fraiseql_obs TO PUBLIC', qr/PUBLIC may create objects/ ])
{
	my ($sql, $message) = @$step;
	$node->safe_psql('granted', $sql) if $sql;
	my ($status, $out, $err) = $node->psql('granted', 'CREATE EXTENSION fraiseql_obs');
	like($err, $message, 'refused, and why');
}
is($node->safe_psql('granted', q(REVOKE CREATE ON SCHEMA fraiseql_obs FROM PUBLIC; DROP FUNCTION fraiseql_obs.audit_log(int);
	CREATE EXTENSION fraiseql_obs; SHOW search_path)), '"$user", public', 'when that is undone it is installed');

# a superuser lets somebody make functions later: what suits a call better is not called
$node->safe_psql('granted', q(
	CREATE ROLE keeper NOLOGIN;
	CREATE TABLE public.called (by name);
	GRANT INSERT ON called TO PUBLIC;
	GRANT CREATE, USAGE ON SCHEMA fraiseql_obs TO ben));
set_guard($node, 'off');
my $overloads = join ';', map { qq(CREATE FUNCTION fraiseql_obs.$_ LANGUAGE plpgsql AS \$\$
	BEGIN INSERT INTO public.called VALUES (current_user); RETURN NULL; END \$\$) } (
	'seal_audit_log() RETURNS bigint', 'audit_close_partition(text) RETURNS text', 'audit_drop_partition(text) RETURNS bigint',
	'audit_checkpoint_number(integer) RETURNS bigint');
$node->safe_psql('granted', q(SELECT fraiseql_obs.create_audit_log(owner => 'keeper', retention => '5 days');
	SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day') FROM generate_series(8, 9) i;
	SELECT fraiseql_obs.log_operation('x')));
$node->safe_psql('granted', $overloads, extra_params => [ '-U', 'ben' ]);
set_guard($node, 'on');
ok($node->poll_query_until('granted', q(SELECT count(*) = 2 AND (SELECT count(*) > 0 FROM fraiseql_audit.fraiseql_audit_seals)
	FROM fraiseql_audit.fraiseql_audit_partitions)), 'the worker does its work');
is($node->safe_psql('granted', 'SELECT count(*) FROM called'), '0', 'by the functions of the extension');
is_harmless('granted');

$node->stop;
done_testing();
