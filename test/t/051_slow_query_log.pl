# Slow statements are lines of the server's log: with the query identifier
# alone unless bodies are included, and at most so many a second.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node(
	'slow_query_log', q(
	log_statement = none
	log_min_error_statement = panic
	fraiseql_obs.slow_query_threshold = 20
));

# The lines that a statement leaves in the log
sub logged
{
	my ($sql) = @_;
	my $offset = -s $node->logfile;
	$node->psql('app', $sql);
	return grep { /slow query/ }
	  split /\n/, slurp_file($node->logfile, $offset);
}

my $secret = "SELECT pg_sleep(0.05), 'secret' AS slow";
my @lines = logged($secret);
is(scalar @lines, 1, 'one line');
like($lines[0], qr/slow query: \d+\.\d+ ms/, 'with its time');
unlike($lines[0], qr/secret|pg_sleep/, 'without its text');
is(scalar logged('SELECT 1'), 0, 'a fast one leaves none');

@lines = logged("SET fraiseql_obs.include_query_bodies = on; $secret");
like($lines[0], qr/slow query: .*SELECT pg_sleep/, 'with its text');
@lines = logged('SET fraiseql_obs.include_query_bodies = on;'
	  . " SELECT pg_sleep(0.05), '" . 'x' x 500 . "tail'");
like($lines[0], qr/x{20}/, 'a long text');
unlike($lines[0], qr/x{101}|tail/, 'is cut');

is( scalar logged(
		"SET fraiseql_obs.slow_query_threshold = '10s'; $secret"),
	0, 'the threshold of the session holds');
is(scalar logged("SET fraiseql_obs.slow_query_log_rate = 0; $secret"),
	0, 'rate 0: none');
is( observe($node,
		"SELECT count(*) FROM fraiseql_obs.slow_queries() WHERE datname = 'app'"),
	'4', 'those that are not logged are remembered nevertheless');

# The sleep lets the second pass that the lines before belong to.  The
# statements are slower than any machine's microsecond.
@lines = logged(
	"SELECT pg_sleep(1.1); SET fraiseql_obs.slow_query_threshold = 0.001;"
	  . ' SET fraiseql_obs.slow_query_log_rate = 3; '
	  . 'SELECT count(*) FROM generate_series(1, 1000); ' x 300);
cmp_ok(scalar @lines, '>=', 3, 'the rate is used');
cmp_ok(scalar @lines, '<', 60, 'and bounds');
cmp_ok(metric($node, 'fraiseql_obs_slow_log_lines_suppressed_total'),
	'>', 100, 'the rest is counted');
done_testing();
