# The HTTP endpoint answers when nobody can connect, and when everything that
# can be locked is.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my ($node, $port) = start_http_node('http_exhausted',
	"max_connections = 8\nsuperuser_reserved_connections = 2\nmax_wal_senders = 0");

# Everything is locked, and then all connections are taken.
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
foreach my $relation (split /\n/, $node->safe_psql('postgres', q(SELECT oid::regclass FROM pg_class
	WHERE relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace ORDER BY relname <> 'pg_class')))
{
	$locker->query_safe("LOCK $relation IN ACCESS EXCLUSIVE MODE");
}
my $began = time();
my $answer = get($port, '/metrics');
is($answer->{status}, 200, 'a scrape beside locks on all catalogs');
cmp_ok(time() - $began, '<', 2, 'at once');
$locker->query_safe('COMMIT');
$locker->quit;

my @sessions = map { $node->background_psql('app', on_error_stop => 0) } 1 .. 8;
$_->query_safe('SELECT 1') foreach @sessions;
my (undef, undef, $error) = $node->psql('postgres', 'SELECT 1');
like($error, qr/sorry, too many clients already|remaining connection slots are reserved/, 'nobody can connect');
$began = time();
is(status_of($port, '/healthz'), 200, 'a probe');
$answer = get($port, '/metrics');
is($answer->{status}, 200, 'a scrape');
cmp_ok(time() - $began, '<', 2, 'at once');
like($answer->{body}, qr/^fraiseql_obs_db_connections\{datname="app",state="idle"\} 8$/m, 'which says why');
like($answer->{body}, qr/^fraiseql_obs_db_connections_max 8$/m, 'and what the limit is');

# It takes no connection away, and its process needs none when it starts.
kill 'TERM', worker_pid($node);
ok(wait_for_status($port, '/metrics', 200), 'it comes back');
$_->quit foreach @sessions;
$node->stop;
done_testing();
