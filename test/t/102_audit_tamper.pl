# What a superuser does to an audit log is found and placed: by
# verify_audit_log(), and outside of the server in a dump.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_tamper', 'fraiseql_obs.audit_guard = off');
my $folder = PostgreSQL::Test::Utils::tempdir;
my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $seals = 'fraiseql_audit.fraiseql_audit_seals';
my $state = 'fraiseql_audit.fraiseql_audit_rollup_state';
my $copies = 0;

# A log with a partition of yesterday, whose rows were there before it was first
# sealed, and of today.  Seals: 1 begins, 2 is yesterday's (ids 1 to 10), 3 is
# of ids 11 to 20, 4 of 21 to 30, 5 of 31 to 40, 6 a heartbeat.
$node->safe_psql('app', qq(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	SELECT fraiseql_obs.audit_ensure_partition(now() - interval '1 day');
	SELECT fraiseql_obs.log_operation('update', 'Order', i::text, details => '{"total": 42}', user_id => 'u' || i)
	FROM generate_series(1, 10) i;
	UPDATE $log SET created_at = created_at - interval '1 day';
	SELECT fraiseql_obs.seal_audit_log()));
foreach my $from (11, 21, 31)
{
	$node->safe_psql('app', qq(
		SELECT fraiseql_obs.log_operation('update', 'Order', i::text, details => '{"total": 42}', user_id => 'u' || i)
		FROM generate_series($from, $from + 9) i;
		SELECT fraiseql_obs.seal_audit_log()));
}
is($node->safe_psql('app', q(SELECT fraiseql_obs.seal_audit_log('0')
	FROM (SELECT fraiseql_obs.refresh_audit_rollups()) AS r)), '6', 'a log with six seals');
my $anchor = $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
append_to_file("$folder/anchor", "$anchor\n");
my ($yesterday, $today) = split /\n/, $node->safe_psql('app', qq(
	SELECT DISTINCT tableoid::regclass::text FROM $log ORDER BY 1));
$_ =~ s/^fraiseql_audit\.// foreach $yesterday, $today;

# Findings as lines "kind|seal_no|partition|row_id" with the partition as a day,
# of severity violation unless they say otherwise; read-only, so that no entry
# is made of it
sub findings
{
	my ($database, $with_anchor) = @_;
	my $note = $with_anchor ? "'$anchor'" : 'NULL';

	return $node->safe_psql($database, qq(
		SET default_transaction_read_only = on;
		SELECT concat_ws('|', nullif(severity, 'violation'), kind, coalesce(seal_no::text, '-'),
			CASE partition WHEN '$today' THEN 'today' WHEN '$yesterday' THEN 'yesterday'
				ELSE coalesce(partition, '-') END, coalesce(row_id::text, '-'))
		FROM fraiseql_obs.verify_audit_log(anchor => $note) WITH ORDINALITY
		ORDER BY ordinality));
}

# Status and lines of the tool
sub tool
{
	my ($database, $with_anchor) = @_;
	my $file = "$folder/$database.sql";
	my ($out, $err);

	$node->command_ok([ 'pg_dump', '-n', 'fraiseql_audit', '-f', $file, $database ], "$database: dumped")
	  unless -e $file;
	IPC::Run::run([ 'python3', $tool, ($with_anchor ? ('--anchor', "$folder/anchor") : ()), $file ],
		'>', \$out, '2>', \$err);
	is($err, '', "$database: no error");
	return ($? >> 8, $out);
}

# Makes a copy of the log, does something to it, and compares what is found.
# What the tool must find is a pattern; with_anchor is whether it takes one to
# find anything.
sub tamper
{
	my ($name, $sql, $expected, $pattern, %options) = @_;
	my $copy = 'copy' . ++$copies;

	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE app");
	$node->safe_psql($copy, $sql);
	if ($options{with_anchor})
	{
		is(findings($copy, 0), '', "$name: not found without an anchor");
		my ($status) = tool($copy, 0);
		is($status, 0, "$name: nor by the tool");
	}
	is(findings($copy, $options{with_anchor}), $expected, $name);
	my ($status, $out) = tool($copy, $options{with_anchor});
	is($status, 3, "$name: status of the tool");
	like($out, $pattern, "$name: found by the tool");
	$node->safe_psql('postgres', "DROP DATABASE $copy");
	return;
}

