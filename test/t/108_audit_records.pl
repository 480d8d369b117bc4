# What is removed from an audit log, collapsed or erased by hand, and recorded
# as if the log had done it itself, is found.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_records', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 20);
set_guard($node, 'off');

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $seals = 'fraiseql_audit.fraiseql_audit_seals';
my $tombstones = 'fraiseql_audit.fraiseql_audit_partitions';
my $collapsed = 'fraiseql_audit.fraiseql_audit_collapsed';
my $erasures = 'fraiseql_audit.fraiseql_audit_erasures';

sub query { return $node->safe_psql('app', $_[0]); }

sub from
{
	my ($days) = @_;
	return "((date_trunc('day', now() AT TIME ZONE 'UTC') - interval '$days days') AT TIME ZONE 'UTC')";
}

sub partition
{
	my ($days) = @_;
	return query('SELECT partition FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_from = ' . from($days));
}

# The violations once something has been done, which is undone
my $verify = q(SET LOCAL transaction_read_only = on;
	SELECT kind, row_id, message FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');

sub found
{
	my ($sql, $expected, $name) = @_;
	my ($status, $out, $err) = $node->psql('app', "SET client_min_messages = error; BEGIN; $sql; $verify; ROLLBACK");

	is("$status$err", '0', "$name: no error");
	like($out, $expected, $name);
	return;
}

# The same, by the server and in a dump of a copy; the tool's words are others,
# but for these
my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $copies = 0;

sub tool
{
	my ($sql, $expected, $name) = @_;
	my $copy = 'copy' . ++$copies;
	my ($out, $err);

	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE app");
	$node->safe_psql($copy, "SET client_min_messages = error; UPDATE fraiseql_obs.audit_registry
		SET database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()); $sql");
	$node->command_ok([ 'pg_dump', '-n', 'fraiseql_audit', '-f', "$folder/$copy", $copy ], "$name: dumped");
	IPC::Run::run([ 'python3', $tool, "$folder/$copy" ], '>', \$out, '2>', \$err);
	is(($? >> 8) . $err, ($expected =~ /violation:/ ? 3 : 0), "$name: status of the tool");
	like($out, $expected, "$name: found by the tool");
	$node->safe_psql('postgres', "DROP DATABASE $copy");
	return;
}

sub found_by_both
{
	my ($sql, $expected, $name) = @_;

	found($sql, qr/^(?:tombstone|erased)\|\d*\|.*$expected/m, $name);
	tool($sql, qr/^violation: .*$expected/m, $name);
	return;
}

# six partitions are removed on record, and a user erased
maintain($node) foreach 1 .. 2;
is(query("SELECT count(*) FROM $tombstones"), '6', 'partitions have been removed');
cmp_ok(query("SELECT seal_count FROM $collapsed"), '>', 0, 'and seals collapsed');
query(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'Art. 17')));
query(q(SELECT fraiseql_obs.erase_audit_details('user2', columns => '{details}', reason => 'by mistake')));
query(q(SELECT fraiseql_obs.seal_audit_log()));
found('SELECT 1', qr/^1\z/, 'what is on record is in order');
tool('SELECT 1', qr/: 0 violations, 0 gaps$/, 'what is on record is in order');
my $maintain = 'SELECT count(*) > 0 FROM (SELECT fraiseql_obs.maintain_audit_log()) AS m \\g /dev/null' . "\n";

# a tombstone for a partition that was dropped by hand, with all that fits
my $part = partition(25);
my ($name) = $part =~ /\.(.*)/;
my $drop = "DROP TABLE $part";
my $forge = "INSERT INTO $tombstones (range_from, range_to, name, n, results, root, first_seal, last_seal, removed_at, removed_by, reason,
		event_id, rollup_root, rollup_event_id, rollup_event_at)
	SELECT range_from, range_to, '$name', n, results, fraiseql_obs.audit_tree_root(ARRAY[hash], 1), seal_no, seal_no, %s, 'keeper',
		'older than the retention of 30 days', %s, fraiseql_obs.audit_rollup_root('$log', range_from, range_to), %s, %s
	FROM $seals WHERE range_from = " . from(25);
found($drop, qr/^partition\|/m, 'a partition is dropped by hand');
found_by_both(sprintf("$forge; $drop", 'now()', 1, 1, 'now()'), 'the entry that records the removal of a partition is missing',
	'and a tombstone of now made for it');
