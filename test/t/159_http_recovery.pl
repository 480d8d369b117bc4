# The HTTP endpoint is there as soon as the postmaster is: during recovery, on a
# standby, also on one that nobody can connect to, and through a promotion.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# The status of a probe for as long as it takes to be that
sub becomes
{
	my ($port, $path, $status, $name) = @_;
	return ok(wait_for_status($port, $path, $status), $name);
}

sub health
{
	my ($port) = @_;
	return decode_json(get($port, '/health')->{body});
}

my ($primary, $port) = start_http_node('http_primary', undef, allows_streaming => 1);
$primary->backup('b');
becomes($port, '/health/ready?role=primary', 200, 'a primary');
is(status_of($port, '/health/ready?role=replica'), 503, 'is no replica');
is(status_of($port, '/health/ready?role=any&lag=0'), 200, 'and does not lag');
is(status_of($port, "/health/ready?$_"), 400, "$_ makes no sense")
  foreach 'role=leader', 'lag=much', 'lag=-1';

# a standby, and its promotion
my $standby = PostgreSQL::Test::Cluster->new('http_standby');
my $standby_port = free_port();
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "fraiseql_obs.http_port = $standby_port");
$standby->start;
becomes($standby_port, '/health/ready?role=replica&lag=16MB', 200, 'a standby');
is(status_of($standby_port, '/health/ready?role=primary'), 503, 'is no primary');
is(status_of($standby_port, '/health/startup'), 200, 'has started');
like(get($standby_port, '/metrics')->{body}, qr/^fraiseql_obs_in_recovery 1$/m, 'its metrics');
$standby->safe_psql('postgres', 'SELECT fraiseql_obs.http_restart()');
becomes($standby_port, '/healthz', 200, 'http_restart() there');

# turned on later, where no launcher could start it
$standby->append_conf('postgresql.conf', 'fraiseql_obs.http_port = 0');
$standby->restart;
is(status_of($standby_port, '/healthz'), '', 'off on a standby');
$standby->append_conf('postgresql.conf', "fraiseql_obs.http_port = $standby_port");
$standby->reload;
$standby->poll_query_until('postgres', "SELECT current_setting('fraiseql_obs.http_port') = '$standby_port'");
is($standby->safe_psql('postgres', 'SELECT fraiseql_obs.http_restart()'), 't', 'http_restart() starts it');
becomes($standby_port, '/healthz', 200, 'and it is there');

my $pid = worker_pid($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$primary->safe_psql('app', 'CREATE TABLE t AS SELECT generate_series(1, 10000) AS a');
$primary->wait_for_catchup($standby, 'flush');
becomes($standby_port, '/health/ready?lag=1kB', 503, 'one that lags');
is(status_of($standby_port, '/health/ready?lag=1GB'), 200, 'but not so much');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$standby->promote;
becomes($standby_port, '/health/ready?role=primary', 200, 'promoted, it is a primary');
is(worker_pid($standby), $pid, 'with the same process');
like(get($standby_port, '/metrics')->{body}, qr/^fraiseql_obs_in_recovery 0$/m, 'and its metrics');
$standby->stop;

# a standby that nobody can connect to
my $cold = PostgreSQL::Test::Cluster->new('http_cold');
my $cold_port = free_port();
$cold->init_from_backup($primary, 'b', has_streaming => 1);
$cold->append_conf('postgresql.conf', "hot_standby = off\nfraiseql_obs.http_port = $cold_port");
$cold->start;
becomes($cold_port, '/healthz', 200, 'a standby with hot_standby = off');
is(system('psql', '-X', '-c', 'SELECT 1', $cold->connstr('postgres')) >> 8, 2, 'nobody can connect');
becomes($cold_port, '/health/startup', 200, 'it has started');
is(status_of($cold_port, '/health/ready'), 503, 'it is not ready');
is(health($cold_port)->{checks}{server}{state}, 'standby', 'and says so');
is(get($cold_port, '/metrics')->{status}, 200, 'its metrics');
$primary->safe_psql('app', 'INSERT INTO t SELECT generate_series(1, 10000)');
like(get($cold_port, '/metrics')->{body}, qr/^fraiseql_obs_replication_streaming 1$/m, 'it streams');
$cold->stop;

# recovery that takes its time: the archive that it asks is slow
$primary->stop('immediate');
$primary->append_conf('postgresql.conf', "restore_command = 'sleep 1; false'\nhot_standby = off");
$primary->set_recovery_mode;
my $start = IPC::Run::start([ 'pg_ctl', '-D', $primary->data_dir, '-l', $primary->logfile, '-w', 'start' ],
	'>', \my $out, '2>', \my $err);
becomes($port, '/healthz', 200, 'during recovery');
is(status_of($port, '/health/ready'), 503, 'not ready');
is(status_of($port, '/health/startup'), 200, 'but getting on');
like(health($port)->{checks}{server}{state}, qr/^(starting|standby)$/, 'which it says');
like(get($port, '/metrics')->{body}, qr/^fraiseql_obs_in_recovery 1$/m, 'with metrics');
becomes($port, '/health/ready', 200, 'ready when it is done');
$start->finish;
$primary->_update_pid(1);
is($primary->safe_psql('app', 'SELECT count(*) FROM t'), '20000', 'with all that was there');
$primary->stop;
done_testing();