is(findings('app', 1), '', 'nothing is found in the log as it is');
my ($status, $out) = tool('app', 1);
is($status, 0, 'nor by the tool');
like($out, qr/^40 rows, 6 seals, root \S{44}: 0 violations, 0 gaps$/m, 'it says what it has read');
unlink "$folder/app.sql";

# a row that one inserts past log_operation(): as log_operation() would
my $forge = q(INSERT INTO fraiseql_audit.fraiseql_audit_log
	(id, created_at, occurred_at, xact, operation, personal_salt, personal_digest)
	OVERRIDING SYSTEM VALUE
	VALUES (%s, %s, now(), %s, 'forged', '\x00', sha256('\x0001')));
# what an insider who knows the rollups does besides
my $rollups = q(
	UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n + (%1$d)
	WHERE dimension IN ('total', 'operation', 'entity_type', 'tenant') AND result = 'success'
		AND bucket <= (SELECT created_at FROM fraiseql_audit.fraiseql_audit_log WHERE id = %2$d)
		AND bucket > (SELECT created_at FROM fraiseql_audit.fraiseql_audit_log WHERE id = %2$d)
			- CASE grain WHEN 'day' THEN interval '1 day' ELSE interval '15 minutes' END;
	DELETE FROM fraiseql_audit.fraiseql_audit_actor_days WHERE user_id = 'u%2$d';);

# rows
tamper('a row is edited',
	"UPDATE $log SET entity_id = '8' WHERE id = 25",
	'rows|4|today|-', qr/^violation: seal 4: rows were changed/m);
tamper('a row of yesterday is edited',
	"UPDATE $log SET result = 'denied' WHERE id = 5",
	join("\n", 'rows|2|yesterday|-', ('rollup|-|yesterday|-') x 11),
	qr/^violation: seal 2: rows were changed/m);
tamper('personal columns are edited',
	qq(UPDATE $log SET details = '{"total": 41}' WHERE id = 25),
	'personal|4|today|25', qr/^violation: $today, row 25, seal 4: personal columns were changed/m);
tamper('and their digest, too',
	qq(UPDATE $log SET user_id = NULL, details = '{"total": 41}', personal_digest =
		sha256(personal_salt || '\\x010b0000000d'::bytea || '{"total": 41}'::bytea) WHERE id = 25),
	"rows|4|today|-\nrollup|-|today|-\nrollup|-|today|-", qr/^violation: seal 4: rows were changed/m);
tamper('a row is deleted',
	sprintf($rollups, -1, 25) . "DELETE FROM $log WHERE id = 25",
	'rows|4|today|-', qr/^violation: seal 4: has 10 rows, and there are 9: rows were removed/m);
tamper('a row is deleted, and the rollups left',
	"DELETE FROM $log WHERE id = 25",
	join("\n", 'rows|4|today|-', ('rollup|-|today|-') x 6), qr/rollup of operation update success has 30, rows are 29/);
tamper('rows are swapped',
	"ALTER TABLE $log ALTER id DROP IDENTITY; UPDATE $log SET id = 22 + 23 - id WHERE id IN (22, 23)",
	'rows|4|today|-', qr/^violation: seal 4: rows were changed/m);
tamper('a row is inserted into a sealed range',
	sprintf($rollups, 0, 0) . sprintf($forge, 25, 'created_at', 'xact') =~
		s/VALUES \((.*)\)\)$/SELECT $1) FROM $log WHERE id = 24/r,
	join("\n", 'rows|4|today|-', ('rollup|-|today|-') x 6),
	qr/^violation: seal 4: has 10 rows, and there are 11: rows were added/m);
tamper('a row is inserted without a digest',
	"INSERT INTO $log (operation) VALUES ('forged')",
	"personal|-|today|41\nunchecked|unsealed|-|-|-", qr/row 41: has no digest/);
