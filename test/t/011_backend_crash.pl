# When a backend is killed, the server starts shared memory anew: counters
# start from zero, nothing is left of the processes that were, and statements
# are counted as before.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('crash', 'restart_after_crash = on');

$node->safe_psql('app', op(before => 'SELECT 1'));
my $victim = $node->background_psql('app');
my $bystander = $node->background_psql('app', on_error_stop => 0);
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
$bystander->query_safe(op(before => 'SELECT 1'));
is(counts($node, 'before'), '2|0|2', 'counted');

kill KILL => $pid;
ok( $node->poll_query_until('postgres',
		"SELECT pg_postmaster_start_time() IS NOT NULL"
		  . " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"),
	'the server is up again');
is(totals($node), '0|0|0', 'counters start from zero');

$node->safe_psql('app', op(after => 'SELECT 1')) foreach 1 .. 5;
is(counts($node, 'after'), '5|0|5', 'it counts');
is( metric($node,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'5', 'and exports what it counts');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing worse happened');

# the sessions are gone, the processes behind them are not ours to quit
$_->{run}->kill_kill foreach $victim, $bystander;
$node->stop;
done_testing();
