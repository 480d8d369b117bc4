# The canary finds what no shared memory shows: here, commits that wait for a
# standby that is not there.  Probes do not wait with it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub becomes
{
	my ($node, $condition, $name) = @_;
	ok($node->poll_query_until('postgres',
			"SELECT coalesce($condition, false) FROM (SELECT h #> '{checks,canary}' AS c FROM fraiseql_obs.health() AS h) AS h"), $name)
	  or diag($node->safe_psql('postgres', 'SELECT jsonb_pretty(fraiseql_obs.health())'));
	return;
}

my $is_there = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs canary');

my $primary = start_node('canary', undef, allows_streaming => 1);
is($primary->safe_psql('postgres', $is_there), 0, 'no canary by default');
becomes($primary, q(c = '{"status": "healthy", "succeeded_seconds_ago": null, "duration_seconds": null}'), 'nothing to say');

$primary->append_conf('postgresql.conf', q(
fraiseql_obs.health_canary_interval = 1
fraiseql_obs.health_canary_warning = 3
));
$primary->restart;
becomes($primary, q((c->>'succeeded_seconds_ago')::float8 < 3 AND (c->>'duration_seconds')::float8 BETWEEN 0 AND 3), 'it succeeds');
is($primary->safe_psql('postgres', q(SELECT datname FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs canary')), 'postgres', 'in a database');
my $xid = $primary->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
ok($primary->poll_query_until('postgres', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 > $xid"), 'it writes');
becomes($primary, q((c->>'succeeded_seconds_ago')::float8 < 3), 'again and again');
is($primary->safe_psql('postgres', q(SELECT count(*) FROM fraiseql_obs.query_stats() WHERE query ~ 'canary|SELECT 1')), 0, 'and is not counted');

# A standby has one, too, which reads.
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
becomes($standby, q((c->>'succeeded_seconds_ago')::float8 < 3 AND c->>'duration_seconds' IS NOT NULL), 'it succeeds on a standby');
$standby->stop;

# Commits wait
$primary->safe_psql('postgres', q(ALTER SYSTEM SET synchronous_standby_names = 'nobody'));
$primary->reload;
becomes($primary, q(c->>'status' = 'degraded' AND c->>'message' ~ '^the canary has not succeeded for [0-9]+ s$'), 'it waits, which probes do not');
is($primary->safe_psql('postgres', q(SELECT fraiseql_obs.readiness()->>'status')), 'ready', 'a warning');
$primary->safe_psql('postgres', q(ALTER SYSTEM SET fraiseql_obs.health_canary_failure = 3));
$primary->reload;
becomes($primary, q(c->>'status' = 'unhealthy'), 'or a failure');
is($primary->safe_psql('postgres', q(SELECT fraiseql_obs.readiness()->>'status')), 'not_ready', 'which sends clients away');
$primary->safe_psql('postgres', q(ALTER SYSTEM RESET synchronous_standby_names));
$primary->reload;
becomes($primary, q(c->>'status' = 'healthy'), 'it succeeds again');

# It comes back
my $pid = $primary->safe_psql('postgres', q(SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs canary'));
$pid =~ s/^t\|//;
ok($primary->poll_query_until('postgres', "$is_there AND pid <> $pid", '1'), 'terminated, it comes back');
becomes($primary, q((c->>'succeeded_seconds_ago')::float8 < 3), 'and succeeds');

# Where it cannot connect
$primary->append_conf('postgresql.conf', q(fraiseql_obs.health_canary_database = 'nowhere'));
$primary->restart;
becomes($primary, q(c->>'status' = 'unhealthy' AND c->>'duration_seconds' IS NULL), 'a canary that cannot connect');
$primary->stop;
done_testing();