# in the first hours of a day that is in the partition of the day before
my $two_hours_ago = $node->safe_psql('app', q(SELECT CASE WHEN (now() AT TIME ZONE 'UTC')::time < '2:00' THEN 'yesterday' ELSE 'today' END));
tamper('a row is backdated, and sealed',
	sprintf($forge, 1000, q(now() - interval '2 hours'), 'pg_current_xact_id()')
	  . '; UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())'
	  . "; SELECT fraiseql_obs.log_operation('honest'); SELECT fraiseql_obs.seal_audit_log()",
	"time|7|$two_hours_ago|1000", qr/row 1000, seal 7: has an earlier time than its transaction can have had/);
tamper('a row is backdated to yesterday, and not sealed yet',
	sprintf($forge, 1000, q(now() - interval '1 day'), 'pg_current_xact_id()'),
	"time|-|yesterday|1000\nunchecked|unsealed|-|-|-", qr/row 1000: has an earlier time/);
tamper('a row is forged with the transaction of others',
	sprintf($forge, 1000, q(now() - interval '1 day'), "(SELECT xact FROM $log WHERE id = 35)"),
	'stray|-|yesterday|1000', qr/row 1000: is in no seal/);
tamper('a row is forged with a transaction of long ago',
	sprintf($forge, 1000, 'now()', q('3')),
	'stray|-|today|1000', qr/row 1000: is in no seal/);
my $other_quarter = $node->safe_psql('app', qq(
	SELECT date_bin('15 minutes', created_at, '2000-01-01') < date_bin('15 minutes', created_at + interval '90 seconds', '2000-01-01')
	FROM $log WHERE id = 35)) eq 't';
tamper('a row is dated ahead',
	"UPDATE $log SET created_at = created_at + interval '90 seconds' WHERE id = 35",
	join("\n", 'time|5|today|35', 'rows|5|today|-', ('rollup|-|today|-') x ($other_quarter ? 4 : 0)), qr/row 35, seal 5: has a later time than its seal/);
tamper('a partition is truncated',
	"TRUNCATE fraiseql_audit.$today;
	DELETE FROM fraiseql_audit.fraiseql_audit_counts WHERE bucket >= date_trunc('day', now(), 'UTC');
	DELETE FROM fraiseql_audit.fraiseql_audit_actor_days WHERE day >= (now() AT TIME ZONE 'UTC')::date",
	"rows|3|today|-\nrows|4|today|-\nrows|5|today|-", qr/^violation: \S+: partition of seals 3 to 5 with 30 rows is missing/m);
tamper('a partition is dropped',
	"DROP TABLE fraiseql_audit.$yesterday",
	"partition|2|-|-\nrollup|-|-|-", qr/^violation: \S+: partition of seals 2 to 2 with 10 rows is missing, and no record says why/m);
tamper('a partition is detached',
	"ALTER TABLE $log DETACH PARTITION fraiseql_audit.$yesterday; DROP TABLE fraiseql_audit.$yesterday",
	"partition|2|-|-\nrollup|-|-|-", qr/is missing, and no record says why/);
tamper('personal columns are erased without a record',
	"UPDATE $log SET user_id = NULL, details = NULL, personal_salt = NULL WHERE id = 25;
	UPDATE fraiseql_audit.fraiseql_audit_actor_days SET user_id = NULL WHERE user_id = 'u25'",
	'erased|-|today|25', qr/row 25, seal 4: personal columns were erased without a record/);
tamper('rollups are edited',
	"UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n - 3, key = 'read'
	WHERE dimension = 'operation' AND grain = 'day' AND key = 'update' AND bucket < date_trunc('day', now(), 'UTC')",
	"rollup|-|yesterday|-\nrollup|-|yesterday|-", qr/rollup of operation read success has 7, rows are 0/);

tamper('a user is ranked otherwise than he is counted',
	"ALTER TABLE fraiseql_audit.fraiseql_audit_actor_days DROP CONSTRAINT fraiseql_audit_actor_days_check;
	UPDATE fraiseql_audit.fraiseql_audit_actor_days SET ranked = 1000 WHERE user_id = 'u5' AND day < (now() AT TIME ZONE 'UTC')::date",
	'rollup|-|yesterday|-', qr/rollup of user "?u5"? has -1(?: \(\d+ failed, \d+ denied\))?, /);

