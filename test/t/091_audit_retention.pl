# Partitions of the audit log are made ahead, and removed when all of their rows
# are older than the retention; what they had is recorded, and reports still
# have it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_retention', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 29);

sub is_of
{
	my ($sql, $expected, $name) = @_;
	is($node->safe_psql('app', $sql), $expected, $name);
	return;
}

# {days ago: n} of the partitions that there are, made ahead ones aside
my $partitions = q(
	SELECT string_agg(((now() AT TIME ZONE 'UTC')::date - (range_from AT TIME ZONE 'UTC')::date)::text, ' ' ORDER BY range_from)
	FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_to < now());
my $violations = q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');
my $report = q(SELECT r - 'report' - 'retention' - 'coverage' - 'audit_log_access' - 'integrity' - 'holds' - 'failed' - 'gaps'
		|| jsonb_build_object('failed', r#>'{failed,total}')
	FROM fraiseql_obs.audit_report((now() - interval '40 days')::date, current_date, 'default') r);

is_of($partitions, '36 35 34 33 32 31 30 29', 'partitions of the past');
my $before = $node->safe_psql('app', $report);
like($before, qr/"total_operations": 192/, 'with rows');

# removal
is_of(q(SELECT string_agg(format('%s %s %s', (now() AT TIME ZONE 'UTC')::date - range_from::date, n, state), ', ')
	FROM fraiseql_obs.audit_removable_partitions()),
	'36 24 attached, 35 24 attached, 34 24 attached, 33 24 attached, 32 24 attached, 31 24 attached',
	'those that are past the retention');
is(maintain($node, 'remove => false'), '', 'nothing is removed without being asked for');
is(maintain($node), 'close 36, 35, 34, 33, 32, 31; remove 36, 35, 34, 33, 32, 31', 'removed');
is_of($partitions, '30 29', 'they have gone');
is_of(q(SELECT count(*) FROM pg_class WHERE relname LIKE 'fraiseql\_audit\_log\_%' AND relkind = 'r'), '10', 'the tables as well');
is_of($violations, '', 'which is no violation');
my $seals = 'SELECT min(seal_no), count(*) < (SELECT seals FROM fraiseql_audit.fraiseql_audit_rollup_state) FROM fraiseql_audit.fraiseql_audit_seals';
is_of($seals, '1|f', 'their seals are there');
is(maintain($node), '', 'and not again');
is_of($seals, '8|t', 'but their seals are collapsed');
is_of('SELECT seal_count FROM fraiseql_audit.fraiseql_audit_collapsed', '7', 'that many');
is_of($violations, '', 'which is no violation');
is_of(q(SELECT count(*), sum(n), string_agg(DISTINCT results::text, ' '), count(DISTINCT root), count(DISTINCT rollup_root),
		bool_and(last_seal >= first_seal), string_agg(DISTINCT reason, ' '), bool_and(removed_by = current_user)
	FROM fraiseql_audit.fraiseql_audit_partitions),
	'6|144|{"failure": 4, "success": 20}|6|6|t|older than the retention of 30 days|t', 'what they had is recorded');
is_of(q(SELECT count(*), bool_and(e.operation = 'audit.partition_removed' AND e.entity_id = p.name
		AND e.details->'results' = p.results AND e.details->>'root' = encode(p.root, 'hex')
		AND e.details->>'rollup_root' = encode(p.rollup_root, 'hex'))
	FROM fraiseql_audit.fraiseql_audit_partitions p JOIN fraiseql_audit.fraiseql_audit_log e ON e.id = p.event_id),
	'6|t', 'in the log, too');
is_of(q(SELECT bool_and(rollup_root = fraiseql_obs.audit_rollup_root(fraiseql_obs.audit_log(), range_from, range_to))
	FROM fraiseql_audit.fraiseql_audit_partitions), 't', 'and is what rollups have');

# reports
is_of($report, $before, 'reports say what they said before');
my $parts = q(SELECT jsonb_array_length(r#>'{retention,removed}'), r#>>'{retention,removed,0,total}',
		(SELECT bool_and((e->>'counts_agree')::boolean) FROM jsonb_array_elements(r#>'{retention,removed}') e),
		r#>'{coverage,days_without_record}', r#>>'{coverage,notes,0}'
	FROM fraiseql_obs.compliance_report((now() - interval '40 days')::date, current_date) r);
is_of($parts, '6|24|t|[]|6 partitions of this period have been removed after their retention. ' .
	'Their operations are counted from rollups, which agree with what was recorded at removal; lists have none of them.',
	'and what has been removed');
is_of(q(SET TimeZone = 'Asia/Kathmandu';
	SELECT (SELECT sum((v.value)::int) FROM jsonb_each(r->'summary') s, jsonb_each_text(s.value) v),
		r->'total_operations', r#>>'{coverage,notes,0}'
	FROM fraiseql_obs.audit_report((now() - interval '34 days')::date, (now() - interval '33 days')::date, 'default') r),
	'24|24|24 operations at the edges of the period are missing by user, tenant and entity type: their rows are gone, and these counts are kept by day of UTC.',
	'operations of a day elsewhere are counted, and what is not is said');
set_guard($node, 'off');
$node->safe_psql('app', q(
	UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n + 1
	WHERE dimension = 'operation' AND grain = 'day' AND bucket = date_trunc('day', now() - interval '36 days') AND key = 'op1'));
like($node->safe_psql('app', $parts), qr/^6\|24\|f\|\[\]\|WARNING: Of these removed partitions rollups do not say what was recorded at removal: fraiseql_audit_log_\d+\.$/,
	'changed counts are found');
is_of($violations, 'rollups do not have of a partition what they had when it was removed', 'a violation');
$node->safe_psql('app', q(
	UPDATE fraiseql_audit.fraiseql_audit_partitions
	SET rollup_root = fraiseql_obs.audit_rollup_root(fraiseql_obs.audit_log(), range_from, range_to), n = n + 1, results = '{"success": 25}'
	WHERE range_from = date_trunc('day', now() - interval '36 days')));
is_of($violations, 'the entry that records the removal of a partition is missing, or says something else, ' .
	'the entry that records what rollups have of a removed partition is missing, or says something else, ' .
	'what is recorded of removed partitions and of collapsed seals is not what the last entry on it says', 'also with the record of it');
$node->safe_psql('app', q(
	UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n - 1
	WHERE dimension = 'operation' AND grain = 'day' AND bucket = date_trunc('day', now() - interval '36 days') AND key = 'op1';
	DELETE FROM fraiseql_audit.fraiseql_audit_partitions WHERE range_from = date_trunc('day', now() - interval '36 days')));
like($node->safe_psql('app', $parts), qr/^5\|24\|t\|\["\d{4}-\d\d-\d\d"\]\|/, 'so is a removal without a record');
set_guard($node, 'on');

# A partition that does not have what was sealed stays.
set_guard($node, 'off');
$node->safe_psql('app', q(DELETE FROM fraiseql_audit.fraiseql_audit_log
	WHERE created_at = (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '30 days' + interval '4 hours') AT TIME ZONE 'UTC'));
set_guard($node, 'on');
is_of(q(SELECT fraiseql_obs.set_audit_retention('28 days')->>'effective'), '28 days', 'kept for less');
is(maintain($node) =~ s/log_\d+/log_DAY/r,
	'close 29; failed close 30: partition "fraiseql_audit.fraiseql_audit_log_DAY" of the audit log is not what was sealed: seal 8 has 24 rows, and there are 23: rows were removed; remove 29',
	'tampered with: not removed');
like($node->safe_psql('app', $violations), qr/^seal 8 has 24 rows, and there are 23: rows were removed, rollup/, 'and still found');

# partitions ahead
is_of(q(SELECT count(*) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_from > now() - interval '1 day'),
	'8', 'this day and seven to come');
set_guard($node, 'off');
$node->safe_psql('app', q(DO $$ DECLARE p record; BEGIN
	FOR p IN SELECT * FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_from > now() + interval '4 days' LOOP
		EXECUTE format('DROP TABLE %s', p.partition);
	END LOOP; END $$));
set_guard($node, 'on');
my $locker = $node->background_psql('app');
$locker->query_safe('BEGIN; LOCK TABLE fraiseql_audit.fraiseql_audit_log IN SHARE UPDATE EXCLUSIVE MODE');
like(maintain($node, 'remove => false'), qr/^failed (make \S+: canceling statement due to lock timeout(, )?){3}$/, 'locked: said, not raised');
$locker->query_safe('COMMIT');
$locker->quit;
like(maintain($node, 'remove => false'), qr/^make (\d{4}-\d\d-\d\d(, )?){3}$/, 'and made the next time');

# the width of partitions follows the retention
my $ahead = q(SELECT count(*) FILTER (WHERE range_to - range_from = '1 day'), count(*) FILTER (WHERE range_to - range_from > '27 days'),
		max(range_to) >= date_trunc('month', now()) + interval '2 months'
	FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_to > now());
$node->safe_psql('app', q(SELECT fraiseql_obs.set_audit_retention('2 years')));
maintain($node);
like($node->safe_psql('app', $ahead), qr/^\d+\|[12]\|t$/, 'months follow days');
set_guard($node, 'off');
is_of(q(SELECT count(*) FROM generate_series(now(), date_trunc('month', now()) + interval '3 months - 1 second', '1 day') at,
		fraiseql_obs.audit_ensure_partition(at) ends WHERE ends <= at OR ends IS NULL), '0', 'without a gap');
$node->safe_psql('app', q(SELECT fraiseql_obs.set_audit_retention('31 days')));
maintain($node);
is_of(q(SELECT count(*) FROM generate_series(now(), date_trunc('month', now()) + interval '4 months', '1 day') at,
		fraiseql_obs.audit_ensure_partition(at) ends WHERE ends <= at OR ends IS NULL), '0', 'and days follow months');

# what is no time ago
foreach my $argument ('retention', 'minimum', 'maximum')
{
	my ($status, $out, $err) = $node->psql('app', "SELECT fraiseql_obs.set_audit_retention($argument => '300000 years')");
	like($err, qr/ERROR:  retention of 300000 years is too long\nHINT:  Keep the audit log for at most 1000 years\./, "$argument: too long");
}
is_of(q(SELECT fraiseql_obs.set_audit_retention('1000 years')->>'effective'), '1000 years', 'long enough');
unlike(maintain($node, 'remove => true'), qr/close|remove|range/, 'which keeps everything');

$node->stop;
done_testing();