found(sprintf("$forge; $drop", from(21), 1, 1, from(21)), qr/^tombstone\|\|/m, 'and one of another time');
found_by_both(sprintf("$forge; $drop", from(32), 1, 1, from(32)), 'not what the last entry on it says',
	'and one of a time whose partition has gone');
my $other = "(SELECT %s FROM $tombstones ORDER BY range_from LIMIT 1)";
found_by_both(sprintf("$forge; $drop", map { sprintf $other, $_ } qw(removed_at event_id event_id removed_at)),
	'the entry that records the removal of a partition is missing, or says something else',
	'and one with the entry of another removal');

# a table that is detached, and not dropped yet
found("SELECT fraiseql_obs.set_audit_retention('28 days'); SELECT fraiseql_obs.audit_close_partition(" . from(30) . ");
	ALTER TABLE $log DETACH PARTITION " . partition(30) . '; UPDATE ' . partition(30) . " SET entity_id = 'x'",
	qr/^rows\|/m, 'rows of a detached table are changed');

# a row in a partition that is not for it
$part = partition(25);
found("ALTER TABLE $log DETACH PARTITION $part;
	INSERT INTO $part (id, created_at, occurred_at, operation) VALUES (1000000, now(), now(), 'forged');
	DO \$\$ BEGIN EXECUTE format('ALTER TABLE $part ADD CONSTRAINT c CHECK (created_at IS NOT NULL AND created_at >= %L AND created_at < %L) NOT VALID',
		" . from(25) . ', ' . from(24) . "); END \$\$;
	UPDATE pg_constraint SET convalidated = true WHERE conname = 'c'; ALTER TABLE $part SET (fillfactor = 90);
	DO \$\$ BEGIN EXECUTE format('ALTER TABLE $log ATTACH PARTITION $part FOR VALUES FROM (%L) TO (%L)', " . from(25) . ', ' . from(24) . "); END \$\$",
	qr/^time\|1000000\|row has a time that its partition is not for/m, 'a row is in a partition that is not for it');

# tombstones that are changed or gone
found_by_both("UPDATE $tombstones SET reason = 'x' WHERE range_from = " . from(36), 'the entry that records the removal', 'a tombstone is changed');
found("UPDATE $tombstones SET last_seal = last_seal + 1 WHERE range_from = " . from(36), qr/^tombstone\|\|the entry/m, 'its seals');
found_by_both("DELETE FROM $tombstones WHERE range_from = " . from(36), 'not what the last entry on it says', 'a tombstone is deleted');
found_by_both("DELETE FROM $tombstones; DELETE FROM fraiseql_audit.fraiseql_audit_counts WHERE bucket < " . from(30) .
	"; DELETE FROM fraiseql_audit.fraiseql_audit_actor_days WHERE day < current_date - 30",
	'not what the last entry on it says', 'all of them are, and the rollups');
found("UPDATE $tombstones SET removed_at = " . from(34) . ', event_id = 1, reason = \'x\' WHERE range_from = ' . from(36),
	qr/^tombstone\|\|.*not what the last entry on it says/m, 'one has an entry that has gone');
found_by_both("UPDATE $tombstones SET removed_at = range_to, event_id = 1 WHERE range_from = " . from(36),
	'a partition was removed before any retention allows it', 'one is of too early a time');
# and an honest removal afterwards
found_by_both("DELETE FROM $tombstones WHERE range_from = " . from(36) . "; SELECT fraiseql_obs.set_audit_retention('28 days'); $maintain",
	'was changed before this entry on it was made', 'a later entry does not hide that one was deleted');

# seals that are collapsed by hand, with their rows
my $upto = query("SELECT max(seal_no) FROM $seals WHERE range_from = " . from(29));
my $collapse = "UPDATE $collapsed SET seal_count = $upto, nodes = fraiseql_obs.audit_tree_append(nodes, seal_count,
		(SELECT array_agg(hash ORDER BY seal_no) FROM $seals WHERE seal_no <= $upto)),
		last_hash = (SELECT hash FROM $seals WHERE seal_no = $upto), last_snapshot = (SELECT snapshot FROM $seals WHERE seal_no = $upto);
	DELETE FROM $seals WHERE seal_no <= $upto; DROP TABLE " . join(', ', map { partition($_) } 29, 30) . ';
	DELETE FROM fraiseql_audit.fraiseql_audit_counts WHERE bucket >= ' . from(30) . ' AND bucket < ' . from(28) . ';
	DELETE FROM fraiseql_audit.fraiseql_audit_actor_days WHERE day >= ' . from(30) . ' AND day < ' . from(28);