tamper('rollups have a day of which there has been no partition',
	q(INSERT INTO fraiseql_audit.fraiseql_audit_counts VALUES ('operation', 'day', '2001-01-01 00:00+00', 'read', 'success', 7);
	INSERT INTO fraiseql_audit.fraiseql_audit_actor_days VALUES ('2001-01-02', 'u1', 7, 0, 0), ('2101-01-02', 'u1', 7, 0, 0)),
	join("\n", ('rollup|-|-|-') x 3), qr/^violation: 2001-01-01: .*there is no partition/m);

# seals
tamper('a seal is edited',
	"UPDATE $seals SET n = 9, results = '{\"success\": 9}' WHERE seal_no = 4",
	"seal|4|-|-\nrows|4|today|-", qr/^violation: seal 4: was changed: it does not have its hash/m);
tamper('a seal is edited, and its hash, too',
	"UPDATE $seals SET rollup_root = sha256('') WHERE seal_no = 4;
	UPDATE $seals s SET hash = fraiseql_obs.audit_seal_hash(s) WHERE seal_no = 4",
	"seal|5|-|-\nstate|-|-|-", qr/^violation: seal 5: does not have the hash of the one before/m);
tamper('the last seal is edited, and its hash, too',
	"UPDATE $seals SET sealed_at = sealed_at + interval '1 hour' WHERE seal_no = 6;
	UPDATE $seals s SET hash = fraiseql_obs.audit_seal_hash(s) WHERE seal_no = 6",
	'state|-|-|-', qr/^violation: seal 6: is not the one made last/m);
tamper('a seal is removed',
	"DELETE FROM $seals WHERE seal_no = 4",
	join("\n", 'seal_missing|4|-|-', 'seal|5|-|-', (map { "stray|-|today|$_" } 21 .. 30),
		('rollup|-|today|-') x 15),
	qr/^violation: seal 4: missing$/m);
tamper('the last seals are removed',
	"DELETE FROM $seals WHERE seal_no >= 5",
	join("\n", 'seal_missing|5|-|-', ('rollup|-|today|-') x 15, 'unchecked|unsealed|-|-|-'),
	qr/^violation: seal 5: missing, and all up to 6$/m);
tamper('a seal is incomplete',
	"ALTER TABLE $seals ALTER snapshot DROP NOT NULL; UPDATE $seals SET snapshot = NULL WHERE seal_no = 6",
	"seal|6|-|-\nseal_missing|6|-|-", qr/^violation: seal 6: was changed/m);
tamper('the tree that checkpoints are made of is edited',
	"UPDATE $state SET tree[1] = sha256('')",
	'state|-|-|-', qr/^violation: the tree that checkpoints are made of/m);
tamper('a checkpoint is edited',
	q(INSERT INTO fraiseql_audit.fraiseql_audit_checkpoints (size, root, note) VALUES (4, sha256(''), 'note')),
	'checkpoint|4|-|-', qr/^violation: seal 4: seals up to this one are not those that the checkpoint was made of/m);

# what is consistent in itself
my $forget_seals = "DELETE FROM $seals WHERE seal_no > 4;
	DELETE FROM $log WHERE id > 30;
	UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n - 10 WHERE bucket >= date_trunc('day', now(), 'UTC');
	DELETE FROM fraiseql_audit.fraiseql_audit_counts WHERE n <= 0;
	DELETE FROM fraiseql_audit.fraiseql_audit_actor_days WHERE user_id IN (SELECT 'u' || i FROM generate_series(31, 40) i);
	UPDATE $state SET seals = 4, last_hash = hash, snapshot = s.snapshot, refreshed_at = s.sealed_at,
		tree = fraiseql_obs.audit_tree_append('{}', 0, (SELECT array_agg(hash ORDER BY seal_no) FROM $seals))
	FROM $seals s WHERE s.seal_no = 4;";
