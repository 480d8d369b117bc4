# Counters of sessions that ended stay counted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('churn');
my $sample = 'fraiseql_obs_db_query_duration_seconds_count{datname="app"}';

foreach my $round (1 .. 10)
{
	$node->safe_psql('app', op(churn => 'SELECT 1'));
	$node->psql('app', op(failing => 'SELECT 1 / 0'));
	is(metric($node, $sample), 2 * $round, "after $round sessions of each");
}
is(counts($node, 'churn'), '10|0|10', 'the statement');
is(counts($node, 'failing'), '10|10|0', 'the failing one');
is(errors($node), '22012|10', 'errors');
done_testing();
