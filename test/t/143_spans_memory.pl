# To look at all spans takes no more memory than the rows do, which are on disk
# if there are many.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $spans = 60000;
my $node = start_node('spans_memory', "fraiseql_obs.max_spans = $spans\nfraiseql_obs.track = all");

$node->safe_psql('app', qq(
	SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
	DO \$\$ BEGIN FOR i IN 1 .. $spans LOOP PERFORM i; END LOOP; END \$\$
));

# The most address space that the session has had, shared memory included
my $peak = q(SELECT (regexp_match(pg_read_file('/proc/' || pg_backend_pid() || '/status'),
	'VmPeak:\s+(\d+)'))[1]);
my ($before, $rows, $after) = split /\n/, $node->safe_psql('postgres', qq(
	SET fraiseql_obs.tracing_enabled = off;
	SELECT count(*) FROM fraiseql_obs.spans("limit" => 10);
	$peak;
	SELECT count(*) FROM fraiseql_obs.spans("limit" => 2147483647);
	$peak;
)) =~ s/^10\n//r;

cmp_ok($rows, '>', $spans, 'there are many spans');
cmp_ok($after - $before, '<', 16 * 1024, 'which took little memory');

done_testing();
