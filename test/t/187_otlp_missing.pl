# Where the module that sends spans is not installed, who asks for it is told,
# and the server runs.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ModuleTest;
use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('otlp_missing');

restart_without_modules($node);
unlike(slurp_file($node->logfile), qr/WARNING/, 'nobody misses it where it is off');

my $offset = -s $node->logfile;
configure($node, otlp_endpoint => 'http://127.0.0.1:1');
wait_for('a warning at reload', sub { slurp_file($node->logfile, $offset) =~ /WARNING:  there is no process "fraiseql_obs span sender"/ });
$offset = -s $node->logfile;
$node->restart;
$node->log_check('a warning at start', $offset,
	log_like => [
		qr/WARNING:  there is no process "fraiseql_obs span sender", because module "fraiseql_obs_otlp" is not installed/,
		qr/HINT:  Install fraiseql_obs built where pkg-config finds libcurl/ ]);
make_spans($node, 1);
is(worker_pid($node), undef, 'the server runs without');
$node->stop;
done_testing();
