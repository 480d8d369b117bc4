# Rows of partitions that the audit log does not show any more, because they are
# being detached or are, and have not been dropped, are kept by legal holds and
# erased like all others.  Nobody removes or erases with an old snapshot.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_standing', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 31);
# what the worker executes, it executes with the guard's door open
set_guard($node, 'off');

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $violations = q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');

sub query { return $node->safe_psql('app', $_[0]); }

sub fails
{
	my ($sql, $message, $name) = @_;
	my ($status, $out, $err) = $node->psql('app', $sql);
	like($err, qr/ERROR:  $message/, $name);
	return;
}

sub from
{
	my ($days) = @_;
	return "(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '$days days') AT TIME ZONE 'UTC'";
}

sub table_of
{
	my ($days) = @_;
	return query("SELECT '${log}_' || to_char(" . from($days) . " AT TIME ZONE 'UTC', 'YYYYMMDD')");
}

# 36 is detached, and 35 is being detached
query(query('SELECT fraiseql_obs.audit_close_partition(' . from(36) . ')'));
my $statement = query('SELECT fraiseql_obs.audit_close_partition(' . from(35) . ')');
my $reader = $node->background_psql('app');
$reader->query_safe("BEGIN; SELECT count(*) FROM $log");
my $detacher = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', $statement ],
	'<', \undef, '>', \my $out, '2>', \my $err);
$node->poll_query_until('app', 'SELECT bool_or(inhdetachpending) FROM pg_inherits') or die 'does not detach';
query(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%CONCURRENTLY'));
$detacher->finish;
$reader->query_safe('COMMIT');
$reader->quit;
my %tables = map { $_ => table_of($_) } 36, 35, 34;
is(query("SELECT count(*) FROM $log WHERE created_at < " . from(34)), '0', 'the log does not show them');
is(query("SELECT count(*) FROM $tables{$_}"), '24', "$_: but rows are there") foreach 36, 35;

# holds
foreach my $days (36, 35)
{
	my $hold = query("SELECT fraiseql_obs.place_hold('Case', user_id => 'user1', since => " . from($days) . ', until => ' . from($days - 1) . ')');

	fails("SELECT fraiseql_obs.erase_audit_details('user1', reason => 'Art. 17')",
		"cannot erase entries of the audit log that are under legal hold\nDETAIL:  Legal hold $hold touches", "$days: not erased under a hold");
	query("SELECT fraiseql_obs.release_hold($hold, 'over')");
}

# some rows of users, who are counted with the others
my $differing = q(SELECT count(*) FROM (
	SELECT coalesce(r.day, a.day) FROM (SELECT created_at::date AS day, user_id, count(*) AS n FROM (%s) AS s GROUP BY 1, 2) AS r
	FULL JOIN (SELECT * FROM fraiseql_audit.fraiseql_audit_actor_days WHERE day < (now() - interval '31 days')::date) AS a
		ON a.day = r.day AND a.user_id IS NOT DISTINCT FROM r.user_id
	WHERE r.n IS DISTINCT FROM a.n) AS d);
$differing = sprintf $differing, join(' UNION ALL ',
	map { "SELECT created_at, user_id FROM " . table_of($_) } 36, 35, 34, 33, 32);
is(query($differing), '0', 'rollups have what rows have');
is(query(q(SELECT fraiseql_obs.erase_audit_details(entity_type => 'Type0', entity_id => '2', reason => 'Art. 17'))), '18', 'an entity is erased everywhere');
is(query("SELECT count(*), count(user_id), count(details) FROM $tables{$_} WHERE entity_type = 'Type0' AND entity_id = '2'"), '3|0|0', "$_: erased")
  foreach 36, 35, 34;
is(query($differing), '0', 'rollups have what rows have');
is(query($violations), '', 'no violation');

# all of a user
is(query(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'Art. 17'))), '36', 'a user is erased everywhere');
is(query("SELECT count(*) FROM $tables{$_} WHERE user_id = 'user1'"), '0', "$_: erased") foreach 36, 35, 34;
is(query($differing), '0', 'rollups have what rows have');
is(query($violations), '', 'no violation');

# what has been erased is removed, and what comes back is well
my $rest = query("SELECT fraiseql_obs.place_hold('rest', since => " . from(34) . ')');
my $hold = query("SELECT fraiseql_obs.place_hold('Case', since => " . from(36) . ', until => ' . from(35) . ')');
like(maintain($node), qr/^drop 35; finalize 35; held 36 by $hold, .*; keep 36$/, 'one is removed, one is kept');
is(query("SELECT count(*) FROM $log WHERE created_at < " . from(35)), '24', 'and in the log again');
is(query($violations), '', 'no violation');
query("SELECT fraiseql_obs.release_hold($hold, 'over')");

# With an old snapshot nobody would see what he has waited for.
query(query('SELECT fraiseql_obs.audit_close_partition(' . from(36) . ')'));
my $old = $node->background_psql('app', on_error_stop => 0);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
query("SELECT fraiseql_obs.place_hold('Case', since => " . from(36) . ')');
$old->query('SELECT fraiseql_obs.audit_drop_partition(' . from(36) . ')');
$old->query('COMMIT');
$old->quit;
is(query("SELECT to_regclass('$tables{36}') IS NOT NULL"), 't', 'what a hold keeps is not dropped with a snapshot from before it');
fails("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT fraiseql_obs.$_->[0]; COMMIT", "$_->[1] must run in a READ COMMITTED transaction", "$_->[0]: not in REPEATABLE READ")
  foreach ([ 'audit_drop_partition(now())', 'removing or erasing entries of the audit log' ],
	[ "erase_audit_details('user2', reason => 'x')", 'erase_audit_details\(\)' ],
	[ "place_hold('x')", 'place_hold\(\)' ]);

$node->stop;
done_testing();
