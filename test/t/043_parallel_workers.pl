# A query that runs in parallel workers is one call with its rows, and an
# error that a worker raises is one error.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node(
	'parallel', q(
	max_worker_processes = 8
	max_parallel_workers_per_gather = 2
	min_parallel_table_scan_size = 0
	parallel_setup_cost = 0
	parallel_tuple_cost = 0
	parallel_leader_participation = off
	fraiseql_obs.track = all
));
$node->safe_psql('app',
	'CREATE TABLE wide AS SELECT generate_series(1, 10000) AS a; ANALYZE wide');
reset_counts($node);

like(
	$node->safe_psql('app',
		'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT a FROM wide'),
	qr/Workers Launched: 2/,
	'workers run');
reset_counts($node);

$node->safe_psql('app', op(in_parallel => 'SELECT a FROM wide')) foreach 1 .. 3;
is(counts($node, 'in_parallel'), '3|0|30000', 'calls and rows');
$node->psql('app', op(failing => 'SELECT 1 / (a - 5000) FROM wide'));
like(counts($node, 'failing'), qr/^1\|1\|/, 'one failed call');
is(errors($node), '22012|1', 'one error');
is( metric($node,
		'fraiseql_obs_db_query_duration_seconds_count{datname="app"}'),
	'4', 'four statements in all');
done_testing();
