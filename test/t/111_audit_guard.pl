# With the guard on, rows of an audit log are not written past it: not by code of
# others that runs while its own functions do, not by a subscription, and not by
# moving what has been detached to another table.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_guard', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off", allows_streaming => 'logical');
make_old_audit_log($node, 34, 30);

my $log = 'fraiseql_audit.fraiseql_audit_log';

sub query { return $node->safe_psql('app', $_[0]); }

sub fails
{
	my ($sql, $message, $name) = @_;
	my ($status, $out, $err) = $node->psql('app', $sql);
	like($err, qr/ERROR:  $message/, $name);
	return;
}

# an event trigger, which runs while partitions are removed
query(q(
	SELECT fraiseql_obs.place_hold('Case', since => now() - interval '1 day');
	CREATE TABLE tries (outcome text);
	GRANT ALL ON tries TO PUBLIC;
	CREATE FUNCTION try() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
		BEGIN
			DELETE FROM fraiseql_audit.fraiseql_audit_holds;
			INSERT INTO public.tries VALUES ('deleted');
		EXCEPTION WHEN OTHERS THEN INSERT INTO public.tries VALUES (SQLERRM);
		END;
		BEGIN
			INSERT INTO fraiseql_audit.fraiseql_audit_log (operation) VALUES ('forged');
			INSERT INTO public.tries VALUES ('inserted');
		EXCEPTION WHEN OTHERS THEN INSERT INTO public.tries VALUES (SQLERRM);
		END;
	END $$;
	CREATE EVENT TRIGGER try ON ddl_command_end EXECUTE FUNCTION try();));
is(maintain($node), 'close 34, 33, 32, 31; remove 34, 33, 32, 31', 'partitions are removed');
is(query('SELECT DISTINCT outcome FROM tries'), 'audit log is append-only', 'and code of others finds the doors closed');
is(query('SELECT count(*) FROM fraiseql_obs.holds()'), '1', 'the hold is there');
is(query("SELECT count(*) FROM $log WHERE operation = 'forged'"), '0', 'and nothing that was forged');
query('DROP EVENT TRIGGER try');

# a subscription
my $subscribe = "CREATE SUBSCRIPTION s CONNECTION '" . ($node->connstr('elsewhere') =~ s{'}{''}gr) . "' PUBLICATION p WITH (create_slot = false, slot_name = 's', enabled = false)";
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', q(
	CREATE SCHEMA fraiseql_audit;
	CREATE TABLE fraiseql_audit.fraiseql_audit_holds (hold_id bigint PRIMARY KEY);
	CREATE TABLE fraiseql_audit.others (a int PRIMARY KEY);
	CREATE PUBLICATION p FOR TABLE fraiseql_audit.fraiseql_audit_holds;
	SELECT pg_create_logical_replication_slot('s', 'pgoutput');));
fails($subscribe, 'audit log is append-only', 'the log is not subscribed to');
$node->safe_psql('elsewhere', 'ALTER PUBLICATION p SET TABLE fraiseql_audit.others');
query('CREATE TABLE fraiseql_audit.others (a int PRIMARY KEY)');
query($subscribe);
query('ALTER SUBSCRIPTION s ENABLE');
$node->safe_psql('elsewhere', 'ALTER PUBLICATION p ADD TABLE fraiseql_audit.fraiseql_audit_holds');
fails('ALTER SUBSCRIPTION s REFRESH PUBLICATION WITH (copy_data = false)', 'audit log is append-only', 'nor later');
query('ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s');
$node->safe_psql('elsewhere', q(SELECT pg_drop_replication_slot('s')));

# what has been detached
set_guard($node, 'off');
query(q(SELECT fraiseql_obs.set_audit_retention('29 days')));
query(q(SELECT fraiseql_obs.release_hold(1, 'x')));
query(query(q(SELECT fraiseql_obs.audit_close_partition((date_trunc('day', now() AT TIME ZONE 'UTC') - interval '30 days') AT TIME ZONE 'UTC'))));
set_guard($node, 'on');
my $detached = query(q(SELECT partition FROM fraiseql_obs.audit_detached_partitions(fraiseql_obs.audit_log())));
query("CREATE TABLE other (LIKE $log) PARTITION BY RANGE (created_at)");
fails("ALTER TABLE other ATTACH PARTITION $detached DEFAULT", 'cannot change "fraiseql_audit_log_\d+"', 'is attached to no other table');
fails("DROP TABLE $detached", 'cannot change "fraiseql_audit_log_\d+"', 'nor dropped');
is(maintain($node, 'false'), 'drop 30', 'but by us');

$node->stop;
done_testing();
