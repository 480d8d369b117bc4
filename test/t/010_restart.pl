# Counters live as long as the server: after a restart they start anew, and
# nothing of the old ones is left.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('restart');

$node->safe_psql('app', op(before => 'SELECT generate_series(1, 3)'));
$node->psql('app', 'SELECT no_such_column');
is(counts($node, 'before'), '1|0|3', 'counted');
is(errors($node), '42703|1', 'error counted');

$node->restart;
is(totals($node), '0|0|0', 'no statements');
is(errors($node), '', 'no errors');
is(observe($node, 'SELECT count(*) FROM fraiseql_obs.slow_queries()'),
	'0', 'no slow queries');
$node->safe_psql('app', op(after => 'SELECT 1'));
is(counts($node, 'after'), '1|0|1', 'and it counts');
is(totals($node), '1|0|1', 'nothing else');
done_testing();
