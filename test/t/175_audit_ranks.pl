# Users of a day are counted by updates in place, and ranked once it is over.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_ranks', "timezone = 'UTC'\nfraiseql_obs.audit_guard = off");
my $actor_days = 'fraiseql_audit.fraiseql_audit_actor_days';
my $top = q(SELECT string_agg(user_id || ' ' || n, ', ')
	FROM fraiseql_obs.audit_actor_counts(now() - interval '3 days', now() + interval '1 day', 3));

# a user with so many rows as his number, from 1 to 40, each sealed twice
$node->safe_psql('app', q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false)));
sub log_and_seal
{
	$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('op', user_id => 'u' || u)
		FROM generate_series(1, 40) u, generate_series(1, u) i));
	$node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log()');
}
log_and_seal() foreach 1 .. 2;
is($node->safe_psql('app', $top), 'u40 80, u39 78, u38 76', 'the most active users while the day goes on');
SKIP:
{
	my $days = $node->safe_psql('app', "SELECT count(DISTINCT day) FROM $actor_days");
	skip 'the day has ended meanwhile', 2 if $days > 1;
	is($node->safe_psql('app', "SELECT count(*), count(ranked) FROM $actor_days"), '40|0', 'which are not ranked');
	$node->poll_query_until('app', "SELECT n_tup_upd >= 40 FROM pg_stat_user_tables WHERE relid = '$actor_days'::regclass")
	  or die 'no statistics';
	is($node->safe_psql('app', "SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = '$actor_days'::regclass"),
		0, 'and are counted in place');
}

# a day passes
$node->safe_psql('app', qq(
	UPDATE $actor_days SET day = day - 1;
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET refreshed_at = refreshed_at - interval '1 day'));
log_and_seal();
is($node->safe_psql('app', "SELECT count(*), bool_and(ranked = n) FROM $actor_days WHERE ranked IS NOT NULL AND day < current_date"),
	'40|t', 'the next seal ranks those of the day before');
is($node->safe_psql('app', $top), 'u40 120, u39 117, u38 114', 'the most active users of both days');

# more rows of a day that is over, as of a transaction that has taken until now
$node->safe_psql('app', q(SELECT fraiseql_obs.audit_ensure_partition(now() - interval '1 day')));
$node->safe_psql('app', q(
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, user_id, personal_salt, personal_digest)
	SELECT date_trunc('day', now()) - interval '1 second', 'op', 'u1', '\x00', '\x00' FROM generate_series(1, 200);
	UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = now() - interval '2 days';
	SELECT fraiseql_obs.seal_audit_log()));
is($node->safe_psql('app', "SELECT n, ranked FROM $actor_days WHERE user_id = 'u1' AND day = current_date - 1"), '202|202', 'late rows change the rank');
is($node->safe_psql('app', $top), 'u1 203, u40 120, u39 117', 'and the most active users');

$node->stop;
done_testing();
