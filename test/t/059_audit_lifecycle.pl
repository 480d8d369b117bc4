# The audit log is data: it survives its extension, a dump and the lack of
# preloading, and a writer that finds no partition makes one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('audit_lifecycle');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;

sub sql
{
	my ($query, $database) = @_;
	return $node->safe_psql($database // 'postgres', $query);
}

sub count_rows
{
	my ($database) = @_;
	return sql('SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log',
		$database);
}

# not preloaded
sql(q(
	CREATE ROLE keeper NOLOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper')));
sql(q(
	SET app.user_id = 'alice';
	SELECT fraiseql_obs.log_operation('create', details => '{"a": 1}')));
is(sql('SELECT user_id FROM fraiseql_obs.recent_operations()'),
	'alice', 'works without preloading');

# a partition is missing: one is made, as the owner, and seen by a transaction
# whose snapshot is older
sub drop_partitions
{
	sql(q(
	DO $$
	DECLARE partition regclass;
	BEGIN
		FOR partition IN
			SELECT inhrelid FROM pg_inherits
			WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass
				AND inhrelid::regclass::text !~ to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')
		LOOP
			EXECUTE format('DROP TABLE %s', partition);
		END LOOP;
	END $$;
	ALTER TABLE fraiseql_audit.fraiseql_audit_log DETACH PARTITION ) . shift);
}
my $today = sql(
	q(SELECT 'fraiseql_audit.fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')));
drop_partitions("$today; ALTER TABLE $today RENAME TO kept");
sql(q(
	BEGIN ISOLATION LEVEL REPEATABLE READ;
	SELECT count(*) FROM pg_class;
	SELECT fraiseql_obs.log_operation('made a partition');
	COMMIT));
is( sql(qq(
	SELECT pg_get_userbyid(relowner), relispartition,
		(SELECT count(*) FROM pg_trigger
		 WHERE tgrelid = c.oid AND tgname ~ '^fraiseql_audit')
	FROM pg_class c WHERE oid = '$today'::regclass)),
	'keeper|t|2', 'a missing partition is made, with its triggers');

# a maker that fails takes it along, and knows
drop_partitions("$today; DROP TABLE $today");
is( sql(q(
	BEGIN;
	SELECT fraiseql_obs.log_operation('rolled back') > 0;
	ROLLBACK;
	SELECT fraiseql_obs.log_operation('committed') > 0;)),
	"t\nt", 'a partition that was rolled back is made again');

# two at once
drop_partitions("$today; DROP TABLE $today");
my $first = $node->background_psql('postgres');
$first->query_safe('BEGIN');
$first->query_safe("SELECT fraiseql_obs.log_operation('first')");
my $second = $node->background_psql('postgres');
$second->query_until(qr/waiting/,
	"\\echo waiting\nSELECT fraiseql_obs.log_operation('second');\n");
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
) or die 'the second does not wait';
$first->query_safe('COMMIT');
$first->quit;
$second->quit;
is( sql('SELECT operation FROM fraiseql_obs.recent_operations() ORDER BY 1'),
	"first\nsecond", 'two writers make it once');

# dump and restore
sql('CREATE DATABASE copy');
my $dump = $node->backup_dir . '/audit.dump';
mkdir $node->backup_dir;
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->command_ok([ 'pg_restore', '-d', 'copy', $dump ], 'pg_restore');
my $rows = 'SELECT l FROM fraiseql_audit.fraiseql_audit_log l ORDER BY id';
is(sql($rows, 'copy'), sql($rows), 'every row with every column');
is( sql("SELECT fraiseql_obs.log_operation('after restore')", 'copy'),
	sql("SELECT fraiseql_obs.log_operation('after dump')"),
	'identifiers go on');
my ($status, $out, $err) =
  $node->psql('copy', 'DELETE FROM fraiseql_audit.fraiseql_audit_log');
like($err, qr/append-only/, 'the copy is guarded');

# without the extension, and with it again
my $before = count_rows();
sql('DROP EXTENSION fraiseql_obs CASCADE');
is(count_rows(), $before, 'DROP EXTENSION leaves the rows');
sql('CREATE EXTENSION fraiseql_obs');
($status, $out, $err) =
  $node->psql('postgres', "TRUNCATE $today");
like($err, qr/append-only/, 'CREATE EXTENSION guards it again');
sql("SELECT fraiseql_obs.log_operation('again')");
is(count_rows(), $before + 1, 'and goes on writing');
is( sql(q(SELECT count(*) FROM pg_depend
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fraiseql_obs')
		AND deptype = 'e' AND classid = 'pg_trigger'::regclass)),
	'0', 'its triggers are no members of the extension');

# a table that an ordinary user left to be found is not
sql('CREATE ROLE mallory LOGIN; CREATE DATABASE trap');
sql('GRANT CREATE ON DATABASE trap TO mallory', 'trap');
sql(q(
	SET ROLE mallory;
	CREATE SCHEMA fraiseql_audit;
	CREATE TABLE fraiseql_audit.fraiseql_audit_log (operation text, created_at timestamptz)
		PARTITION BY RANGE (created_at);
	CREATE TABLE fraiseql_audit.fraiseql_audit_settings (guard_triggers boolean);
	RESET ROLE;
	CREATE EXTENSION fraiseql_obs), 'trap');
($status, $out, $err) =
  $node->psql('trap', "SELECT fraiseql_obs.log_operation('told')");
like($err, qr/audit log does not exist/, 'not everything is taken for a log');

done_testing();
