# What happened to the audit log itself only the extension says: nobody appends
# entries of its names, and a verification is recorded with what it has found.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_names', "fraiseql_obs.audit_worker = off\nfraiseql_obs.audit_failures = on");
my $log = 'fraiseql_audit.fraiseql_audit_log';
$node->safe_psql('app', q(
	CREATE ROLE keeper NOLOGIN; CREATE ROLE writer LOGIN; CREATE ROLE auditor LOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper');
	SELECT fraiseql_obs.grant_audit_writer('writer');
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.log_operation('x', user_id => 'u' || i) FROM generate_series(1, 10) i;
	SELECT fraiseql_obs.seal_audit_log()));

sub fails
{
	my ($role, $sql, $message, $name) = @_;
	my ($status, $out, $err) = $node->psql('app', $sql, extra_params => [ '-U', $role ]);
	like($err, $message, $name);
	return;
}

sub entries
{
	return $node->safe_psql('app', "SELECT string_agg(operation || ' ' || result, ', ' ORDER BY id) FROM $log WHERE operation <> 'x'");
}

# by who appends
my $reserved = qr/operation "audit\.\w+" of an audit log entry is reserved\nDETAIL: .*"audit\."/;
fails('writer', "SELECT fraiseql_obs.log_operation('audit.verified', details => '{\"seals\": 9, \"violations\": 0}')", $reserved, 'log_operation()');
fails('writer', q(SELECT fraiseql_obs.log_operations('[{"operation": "x"}, {"operation": "audit.lost"}]')), $reserved, 'log_operations()');
fails('postgres', "SELECT fraiseql_obs.log_operation('audit.stop')", $reserved, 'superusers');
fails('writer', "BEGIN; SELECT fraiseql_obs.log_operation('audit.stop'); ROLLBACK", $reserved, 'what is rolled back');
fails('writer', "SET fraiseql_obs.operation_name = 'audit.lost'; SELECT 1 / 0", qr/division by zero/, 'a statement that fails');
$node->safe_psql('app', 'SELECT fraiseql_obs.audit_drain_ring()');
unlike(entries(), qr/(^|, )audit\./, 'none of it is drained');
like(entries(), qr/application\.audit\.lost failure/, 'a statement that fails has another name');
is($node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('audits') > 0, fraiseql_obs.log_operation('Audit.x') > 0,
	fraiseql_obs.log_operation('x.audit.y') > 0), extra_params => [ '-U', 'writer' ]), 't|t|t', 'other names are free');

# by who has a table of his own read besides
$node->safe_psql('app', q(
	CREATE TABLE own_log (at timestamptz, what text, more jsonb);
	INSERT INTO own_log VALUES (now(), 'audit.verified', '{"seals": 1000, "violations": 0}'), (now(), 'audit.lost', '{}');
	SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "what", "details": "more"}');
	SELECT fraiseql_obs.compliance_report(current_date - 1, current_date + 2)));
is($node->safe_psql('app', qq(
	SELECT r#>>'{integrity,verdict}', r#>'{integrity,verification}', r#>'{audit_log_access,total}',
		jsonb_array_length(r#>'{audit_log_access,entries}')
	FROM (SELECT fraiseql_obs.compliance_report(current_date - 1, current_date + 2) AS r) AS r)),
	'not verified|null|1|1', 'an adopted source says nothing of the log itself');
$node->safe_psql('app', q(SELECT fraiseql_obs.forget_audit_source('own_log'); DROP TABLE own_log));

# by who reads
fails('auditor', "SELECT fraiseql_obs.audit_verified()", qr/there is no verification to record/, 'no verification');
fails('auditor', "SELECT fraiseql_obs.audit_verification()", qr/permission denied/, 'nor to be had');
my $newest = "SELECT operation, result, details, db_role FROM $log ORDER BY id DESC LIMIT 1";
my @auditor = (extra_params => [ '-U', 'auditor' ]);
$node->safe_psql('app', 'SELECT * FROM fraiseql_obs.verify_audit_log()', @auditor);
like($node->safe_psql('app', $newest), qr/^audit\.verified\|success\|\{"gaps": 0, "seals": 2, "unchecked": \d, "violations": 0\}\|auditor$/,
	'a verification is recorded');
fails('auditor', 'BEGIN; SELECT * FROM fraiseql_obs.verify_audit_log(); SELECT fraiseql_obs.audit_verified()',
	qr/there is no verification to record/, 'once');
fails('auditor', 'BEGIN READ ONLY; SELECT * FROM fraiseql_obs.verify_audit_log(); COMMIT; SELECT fraiseql_obs.audit_verified()',
	qr/there is no verification to record/, 'and in its transaction');
$node->safe_psql('app', 'SELECT fraiseql_obs.compliance_report(current_date, current_date + 1)', @auditor);
like($node->safe_psql('app', $newest), qr/^audit\.report\|success\|.*\|auditor$/, 'so is a report');

# with what was found, of what period
set_guard($node, 'off');
$node->safe_psql('app', "ALTER TABLE $log DISABLE TRIGGER ALL; DO \$\$ BEGIN EXECUTE (SELECT string_agg(format(
		'ALTER TABLE %s DISABLE TRIGGER ALL', inhrelid::regclass), ';') FROM pg_inherits WHERE inhparent = '$log'::regclass); END \$\$;
	UPDATE $log SET user_id = 'other' WHERE user_id = 'u3'");
set_guard($node, 'on');
$node->safe_psql('app', "SELECT fraiseql_obs.verify_audit_log('2020-01-01 UTC', 'tomorrow', fraiseql_obs.audit_checkpoint())", @auditor);
is($node->safe_psql('app', qq(SELECT result, details->'violations' > '0', details->'anchor_size', (details->>'since')::timestamptz = '2020-01-01 UTC',
	(details->>'until')::timestamptz > now() FROM $log ORDER BY id DESC LIMIT 1)), 'failure|t|2|t|t', 'what was found, of what period');

$node->stop;
done_testing();
