# The ring holds the latest spans, counts what it has overwritten, never shows
# a span that is half of one and half of another, and begins anew after a crash.
# Sessions of one trace make one tree.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run qw(start);
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('spans_ring', "fraiseql_obs.max_spans = 16\nrestart_after_crash = on");

sub traceparent
{
	my ($trace) = @_;
	return sprintf "SET fraiseql_obs.traceparent = '00-%032x-00000000000000aa-01';", $trace;
}

sub ring
{
	return join '|', map { metric($node, "fraiseql_obs_spans_${_}total") } '', 'dropped_', 'overwritten_';
}

is(ring(), '0|0|0', 'nothing at first');
$node->safe_psql('app', traceparent(1) . join ';', map { "SELECT $_" } 1 .. 10);
is(ring(), '10|0|0', 'each is counted');
$node->safe_psql('app', traceparent(2) . join ';', map { "SELECT $_" } 1 .. 26);
is(ring(), '36|0|20', 'and what gave way');
is( observe($node, q(SELECT count(*), count(DISTINCT trace_id) FROM fraiseql_obs.spans() WHERE kind = 'statement')),
	'16|1', 'the latest are kept');
observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
is(ring() . observe($node, 'SELECT count(*) FROM fraiseql_obs.spans()'), '0|0|00', 'reset');

# Two sessions
$node->safe_psql('app', traceparent(3) . "SELECT 1; SELECT 2");
$node->safe_psql('postgres', traceparent(3) . "SELECT 'a'");
is( observe($node, q(SELECT string_agg(datname, ' ' ORDER BY started_at), count(DISTINCT pid)
		FROM fraiseql_obs.spans(lpad('3', 32, '0')) WHERE kind = 'statement')),
	'app app postgres|2', 'sessions of one trace');
is( observe($node, q(SELECT count(*) FROM fraiseql_obs.trace_tree(lpad('3', 32, '0')) WHERE span = 'SELECT')),
	'3', 'in one tree');

# Many at once, each with a request by which all of its span can be told
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/script.sql", q(
	\set n random(1, 1000000)
	SELECT set_config('fraiseql_obs.traceparent', '00-' || lpad(:n::text, 32, '0') || '-00000000000000aa-01', false),
		set_config('fraiseql_obs.request_id', repeat(:n::text, 1 + :n % 20), false),
		set_config('fraiseql_obs.operation_name', :n::text, false),
		set_config('fraiseql_obs.tenant_id', :n::text, false);
	SELECT :n AS n;
	SELECT :n AS n, repeat('x', :n % 100);
));
observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
my $before = metric($node, 'fraiseql_obs_db_query_duration_seconds_count{datname="app"}') || 0;
my ($out, $err) = ('', '');
my $load = start [
	'pgbench', '--no-vacuum', '--client=8', '--jobs=2', '--time=10',
	"--file=$dir/script.sql", $node->connstr('app')
  ], '>', \$out, '2>', \$err;
my ($read, $torn) = (0, 0);

# they are read each time that the argument is another; test/stress does so
# more often
foreach my $round (1 .. 40)
{
	my ($n, $wrong) = split /\|/, observe($node, q(
		SELECT count(*), count(*) FILTER (WHERE NOT (
			length(trace_id) = 32 AND tenant_id = operation AND trace_id = lpad(tenant_id, 32, '0')
			AND request_id = repeat(tenant_id, 1 + tenant_id::integer % 20)
			AND name LIKE '% ' || operation AND duration_ms < 60000))
		FROM generate_series(1, 50) g, LATERAL fraiseql_obs.spans("limit" => 1000 + g) s
		WHERE operation IS NOT NULL AND kind = 'statement'));
	($read, $torn) = ($read + $n, $torn + $wrong);
}
$load->finish;
cmp_ok($read, '>', 200, 'spans were read while they were written');
is($torn, 0, 'and none was torn');
my ($recorded, $dropped, $overwritten) = split /\|/, ring();
cmp_ok($overwritten, '>', 1000, 'many were overwritten');
cmp_ok($recorded + $dropped, '>=', $overwritten + 16 - $dropped, 'nothing is missing');

# A crash
my $victim = $node->background_psql('app');
$victim->query_safe(traceparent(5) . 'SELECT 1');
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
kill KILL => $pid;
ok( $node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"),
	'the server is up again');
is(observe($node, 'SELECT count(*) FROM fraiseql_obs.spans()'), '0', 'the ring is empty');
$node->safe_psql('app', traceparent(6) . 'SELECT 1');
is(observe($node, q(SELECT count(*) FROM fraiseql_obs.spans() WHERE kind = 'statement')), '1', 'and goes on');
$victim->{run}->kill_kill;
done_testing();
