# Where the module of the HTTP endpoint is not installed, who asks for one is
# told, and the server runs.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ModuleTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('http_missing');
my $port = free_port();

my $folder = restart_without_modules($node);
unlike(slurp_file($node->logfile), qr/WARNING/, 'nobody misses it where it is off');

my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "fraiseql_obs.http_port = $port");
$node->restart;
$node->log_check('a warning at start', $offset,
	log_like => [
		qr/WARNING:  there is no process "fraiseql_obs HTTP endpoint", because module "fraiseql_obs_http" is not installed/,
		qr/HINT:  Install fraiseql_obs built where pkg-config finds libmicrohttpd/ ]);
is(status_of($port, '/healthz'), '', 'nobody answers');

# the functions of the extension are in the other library
$node->safe_psql('postgres', qq(
	CREATE FUNCTION restart() RETURNS boolean AS '$folder/fraiseql_obs', 'fraiseql_obs_http_restart' LANGUAGE C;
	CREATE FUNCTION export(text) RETURNS text AS '$folder/fraiseql_obs', 'fraiseql_obs_export_metrics' LANGUAGE C));
like($node->safe_psql('postgres', q(SELECT export('prometheus'))),
	qr/^fraiseql_obs_endpoint_listener_up 0$/m, 'which a metric says');
my (undef, $result, $warning) = $node->psql('postgres', 'SELECT restart()');
is($result, 'f', 'it cannot be started');
like($warning, qr/WARNING:  there is no process "fraiseql_obs HTTP endpoint"/, 'with a warning');
$node->reload;
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server runs');
$node->stop;

# not preloaded there is nothing
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
my (undef, undef, $error) = $node->psql('postgres', 'SELECT fraiseql_obs.http_restart()');
like($error, qr/fraiseql_obs must be loaded via "shared_preload_libraries"/, 'not preloaded');
$node->stop;
done_testing();
