# A statement that is cancelled or timed out is a failed call with the time it
# really took, and an error with its SQLSTATE.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('cancelled');

my ($status) = $node->psql('app',
	"SET statement_timeout = '200ms'; "
	  . op(timed_out => 'SELECT pg_sleep(60)'));
is($status, 3, 'timed out');
is(counts($node, 'timed_out'), '1|1|0', 'one failed call');
is(took($node, 'timed_out', 150, 30000), 't', 'its real duration');
is(errors($node), '57014|1', 'one error');
is( metric($node, 'fraiseql_obs_db_slow_queries_total{datname="app"}'),
	'1', 'it was slow');
is( observe($node,
		"SELECT sqlstate, duration_ms >= 150, datname"
		  . ' FROM fraiseql_obs.slow_queries() WHERE sqlstate IS NOT NULL'),
	'57014|t|app', 'and is remembered');

my $session = $node->background_psql('app', on_error_stop => 0);
$session->query_until(qr/start/, 
	"\\echo start\n" . op(cancelled => 'SELECT pg_sleep(60)') . ";\n");
$node->poll_query_until('postgres',
	"SELECT EXISTS (SELECT FROM pg_stat_activity"
	  . " WHERE state = 'active' AND wait_event = 'PgSleep'"
	  . " AND now() - query_start > interval '200 ms')");
observe($node,
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = 'app'");
$session->query('SELECT 1');
is(counts($node, 'cancelled'), '1|1|0', 'one failed call');
is(took($node, 'cancelled', 200, 30000), 't', 'its real duration');
is(errors($node), '57014|2', 'one more error');
$session->quit;

# Waiting for a lock is not running in the executor for UPDATE alone; a
# utility statement waits, too.
$session = $node->background_psql('app');
$session->query_safe('CREATE TABLE locked (a int)');
$session->query_safe('BEGIN; LOCK TABLE locked');
($status) = $node->psql('app',
	"SET lock_timeout = '200ms'; "
	  . op(altering => 'ALTER TABLE locked ADD b int'));
is($status, 3, 'lock timeout');
is(counts($node, 'altering'), '1|1|0', 'a failed utility call');
is(took($node, 'altering', 150, 30000), 't', 'its real duration');
($status) = $node->psql('app',
	"SET lock_timeout = '200ms'; SELECT 1 FROM locked");
is($status, 3, 'lock timeout in parse analysis');
is(errors($node), "55P03|2\n57014|2", 'errors');
$session->quit;
done_testing();
