# The worker makes partitions ahead and removes old ones, beside readers that
# take long, and is stopped at once at any point.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node('audit_worker_retention',
	"timezone = 'UTC'\nfraiseql_obs.audit_worker = off\nfraiseql_obs.audit_seal_interval = 1");
make_old_audit_log($node, 37, 30);

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $pending = 'SELECT coalesce(bool_or(inhdetachpending), false) FROM pg_inherits';
my $waits = q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit upkeep'
	AND wait_event = 'virtualxid' AND query ~ '%s$');
my $tombstones = q(SELECT coalesce(string_agg(((now() AT TIME ZONE 'UTC')::date - range_from::date)::text, ' ' ORDER BY range_from), '')
	FROM fraiseql_audit.fraiseql_audit_partitions);
my $tables = q(SELECT coalesce(string_agg(((now() AT TIME ZONE 'UTC')::date - d)::text, ' ' ORDER BY d), '')
	FROM pg_class, to_date(substring(relname from '^fraiseql_audit_log_(\d{8})$'), 'YYYYMMDD') AS d WHERE relkind = 'r' AND d < current_date);
my $ahead = 'SELECT count(*) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_from > now()';
my $all_sealed = "SELECT (SELECT max(max_id) FROM fraiseql_audit.fraiseql_audit_seals) >= (SELECT max(id) FROM $log WHERE operation = 'beside')";

sub query { return $node->safe_psql('app', $_[0]); }

sub becomes
{
	my ($query, $expected, $name) = @_;
	ok($node->poll_query_until('app', $query, $expected), $name) or diag(query($query));
	return;
}

sub switch_worker
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "fraiseql_obs.audit_worker = $value");
	$node->reload;
	return;
}

sub is_gone
{
	my ($name, $start) = @_;
	ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^fraiseql_obs audit (worker|upkeep)$')), $name);
	cmp_ok(time - $start, '<', 4, 'at once');
	return;
}

sub read_log
{
	my $reader = $node->background_psql('app');
	$reader->query_safe("BEGIN; SELECT count(*) FROM $log");
	return $reader;
}

# An event trigger runs code of others in the midst of it.
query(q(CREATE TABLE ddl (tag text);
	GRANT INSERT ON ddl TO keeper;
	CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.ddl VALUES (tg_tag); END$$;
	CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note()));

# partitions for times to come
set_guard($node, 'off');
query("DO \$\$DECLARE part regclass; BEGIN FOR part IN SELECT partition FROM fraiseql_obs.audit_partitions('$log') WHERE range_from > now() + interval '2 days' LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END\$\$");
set_guard($node, 'on');
is(query($ahead), '2', 'two partitions ahead are left');
query("SELECT fraiseql_obs.place_hold('Case', since => (now() AT TIME ZONE 'UTC')::date - 33, until => (now() AT TIME ZONE 'UTC')::date - 32)");

# a long SELECT on the log
my $reader = read_log();
switch_worker('on');
becomes($ahead, '7', 'partitions are made ahead');
becomes($pending, 't', 'a partition is being detached');
becomes(sprintf($waits, 'CONCURRENTLY'), 't', 'which waits for a SELECT');
is(query($tombstones), '37', 'the oldest one');
is($reader->query_safe("SELECT count(*) > 0 FROM $log"), 't', 'the SELECT may go on');
query(q(SET statement_timeout = '1s'; SELECT fraiseql_obs.log_operation('beside'))) foreach 1 .. 3;
pass('writers do not wait');
becomes($all_sealed, 't', 'the worker seals');
$node->psql('app', q(BEGIN; SELECT fraiseql_obs.log_operation('undone'); ROLLBACK));
becomes("SELECT count(*) FROM $log WHERE operation = 'undone' AND result = 'failure'", '1', 'and drains');

# the worker is terminated in the midst of it
my $start = time;
query(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker'));
is_gone('terminated while it waits', $start);
is(query($pending), 't', 'what is left is pending');
becomes(sprintf($waits, 'FINALIZE'), 't', 'the next one is to finalize it, and waits');
is(query("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE backend_type = 'fraiseql_obs audit upkeep' AND relation >= 16384"),
	'0', 'without a lock');
query(q(SET statement_timeout = '1s'; SELECT fraiseql_obs.verify_audit_log()));
pass('a verification does not wait for it');

# it is switched off
$start = time;
switch_worker('off');
is_gone('switched off while it waits', $start);
switch_worker('on');
becomes(sprintf($waits, 'FINALIZE'), 't', 'and on again');
$reader->query_safe('COMMIT');
becomes($tombstones, '37 36 35 34 32 31', 'removed when the SELECT has ended, and the others, but for the one under a hold');
becomes($tables, '33 30', 'dropped');
is(query("SELECT count(*) FROM $log WHERE created_at < (now() AT TIME ZONE 'UTC')::date - 32"), '24', 'the hold keeps its rows');
is(query($pending), 'f', 'nothing is pending');
cmp_ok(query('SELECT count(*) FROM ddl'), '>=', 6, 'event triggers run');

# the next time it is due, which a reload of the configuration makes it
query("SELECT fraiseql_obs.release_hold(1, 'x')");
my $snapshot = $node->background_psql('app');
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$reader->query_safe("BEGIN; SELECT count(*) FROM $log");
$node->reload;
becomes(sprintf($waits, 'CONCURRENTLY'), 't', 'due when the configuration is read');
is(query(q(SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit upkeep')), '1', 'cancelled');
becomes(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit upkeep'), '0', 'ends');
$reader->query_safe('COMMIT');
$node->reload;
becomes(sprintf($waits, 'FINALIZE'), 't', 'waits for an old snapshot');
$snapshot->query_safe('COMMIT');
becomes($tables, '30', 'dropped');
is(query(q(SELECT message FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '', 'all is well');

# the database is dropped while it waits
query("SELECT fraiseql_obs.set_audit_retention('29 days')");
read_log();
$reader->query_safe("BEGIN; SELECT count(*) FROM $log");
$node->reload;
becomes(sprintf($waits, 'CONCURRENTLY'), 't', 'another is detached');
$start = time;
$node->safe_psql('postgres', 'DROP DATABASE app WITH (FORCE)');
cmp_ok(time - $start, '<', 4, 'DROP DATABASE: at once');

$node->stop;
my $said = slurp_file($node->logfile);
unlike($said, qr/PANIC|TRAP|terminated by signal/, 'no crash');
is(scalar(() = $said =~ /ERROR:  canceling statement due to user request\n.*STATEMENT:  ALTER TABLE/g), 1, 'what was cancelled by others alone is reported');
done_testing();
