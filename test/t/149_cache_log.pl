# With cache_log_interval, hit ratio and size of each cache are in the server
# log, now and then; without, they are not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('cache_log');

sub lines
{
	my ($offset) = @_;
	my $log = slurp_file($node->logfile, $offset // 0);
	my @lines = $log =~ /LOG: +(cache .*)$/mg;
	return @lines;
}

$node->safe_psql('postgres', q(
	SELECT fraiseql_obs.record_cache('query', 95, 5, 1048576),
		fraiseql_obs.record_cache(E'evil\n"x"', 0, 0)));
sleep 2;
is(scalar lines(), 0, 'off by default');

my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', 'fraiseql_obs.cache_log_interval = 1s');
$node->reload;
$node->wait_for_log(qr/cache "query".*cache "query"/s, $offset);
my @lines = lines($offset);
is( (grep { /"query"/ } @lines)[0],
	'cache "query": hit ratio 0.9500 of 100 look-ups, size 1048576 bytes', 'a cache of the application');
my $bytes = $node->safe_psql('postgres',
	q(SELECT pg_size_bytes(current_setting('shared_buffers'))));
like((grep { /"shared_buffers"/ } @lines)[0],
	qr/^cache "shared_buffers": hit ratio 0\.\d{4} of \d+ look-ups, size $bytes bytes$/,
	'shared buffers');
is( (grep { /evil/ } @lines)[0],
	'cache "evil "x"": hit ratio not known of 0 look-ups, size not known', 'a cache that nobody has asked');

$node->append_conf('postgresql.conf', 'fraiseql_obs.cache_log_interval = 0');
$node->reload;
$node->poll_query_until('postgres', 'SHOW fraiseql_obs.cache_log_interval', '0') or die;
sleep 2;
$offset = -s $node->logfile;
sleep 2;
is(scalar lines($offset), 0, 'switched off');

# The workers of audit logs may be off, as they are here: it is not they.
is($node->safe_psql('postgres', 'SHOW fraiseql_obs.audit_worker'), 'off', 'without audit logs');
done_testing();