found_by_both($collapse, 'not what the last entry on it says', 'seals are collapsed by hand');

# holds and the retention that removals did not heed
my $shorten = "SELECT fraiseql_obs.set_audit_retention('28 days')";
found_by_both("SELECT fraiseql_obs.place_hold('Case'); $shorten; UPDATE fraiseql_audit.fraiseql_audit_holds SET released_at = now(); $maintain",
	'a partition was removed that legal hold \d keeps', 'a hold is released by hand');
found("SELECT fraiseql_obs.release_hold(fraiseql_obs.place_hold('Case'), 'over'); SELECT fraiseql_obs.place_hold('Other', until => " . from(30)
	. "); $shorten; $maintain", qr/^(?!.*tombstone)/s, 'holds that are released, or of another time');
my $minimum = "SELECT fraiseql_obs.set_audit_retention(minimum => '30 days')";
my $raised = "$minimum; SELECT fraiseql_obs.set_audit_retention('40 days'); SELECT fraiseql_obs.set_audit_retention(minimum => '35 days')";
found($raised, qr/^(?!.*tombstone)/s, 'a minimum is set, and raised');
tool($raised, qr/: 0 violations, 0 gaps$/, 'a minimum is set, and raised');
my $lowered = "$minimum; SELECT fraiseql_obs.set_audit_retention(minimum => '20 days'); SELECT fraiseql_obs.set_audit_retention('40 days')";
found($lowered, qr/^(?!.*tombstone)/s, 'a minimum is to be less');
tool($lowered, qr/: 0 violations, 0 gaps$/, 'a minimum is to be less');
found_by_both("$minimum; UPDATE fraiseql_audit.fraiseql_audit_settings SET minimum = NULL; $shorten",
	'the minimum of the retention was changed before this entry', 'a minimum is taken away by hand, and then less kept');
found_by_both("$_; UPDATE fraiseql_audit.fraiseql_audit_settings SET minimum = NULL, retention = '28 days'; $maintain",
	'a partition was removed that the minimum of the retention keeps', "a minimum is taken away by hand: $_")
  foreach ($minimum, "SET intervalstyle = 'iso_8601'; $minimum", $minimum =~ s/30 days/2 mons/r, $minimum =~ s/30 days/30 days 24:00:00.5/r);

# erasures
my $row = query("SELECT id FROM $log WHERE user_id = 'user3' AND created_at >= " . from(24) . ' ORDER BY id LIMIT 1');
my $by_hand = "UPDATE $log SET details = NULL, personal_salt = NULL WHERE id = $row";
found_by_both($by_hand, 'erased without a record', 'a row is erased by hand');
found_by_both("$by_hand; INSERT INTO $erasures (row_id, event_id, erased_at) SELECT $row, event_id, erased_at FROM $erasures LIMIT 1",
	'entry on that is missing, or of other rows', 'and named among those of an erasure');
found("$by_hand; INSERT INTO $erasures (row_id, event_id) VALUES ($row, 1000000)",
	qr/^erased\|$row\|.*entry on that is missing/m, 'and of one that was not');
found("$by_hand; INSERT INTO $erasures (row_id, event_id, erased_at) VALUES ($row, 1, now() - interval '1 year')",
	qr/^erased\|$row\|.*entry on that is missing/m, 'and of one of long ago');
found("$by_hand; UPDATE $erasures SET row_id = $row WHERE (row_id, event_id) = (SELECT row_id, event_id FROM $erasures LIMIT 1)",
	qr/^erased\|$row\|.*of other rows.*\n.*without a record|without a record.*of other rows/s, 'and in the place of another row');
found_by_both("UPDATE $log SET details = '{}' WHERE id = (SELECT id FROM $log WHERE user_id = 'user2' AND personal_salt IS NULL LIMIT 1)",
	'an erasure left nothing in them', 'what was erased is written anew');
is(query(q(SELECT message FROM fraiseql_obs.verify_audit_log() WHERE severity = 'unchecked' AND kind = 'erased')) =~ s/\d+$/N/r,
	'rows of which some personal columns were erased, so that nothing proves the others: N', 'what is left of rows is told');

$node->stop;
done_testing();
