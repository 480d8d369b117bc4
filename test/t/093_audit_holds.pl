# Legal holds keep partitions and rows, are listed and recorded, and are placed
# by whom the owner of the log allows it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_holds', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 30);
$node->safe_psql('app', q(
	CREATE ROLE lawyer LOGIN IN ROLE keeper;
	CREATE ROLE auditor LOGIN;
	CREATE ROLE app_role LOGIN;
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.grant_audit_writer('app_role')));

sub query
{
	my ($sql, @role) = @_;
	return $node->safe_psql('app', $sql, @role ? (extra_params => [ '-U', @role ]) : ());
}

sub fails
{
	my ($sql, $message, $name, @role) = @_;
	my ($status, $out, $err) = $node->psql('app', $sql, @role ? (extra_params => [ '-U', @role ]) : ());
	like($err, qr/ERROR:  $message/, $name);
	return;
}

# who may
is(query("SELECT fraiseql_obs.place_hold('Case 1', user_id => 'user1', since => now() - interval '34 days', until => now() - interval '32 days')", 'lawyer'),
	'1', 'a member of the owner places one');
foreach my $role (qw(auditor app_role))
{
	fails("SELECT fraiseql_obs.$_", 'permission denied for function', "$role: no $_", $role)
	  foreach ("place_hold('x')", "release_hold(1, 'x')", 'maintain_audit_log()',
		"set_audit_retention('1 day')", "erase_audit_details('user1', reason => 'x')");
}
is(query('SELECT hold_id, reason, user_id, placed_by, released_at IS NULL FROM fraiseql_obs.holds()', 'auditor'),
	'1|Case 1|user1|lawyer|t', 'a reader sees it');
fails('SELECT * FROM fraiseql_obs.holds()', 'permission denied for function', 'a writer does not', 'app_role');

# what is wrong
fails("SELECT fraiseql_obs.place_hold($_->[0])", $_->[1], "place_hold($_->[0])")
  foreach (['NULL', 'reason of a legal hold must not be null or empty'],
	["'x', entity_id => '1'", 'entity_type of a legal hold must be given with entity_id'],
	["'x', user_id => ''", 'subject of a legal hold must not be empty'],
	["'x', tenant_id => '', user_id => 'bob'", 'subject of a legal hold must not be empty'],
	["'x', user_id => 'bob', since => 'infinity'", 'since and until of a legal hold must not be infinite'],
	["'x', until => '-infinity'", 'since and until of a legal hold must not be infinite'],
	["'x', since => now(), until => now()", 'until must be after since\nHINT:  ']);
fails("SELECT fraiseql_obs.release_hold($_->[0])", $_->[1], "release_hold($_->[0])")
  foreach (['1, NULL', 'reason to release a legal hold must not be null or empty'],
	["99, 'x'", 'there is no legal hold 99 to release']);

# what it keeps
is(maintain($node), 'close 36, 35, 31; held 34 by 1, 33 by 1, 32 by 1; remove 36, 35, 31', 'partitions of its period stay');
like(query("SELECT r#>>'{holds,0,reason}', jsonb_array_length(r->'holds'), r#>>'{holds,0,placed_by}'
	FROM fraiseql_obs.audit_report(current_date - 10, current_date, 'default') r", 'auditor'),
	qr/^Case 1\|1\|lawyer$/, 'reports list it');
query("SELECT fraiseql_obs.release_hold(1, 'Settled')", 'lawyer');
fails("SELECT fraiseql_obs.release_hold(1, 'x')", 'there is no legal hold 1 to release', 'released once');
is(query("SELECT string_agg(format('%s %s %s', hold_id, released_by, release_reason), ', ') FROM fraiseql_obs.holds(true)"), '1 lawyer Settled', 'listed as released');
is(query('SELECT count(*) FROM fraiseql_obs.holds()'), '0', 'and not as in force');
is(maintain($node), 'close 34, 33, 32; remove 34, 33, 32', 'released, they go');
is(query(q(SELECT string_agg(format('%s %s %s', operation, entity_id, details - 'since' - 'until'), ', ' ORDER BY id)
	FROM fraiseql_audit.fraiseql_audit_log WHERE operation ~ 'hold')),
	'audit.hold_placed 1 {"about": ["user_id"], "reason": "Case 1"}, audit.hold_released 1 {"reason": "Settled"}',
	'both are in the log, without whom it is about');

# A hold waits for a removal that has begun to be done, and sees it.
query(q(SELECT fraiseql_obs.set_audit_retention('29 days')));
my $remover = $node->background_psql('app');
$remover->query_safe('BEGIN');
$remover->query_safe("SELECT fraiseql_obs.audit_close_partition((date_trunc('day', now() AT TIME ZONE 'UTC') - interval '30 days') AT TIME ZONE 'UTC')");
my $placer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', q(SELECT fraiseql_obs.place_hold('Case 2', since => now() - interval '31 days')) ],
	'<', \undef, '>', \my $out, '2>', \my $err);
$node->poll_query_until('app', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'Case 2'))
  or die 'the hold does not wait';
$remover->query_safe('COMMIT');
$remover->quit;
$placer->finish;
is($out, "2\n", 'placed');
like($err, qr/WARNING:  \d+ partitions of the period of legal hold 2 have been removed before/, 'and told what had begun');
like(maintain($node), qr/^held 30 by 2; keep 30$/, 'what was not dropped is kept');

# A removal does not wait for a hold that is being placed.
query(q(SELECT fraiseql_obs.release_hold(2, 'x')));
$placer = $node->background_psql('app');
$placer->query_safe('BEGIN');
$placer->query_safe(q(SELECT fraiseql_obs.place_hold('Case 3', since => now() - interval '30 days')));
like(maintain($node), qr/^failed hold .*: canceling statement due to lock timeout$/, 'but leaves the partition');
$placer->query_safe('COMMIT');
$placer->quit;
is(maintain($node), 'held 30 by 3', 'which is held then');

# readers of a tenant
$node->safe_psql('postgres', 'CREATE DATABASE tenants');
$node->safe_psql('tenants', q(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(tenant_isolation => true);
	SELECT fraiseql_obs.grant_audit_reader('auditor');
	SELECT fraiseql_obs.place_hold('Of a tenant', tenant_id => 'acme');));
is($node->safe_psql('tenants', q(SET fraiseql_obs.tenant_id = 'acme';
	SELECT (SELECT count(*) FROM fraiseql_obs.holds(true)), r->'holds', r#>'{retention,removed}',
		fraiseql_obs.audit_report_text(r) ~ 'Legal holds +not available'
	FROM fraiseql_obs.audit_report(current_date, current_date + 1, 'default') r), extra_params => [ '-U', 'auditor' ]),
	'0|null|null|t', 'do not see holds, which is not said to be none');

$node->stop;
done_testing();
