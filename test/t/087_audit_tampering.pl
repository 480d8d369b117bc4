# Whatever a superuser does to the audit log past its guard is found, and placed;
# what is honest is not reported.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_tampering', 'fraiseql_obs.audit_guard = off');
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $seals = 'fraiseql_audit.fraiseql_audit_seals';

# Violations and gaps of a database as "severity kind seal row", a line each
sub findings
{
	my ($database, $anchor) = @_;
	return $node->safe_psql($database, q(
		SELECT severity, kind, seal_no, row_id FROM fraiseql_obs.verify_audit_log() 
		WHERE severity <> 'unchecked' ORDER BY 1, 2, 3, 4)) if !defined $anchor;
	return $node->safe_psql($database, qq(
		SELECT severity, kind, seal_no, row_id
		FROM fraiseql_obs.verify_audit_log(anchor => \$anchor\$$anchor\$anchor\$)
		WHERE severity <> 'unchecked' ORDER BY 1, 2, 3, 4));
}

# three seals of three rows each, numbers 2 to 4: the first one says since when
# there are seals
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
foreach my $batch (1 .. 3)
{
	$node->safe_psql('app', qq(
		SELECT fraiseql_obs.log_operation('op', 'batch', '$batch', user_id => 'u' || i,
			details => '{"a": 1}') FROM generate_series(1, 3) i;
		SELECT fraiseql_obs.seal_audit_log()));
}
is(findings('app'), '', 'an honest log has no findings');
my $anchor = $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
is(findings('app', $anchor), '', 'nor against its own checkpoint');
my @ids = split /\n/, $node->safe_psql('app', "SELECT id FROM $log WHERE operation = 'op' ORDER BY id");

# a late commit, and a long transaction
my $late = $node->background_psql('app');
$late->query_safe('BEGIN');
$late->query_safe(q(SELECT fraiseql_obs.log_operation('late')));
$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('early'); SELECT fraiseql_obs.seal_audit_log()));
$late->query_safe('COMMIT');
$late->quit;
$node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log()');
is(findings('app', $anchor), '', 'a late commit is honest');
$node->restart;
is(findings('app', $anchor), '', 'so is a restart');

# the same under any settings of the session
$node->safe_psql('postgres', q(ALTER DATABASE app SET timezone = 'Asia/Kathmandu';
	ALTER DATABASE app SET datestyle = 'SQL, DMY'; ALTER DATABASE app SET extra_float_digits = -15;
	ALTER DATABASE app SET client_encoding = 'LATIN1'));
is(findings('app', $anchor), '', 'whatever the settings are');
$node->safe_psql('postgres', 'ALTER DATABASE app RESET ALL');

# Tampers with a copy of the database, and says what is found.
sub tampered
{
	my ($sql, $with_anchor) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE app');
	$node->safe_psql('copy', "SET session_replication_role = replica; SET client_min_messages = warning;
		ALTER TABLE $log DISABLE TRIGGER ALL;
		DO \$\$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = '$log'::regclass
			LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', p); END LOOP; END \$\$; $sql");
	my $found = findings('copy', $with_anchor ? $anchor : undef);
	$node->safe_psql('postgres', 'DROP DATABASE copy');
	return $found;
}
my ($first, $second) = ($ids[0], $ids[4]);

like(tampered("UPDATE $log SET operation = 'other' WHERE id = $second"),
	qr/^violation\|\w+\|3\|$/m, 'an edited row: its seal');
like(tampered("UPDATE $log SET details = '{}' WHERE id = $second"),
	qr/^violation\|personal\|3\|$second$/m, 'an edited document: its row');
like(tampered("DELETE FROM $log WHERE id = $first"),
	qr/^violation\|\w+\|2\|/m, 'a deleted row: its seal');
like(tampered("INSERT INTO $log OVERRIDING SYSTEM VALUE SELECT (l).* FROM
	(SELECT jsonb_populate_record(l, jsonb_build_object('id', 1000000)) AS l FROM $log l WHERE id = $second) s"),
	qr/^violation\|\w+\|3\|/m, 'a row inserted into a sealed transaction: its seal');
like(tampered("ALTER TABLE $log ALTER id DROP IDENTITY; UPDATE $log SET id = id + 1000 WHERE id = $first"),
	qr/^violation\|\w+\|2\|/m, 'rows in another order: their seal');
like(tampered("UPDATE $log SET xact = '3' WHERE id = $second"),
	qr/^violation\|/m, 'a forged transaction');
like(tampered("DO \$\$ DECLARE p regclass; BEGIN
	SELECT tableoid INTO p FROM $log LIMIT 1; EXECUTE format('TRUNCATE %s', p); END \$\$"),
	qr/^violation\|\w+\|2\|.*^violation\|\w+\|3\|.*^violation\|\w+\|4\|/ms, 'a truncated partition: all seals of it');
like(tampered("DO \$\$ DECLARE p regclass; BEGIN
	SELECT tableoid INTO p FROM $log LIMIT 1; EXECUTE format('DROP TABLE %s', p); END \$\$"),
	qr/^violation\|/m, 'a dropped partition');
like(tampered("UPDATE $seals SET n = n - 1 WHERE seal_no = 2"),
	qr/^violation\|\w+\|2\|/m, 'an edited seal');
like(tampered("DELETE FROM $seals WHERE seal_no = 2"),
	qr/^violation\|\w+\|[23]\|/m, 'a removed seal');
like(tampered("DELETE FROM $seals WHERE seal_no > 2"),
	qr/^violation\|/m, 'the newest seals removed');
like(tampered("DELETE FROM $log; DELETE FROM $seals WHERE seal_no > 1;
	TRUNCATE fraiseql_audit.fraiseql_audit_counts, fraiseql_audit.fraiseql_audit_actor_days;
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET seals = 1,
		last_hash = (SELECT hash FROM $seals), tree = ARRAY[(SELECT hash FROM $seals)],
		snapshot = (SELECT snapshot FROM $seals)", 1),
	qr/^violation\|/m, 'a log that goes on from an earlier time: against the anchor');
like(tampered("UPDATE $log SET operation = 'other' WHERE id = $second; TRUNCATE $seals;
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET seals = 0, last_hash = NULL, tree = '{}',
		snapshot = NULL, baseline_id = 0, seen_id = 0, incarnation = NULL;
	TRUNCATE fraiseql_audit.fraiseql_audit_counts, fraiseql_audit.fraiseql_audit_actor_days;
	SELECT fraiseql_obs.seal_audit_log()", 1),
	qr/^violation\|/m, 'a log sealed anew: against the anchor');
like(tampered("UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n + 1 WHERE dimension = 'operation' AND key = 'op'"),
	qr/^violation\|/m, 'counts that are not those of the rows');

# a dump is honest
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'app' ], 'dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'restored');
is(findings('restored', $anchor), '', 'a restored dump is honest');
$node->safe_psql('restored', q(SELECT fraiseql_obs.create_audit_log();
	SELECT fraiseql_obs.log_operation('later'); SELECT fraiseql_obs.seal_audit_log()));
is(findings('restored', $anchor), '', 'and goes on');

my ($status, $out, $err) = $node->psql('app', q(SELECT * FROM fraiseql_obs.verify_audit_log(anchor => 'nonsense')));
like($err, qr/anchor is not a checkpoint of an audit log.*HINT/s, 'an anchor that is none');

$node->stop;
done_testing();
