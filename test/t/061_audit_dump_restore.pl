# The audit log is data: pg_dump and pg_restore take all of it along, and it
# outlives the extension, which finds it again and does not take another table
# for it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_dump');
my $folder = PostgreSQL::Test::Utils::tempdir;

# A digest of every column of every row, and how many there are
my $all = q(SELECT count(*), md5(string_agg(l::text, E'\n' ORDER BY id))
	FROM fraiseql_audit.fraiseql_audit_log AS l WHERE operation !~ '^audit\.');

sub fails
{
	my ($database, $sql, $message, $name) = @_;
	my ($status, $out, $err) = $node->psql($database, $sql);

	like($err, $message, $name);
	return;
}

# The log of a database is guarded, and goes on after a number of rows.
sub works
{
	my ($database, $rows, $name) = @_;
	my $log = 'fraiseql_audit.fraiseql_audit_log';

	is( $node->safe_psql(
			$database,
			"SELECT fraiseql_obs.log_operation('more', user_id => 'new')
				> (SELECT coalesce(max(id), 0) FROM $log)"),
		't',
		"$name: goes on with the next id");
	is($node->safe_psql($database, "SELECT count(*) FROM $log WHERE operation !~ '^audit\\.'"),
		$rows + 1, "$name: one row more");
	is( $node->safe_psql(
			$database, q(SELECT operation FROM fraiseql_obs.by_user('new', 1))),
		'more',
		"$name: found");
	my $partition = $node->safe_psql(
		$database, "SELECT tableoid::regclass FROM $log LIMIT 1");
	foreach my $table ($log, $partition)
	{
		fails($database, "$_ $table" . ($_ eq 'UPDATE' ? ' SET result = result' : ''),
			qr/audit log is append-only/, "$name: $_ $table")
		  foreach ('UPDATE', 'DELETE FROM', 'TRUNCATE');
	}
	fails($database, "INSERT INTO $log (operation) VALUES ('forged')",
		qr/audit log is append-only/, "$name: INSERT");
	return;
}

$node->safe_psql('postgres',
	q(CREATE ROLE dump_owner NOLOGIN; CREATE ROLE dump_tenant LOGIN;));
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
$node->safe_psql(
	'app', q(
	SELECT fraiseql_obs.create_audit_log(owner => 'dump_owner', tenant_isolation => true);
	SELECT fraiseql_obs.grant_audit_reader('dump_tenant');
	SELECT fraiseql_obs.grant_audit_writer('dump_tenant')));
$node->safe_psql(
	'app', q(
	SELECT fraiseql_obs.log_operation('create', 'order', n::text,
		CASE WHEN n % 5 = 0 THEN 'failure' ELSE 'success' END,
		jsonb_build_object('n', n, 'text', E'tab\t newline\n quote'' \\ é'),
		'user ' || n % 3, 'tenant ' || n % 2, old_data => '{}',
		new_data => '[1]', changed_fields => '{a,"b c"}', duration_ms => 0.1,
		sqlstate => '23505', error_message => 'no', request_id => 'r',
		trace_id => 't', span_id => 's', actor_type => 'ai_agent',
		acting_for => 'boss')
	FROM generate_series(1, 50) AS n));
my $before = $node->safe_psql('app', $all);
like($before, qr/^50\|\w{32}$/, 'rows to dump');
is( $node->safe_psql(
		'app', q(SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log
			WHERE length(personal_salt) = 16 AND length(personal_digest) = 32)),
	50,
	'each with salt and digest');

# pg_dump, and back
foreach my $format (qw(plain custom))
{
	my $file = "$folder/$format.dump";

	$node->safe_psql('postgres', "CREATE DATABASE from_$format");
	$node->command_ok(
		[ 'pg_dump', "--format=$format", '--file', $file, 'app' ],
		"dump: $format");
	$node->command_ok(
		$format eq 'plain'
		? [
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', "$folder/out",
			'-d', 'from_plain', '-f', $file ]
		: [
			'pg_restore', '--exit-on-error', '--jobs=2', '-d', 'from_custom',
			$file ],
		"restore: $format");
	is($node->safe_psql("from_$format", $all), $before,
		"$format: every row and column");
	works("from_$format", 50, $format);
	is( $node->safe_psql(
			"from_$format", q(
			SET ROLE dump_tenant; SET app.tenant_id = 'tenant 1';
			SELECT count(*), count(DISTINCT tenant_id), min(tenant_id)
			FROM fraiseql_obs.recent_operations())),
		'25|1|tenant 1',
		"$format: what was granted, and row security");
	is( $node->safe_psql(
			"from_$format", q(
			SELECT count(*) FROM pg_class
			WHERE relname LIKE 'fraiseql\_audit\_log%' AND relkind IN ('r', 'p')
				AND relowner <> 'dump_owner'::regrole)),
		0,
		"$format: the owner's");
}

# without the extension
$node->safe_psql('app', 'DROP EXTENSION fraiseql_obs CASCADE');
is($node->safe_psql('app', $all), $before, 'rows outlive the extension');
is($node->safe_psql('app', 'SELECT count(*) FROM fraiseql_audit.v_audit_log'),
	51, 'so does the view, and that it was dropped is one more');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
is($node->safe_psql('app', $all), $before, 'the extension finds its log');
works('app', 50, 'found');
is( $node->safe_psql(
		'app', q(
		SELECT count(*) FROM pg_depend
		WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fraiseql_obs')
			AND deptype = 'e' AND classid = 'pg_trigger'::regclass)),
	'0',
	'its triggers are no members of the extension');

# A table of somebody's own is not believed, until it is named.
$node->safe_psql('postgres', 'CREATE DATABASE fake');
$node->safe_psql(
	'fake', q(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'dump_tenant')));
$node->safe_psql('fake', 'DROP EXTENSION fraiseql_obs CASCADE');
my $take = qr/HINT: .*role "dump_tenant".*create_audit_log\('fraiseql_audit', owner => 'dump_tenant'\)/;
my (undef, undef, $notice) = $node->psql('fake', 'CREATE EXTENSION fraiseql_obs');
like($notice, qr/WARNING:  an audit log was found, and not taken\n.*\n$take/, 'which is said');
fails('fake', q(SELECT fraiseql_obs.log_operation('secret')),
	qr/audit log does not exist\n$take/,
	'a log of a user who can log in is not adopted');
$node->safe_psql('fake', q(SELECT fraiseql_obs.create_audit_log(owner => 'dump_tenant')));
works('fake', 0, 'adopted by name');

# Nor is one that an ordinary user left to be found.
$node->safe_psql('postgres', 'CREATE ROLE dump_mallory LOGIN; CREATE DATABASE trap');
$node->safe_psql(
	'trap', q(
	GRANT CREATE ON DATABASE trap TO dump_mallory;
	SET ROLE dump_mallory;
	CREATE SCHEMA fraiseql_audit;
	CREATE TABLE fraiseql_audit.fraiseql_audit_log (operation text, created_at timestamptz)
		PARTITION BY RANGE (created_at);
	CREATE TABLE fraiseql_audit.fraiseql_audit_settings (guard_triggers boolean);
	RESET ROLE;
	CREATE EXTENSION fraiseql_obs));
fails('trap', q(SELECT fraiseql_obs.log_operation('told')),
	qr/audit log does not exist/, 'a trap is not taken for a log');

$node->stop;
done_testing();
