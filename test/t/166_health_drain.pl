# drain() takes a server out of rotation: until it is put back, or starts anew.
# So does a smart shutdown, which waits for sessions.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = start_node('drain');

sub status
{
	return observe($node, q(SELECT concat_ws(' ', fraiseql_obs.readiness()->>'status', fraiseql_obs.health()->>'status',
		fraiseql_obs.liveness()->>'status')));
}

is(status(), 'ready healthy alive', 'in rotation');
my $offset = -s $node->logfile;
my $before = observe($node, 'SELECT clock_timestamp()');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.drain()');
is(status(), 'not_ready unhealthy alive', 'out of rotation, for who asks in any database');
is(observe($node, qq(SELECT (fraiseql_obs.health() #>> '{checks,drain,since}')::timestamptz
	BETWEEN date_trunc('milliseconds', '$before'::timestamptz) AND clock_timestamp())), 't', 'since when');
my $since = observe($node, q(SELECT fraiseql_obs.health() #>> '{checks,drain,since}'));
$node->safe_psql('app', 'SELECT fraiseql_obs.drain(true)');
is(observe($node, q(SELECT fraiseql_obs.health() #>> '{checks,drain,since}')), $since, 'the first time counts');
is($node->safe_psql('app', 'SELECT count(*) FROM pg_class WHERE false'), '0', 'it serves who comes nevertheless');
$node->safe_psql('app', 'BEGIN; SELECT fraiseql_obs.drain(false); ROLLBACK');
is(status(), 'ready healthy alive', 'back, whatever the transaction did');
$node->safe_psql('app', 'SELECT fraiseql_obs.drain(false), fraiseql_obs.drain(NULL)');
is(status(), 'ready healthy alive', 'back twice is back, null is nothing');
my $log = slurp_file($node->logfile, $offset);
is(scalar(() = $log =~ /LOG: .*server was taken out of rotation by role "\w+"/g), 1, 'it is logged once');
is(scalar(() = $log =~ /LOG: .*server was put back into rotation by role "\w+"/g), 1, 'and so is the end');

# Who may
$node->safe_psql('app', 'CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor; CREATE ROLE deployer LOGIN;'
	  . 'GRANT USAGE ON SCHEMA fraiseql_obs TO deployer; GRANT EXECUTE ON FUNCTION fraiseql_obs.drain TO deployer');
my ($status, $out, $err) = $node->psql('app', 'SELECT fraiseql_obs.drain()', extra_params => [ '-U', 'monitor' ]);
like($err, qr/permission denied for function drain/, 'pg_monitor reads alone');
is($node->safe_psql('app', q(SELECT fraiseql_obs.readiness()->>'status'), extra_params => [ '-U', 'monitor' ]), 'ready', 'which it may');
$node->safe_psql('app', 'SELECT fraiseql_obs.drain()', extra_params => [ '-U', 'deployer' ]);
is(status(), 'not_ready unhealthy alive', 'who was granted it drains');
like(slurp_file($node->logfile, $offset), qr/taken out of rotation by role "deployer"/, 'and is named');

# A start is a new one
$node->restart;
is(status(), 'ready healthy alive', 'a restart puts it back');
$node->safe_psql('app', 'SELECT fraiseql_obs.drain()');
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
my $pid = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'));
kill 'KILL', $pid;
$node->poll_query_until('postgres', "SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
is(status(), 'ready degraded alive', 'and so does a restart after a crash, which degrades');

# A smart shutdown drains, too, and is not undone.
my $session = $node->background_psql('postgres');
my $state = q(SELECT concat_ws(' ', h->>'status', h #>> '{checks,server,state}', h #>> '{checks,server,message}')
	FROM fraiseql_obs.health() AS h);
like($session->query_safe($state), qr/^degraded ready$/, 'a session');
kill 'TERM', slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my $seen = '';
foreach (1 .. 1800)
{
	$seen = $session->query_safe($state);
	last if $seen =~ /stopping/;
	sleep 0.1;
}
is($seen, 'unhealthy stopping the server is shutting down', 'the server shuts down');
$session->quit;
$node->stop('fast', fail_ok => 1);
done_testing();
