# The README's formula of shared memory is what is allocated, whatever the
# settings are.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = "$FindBin::RealBin/../../README.md";
plan skip_all => 'no README.md' unless -f $readme;
my ($formula) = slurp_file($readme) =~ /^    ([\d,]+ \+ [^\n]* S) +bytes$/m
  or die 'no formula in the README';
$formula =~ s/,//g;
$formula =~ s/(\d) ([BQOST])/$1 * $2/g;
$formula =~ s/([QO])\xe2\x80\xb2/(($1 + 31) \/ 32 * 32)/g;

sub is_as_stated
{
	my ($node, $name) = @_;
	my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
	my $slots = $version >= 180000 ? 'autovacuum_worker_slots' : 'autovacuum_max_workers';
	my $more = $version >= 170000 ? 2 : 1;

	is( $node->safe_psql('postgres', q(SELECT sum(size) FROM pg_shmem_allocations WHERE name LIKE 'fraiseql\_obs%')),
		$node->safe_psql('postgres', qq(SELECT $formula
			FROM (SELECT current_setting('max_connections')::bigint + current_setting('max_worker_processes')::bigint
					+ current_setting('max_wal_senders')::bigint + current_setting('$slots')::bigint + $more AS B,
				current_setting('fraiseql_obs.max_queries')::bigint AS Q,
				current_setting('fraiseql_obs.max_operations')::bigint AS O,
				current_setting('fraiseql_obs.max_spans')::bigint AS T,
				current_setting('fraiseql_obs.audit_ring_slots')::bigint AS S) AS s)), $name);
	return;
}

my $node = start_node('shared_memory');
is_as_stated($node, 'with the defaults');
is($node->safe_psql('postgres', q(SELECT string_agg(name, ' ' ORDER BY name) FROM pg_shmem_allocations WHERE name ~ 'fraiseql_obs_audit')),
	'fraiseql_obs_audit_databases fraiseql_obs_audit_ring', 'audit logs are in it');
$node->append_conf('postgresql.conf', q(
max_connections = 37
max_worker_processes = 11
fraiseql_obs.max_queries = 1234
fraiseql_obs.max_operations = 77
fraiseql_obs.max_spans = 55
fraiseql_obs.audit_ring_slots = 99));
$node->restart;
is_as_stated($node, 'with others');
$node->stop;
done_testing();
