# Personal data of a user or an entity can be erased; who it was is nowhere any
# more, seals and counts stay valid, and that it was done is recorded.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_erasure', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 34, 28);

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $violations = q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');
my $report = q(SELECT r - 'report' - 'retention' - 'coverage' - 'audit_log_access' - 'integrity' - 'holds' - 'by_user' - 'failed' - 'summary' - 'gaps'
	FROM fraiseql_obs.audit_report((now() - interval '40 days')::date, current_date, 'default') r);
# rows of whoever it is in any table beside the log, and in the log
my $anywhere = q(SELECT string_agg(format('%%s %%s', name, n), ', ' ORDER BY name)
	FROM (SELECT relname AS name, (xpath('//n/text()', query_to_xml(
			format('SELECT count(*) AS n FROM %%s AS t WHERE t::text ~ %%L', c.oid::regclass, '%s'), false, true, '')))[1]::text::int AS n
		FROM pg_class c WHERE relnamespace = 'fraiseql_audit'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition) AS t
	WHERE n > 0);

sub query { return $node->safe_psql('app', $_[0]); }

sub fails
{
	my ($sql, $message, $name) = @_;
	my ($status, $out, $err) = $node->psql('app', $sql);
	like($err, qr/ERROR:  $message/, $name);
	return;
}

sub anywhere { return query(sprintf $anywhere, $_[0]); }

query(q(SELECT fraiseql_obs.log_operation('share', 'Type0', '1', user_id => 'user3', acting_for => 'user1', details => '{"to": "user1"}')));
query(q(SELECT fraiseql_obs.log_operation('login', user_id => 'user1', error_message => 'no', result => 'denied')));
is(maintain($node), 'close 34, 33, 32, 31; remove 34, 33, 32, 31', 'some partitions have gone');
my $before = query($report);
is(anywhere('user1'), 'fraiseql_audit_actor_days 8, fraiseql_audit_actor_operations 4, fraiseql_audit_log 20', 'the user is in rows, rollups and notes');

# what is wrong
fails("SELECT fraiseql_obs.erase_audit_details($_->[0])", $_->[1], "erase_audit_details($_->[0])")
  foreach (["reason => 'x'", 'user_id, or entity_type and entity_id, of what to erase must be given'],
	["entity_type => 'Type0', reason => 'x'", 'user_id, or entity_type and entity_id'],
	["'user1', 'Type0', reason => 'x'", 'entity_type and entity_id must be given together'],
	["'', reason => 'x'", 'what to erase must not be empty'],
	["'user1', tenant_id => '', reason => 'x'", 'what to erase must not be empty'],
	["'user1'", "reason to erase entries of the audit log must be given\nHINT:  "],
	["'user1', reason => 'x', before => NULL", 'before must be a time'],
	["'user1', reason => 'x', columns => '{}'", 'columns to erase must be erasable columns'],
	["'user1', reason => 'x', columns => '{operation}'", "columns to erase must be erasable columns of the audit log\nHINT:  Erasable are user_id, acting_for, client_addr, details, old_data, new_data, error_message\\."]);

# a hold
query(q(SELECT fraiseql_obs.place_hold('Case 7', user_id => 'user1', since => now() - interval '30 days')));
fails(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'Art. 17')),
	"cannot erase entries of the audit log that are under legal hold\nDETAIL:  Legal hold 1 touches some of them: Case 7\nHINT:  .*release_hold\\(1, \\.\\.\\.\\);",
	'refused under a hold');
is(query("SELECT count(*) FROM $log WHERE user_id = 'user1'"), '19', 'and nothing is erased');
is(query(q(SELECT fraiseql_obs.erase_audit_details('user2', columns => '{details}', reason => 'By mistake'))), '18', 'others may be erased');
is(query("SELECT count(*), count(details), count(personal_salt), count(personal_digest) FROM $log WHERE user_id = 'user2'"),
	'18|0|0|18', 'some columns alone, and the salt');
is(query($violations), '', 'no violation');
query(q(SELECT fraiseql_obs.release_hold(1, 'Settled')));

