# What a verification of the audit log found is known after the server was
# restarted, has crashed or was promoted: metrics and health say it until a later
# verification finds nothing, and when that was.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $node = start_node('audit_findings_kept', q(
	timezone = 'UTC'
	fraiseql_obs.audit_worker = on
	fraiseql_obs.audit_seal_interval = 1
	fraiseql_obs.audit_guard = off
	fraiseql_obs.health_crash_warning = 0
	restart_after_crash = on), allows_streaming => 1);

sub query { return $node->safe_psql('app', $_[0]); }
sub verify { return query("SELECT count(*) FROM fraiseql_obs.verify_audit_log($_[0]) WHERE severity = 'violation'"); }

sub value
{
	my ($name, $server) = @_;
	return metric($server // $node, "fraiseql_obs_audit_$name\{datname=\"app\"}");
}

# What the metric is when the process that looks into the log has done so, and
# what it was before: nothing.
sub says
{
	my ($violations, $verified_at, $name, $server) = @_;
	my %seen;

	$server //= $node;
	foreach (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $done = value('partitions_ahead', $server) ne '';

		$seen{ value('violations', $server) } = 1;
		last if $done;
		sleep 0.05;
	}
	delete $seen{''} if $violations ne '';
	is(join(' ', keys %seen), $violations, "$name: violations");
	is($server->safe_psql('postgres', q(SELECT coalesce(checks->'audit'->>'violations', '') || ' ' || (checks->'audit'->>'status')
			FROM (SELECT fraiseql_obs.health()->'checks' AS checks) AS h)),
		"$violations " . ($violations || 0 ? 'degraded' : 'healthy'), "$name: health");
	my $at = value('verified_timestamp_seconds', $server);
	is($verified_at eq '' || $at eq '' ? $at : $server->safe_psql('app', "SELECT abs(extract(epoch FROM timestamptz '$verified_at') - $at) < 0.001"),
		$verified_at eq '' ? '' : 't', "$name: when nothing was wrong");
	return;
}

sub restarted
{
	my (@expected) = @_;
	$node->restart;
	says(@expected);
	return;
}

# When the newest entry of a verification was written
sub newest { return query("SELECT max(created_at) FROM $log WHERE operation = 'audit.verified'"); }

# Changes a row, or puts it back.
sub set_row { return "SET LOCAL session_replication_role = replica; UPDATE $log SET operation = '$_[0]' WHERE entity_id = 'this';"; }
sub change { return query('BEGIN;' . set_row($_[0]) . 'COMMIT'); }

query(qq(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log();
	ALTER TABLE $log DISABLE TRIGGER ALL;
	SELECT fraiseql_obs.log_operation('first', 'Thing', 'this');
	SELECT fraiseql_obs.seal_audit_log()));
restarted('', '', 'never verified');
is(verify(''), 0, 'nothing is wrong');
my $well = newest();
restarted(0, $well, 'verified');

# something is
change('forged');
is(verify(q('2000-01-01', '2000-01-02')), 0, 'another time is verified');
is(value('violations'), 0, 'in which nothing is wrong');
my $old = $node->background_psql('app');
$old->query_safe($_) foreach 'BEGIN ISOLATION LEVEL REPEATABLE READ', "SELECT count(*) FROM $log";
change('forged again');
my $part = verify(q('2000-01-01'));
cmp_ok($part, '>=', 1, 'of a part of the log');
is(value('violations'), $part, 'it is told');
$old->query_safe($_) foreach 'SELECT count(*) FROM fraiseql_obs.verify_audit_log()', 'COMMIT';
$old->quit;
is(value('violations'), $part, 'who sees the log as it was clears nothing');
restarted($part, $well, 'found in a part');
my $found = verify('');
cmp_ok($found, '>=', 1, 'a violation');
is(value('violations'), $found, 'which the metric has');
is(verify(q('2000-01-01', '2000-01-02')), 0, 'another time is verified again');
query('BEGIN;' . set_row('first') . 'SELECT fraiseql_obs.verify_audit_log(); ROLLBACK');
is(value('violations'), $found, 'that in a transaction all was well is told nobody');
query('BEGIN; SAVEPOINT s;' . set_row('first') . 'SELECT fraiseql_obs.verify_audit_log(); ROLLBACK TO s; SELECT 1; COMMIT');
is(value('violations'), $found, 'nor in a subtransaction');
$node->poll_query_until('app', "SELECT count(*) = 2 FROM $log WHERE operation = 'audit.verified' AND details ? '_failed'")
  or die 'what was rolled back has no entry';
restarted($found, $well, 'what was rolled back does not count');
$node->stop('immediate');
$node->start;
says($found, $well, 'after a crash');
my $victim = $node->background_psql('postgres');
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
kill KILL => $pid;
$victim->{run}->kill_kill;
$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)") or die 'the server does not come back';
says($found, $well, 'after a crash of a session');

