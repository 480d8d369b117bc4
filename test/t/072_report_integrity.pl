# What a compliance report says of the log's integrity: each verdict, in each
# form, and who may have one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('report_integrity');
my $folder = PostgreSQL::Test::Utils::tempdir;
my $log = 'fraiseql_audit.fraiseql_audit_log';

# 20 days of 24 rows each in a seal of their own, 2 to 21; the period of reports
# is of 5 days, 10 to 6 days ago, seals 12 to 16
make_old_audit_log($node, 20, 1);
$node->safe_psql('app', q(
	CREATE ROLE auditor LOGIN;
	CREATE ROLE writer LOGIN;
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.grant_audit_writer('writer')));
my $period = q((now() AT TIME ZONE 'UTC')::date - 10, (now() AT TIME ZONE 'UTC')::date - 5);
my @auditor = (extra_params => [ '-U', 'auditor' ]);

# Some of the integrity part, of a report of the auditor
sub integrity
{
	my ($what, $database, $arguments) = @_;
	$database //= 'app';
	$arguments //= $period;
	return $node->safe_psql($database, qq(
		SELECT $what FROM (SELECT fraiseql_obs.compliance_report($arguments)->'integrity' AS i) AS r), @auditor);
}

my $verdict = q(i->>'verdict', i->>'reason');