# all of a user
is(query(q(BEGIN; SET LOCAL fraiseql_obs.user_id = 'user1'; SELECT fraiseql_obs.erase_audit_details('user1', reason => 'Art. 17'); COMMIT)), '20', 'a user is erased');
is(anywhere('user1'), '', 'and is nowhere any more');
is(query("SELECT count(*), count(personal_salt), count(details), bool_and(personal_digest IS NOT NULL)
	FROM $log WHERE user_id IS NULL AND operation !~ '^audit'"), '19|0|0|t', 'but for a digest');
is(query("SELECT user_id, acting_for, details, error_message FROM $log WHERE operation = 'share'"), 'user3|||', 'who acted for the user stays');
is(query($violations), '', 'no violation');
is(query($report), $before, 'and reports count as before');
is(query("SELECT user_id, details - '{ids_sha256,before,rollups,records,records_before}'::text[] FROM $log WHERE operation = 'audit.erased' ORDER BY id DESC LIMIT 1"),
	'erased|{"rows": 20, "about": ["user_id"], "reason": "Art. 17", "columns": ["user_id", "acting_for", "client_addr", "details", "old_data", "new_data", "error_message"]}',
	'it is an entry');
is(query("SELECT count(*), bool_and(e.details->>'ids_sha256' = r.hash AND (e.details->'rows')::int = r.n)
	FROM $log e JOIN (SELECT event_id, count(*) AS n, encode(sha256(string_agg(int8send(row_id), '' ORDER BY row_id)), 'hex') AS hash
		FROM fraiseql_audit.fraiseql_audit_erasures GROUP BY event_id) r ON r.event_id = e.id"), '2|t', 'of the rows that are recorded');
is(query(q(SELECT count(*), bool_and(rollup_root = fraiseql_obs.audit_rollup_root(fraiseql_obs.audit_log(), range_from, range_to)),
		(SELECT count(*) FROM jsonb_object_keys((SELECT details->'rollups' FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'audit.erased' ORDER BY id DESC LIMIT 1)))
	FROM fraiseql_audit.fraiseql_audit_partitions)), '4|t|4', 'rollups of partitions that have gone are recorded anew');
is(query(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'again'))), '0', 'nothing more to erase');

# an entity; its users are counted with what is left
my $users = q(SELECT string_agg(format('%s %s', coalesce(user_id, '-'), n), ', ' ORDER BY user_id)
	FROM (SELECT user_id, sum(n) AS n FROM fraiseql_audit.fraiseql_audit_actor_days WHERE day BETWEEN current_date - 30 AND current_date - 28 GROUP BY user_id) s);
is(query($users), 'user0 18, user2 18, user3 18, - 18', 'users before');
is(query(q(SELECT fraiseql_obs.erase_audit_details(entity_type => 'Type0', entity_id => '2', tenant_id => 'tenant0', before => now() - interval '29 days', reason => 'Art. 17'))),
	query("SELECT count(*) FROM $log WHERE entity_type = 'Type0' AND entity_id = '2' AND created_at < now() - interval '29 days'"), 'an entity is erased, until a time');
is(query("SELECT count(*), count(user_id), count(details) FROM $log WHERE entity_type = 'Type0' AND entity_id = '2'
	AND created_at >= now() - interval '29 days'"), query("SELECT count(*), count(*), 0 FROM $log WHERE entity_type = 'Type0' AND entity_id = '2'
	AND created_at >= now() - interval '29 days'"), 'and not later');
like(query($users), qr/^user0 18, user2 1\d, user3 18, - 2\d$/, 'users after');
is(query($violations), '', 'no violation');

# Rows that are sealed while they are erased, and after it
my $eraser = $node->background_psql('app');
query(q(SELECT fraiseql_obs.log_operation('before', user_id => 'eve') FROM generate_series(1, 10)));
$eraser->query_safe('BEGIN');
is($eraser->query_safe(q(SELECT fraiseql_obs.erase_audit_details('eve', reason => 'x', before => clock_timestamp()))), '10', 'rows that are not sealed');
query(q(SELECT fraiseql_obs.log_operation('after', user_id => 'eve') FROM generate_series(1, 5)));
my $sealer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', 'SELECT fraiseql_obs.refresh_audit_rollups()' ],
	'<', \undef, '>', \my $sealed, '2>', \my $err);
$node->poll_query_until('app', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'))
  or die 'sealing does not wait';
$eraser->query_safe('COMMIT');
$sealer->finish;
cmp_ok($sealed, '>=', 15, 'are sealed');
is(query($violations), '', 'erased before they were sealed: no violation');
my $eve = q(SELECT n FROM fraiseql_audit.fraiseql_audit_actor_days WHERE user_id = 'eve');
is(query($eve), '5', 'and not counted for whom was erased');
$eraser->query_safe('BEGIN');
is($eraser->query_safe(q(SELECT fraiseql_obs.erase_audit_details('eve', reason => 'x', before => clock_timestamp()))), '5', 'rows that are sealed');
query(q(SELECT fraiseql_obs.log_operation('after', user_id => 'eve') FROM generate_series(1, 3)));
$eraser->query_safe('COMMIT');
is(query($eve), '', 'are taken out');
query('SELECT fraiseql_obs.refresh_audit_rollups()');
is(query($eve), '3', 'and what came later is in');
is(query($violations), '', 'no violation');
$eraser->quit;

# A hold that names the user keeps the name while it is in force.
query(q(SELECT fraiseql_obs.place_hold('Past', user_id => 'mallory', until => now() - interval '1 year')));
query(q(SELECT fraiseql_obs.erase_audit_details('mallory', reason => 'x')));
is(anywhere('mallory'), 'fraiseql_audit_holds 1', 'in a hold that is in force');
query(q(SELECT fraiseql_obs.release_hold(2, 'over'); SELECT fraiseql_obs.erase_audit_details('mallory', reason => 'x')));
is(anywhere('mallory'), '', 'and not in one that is not');

# what was erased by hand is told apart
set_guard($node, 'off');
query("UPDATE $log SET user_id = NULL, details = NULL, personal_salt = NULL WHERE id = (SELECT max(id) FROM $log WHERE operation = 'after')");
like(query($violations), qr/^personal columns of the row were erased without a record of it/, 'erased by hand: a violation');

$node->stop;
done_testing();
