# What pg_stat_statements counts of pgbench is what we count: the same calls
# and rows of each statement, and the same time within 10 percent.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('oracle',
	"pg_stat_statements.track_utility = on\nshared_buffers = 64MB");
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '2', 'app' ], 'initialise');

# Both views of the same statements.  Transaction control is not counted by
# us; everything of pgbench else is by both.
my $joined = q(
	(SELECT userid, dbid, toplevel, queryid, calls, rows, total_exec_time
	 FROM fraiseql_obs.query_stats()) AS o
	FULL JOIN
	(SELECT userid, dbid, toplevel, queryid, calls, rows, total_exec_time
	 FROM pg_stat_statements
	 WHERE query NOT IN ('BEGIN', 'END')) AS s
	USING (userid, dbid, toplevel, queryid)
	WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'app'));

sub compare
{
	my ($name, $statements, @options) = @_;

	reset_counts($node);
	observe($node, 'SELECT pg_stat_statements_reset()');
	$node->command_ok(
		[ 'pgbench', '-n', '-c', '4', '-j', '2', @options, 'app' ],
		"$name runs");
	is( observe($node, "SELECT count(*), sum(o.calls) FROM $joined"),
		$statements, "$name: statements and calls");
	is( observe($node,
			"SELECT o.calls, s.calls, o.rows, s.rows FROM $joined"
			  . ' AND (o.calls, o.rows) IS DISTINCT FROM (s.calls, s.rows)'),
		'', "$name: calls and rows are equal");

	# One statement that waits for another process while one of the two
	# clocks runs and the other does not may be off; the sum is not.
	is( observe($node,
			'SELECT sum(o.total_exec_time) BETWEEN 0.9 * sum(s.total_exec_time)'
			  . " AND 1.1 * sum(s.total_exec_time) FROM $joined"),
		't', "$name: total time agrees within 10 percent")
	  or diag observe($node,
		"SELECT o.calls, o.total_exec_time, s.total_exec_time FROM $joined");
	return;
}

# pgbench -n asks nothing first but for the number of its branches and whether
# its tables are partitioned.
foreach my $mode ('simple', 'extended', 'prepared')
{
	compare("tpcb $mode", '7|2002', '-M', $mode, '-t', '100');
	compare("select $mode", '3|4002', '-M', $mode, '-S', '-t', '1000');
}
done_testing();
