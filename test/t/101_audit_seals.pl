# Each row of the audit log is sealed once, whenever its transaction commits,
# and whoever seals; seals are a chain without gaps.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_seals', "max_prepared_transactions = 5\nfraiseql_obs.audit_guard = off");
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $seals = 'fraiseql_audit.fraiseql_audit_seals';
my $seal = 'SELECT fraiseql_obs.seal_audit_log()';

sub rows { return "SELECT fraiseql_obs.log_operation('op', user_id => 'u' || i % 3) FROM generate_series(1, $_[0]) i"; }

# "seals|rows in them" of all, or those after a number
sub sealed
{
	my ($after) = @_;
	return $node->safe_psql('app', "SELECT count(*), coalesce(sum(n), 0) FROM $seals WHERE seal_no > " . ($after // 0));
}

# What is found but for rows that are not sealed yet; read-only, so that no
# entry is made of it
sub wrong
{
	return $node->safe_psql('app', q(
		SET default_transaction_read_only = on;
		SELECT kind, message FROM fraiseql_obs.verify_audit_log() WHERE kind <> 'unsealed'));
}

$node->safe_psql('app',
	q(CREATE EXTENSION fraiseql_obs; CREATE ROLE keeper NOLOGIN; CREATE ROLE nobody LOGIN;
	CREATE ROLE reader LOGIN; SELECT fraiseql_obs.create_audit_log(owner => 'keeper');
	SELECT fraiseql_obs.grant_audit_reader('reader')));
my (undef, undef, $err) = $node->psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
like($err, qr/there is no seal of the audit log.*HINT: .*seal_audit_log/s, 'no checkpoint without a seal');
is(wrong(), '', 'nothing is wrong with an empty log');
is($node->safe_psql('app', $seal), '1', 'the first seal says since when there are any');
is($node->safe_psql('app', $seal), '1', 'nothing to seal, no seal');
is($node->safe_psql('app', "SELECT kind, n, range_from FROM $seals"), 'baseline|0|', 'what it is');

# heartbeats
is($node->safe_psql('app', q(SELECT fraiseql_obs.seal_audit_log('1 hour'))), '1', 'no heartbeat before its time');
is($node->safe_psql('app', q(SELECT fraiseql_obs.seal_audit_log('0'))), '2', 'a heartbeat');
is($node->safe_psql('app', "SELECT kind, n FROM $seals WHERE seal_no = 2"), 'heartbeat|0', 'what it is');
my $xact = $node->safe_psql('app', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
$node->safe_psql('app', $seal) foreach 1 .. 3;
is($node->safe_psql('app', 'SELECT pg_snapshot_xmax(pg_current_snapshot())'), $xact,
	'where there is nothing to seal, nothing is written');

# rows, in a transaction with others, and of one that goes on
$node->safe_psql('app', rows(5));
is($node->safe_psql('app', $seal), '3', 'rows are sealed');
is(sealed(2), '1|5', 'all of them');
my $late = $node->background_psql('app');
$late->query_safe('BEGIN');
$late->query_safe(rows(3));
$node->safe_psql('app', rows(2));
$node->safe_psql('app', $seal);
is(sealed(3), '1|2', 'not what is not committed');
$late->query_safe('COMMIT');
$node->safe_psql('app', $seal);
is(sealed(4), '1|3', 'it is, after it has committed');
is(wrong(), '', 'nothing is wrong');

# a transaction that writes, seals, and writes
$late->query_safe('BEGIN');
$late->query_safe(rows(1));
is($late->query_safe($seal), '5', 'not what the transaction itself wrote');
$node->safe_psql('app', rows(2));
is($late->query_safe($seal), '6', 'but what others did');
$late->query_safe(rows(1));
$late->query_safe('COMMIT');
$node->safe_psql('app', $seal);
is(sealed(6), '1|2', 'its own later');

# savepoints, of the transaction that seals and of those that write
$node->safe_psql('app', 'BEGIN; ' . rows(1) . '; SAVEPOINT s; ' . rows(2) . "; ROLLBACK TO s; " . rows(4) . '; COMMIT');
$node->safe_psql('app', "BEGIN; SAVEPOINT s; $seal; ROLLBACK TO s; COMMIT");
is(sealed(7), '0|0', 'a seal that is rolled back');
$node->safe_psql('app', "BEGIN; $seal; ROLLBACK");
$node->safe_psql('app', "BEGIN; SAVEPOINT s; $seal; RELEASE s; COMMIT");
is(sealed(7), '1|5', 'leaves the rows to the next one');
is(wrong(), '', 'nothing is wrong with any of these');

# a transaction that is prepared, over a restart
$node->safe_psql('app', 'SET fraiseql_obs.audit_on_failure = continue; BEGIN; ' . rows(3) . "; PREPARE TRANSACTION 'p'");
$node->safe_psql('app', rows(1));
$node->safe_psql('app', $seal);
is(sealed(8), '1|1', 'not what is prepared');
$node->restart;
$node->safe_psql('app', "COMMIT PREPARED 'p'");
$node->safe_psql('app', $seal);
is($node->safe_psql('app', "SELECT n >= 3 FROM $seals ORDER BY seal_no DESC LIMIT 1"), 't', 'it is, after it has committed');
is(wrong(), '', 'nothing is wrong');
$late->quit;

# who waits for whom: a sealer for the one before
$late = $node->background_psql('app');
$node->safe_psql('app', rows(1));
$late->query_safe('BEGIN');
$late->query_safe($seal);
(undef, undef, $err) = $node->psql('app', "SET lock_timeout = '100ms'; $seal");
like($err, qr/lock timeout/, 'one seals at a time');
$node->safe_psql('app', "SET lock_timeout = '100ms'; " . rows(1));
pass('and writers do not wait');
$late->query_safe('COMMIT');
$late->quit;

# writers, transactions of any length, and several who seal
my $folder = PostgreSQL::Test::Utils::tempdir;
append_to_file("$folder/short.sql", rows(2) . ";\n");
append_to_file("$folder/long.sql", "BEGIN;\n" . rows(1) . ";\n\\set ms random(1, 700)\n\\sleep :ms ms\n" . rows(1) . ";\nCOMMIT;\n");
append_to_file("$folder/undone.sql", "BEGIN;\n" . rows(1) . ";\nSAVEPOINT s;\n" . rows(1) . ";\nROLLBACK TO s;\n" . rows(1) . ";\nCOMMIT;\n");
append_to_file("$folder/seal.sql", "$seal;\n\\sleep 5 ms\n");
append_to_file("$folder/within.sql", "BEGIN;\n" . rows(1) . ";\n$seal;\n" . rows(1) . ";\nCOMMIT;\n");
$node->command_ok(
	[
		'pgbench', '-n', '-c', 12, '-j', 2, '-T', 8,
		'-f', "$folder/short.sql\@8", '-f', "$folder/long.sql\@4", '-f', "$folder/undone.sql\@2",
		'-f', "$folder/seal.sql\@2", '-f', "$folder/within.sql\@1", 'app'
	],
	'many at once');
$node->safe_psql('app', $seal);
is($node->safe_psql('app', "SELECT (SELECT count(*) FROM $log) - (SELECT sum(n) FROM $seals)"), '0',
	'every row is in a seal, and none in two');
is($node->safe_psql('app', "SELECT count(*) FROM $seals s
	WHERE seal_no <> (SELECT count(*) FROM $seals b WHERE b.seal_no <= s.seal_no)
		OR (seal_no > 1 AND previous IS DISTINCT FROM (SELECT hash FROM $seals b WHERE b.seal_no = s.seal_no - 1))"),
	'0', 'the chain has no gap and no fork');
is(wrong(), '', 'nothing is wrong');
is($node->safe_psql('app', "SELECT count(*) FROM (SELECT FROM $log l, $seals s
	WHERE s.kind = 'rows' AND l.id > s.after_id AND pg_visible_in_snapshot(l.xact, s.snapshot)
		AND (s.since IS NULL OR NOT pg_visible_in_snapshot(l.xact, s.since))
		AND l.created_at >= s.range_from AND l.created_at < s.range_to
	GROUP BY l.id HAVING count(*) <> 1) AS r"), '0', 'each row is a member of one seal, by the definition');

# the index that the batch is found by knows the pages that are full
$node->safe_psql('app', rows(60000));
$node->safe_psql('app', $seal);
is($node->safe_psql('app', q(
	SELECT brin_summarize_new_values(c.oid) <= 1 FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
	JOIN pg_inherits h ON h.inhrelid = i.indrelid
	WHERE i.indkey[0] = 0 AND h.inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass
		AND pg_relation_size(i.indrelid) > 0)), 't', 'full pages are summarized');
$node->safe_psql('app', rows(1));
$node->safe_psql('app', "SET enable_seqscan = off; $seal");
is(wrong(), '', 'nothing is wrong');

# who may
(undef, undef, $err) = $node->psql('app', $seal, extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, 'sealing is not for everyone');
(undef, undef, $err) = $node->psql('app', 'SELECT fraiseql_obs.verify_audit_log()', extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, 'nor is verifying');
(undef, undef, $err) = $node->psql('app', "BEGIN ISOLATION LEVEL REPEATABLE READ; $seal");
like($err, qr/must run in a READ COMMITTED transaction/, 'one isolation level');
is($node->safe_psql('app', 'SELECT count(*) FROM fraiseql_obs.verify_audit_log(anchor => fraiseql_obs.audit_checkpoint())',
		extra_params => [ '-U', 'reader' ]), '0', 'a reader verifies');
is($node->safe_psql('app', "SELECT db_role, operation, result, details - 'seals' FROM $log ORDER BY id DESC LIMIT 1"),
	'reader|audit.verified|success|{"gaps": 0, "unchecked": 0, "violations": 0, "anchor_size": '
	  . $node->safe_psql('app', "SELECT max(seal_no) FROM $seals") . '}', 'which is an entry');
(undef, undef, $err) = $node->psql('app', "DELETE FROM $seals", extra_params => [ '-U', 'reader' ]);
like($err, qr/permission denied/, 'seals are not a reader\'s to change');

# a reader who does not see all rows of the log sees no seals, nor what is found
$node->safe_psql('app', "ALTER TABLE $log ENABLE ROW LEVEL SECURITY");
is($node->safe_psql('app', "SELECT count(*) FROM $seals", extra_params => [ '-U', 'reader' ]), '0',
	'row security hides seals');
(undef, undef, $err) = $node->psql('app', 'SELECT fraiseql_obs.verify_audit_log()', extra_params => [ '-U', 'reader' ]);
like($err, qr/ERROR:  cannot verify an audit log of which row security hides rows/, 'and findings');

$node->stop;
done_testing();
