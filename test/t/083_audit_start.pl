# What was rolled back and not yet written is lost with the server's memory.  The
# log says so: each start of the server is an entry, and tells whether the audit
# had ended in order before.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node(
	'audit_start',
	"max_prepared_transactions = 2\nrestart_after_crash = on",
	allows_streaming => 1);

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

my $announce = 'SELECT fraiseql_obs.audit_announce_start()';
my $stop = 'SELECT fraiseql_obs.audit_announce_stop()';
my $drain = 'SELECT fraiseql_obs.audit_drain_ring()';
my $log = 'fraiseql_audit.fraiseql_audit_log';

# "result unclean" of the newest announcement, and whether it goes back to the
# newest entry before it
sub announcement
{
	my ($server) = @_;
	return ($server // $node)->safe_psql('postgres', qq(
		SELECT result, details->'unclean',
			(details->>'since')::timestamptz = (SELECT max(created_at) FROM $log b WHERE b.id < a.id)
		FROM $log a WHERE operation = 'audit.start' ORDER BY id DESC LIMIT 1));
}

# once for each start
sql('SELECT fraiseql_obs.create_audit_log()');
is(sql($announce), 't', 'the first time');
is(announcement(), 'success|false|', 'nothing has been before');
is(sql($announce), 'f', 'once');
is(sql("SELECT count(*) FROM $log"), 1, 'one entry');

# no end in order
sql(q(SELECT fraiseql_obs.log_operation('last')));
$node->restart;
is(sql($announce), 't', 'after a restart');
is(announcement(), 'failure|true|t',
	'what was rolled back since the last entry may be missing');

# entries that come before the announcement are those of this server
sql(q(SELECT fraiseql_obs.log_operation('last')));
my $last = sql("SELECT max(created_at) FROM $log");
$node->restart;
sql(q(SELECT fraiseql_obs.log_operation('new')));
$node->psql('postgres',
	q(BEGIN; SELECT fraiseql_obs.log_operation('rolled back'); ROLLBACK));
sql($drain);
sql($announce);
is( sql("SELECT (details->>'since')::timestamptz = '$last' FROM $log ORDER BY id DESC LIMIT 1"),
	't', 'the time before ends with the start');

# an end of the one who announces, and not of the server
sql($stop);
sql(q(SELECT fraiseql_obs.log_operation('between')));
sql($announce);
is(announcement(), 'success|false|', 'nothing is missing');

# an end in order
sql($stop);
$node->restart;
sql($announce);
is(announcement(), 'success|false|t', 'after an end in order');

# an end that is said of a server that goes on, and crashes
sql($stop);
$node->psql('postgres',
	q(BEGIN; SELECT fraiseql_obs.log_operation('rolled back'); ROLLBACK));
$node->stop('immediate');
$node->start;
sql($announce);
is(announcement(), 'failure|true|t', 'a crash after an end');

# which is for the worker alone to say, where it runs
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->restart;
$node->poll_query_until('postgres',
	"SELECT EXISTS (SELECT FROM $log WHERE operation = 'audit.start' AND created_at > pg_postmaster_start_time())")
  or die 'the worker does not start';
my ($status, $out, $err) = $node->psql('postgres', $stop);
like($err, qr/audit worker of this database announces itself when it stops\nHINT: /,
	'nobody else says that it stops');
$node->restart;
$node->poll_query_until('postgres',
	"SELECT EXISTS (SELECT FROM $log WHERE operation = 'audit.start' AND created_at > pg_postmaster_start_time())")
  or die 'the worker does not start';
is(announcement(), 'success|false|t', 'after an end of the worker');
is( sql("SELECT details->'worker' FROM $log WHERE operation = 'audit.stop' ORDER BY id DESC LIMIT 1"),
	'true', 'which says that it was');
my $stops = sql("SELECT count(*) FROM $log WHERE operation = 'audit.stop'");
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = off');
$node->reload;
$node->poll_query_until('postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker')")
  or die 'the worker does not end';
is(sql("SELECT count(*) FROM $log WHERE operation = 'audit.stop'"),
	$stops, 'nor does a worker that is switched off');
$node->restart;
sql($announce);
like(announcement(), qr/^failure\|true\|/, 'for the server goes on without it');

# an end that was not the end
sql($stop);
sql(q(SELECT fraiseql_obs.log_operation('late')));
$node->restart;
sql($announce);
is(announcement(), 'failure|true|t', 'an operation after the end');

# an end while something is not written yet
$node->psql('postgres',
	q(BEGIN; SELECT fraiseql_obs.log_operation('rolled back'); ROLLBACK));
sql($stop);
$node->restart;
sql($announce);
is(announcement(), 'failure|true|t', 'an end with operations left');

# not more than once, whoever tries
sql($stop);
$node->restart;
my @sessions = map { $node->background_psql('postgres') } 1 .. 2;
$_->query_safe('BEGIN') foreach @sessions;
is($sessions[0]->query_safe($announce), 't', 'one announces it');
is($sessions[1]->query_safe($announce), 'f', 'another need not');
$sessions[0]->query_safe('ROLLBACK');
$sessions[1]->query_safe('SAVEPOINT s');
is($sessions[1]->query_safe($announce), 't', 'unless the first has failed');
$sessions[1]->query_safe($_) foreach 'ROLLBACK TO s', 'COMMIT';
is(sql($announce), 't', 'or both');
$_->quit foreach @sessions;
is(announcement(), 'success|false|t', 'as it was');

# prepared transactions that outlive the server
sql(q(BEGIN; SELECT fraiseql_obs.log_operation('prepared'); PREPARE TRANSACTION 'p'));
$node->restart;
sql($announce);
is( sql("SELECT details->'prepared_transactions' FROM $log WHERE operation = 'audit.start' ORDER BY id DESC LIMIT 1"),
	1, 'whose failure would have no entry');
sql(q(ROLLBACK PREPARED 'p'));
is(sql($drain), 0, 'as it has none');

# a backend is killed
sql(q(SELECT fraiseql_obs.log_operation('committed')));
$node->psql('postgres',
	q(BEGIN; SELECT fraiseql_obs.log_operation('lost'); ROLLBACK));
my $victim = $node->background_psql('postgres');
$victim->query_safe('BEGIN');
$victim->query_safe(q(SELECT fraiseql_obs.log_operation('lost')));
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
kill KILL => $pid;
ok( $node->poll_query_until('postgres',
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"),
	'the server is up again');
$victim->{run}->kill_kill;
is(sql($drain), 0, 'what was rolled back is lost');
is(sql($announce), 't', 'it is a start');
is(announcement(), 'failure|true|t', 'that declares the gap');

# Another server continues the log.
sql($drain);
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
foreach my $call ($announce, $stop, $drain)
{
	my ($status, $out, $err) = $standby->psql('postgres', $call);
	like($err, qr/cannot execute \w+\(\) during recovery/,
		"$call on a standby");
}
sql(q(SELECT fraiseql_obs.log_operation('on the primary')));
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', $announce), 't', 'promoted');
is(announcement($standby), 'failure|true|t',
	'what the primary had not written may be missing');
$standby->stop;

done_testing();
