# Somebody has a partition of the audit log to himself: maintenance tells of it,
# and neither fails nor waits.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_partition_locked', 'fraiseql_obs.audit_worker = off');
make_old_audit_log($node, 33, 32);
set_guard($node, 'off');

my $partition = $node->safe_psql('app', q(
	SELECT min(partition::text) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log())));
my $other = $node->background_psql('app');
$other->query_safe("BEGIN; LOCK TABLE ONLY $partition IN ACCESS EXCLUSIVE MODE");

is($node->safe_psql('app', q(
	SET lock_timeout = '100ms';
	SELECT count(*) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log())
	WHERE range_from < now() - interval '30 days')), '2', 'partitions and their bounds can be listed');
like(maintain($node), qr/close 33: canceling statement due to lock timeout/, 'maintenance tells of it');
$other->query_safe('COMMIT');
$other->quit;
like(maintain($node), qr/^close 33, 32; remove 33, 32$/, 'and removes both when it is free');

$node->stop;
done_testing();
