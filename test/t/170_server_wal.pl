# The write-ahead log, its archive and the settings are what views show; an
# archive that fails is seen.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A sample's value as a subquery; several samples are summed
sub value
{
	my ($name, $labels) = @_;
	$labels //= '{}';
	return "(SELECT sum(value) FROM fraiseql_obs.metrics()"
	  . " WHERE name = 'fraiseql_obs_$name' AND labels \@> '$labels')";
}

my $node = start_node('wal', q(
wal_level = replica
archive_mode = on
archive_command = 'false'
shared_buffers = 1MB
wal_buffers = 32kB
bgwriter_delay = 10ms
bgwriter_lru_maxpages = 5
work_mem = 5MB
statement_timeout = 90s
));

sub agrees
{
	my ($ours, $theirs, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT $ours = $theirs"), $name)
	  or diag($node->safe_psql('postgres', "SELECT $ours, $theirs"));
	return;
}

is(observe($node, 'SELECT ' . value('archive_failed_timestamp_seconds')), '', 'nothing was to be archived');
$node->safe_psql('app', 'CREATE TABLE t AS SELECT a, repeat(chr(65), 500) FROM generate_series(1, 20000) AS a');
$node->safe_psql('app', 'SELECT count(*) FROM t; UPDATE t SET a = a + 1');
agrees(value('bgwriter_buffers_written_total'), '(SELECT buffers_clean FROM pg_stat_bgwriter)', 'buffers of the background writer');
agrees(value('bgwriter_stops_total'), '(SELECT maxwritten_clean FROM pg_stat_bgwriter)', 'its stops');
agrees(value('buffers_allocated_total'), '(SELECT buffers_alloc FROM pg_stat_bgwriter)', 'buffers allocated');
agrees(value('wal_buffers_full_total'), '(SELECT wal_buffers_full FROM pg_stat_wal)', 'buffers of WAL were full');
cmp_ok(observe($node, 'SELECT ' . value('wal_buffers_full_total')), '>', 0, 'which they were');

# Files and position
agrees(value('wal_segments'), q((SELECT count(*) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')), 'segments');
agrees(value('wal_size_bytes'), q((SELECT sum(size) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')), 'and their size');
agrees(value('wal_position_bytes'), q((pg_current_wal_insert_lsn() - '0/0')), 'position');

# An archive that fails
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
ok($node->poll_query_until('postgres', 'SELECT ' . value('archive_failures_total') . ' > 0'), 'archiving fails');
is(observe($node, 'SELECT ' . value('archived_segments_total')), 0, 'nothing was archived');
is(observe($node, 'SELECT ' . value('archived_timestamp_seconds')), '', 'nor ever');
is(observe($node, 'SELECT ' . value('archive_failed_timestamp_seconds')
		  . ' BETWEEN extract(epoch FROM pg_postmaster_start_time()) AND extract(epoch FROM now())'), 't', 'when it failed');
cmp_ok(observe($node, 'SELECT ' . value('archive_waiting_segments')), '>=', 1, 'files wait');
is(observe($node, 'SELECT ' . value('archive_waiting_segments') . q( = (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ 'ready$'))), 't', 'so many');
$node->safe_psql('postgres', q(ALTER SYSTEM SET archive_command = 'true'));
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT ' . value('archive_waiting_segments') . ' = 0'), 'it works again');
agrees(value('archived_segments_total'), '(SELECT archived_count FROM pg_stat_archiver)', 'files archived');
agrees(value('archive_failures_total'), '(SELECT failed_count FROM pg_stat_archiver)', 'failures');
# by way of text, which has all digits of a float: a cast to numeric has 15
agrees('round((' . value('archived_timestamp_seconds') . ')::text::numeric, 6)', '(SELECT extract(epoch FROM last_archived_time) FROM pg_stat_archiver)', 'when last');

# Fresh in a transaction that has a snapshot of its own
my $session = $node->background_psql('postgres');
$session->query_safe('SET stats_fetch_consistency = snapshot; BEGIN');
my $theirs = $session->query_safe('SELECT archived_count FROM pg_stat_archiver');
my $ours = $session->query_safe('SELECT ' . value('archived_segments_total'));
$node->safe_psql('app', 'INSERT INTO t VALUES (0, 0); SELECT pg_switch_wal()');
$node->poll_query_until('postgres', "SELECT archived_count > $theirs FROM pg_stat_archiver");
cmp_ok($session->query_safe('SELECT ' . value('archived_segments_total')), '>', $ours, 'the archiver is fresh');
is($session->query_safe('SELECT archived_count FROM pg_stat_archiver'), $theirs, 'pg_stat_archiver is as without us');
$session->quit;

# Settings: those of the server, in base units
is( $node->safe_psql('postgres', q(SET work_mem = '7MB';
		SELECT string_agg(name || ' ' || ours || ' ' || theirs, ', ')
		FROM (SELECT s.name, m.value AS ours, CASE
				WHEN vartype = 'bool' THEN (reset_val = 'on')::int
				WHEN reset_val::float8 <= 0 THEN reset_val::float8
				WHEN unit = '8kB' THEN reset_val::float8 * 8192 WHEN unit = 'kB' THEN reset_val::float8 * 1024
				WHEN unit = 'MB' THEN reset_val::float8 * 1048576 WHEN unit = 'ms' THEN reset_val::float8 / 1000
				WHEN unit = 's' OR unit IS NULL THEN reset_val::float8 END AS theirs
			FROM fraiseql_obs.metrics() AS m LEFT JOIN pg_settings AS s ON s.name = m.labels->>'name'
			WHERE m.name = 'fraiseql_obs_setting') AS s
		WHERE ours IS DISTINCT FROM theirs)),
	'', 'settings');
is($node->safe_psql('postgres', 'SELECT ' . value('setting', '{"name": "work_mem"}')), 5 * 1024 * 1024, 'a size');
is($node->safe_psql('postgres', 'SELECT ' . value('setting', '{"name": "statement_timeout"}')), 90, 'a time');
is($node->safe_psql('postgres', 'SELECT ' . value('start_timestamp_seconds') . '::numeric(20, 3) = extract(epoch FROM pg_postmaster_start_time())::numeric(20, 3)'), 't', 'the start');

# Who may see metrics sees all of them.
$node->safe_psql('postgres', 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
my $names = q(SELECT string_agg(DISTINCT name, ' ' ORDER BY name) FROM fraiseql_obs.metrics() WHERE name !~ 'scrape');
is($node->safe_psql('postgres', $names, extra_params => [ '-U', 'monitor' ]), $node->safe_psql('postgres', $names), 'pg_monitor sees all metrics');

# Health
is($node->safe_psql('postgres', 'SELECT ' . value('ready')), 1, 'ready');
is($node->safe_psql('postgres', q(SELECT count(*) FILTER (WHERE value <> array_position('{healthy,degraded,unhealthy}', h #>> ARRAY['checks', labels->>'check', 'status']) - 1), count(*)
	FROM fraiseql_obs.metrics(), fraiseql_obs.health() AS h WHERE name = 'fraiseql_obs_health')), '0|11', 'the checks');
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain()');
is($node->safe_psql('postgres', 'SELECT ' . value('ready')), 0, 'not ready');
is($node->safe_psql('postgres', 'SELECT ' . value('health', '{"check": "drain"}')), 2, 'because it is drained');
cmp_ok($node->safe_psql('postgres', 'SELECT ' . value('disk_available_bytes', '{"directory": "wal"}')), '<=',
	$node->safe_psql('postgres', 'SELECT ' . value('disk_size_bytes', '{"directory": "wal"}')), 'space');
$node->stop;
done_testing();
