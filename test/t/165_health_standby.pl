# Health of a standby: its role and lag, what it says when its primary is gone,
# and after its promotion.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A member of a check, as text
sub fact
{
	my ($node, $check, $name) = @_;
	return observe($node,
		"SELECT fraiseql_obs.health() #>> '{checks,$check,$name}'");
}

sub becomes
{
	my ($node, $condition, $name) = @_;
	ok($node->poll_query_until('postgres',
			"SELECT coalesce($condition, false) FROM fraiseql_obs.health() AS h,"
		  . " LATERAL (SELECT h #> '{checks,replication}' AS r, h #> '{checks,recovery}' AS rec) AS l"),
		$name)
	  or diag(observe($node, 'SELECT jsonb_pretty(fraiseql_obs.health())'));
	return;
}

sub ready
{
	my ($node, $arguments) = @_;
	return observe($node,
		"SELECT fraiseql_obs.readiness($arguments)->>'status'");
}

my $primary = start_node('primary', undef, allows_streaming => 1);
is(fact($primary, 'replication', 'receivers'), '0', 'nobody follows');
is(fact($primary, 'replication', 'receiver_lag_bytes'), '', 'so none lags');
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

# Roles
is(fact($primary, 'server', 'role'), 'primary', 'a primary');
is(fact($standby, 'server', 'role'), 'replica', 'a replica');
is(fact($standby, 'server', 'state'), 'ready', 'accepts connections');
is(fact($standby, 'crash', 'restarted_at'), '', 'that a backup is of a running server is no crash');
is(ready($primary, "'primary'"), 'ready', 'the primary as one');
is(ready($primary, "'replica'"), 'not_ready', 'it is no replica');
is(ready($standby, "'replica'"), 'ready', 'the replica as one');
is(ready($standby, "'primary'"), 'not_ready', 'it is no primary');
is(ready($standby, "'any'"), 'ready', 'as any');

# It follows
becomes($standby, "r->>'streaming' = 'true' AND r->>'replay_lag_bytes' = '0' AND r->>'replay_delay_seconds' = '0'",
	'the replica is not behind');
becomes($primary, "r->>'receivers' = '1' AND r->>'receiver_lag_bytes' = '0'", 'nor is it as seen by the primary');
is(ready($standby, "max_lag => '0'"), 'ready', 'ready without any lag');
is(fact($standby, 'recovery', 'in_recovery'), 'true', 'it recovers');
is(fact($standby, 'recovery', 'paused'), 'false', 'not paused');
is(observe($standby, q(SELECT (fraiseql_obs.health() #>> '{checks,recovery,replayed_lsn}')::pg_lsn <= pg_last_wal_replay_lsn())),
	't', 'up to here');
is(fact($standby, 'xid_age', 'left'), '', 'identifiers are the primary\'s to give out');

# It falls behind
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', 'SELECT pg_get_wal_replay_pause_state()', 'paused');
$primary->safe_psql('app', 'CREATE TABLE t AS SELECT generate_series(1, 10000) AS a');
$primary->wait_for_catchup($standby, 'flush');
becomes($standby, "(r->>'replay_lag_bytes')::int8 > 100000", 'the replica is behind');
becomes($primary, "(r->>'receiver_lag_bytes')::int8 > 100000", 'the primary sees it');
is(fact($standby, 'recovery', 'paused'), 'true', 'as replay is paused');
is(ready($standby, "max_lag => '100kB'"), 'not_ready', 'too far for some');
is(ready($standby, "max_lag => '1GB'"), 'ready', 'not for all');
is(ready($primary, "max_lag => '0'"), 'ready', 'a primary is never behind');
is(observe($standby, q(SELECT fraiseql_obs.health()->>'status')), 'healthy', 'nor for the settings');

# and does not advance
$standby->append_conf('postgresql.conf', q(
fraiseql_obs.health_replay_warning = '1s'
fraiseql_obs.health_lag_warning = '50kB'));
$standby->reload;
becomes($standby, "rec->>'status' = 'degraded' AND rec->>'message' ~ 'replay has not advanced'", 'replay stalls');
like(fact($standby, 'replication', 'message'), qr/^replay is \d+ bytes behind$/, 'and the lag is too large');
is(ready($standby, "'replica'"), 'ready', 'which are warnings');
$standby->append_conf('postgresql.conf', q(fraiseql_obs.health_lag_failure = '50kB'));
$standby->reload;
$standby->poll_query_until('postgres', 'SHOW fraiseql_obs.health_lag_failure', '50kB');
is(ready($standby, "'replica'"), 'not_ready', 'unless a setting says otherwise');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$primary->wait_for_catchup($standby);
becomes($standby, "h->>'status' = 'healthy' AND rec->>'stalled_seconds' = '0'", 'it has caught up');

# Its primary is gone
$primary->stop('fast');
becomes($standby, "r->>'streaming' = 'false' AND h->>'status' = 'degraded' AND r->>'message' ~ 'receives no changes'",
	'the primary is gone');
is(ready($standby, "'replica'"), 'ready', 'it still serves');
is(ready($standby, "max_lag => '1GB'"), 'not_ready', 'who wants to know how far it is behind cannot');

# and it is promoted
$standby->promote;
becomes($standby, "h #>> '{checks,server,role}' = 'primary' AND h->>'status' = 'healthy'", 'promoted');
is(ready($standby, "'primary'"), 'ready', 'ready as a primary');
is(ready($standby, "'replica', '0'"), 'not_ready', 'no longer a replica');
is(observe($standby, "SELECT (fraiseql_obs.health() #>> '{checks,xid_age,left}')::int8 > 2000000000"), 't', 'it gives out identifiers');
$standby->stop;
done_testing();