# nobody has verified it
is(integrity($verdict), 'not verified|No verification of the whole period is in the log.', 'nobody has verified it');
is(integrity(q(i->'seals', i#>>'{head,size}', i->'verification', i->'removed_partitions')),
	'{"last": 16, "rows": 120, "first": 12, "unsealed": 0}|21|null|{"checked": 0, "differing": []}', 'what is known then');
is(integrity(q(i#>>'{head,root}')), (split /\n/, $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()'))[2],
	'the root is that of the checkpoint');

# entries that are no verification: that was rolled back, of a part of the period,
# and what is no such thing; none of them can be appended
set_guard($node, 'off');
sub forge
{
	my ($violations) = @_;
	$node->safe_psql('app', qq(
		INSERT INTO $log (operation, entity_type, entity_id, db_role, details, personal_salt, personal_digest)
		SELECT 'audit.verified', 'audit_log', 'verification', 'auditor', details, '\\x00'::bytea,
			sha256('\\x00'::bytea || '\\x01' || '\\x0b' || int4send(length(details::text)) || details::text::bytea)
		FROM (SELECT '{"seals": 1000, "violations": $violations}'::jsonb) AS d (details)));
	return;
}
forge($_) foreach '"none"', '0, "since": "x"', '0, "_failed": {}', '0, "since": "infinity"', '0, "until": "2000-01-01"';
set_guard($node, 'on');
$node->safe_psql('app', q(SELECT fraiseql_obs.verify_audit_log(current_date - 8)));
is(integrity($verdict), 'not verified|No verification of the whole period is in the log.', 'what is no verification');
$node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log()');
is(integrity($verdict), 'not verified|No verification of the whole period is in the log.', 'nor when it is sealed');

# the newest verification
my $anchor = $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
$node->safe_psql('app', qq(SELECT fraiseql_obs.verify_audit_log(anchor => '$anchor')), @auditor);
is(integrity($verdict), 'verified|All seals of rows of the period were verified, and no violation was found.', 'verified');
is(integrity(q((i->'verification') - '{at,entry_id}'::text[], (i#>>'{verification,at}')::timestamptz > now() - interval '1 hour')),
	'{"by": "auditor", "gaps": 0, "seals": 22, "unchecked": 1, "violations": 0, "anchor_size": 22, "seals_since": 0}|t',
	'who has verified what');
$node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log()');
is(integrity(q(i->>'verdict', i#>>'{verification,seals_since}')), 'verified|1', 'later seals are not of the period');
is(integrity(q(i->>'verdict', i->>'reason', i#>>'{seals,unsealed}'), 'app', q((now() AT TIME ZONE 'UTC')::date - 10, (now() AT TIME ZONE 'UTC')::date + 1)),
	'verified in part|No violation was found, but some rows of the period were sealed later or are not sealed.|'
	  . $node->safe_psql('app', qq(SELECT count(*) - 1 FROM $log WHERE operation = 'audit.report'
			AND id > (SELECT max(max_id) FROM fraiseql_audit.fraiseql_audit_seals))),
	'where they are, it is verified in part');
$node->safe_psql('app', 'SELECT fraiseql_obs.refresh_audit_rollups()');
is(integrity(q(i->>'reason'), 'app', q((now() AT TIME ZONE 'UTC')::date - 10, (now() AT TIME ZONE 'UTC')::date + 1)) =~ s/^.*rows of the period //r,
	'were sealed later.', 'also if all is sealed');

# forms of a report that verifies
is(integrity(q(i->>'verdict', i#>>'{verification,by}', i#>'{verification,findings}'), 'app', "$period, verify => true"),
	'verified|auditor|[]', 'a report that verifies');
is(integrity(q(i#>>'{verification,since}' = to_jsonb(((now() AT TIME ZONE 'UTC')::date - 10)::timestamptz) #>> '{}', i ? 'x')),
	't|f', 'which is an entry, and found by the next');
is(integrity($verdict, 'app', "$period, verify => NULL") =~ s/\|.*//r, 'verified', 'verify may be null');
like($node->safe_psql('app', "BEGIN READ ONLY; SELECT i->>'verdict', i#>>'{verification,seals}' FROM (
		SELECT fraiseql_obs.compliance_report($period, verify => true)->'integrity' AS i) AS r", @auditor),
	qr/^verified\|24$/m, 'also in a transaction that is read-only');

# rows of adopted sources are counted, and have no seals
$node->safe_psql('app', qq(CREATE TABLE history (at timestamptz, what text);
	INSERT INTO history SELECT (now() AT TIME ZONE 'UTC')::date - 20 + i, 'old' FROM generate_series(1, 12) i;
	GRANT SELECT ON history TO auditor;
	SELECT fraiseql_obs.adopt_audit_source('history', '{"created_at": "at", "operation": "what"}')));
foreach my $arguments ($period, "$period, verify => true")
{
	is(integrity($verdict, 'app', $arguments),
		'verified in part|No violation was found, but some rows of the period are not sealed. Rows of adopted sources have no seals: 3 of public.history.',
		'adopted rows are not verified');
}
is($node->safe_psql('app', qq(SELECT c->'adopted_rows', c->'sources', c->'notes'->>0
		FROM (SELECT fraiseql_obs.compliance_report($period)->'coverage' AS c) AS r), @auditor),
	'{"public.history": 3}|["public.history"]|Rows of adopted sources are counted, and are outside of the seals: 3 of public.history.', 'which coverage says');
is(integrity(q(i->>'verdict'), 'app', $period =~ s/10/7/r), 'verified', 'where there are none all is');
$node->safe_psql('app', q(SELECT fraiseql_obs.forget_audit_source('history'); DROP TABLE history));

# A copy of the log in which something is done
my $copies = 0;
sub tampered
{
	my ($sql) = @_;
	my $copy = 'copy' . ++$copies;

	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE app");
	$node->safe_psql($copy, "SELECT fraiseql_obs.create_audit_log(); SELECT fraiseql_obs.seal_audit_log(); $sql");
	return $copy;
}

set_guard($node, 'off');
my $edited = tampered("UPDATE $log SET details = '{\"a\": 2}' WHERE id = (
	SELECT min(id) FROM $log WHERE created_at >= (now() AT TIME ZONE 'UTC')::date - 9)");
is(integrity(q(i->>'verdict'), $edited), 'verified', 'that a row is edited is not seen without verifying');
my $verified = $node->safe_psql($edited, qq(
	SELECT i->>'verdict', i->>'reason', i#>>'{verification,violations}', f->>'severity', f->>'kind', f->>'seal_no', f->>'message'
	FROM (SELECT fraiseql_obs.compliance_report($period, verify => true)->'integrity' AS i) AS r,
		jsonb_array_elements(i#>'{verification,findings}') f), @auditor);
is($verified, 'violations|The newest verification found violations: 1.|1|violation|personal|13|personal columns of the row were changed: they do not have their digest',
	'and is by a report that verifies');
is(integrity($verdict, $edited), 'violations|The newest verification found violations: 1.', 'later reports tell it');
is(integrity($verdict, $edited, q((now() AT TIME ZONE 'UTC')::date - 3, (now() AT TIME ZONE 'UTC')::date - 2)) =~ s/\|.*//r,
	'violations', 'those of other periods, too');

# loud in every form
foreach my $form (
	[ 'text', qr/\A!{79}\n!!! THE AUDIT LOG IS NOT WHAT WAS SEALED OR RECORDED\. .*^Verdict +VIOLATIONS$/ms ],
	[ 'csv', qr/\Asection,item,measure,value\r\nALERT,Integrity,value,THE AUDIT LOG IS NOT.*^Integrity,Verdict,value,VIOLATIONS\r$/ms ],
	[ 'html', qr/<h1>.*<p class="alert" role="alert">THE AUDIT LOG IS NOT WHAT WAS SEALED OR RECORDED\..*<ul class="totals">/s ])
{
	my ($name, $pattern) = @$form;
	my $call = "SELECT fraiseql_obs.compliance_report_$name($period%s)";

	ok($node->safe_psql($edited, sprintf($call, ''), @auditor) =~ $pattern, "$name: a violation");
	ok($node->safe_psql($edited, sprintf($call, ", 'soc2', true"), @auditor) =~
		  /Findings of the verification.*personal columns of\s+the row were changed/s, "$name: findings");
	ok($node->safe_psql('app', sprintf($call, ''), @auditor) !~ /THE AUDIT LOG IS NOT|class="alert"/, "$name: no violation");
}

# by a later verification of all of it nothing is wrong any more
$node->safe_psql($edited, "UPDATE $log SET details = '{\"a\": 1}' WHERE details = '{\"a\": 2}';
	SELECT fraiseql_obs.verify_audit_log()");
is(integrity(q(i->>'verdict'), $edited), 'verified', 'unless a later verification finds nothing');

# what was found against an anchor stands until that finds nothing
my $cut = tampered(q(DO $$
	DECLARE
		anchor text := fraiseql_obs.audit_checkpoint();
	BEGIN
		CREATE TABLE kept AS SELECT anchor;
		PERFORM fraiseql_obs.verify_audit_log(anchor => overlay(anchor PLACING 'AAAAAAAA' FROM strpos(anchor, '=') - 20));
	END $$));
my $found = 'violations|The newest verification found violations: 1.';
is(integrity($verdict, $cut), $found, 'found against an anchor');
my $stands = 'violations|A verification with an anchor found violations: 1. None with an anchor has found none since.';
$node->safe_psql($cut, 'SELECT fraiseql_obs.verify_audit_log()');
is(integrity($verdict, $cut), $stands, 'which one without an anchor cannot see');
is(integrity($verdict, $cut, "$period, verify => true"), $stands, 'nor the report');
$node->safe_psql($cut, 'SELECT fraiseql_obs.seal_audit_log(); SELECT fraiseql_obs.verify_audit_log()');
is(integrity($verdict, $cut), $stands, 'also when it is sealed');
is(integrity(q(i#>>'{anchor_finding,violations}', i#>>'{verification,violations}'), $cut), '1|0', 'the finding is told');
$node->safe_psql($cut, "SELECT fraiseql_obs.verify_audit_log('yesterday', anchor => anchor) FROM kept");
is(integrity($verdict, $cut), $stands, 'nor one of another time');
$node->safe_psql($cut, 'SELECT fraiseql_obs.verify_audit_log(anchor => anchor) FROM kept');
is(integrity(q(i->>'verdict', i->'anchor_finding'), $cut), 'verified|null', 'but one with an anchor');

# what somebody found stands when he has gone
my $left = tampered("UPDATE $log SET details = '{\"a\": 2}' WHERE id = (
	SELECT min(id) FROM $log WHERE created_at >= (now() AT TIME ZONE 'UTC')::date - 9);
	CREATE ROLE leaver LOGIN; SELECT fraiseql_obs.grant_audit_reader('leaver')");
$node->safe_psql($left, 'SELECT fraiseql_obs.verify_audit_log()', extra_params => [ '-U', 'leaver' ]);
$node->safe_psql($left, "DROP OWNED BY leaver; DROP ROLE leaver; UPDATE $log SET details = '{\"a\": 1}' WHERE details = '{\"a\": 2}'");
is(integrity($verdict, $left), $found, 'whose role was dropped');
$node->safe_psql($left, q(CREATE ROLE leaver LOGIN; SELECT fraiseql_obs.grant_audit_reader('leaver')));
$node->safe_psql($left, 'SELECT fraiseql_obs.verify_audit_log()', extra_params => [ '-U', 'leaver' ]);
$node->safe_psql($left, 'DROP OWNED BY leaver; DROP ROLE leaver');
is(integrity(q(i->>'verdict'), $left), 'verified', 'and so does it that he found nothing');

# what a report sees without verifying
is(integrity($verdict, tampered('DELETE FROM fraiseql_audit.fraiseql_audit_seals WHERE seal_no = (
		SELECT max(seal_no) FROM fraiseql_audit.fraiseql_audit_seals)')),
	'violations|The last seal is not the one that was made last.', 'the last seal is removed');
like(integrity($verdict, tampered(q(DO $$
		BEGIN
			EXECUTE (SELECT format('DROP TABLE %s', partition) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log())
				WHERE range_from = date_trunc('day', now(), 'UTC') - interval '8 days');
		END $$))),
	qr/^violations\|Rows of these days \(UTC\) have gone without a record: \d{4}-\d\d-\d\d\.$/, 'a partition is dropped');

# removed on record, and then made otherwise
my $removed = tampered(q(
	SELECT fraiseql_obs.set_audit_retention('8 days');
	SELECT fraiseql_obs.maintain_audit_log();
	SELECT fraiseql_obs.maintain_audit_log()));
is(integrity(q(i->>'verdict', i#>'{removed_partitions}', i#>>'{seals,rows}', i#>>'{seals,first}'), $removed),
	'verified|{"checked": 2, "differing": []}|120|12', 'partitions are removed on record');
my $change = q(UPDATE fraiseql_audit.fraiseql_audit_counts SET n = n %s
	WHERE dimension = '%s' AND grain = 'day' AND bucket = date_trunc('day', now(), 'UTC') - interval '10 days');
$node->safe_psql($removed, sprintf($change, '+ 1', 'operation'));
like(integrity($verdict, $removed),
	qr/^violations\|Rollups do not say what was recorded of removed partitions: fraiseql_audit_log_\d+\.$/, 'how many operations one had is changed');
$node->safe_psql($removed, sprintf($change, '- 1', 'operation'));
$node->safe_psql($removed, sprintf($change, '+ 1', 'entity_type'));
is(integrity(q(i->>'verdict'), $removed), 'verified', 'by entity type it is changed');
is(integrity(q(i->>'verdict', i#>>'{verification,findings,0,kind}', i#>>'{verification,findings,0,message}'), $removed, "$period, verify => true"),
	'violations|tombstone|rollups do not have of a partition what they had when it was removed', 'which takes a verification to see');

# without seals; by who does not see all rows
$node->safe_psql('postgres', 'CREATE DATABASE tenants');
$node->safe_psql('tenants', q(CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(tenant_isolation => true);
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.log_operation('op', tenant_id => 't' || i % 3) FROM generate_series(1, 30) i));
my $today = q((now() AT TIME ZONE 'UTC')::date, (now() AT TIME ZONE 'UTC')::date + 1);
my $as_superuser = qq(SELECT $verdict, i#>>'{seals,rows}' FROM (SELECT fraiseql_obs.compliance_report($today)->'integrity' AS i) AS r);
is($node->safe_psql('tenants', $as_superuser), 'not verified|The log has no seals.|', 'without seals');
is($node->safe_psql('tenants', $as_superuser =~ s/\)->'integrity'/, verify => true)->'integrity'/r), 'not verified|The log has no seals.|',
	'also if it is verified');
like($node->safe_psql('tenants', "SELECT fraiseql_obs.compliance_report_text($today, verify => true)"),
	qr/^Verdict +not verified\nReason +The log has no seals\.\nVerified +20/m, 'which the text says');
$node->safe_psql('tenants', 'SELECT fraiseql_obs.seal_audit_log()');
is(integrity("i", 'tenants', $today),
	'{"head": null, "seals": null, "reason": "Row security hides rows of the log from the role that made this report, which may not verify it.", "verdict": null, "verification": null, "anchor_finding": null, "removed_partitions": null}',
	'who does not see all rows has no verdict');
is(integrity(q(i->>'verdict', i->>'reason', i->'verification'), 'tenants', "$today, verify => true"),
	'|Row security hides rows of the log from the role that made this report, which may not verify it.|null', 'nor verifies for one');
foreach my $function ('verify_audit_log()', "audit_verify_period(now(), 'tomorrow')")
{
	my ($status, $out, $err) = $node->psql('tenants', "SELECT fraiseql_obs.$function", extra_params => [ '-U', 'auditor' ]);
	like($err, qr/ERROR:  cannot verify an audit log of which row security hides rows\nHINT:  Have it verified by a member of its owner, or by a reader with BYPASSRLS\./,
		"no findings of other tenants: $function");
}
$node->safe_psql('tenants', q(ALTER ROLE auditor BYPASSRLS));
is($node->safe_psql('tenants', q(SELECT severity, kind FROM fraiseql_obs.verify_audit_log()), @auditor), 'unchecked|unsealed', 'with BYPASSRLS');
$node->safe_psql('tenants', q(ALTER ROLE auditor NOBYPASSRLS));
$node->safe_psql('tenants', 'SELECT fraiseql_obs.seal_audit_log()');
is($node->safe_psql('tenants', "SELECT i->>'verdict', i#>>'{seals,unsealed}' FROM (
		SELECT fraiseql_obs.compliance_report($today, verify => true)->'integrity' AS i) AS r"),
	'verified|0', 'what the report itself writes does not count');
like($node->safe_psql('tenants', "SELECT fraiseql_obs.compliance_report_text($today)", @auditor),
	qr/^Verdict +not available$/m, 'which the text says');

# of days that the log has nothing of, seals of their month say nothing
$node->safe_psql('postgres', 'CREATE DATABASE months');
$node->safe_psql('months', q(CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(retention => '3 years');
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.log_operation('op');
	SELECT fraiseql_obs.seal_audit_log();
	SELECT fraiseql_obs.verify_audit_log();
	SELECT fraiseql_obs.seal_audit_log()));
my $day = q((now() AT TIME ZONE 'UTC')::date);
foreach my $arguments ("$day + 1, $day + 3", "$day - 3, $day")
{
	foreach my $verify ('', ', verify => true')
	{
		is(integrity($verdict, 'months', "$arguments$verify"), 'not verified|The log has nothing of the period that could be verified.',
			"nothing to verify: $arguments$verify");
	}
}
is(integrity($verdict, 'app', "$day - 100, $day - 90, verify => true"), 'not verified|The log has nothing of the period that could be verified.',
	'nor where there are partitions of days');
is(integrity($verdict, 'tenants', "$today, verify => true"), '|' . integrity(q(i->>'reason'), 'tenants', $today), 'who sees no rows is told no more');
$node->safe_psql('tenants', 'SELECT fraiseql_obs.seal_audit_log()');
like($node->safe_psql('tenants', "SELECT i->>'reason' FROM (
		SELECT fraiseql_obs.compliance_report($today, verify => true)->'integrity' AS i) AS r"),
	qr/ The period is not over\.$/, 'nor is all of a period that is not over');

# a copy, in which the snapshots of seals mean nothing until it is sealed
$node->safe_psql('postgres', 'CREATE DATABASE dormant TEMPLATE app');
is(integrity(q(i->>'verdict', i->>'reason', i->'seals'), 'dormant'),
	'verified in part|No violation was found; which rows are sealed is known once this copy of the log is.|{"last": 16, "rows": null, "first": 12, "unsealed": null}',
	'a copy that is not sealed');

# the command line tool
my ($from, $to) = split /\|/, $node->safe_psql('app', "SELECT $period");
my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";
local @ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);
my @report = ('report', '-d', 'app', '--from', $from, '--to', $to);
$node->command_like([ $tool, @report, '--verify' ], qr/^Compared with +no checkpoint that was kept elsewhere$/m, 'the tool has the report verify');
$node->command_fails_like([ $tool, 'failures', '--verify' ], qr/failures has no option --verify/, 'and only that');

$node->stop;
done_testing();
