# A removal waits for who sets the retention, and heeds it: afterwards the log
# does not say that a minimum was ignored.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_retention_set', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 29);

my $setter = $node->background_psql('app');
$setter->query_safe("BEGIN; SELECT fraiseql_obs.set_audit_retention(minimum => '34 days')");
like(maintain($node), qr/^failed close 36: canceling statement due to lock timeout, .* close 31: canceling statement due to lock timeout$/,
	'nothing is removed while the retention is being set');
$setter->query_safe('COMMIT');
$setter->quit;
is(maintain($node), 'close 36, 35; remove 36, 35', 'what the minimum does not keep goes');
is($node->safe_psql('app', q(SET default_transaction_read_only = on;
	SELECT message FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '', 'no violation');

$node->stop;
done_testing();