# a standby has nothing to say until it is promoted
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('audit_findings_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
$standby->safe_psql('app', 'SELECT fraiseql_obs.verify_audit_log()');
is(value('violations', $standby) . value('worker_up', $standby), '', 'a standby');
$standby->promote;
says($found, $well, 'promoted', $standby);
$standby->stop;

# without a worker: nothing until it is verified
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = off');
$node->restart;
is(value('violations'), '', 'no worker');
query(q(BEGIN; SELECT fraiseql_obs.create_audit_log(); SELECT fraiseql_obs.verify_audit_log(); ROLLBACK));
is(value('violations'), '', 'nor is a log noted that is being taken');
is(verify(''), $found, 'verified');
is(value('violations'), $found, 'known');
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;
says($found, $well, 'a worker comes');

# what cannot be read is told, keeps the worker from nothing, and is read later
query('ALTER FUNCTION fraiseql_obs.audit_last_findings() RENAME TO audit_no_findings');
my $end = -s $node->logfile;
restarted('', '', 'not read');
like(slurp_file($node->logfile, $end), qr/ERROR:  function fraiseql_obs\.audit_last_findings\(\) does not exist/, 'why');
query(q(SELECT fraiseql_obs.log_operation('later')));
my $seals = query('SELECT max(seal_no) FROM fraiseql_audit.fraiseql_audit_seals');
ok($node->poll_query_until('app', "SELECT max(seal_no) > $seals FROM fraiseql_audit.fraiseql_audit_seals"), 'the log is sealed');
query('ALTER FUNCTION fraiseql_obs.audit_no_findings() RENAME TO audit_last_findings');
$node->reload;
ok($node->poll_query_until('postgres', qq(SELECT coalesce(bool_or(value = $found), false) FROM fraiseql_obs.metrics()
	WHERE name = 'fraiseql_obs_audit_violations')), 'read at last');

# a later verification finds nothing
change('first');
is(verify(''), 0, 'mended');
is(value('violations'), 0, 'metrics say so');
$well = newest();
restarted(0, $well, 'mended and restarted');

# what is found while a worker begins is newer than what it reads
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = off');
$node->restart;
change('forged');
my $verifier = $node->background_psql('app');
$verifier->query_safe($_) foreach 'BEGIN', 'SELECT fraiseql_obs.verify_audit_log()';
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;
says($found, $well, 'found meanwhile');
$verifier->query_safe('COMMIT');
$verifier->quit;
change('first');
is(verify(''), 0, 'mended again');
$well = newest();

# what was found against an anchor stands until that finds nothing
my $anchor = query('SELECT fraiseql_obs.audit_checkpoint()');
is(verify("anchor => overlay('$anchor' PLACING 'AAAAAAAA' FROM strpos('$anchor', '=') - 20)"), 1, 'an anchor that does not fit');
is(verify(''), 0, 'which one without it does not see');
restarted(1, $well, 'found against an anchor');
is(verify(''), 0, 'which one without it does not see then');
is(value('violations'), 1, 'nor do metrics forget it');
is(verify("anchor => '$anchor'"), 0, 'an anchor that fits');
is(value('violations'), 0, 'nothing stands');
restarted(0, newest(), 'nor after a restart');

$node->stop;
done_testing();