tamper('the end is cut off', $forget_seals, 'anchor|5|-|-',
	qr/^violation: seal 5: missing: there were 6 seals when the anchor was made/m, with_anchor => 1);
my $reseal = "DELETE FROM $log WHERE id = 25;
	TRUNCATE $seals, fraiseql_audit.fraiseql_audit_counts, fraiseql_audit.fraiseql_audit_actor_days;
	UPDATE $state SET snapshot = NULL, seals = 0, tree = '{}', last_hash = NULL, seen_id = 0, baseline_id = 0,
		origin = NULL, incarnation = NULL, refreshed_at = NULL, tail_since = '-infinity';
	SELECT fraiseql_obs.seal_audit_log();
	SELECT fraiseql_obs.seal_audit_log('0') FROM generate_series(1, 5);";
tamper('all is sealed anew', $reseal, "anchor|6|-|-\nanchor|-|-|-",
	qr/^violation: the anchor is of another audit log, or the seals were all made anew/m, with_anchor => 1);
tamper('all is sealed anew, as the log that it was',
	"$reseal UPDATE $state SET origin = '" . ($anchor =~ m{/([^/]+)/})[0] . "'",
	'anchor|6|-|-', qr/^violation: seal 6: seals up to this one are not those that the anchor was made of/m,
	with_anchor => 1);

# a transaction that has not begun: known only in the database itself
$node->safe_psql('app', sprintf($forge, 1000, 'now()', q('9223372036854775806')));
is(findings('app', 1), "xact|-|today|1000", 'a row is forged with a transaction that has not begun');
$node->safe_psql('app', "DELETE FROM $log WHERE id = 1000");
$node->safe_psql('app', 'SELECT fraiseql_obs.verify_audit_log()');
is(findings('app', 0), 'unchecked|unsealed|-|-|-', 'verification itself is an entry');

# at most so many of a kind, and how many more
$node->safe_psql('postgres', 'CREATE DATABASE many TEMPLATE app');
$node->safe_psql('many', qq(UPDATE $log SET details = '{}' WHERE id > 10));
is($node->safe_psql('many', q(SELECT count(*), max(message) FROM fraiseql_obs.verify_audit_log()
	WHERE kind = 'personal' AND (row_id IS NOT NULL OR message LIKE '1_ more of these in the partition')
	GROUP BY row_id IS NULL ORDER BY 1)) =~ s/\|personal.*//r,
	"1|11 more of these in the partition\n20", 'many findings are cut short');

# a part of the time
is($node->safe_psql('many', q(SELECT count(*) FROM fraiseql_obs.verify_audit_log("until" => date_trunc('day', now(), 'UTC') - interval '6 hours')
	WHERE partition IS NOT NULL)), '0', 'what is not in the period is not looked at');
is($node->safe_psql('many', qq(SELECT count(*) FROM fraiseql_obs.verify_audit_log("until" => (
	SELECT min(range_to) FROM fraiseql_obs.audit_partitions('$log')))
	WHERE partition IS NOT NULL)), '0', 'what is after the period is not looked at');
cmp_ok($node->safe_psql('many', qq(SELECT count(*) FROM fraiseql_obs.verify_audit_log("from" => (
	SELECT min(range_to) FROM fraiseql_obs.audit_partitions('$log')))
	WHERE partition IS NOT NULL)), '>', 0, 'what is in it is');

# the same where the library is not loaded
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
$node->safe_psql('many', "UPDATE $log SET entity_id = '8' WHERE id = 25; DELETE FROM $log WHERE id = 26");
is($node->safe_psql('many', q(SELECT kind, seal_no FROM fraiseql_obs.verify_audit_log() WHERE kind = 'rows')),
	'rows|4', 'found where the library is not loaded');

# sealing goes on only where the seals are as they were left
(undef, undef, my $err) = $node->psql('many', "DELETE FROM $seals WHERE seal_no = (SELECT max(seal_no) FROM $seals);
	SELECT fraiseql_obs.seal_audit_log('0')");
like($err, qr/cannot seal the audit log: its last seal is not the one that was made last.*HINT: .*verify_audit_log/s,
	'nothing is sealed on top of what was changed');

$node->stop;
done_testing();
