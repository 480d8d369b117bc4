# A standby sends its own spans, also those of before a promotion.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $endpoint = OtlpTest::Endpoint->new;
my $primary = start_node('otlp_primary', "fraiseql_obs.slow_query_threshold = '1h'", allows_streaming => 1);
need_sender($primary);
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('otlp_standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'fraiseql_obs.otlp_endpoint = \'http://127.0.0.1:' . $endpoint->port . "'");
$standby->start;
$primary->wait_for_catchup($standby);

make_spans($standby, 2);
wait_for('a standby sends', sub { otlp($standby) =~ /^accepted 6,/ });
my $pid = worker_pid($standby);
$standby->promote;
make_spans($standby, 1);
wait_for('and goes on when it is promoted', sub { otlp($standby) =~ /^accepted 9,/ });
is(worker_pid($standby), $pid, 'in the same process');
is(worker_pid($primary), undef, 'the primary has none');
$standby->stop;
$primary->stop;
done_testing();
