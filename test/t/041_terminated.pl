# A statement whose session is terminated is a failed call with 57P01 and the
# time it took; one that runs when the session just goes idle and is then
# terminated is not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('terminated');

sub terminate
{
	my ($condition) = @_;
	ok( $node->poll_query_until('postgres',
			"SELECT EXISTS (SELECT FROM pg_stat_activity"
			  . " WHERE datname = 'app' AND $condition)"),
		"session is there: $condition");
	observe($node,
		"SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity"
		  . " WHERE datname = 'app'");
	return;
}

my $session = $node->background_psql('app', on_error_stop => 0);
$session->query_until(qr/start/,
	"\\echo start\n" . op(terminated => 'SELECT pg_sleep(60)') . ";\n");
terminate("wait_event = 'PgSleep' AND now() - query_start > interval '200 ms'");
$session->{run}->kill_kill;
is(counts($node, 'terminated'), '1|1|0', 'one failed call');
is(took($node, 'terminated', 200, 30000), 't', 'its real duration');
is(errors($node), '57P01|1', 'one error');
is( observe($node,
		'SELECT sqlstate, duration_ms >= 200 FROM fraiseql_obs.slow_queries()'
		  . " WHERE datname = 'app'"),
	'57P01|t', 'remembered with its SQLSTATE');

reset_counts($node);
$session = $node->background_psql('app', on_error_stop => 0);
$session->query_until(qr/start/,
	"\\echo start\n"
	  . op(doing => q(DO 'BEGIN PERFORM pg_sleep(60); END')) . ";\n");
terminate("wait_event = 'PgSleep' AND now() - query_start > interval '200 ms'");
$session->{run}->kill_kill;
is(counts($node, 'doing'), '1|1|0', 'a utility statement');

reset_counts($node);
$session = $node->background_psql('app', on_error_stop => 0);
$session->query_safe('BEGIN');
$session->query_safe(op(finished => 'SELECT 1'));
terminate("state = 'idle in transaction'");
$session->{run}->kill_kill;
is(counts($node, 'finished'), '1|0|1', 'what had finished has not failed');
is(totals($node), '1|0|1', 'and no statement more');
is(errors($node), '57P01|1', 'the session was told');
done_testing();
