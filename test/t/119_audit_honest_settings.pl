# What was honestly removed from an audit log is no violation in whatever time
# zone it is verified, nor while the entry about it is being removed itself.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_honest_settings', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 29);

sub query { return $node->safe_psql('app', $_[0]); }

sub violations
{
	my ($settings) = @_;
	return query(qq($settings; SELECT DISTINCT kind, message FROM fraiseql_obs.verify_audit_log()
		WHERE severity = 'violation' AND message !~ '^no entry says what is recorded'));
}

# kept for just as long as the minimum: 34 days, and up to a few minutes ago
query(q(SELECT fraiseql_obs.set_audit_retention(minimum => interval '34 days' +
	greatest(now() AT TIME ZONE 'UTC' - date_trunc('day', now() AT TIME ZONE 'UTC') - interval '5 minutes', '0'))));
is(maintain($node), 'close 36, 35; remove 36, 35', 'removed as soon as they may be');
is(violations("SET timezone = 'UTC'"), '', 'no violation');
# (the 31st of December of a leap year has no number there)
my $zone = query(q(SELECT format('AAA0BBB,J%s,J%s', least(extract(doy FROM now() - interval '90 days'), 365),
	least(extract(doy FROM now() - interval '20 days'), 365))));
is(violations("SET timezone = '$zone'"), '', 'nor where clocks were set back meanwhile');

# What is removed is some day the entry about a removal, or an erasure.  (There
# are others then; here there are none.)
query(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'x'); SELECT fraiseql_obs.seal_audit_log()));
my $table = query(q(SELECT tableoid::regclass FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'audit.partition_removed' LIMIT 1));
set_guard($node, 'off');
my $reader = $node->background_psql('app');
$reader->query_safe('BEGIN; SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log');
$node->psql('app', qq(SET statement_timeout = '2s'; ALTER TABLE fraiseql_audit.fraiseql_audit_log DETACH PARTITION $table CONCURRENTLY));
is(query('SELECT count(*) FROM pg_inherits WHERE inhdetachpending'), '1', 'is being detached');
is(violations('SET default_transaction_read_only = on'), '', 'no violation meanwhile');
$reader->query_safe('COMMIT');
$reader->quit;

$node->stop;
done_testing();
