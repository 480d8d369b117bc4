# A gauge that nobody sets any more is not shown after gauge_expiry and gives
# way when room is needed; what is added stays.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('gauge_expiry',
	"fraiseql_obs.max_app_series = 10\nfraiseql_obs.gauge_expiry = 1h");
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');

sub set_expiry
{
	my ($value) = @_;
	$node->append_conf('postgresql.conf', "fraiseql_obs.gauge_expiry = $value");
	$node->reload;
	$node->poll_query_until('postgres',
		"SELECT setting = '$value' FROM pg_settings WHERE name = 'fraiseql_obs.gauge_expiry'")
	  or die 'no reload';
	return;
}

sub shown
{
	return observe($node, q(
		SELECT string_agg(DISTINCT regexp_replace(name, '^fraiseql_obs_', '') || coalesce(' ' || (labels->>'n'), ''), ', '
			ORDER BY regexp_replace(name, '^fraiseql_obs_', '') || coalesce(' ' || (labels->>'n'), ''))
		FROM fraiseql_obs.metrics()
		WHERE name ~ '^(app_|fraiseql_obs_pool)' OR labels->>'cache_type' = 'query'));
}

my $session = $node->background_psql('app');
my $set_all = q(SELECT
	fraiseql_obs.gauge_set('app_gauge', 1),
	fraiseql_obs.gauge_set('app_labelled', n, jsonb_build_object('n', n)),
	fraiseql_obs.record_pool('main', 1, 1),
	fraiseql_obs.counter_add('app_things_total'),
	fraiseql_obs.histogram_observe('app_bytes', 1, buckets => '{1}'),
	fraiseql_obs.record_cache('query', 1, 1, 100)
	FROM generate_series(1, 3) n);
my $added = 'app_bytes_bucket, app_bytes_count, app_bytes_sum, app_things_total, cache_hit_ratio, cache_hits_total, cache_misses_total';
my $all = 'app_bytes_bucket, app_bytes_count, app_bytes_sum, app_gauge, app_labelled 1, app_labelled 2, app_labelled 3, '
  . 'app_things_total, cache_hit_ratio, cache_hits_total, cache_misses_total, cache_size_bytes, pool_connections';

$session->query_safe($set_all);
is(shown(), $all, 'all are shown');

# two seconds later and an expiry of one
sleep 2;
set_expiry(1);
is(shown(), $added, 'gauges have expired');
set_expiry(0);
is(shown(), $all, 'with 0 they never do');
set_expiry(1);
sleep 2;
$session->query_safe(q(SELECT fraiseql_obs.gauge_set('app_gauge', 2)));
is(metric($node, 'app_gauge'), '2', 'one that is set again is shown');

# Full: eight series are in use, five of them have expired by now.
sleep 3;
is(metric($node, 'fraiseql_obs_series{family="app"}'), '8', 'they have their series still');
$session->query_safe(q(SELECT fraiseql_obs.counter_add('app_more_total', 1, jsonb_build_object('n', n)) FROM generate_series(1, 9) n));
is(metric($node, 'fraiseql_obs_series{family="app"}'), '10', 'and give it to others');
is(metric($node, "app_more_total{n=\"$_\"}"), '1', "series $_") foreach 1 .. 7;
is(metric($node, 'app_more_total{n="other"}'), '2', 'as far as they have some');
is(metric($node, 'fraiseql_obs_series_overflow_total{family="app"}'), '2', 'the rest is counted');
is(metric($node, 'fraiseql_obs_series{family="app_names"}'), '3', 'names that have no series are free');

# Who has kept where its gauge was does not set another one's series.
$session->query_safe($set_all);
is( observe($node, q(SELECT sum(value) FROM fraiseql_obs.metrics() WHERE name = 'app_more_total')),
	'9', 'no other series is touched');
is(metric($node, 'app_things_total'), '6', 'and counters go on');
is(shown() =~ /gauge|labelled|pool/ ? 'shown' : 'not shown', 'not shown', 'without room a gauge is not kept');

# A name whose gauges have expired may become that of something else.
$node->safe_psql('postgres', "SELECT fraiseql_obs.reset_metrics('app')");
$session->query_safe(q(SELECT fraiseql_obs.gauge_set('app_g' || n, n) FROM generate_series(1, 10) n));
sleep 3;
$session->query_safe(q(SELECT fraiseql_obs.counter_add('app_c_total')));
$session->query_safe(q(SELECT fraiseql_obs.counter_add('app_g1_total')));
is(metric($node, 'app_g1_total'), '1', 'another type under the same name');

# A name of which all gauges have expired, and that is set anew just when it
# would be given up for lack of room.
$node->safe_psql('postgres', "SELECT fraiseql_obs.reset_metrics('app')");
$session->query_safe(q(SELECT fraiseql_obs.gauge_set('app_same', n, jsonb_build_object('n', n)) FROM generate_series(1, 10) n));
sleep 3;
$session->query_safe(q(SELECT fraiseql_obs.gauge_set('app_same', 11, '{"n": 11}')));
is(metric($node, 'app_same{n="11"}'), '11', 'it goes on under its name');
is(metric($node, 'fraiseql_obs_series{family="app_names"}'), '1', 'which is in use');
$session->quit;
done_testing();
