# Removal of partitions of the audit log beside writers, readers and others who
# remove: nobody waits long, what is in use stays, and it is done once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node('audit_removal_concurrent',
	"timezone = 'UTC'\nfraiseql_obs.audit_worker = off\nmax_prepared_transactions = 2");
make_old_audit_log($node, 44, 31);
set_guard($node, 'off');

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $violations = q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');

sub query { return $node->safe_psql('app', $_[0]); }

sub from
{
	my ($days) = @_;
	return "(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '$days days') AT TIME ZONE 'UTC'";
}
query('SELECT fraiseql_obs.place_hold(\'rest\', since => ' . from(42) . ')');

# a writer that has not ended, even prepared
my $late = "INSERT INTO $log (created_at, operation) SELECT " . from(44) . " + interval '1 hour', 'late'";
query("BEGIN; $late; PREPARE TRANSACTION 'late'");
like(maintain($node), qr/failed close 44: canceling statement due to lock timeout/, 'what somebody writes to stays');
query("ROLLBACK PREPARED 'late'");
is(query('SELECT count(*) FROM fraiseql_audit.fraiseql_audit_partitions'), '1', 'the other is closed');
like(maintain($node), qr/^close 44, 43; .*remove 44, 43$/, 'and then both go');
query("SELECT fraiseql_obs.release_hold(1, 'x')");
query('SELECT fraiseql_obs.place_hold(\'rest\', since => ' . from(41) . ')');

# a long SELECT on the log: a function gives up, and nobody waits for long
my $reader = $node->background_psql('app');
$reader->query_safe("BEGIN; SELECT count(*) FROM $log");
my $pgbench = $node->connstr('app');
my $script = PostgreSQL::Test::Utils::tempdir . '/log.sql';
append_to_file($script, "SELECT fraiseql_obs.log_operation('load', user_id => 'user' || :client_id);\n");
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 3600, '-M', 'prepared', '-f', $script, $pgbench ],
	'<', \undef, '>', \my $bench_out, '2>', \my $bench_err);
like(maintain($node), qr/close 42; failed remove 42: canceling statement due to lock timeout; held/, 'a SELECT on the log: not removed');
is(query(q(SELECT state FROM fraiseql_obs.audit_removable_partitions())), 'attached', 'but closed, for the next time');
is(query($violations), '', 'no violation');

# concurrently it waits for the SELECT, and nobody for it
my $statement = query('SELECT fraiseql_obs.audit_close_partition(' . from(42) . ')');
my $detacher = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', $statement ],
	'<', \undef, '>', \my $out, '2>', \my $err);
$node->poll_query_until('app', 'SELECT bool_or(inhdetachpending) FROM pg_inherits') or die 'does not detach';
my $before = query("SELECT count(*) FROM $log WHERE operation = 'load'");
$node->poll_query_until('app', "SELECT count(*) > $before + 100 FROM $log WHERE operation = 'load'")
  or die 'writers do not go on';
like(maintain($node), qr/^failed finalize 42: canceling statement due to lock timeout/, 'others do not wait for it');
is(query("SELECT count(*) FROM $log WHERE created_at < " . from(41)), '0', 'new readers do not see it');
is($reader->query_safe("SELECT count(*) FROM $log WHERE created_at < " . from(41)), '0', 'nor the next query of the old one');
$reader->query_safe('COMMIT');
$reader->quit;
$detacher->finish;
is($err, '', 'detached when the SELECT has ended');
is(query('SELECT fraiseql_obs.audit_drop_partition(' . from(42) . ')'), 't', 'and dropped');

# several who remove, beside writers
query("SELECT fraiseql_obs.release_hold(2, 'x')");
my $maintain = PostgreSQL::Test::Utils::tempdir . '/maintain.sql';
append_to_file($maintain, "SELECT fraiseql_obs.maintain_audit_log();\n");
my @removers = map { { err => '' } } 1 .. 3;
$_->{run} = IPC::Run::start([ 'pgbench', '-n', '-c', 1, '-t', 15, '-f', $maintain, $pgbench ],
	'<', \undef, '>', \$_->{out}, '2>', \$_->{err}) foreach @removers;
foreach my $remover (@removers)
{
	ok($remover->{run}->finish, 'no error of who removes') or diag $remover->{err};
}
$bench->signal('TERM');
$bench->finish;
unlike($bench_err, qr/ERROR/, 'nor of a writer');
maintain($node) foreach 1 .. 2;
is(query(q(SELECT count(*) FROM fraiseql_obs.audit_removable_partitions())), '0', 'all have gone');
is(query("SELECT count(*), count(DISTINCT range_from), (SELECT count(*) FROM $log WHERE operation = 'audit.partition_removed')
	FROM fraiseql_audit.fraiseql_audit_partitions"), '14|14|14', 'each once');
is(query("SELECT count(*) FROM pg_tables WHERE tablename ~ 'fraiseql_audit_log_' AND tablename < 'fraiseql_audit_log_' || to_char(" . from(30) . ", 'YYYYMMDD')"),
	'0', 'no table is left');
query('SELECT fraiseql_obs.refresh_audit_rollups()');
is(query($violations), '', 'no violation');
is(query("SELECT count(*) FROM fraiseql_obs.recent_operations(10) WHERE operation IN ('load', 'audit.verified')") > 0, 1, 'the log goes on');

$node->stop;
done_testing();
