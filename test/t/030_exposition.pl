# What leaves the server in any format is valid and the same in all, whatever
# operations, databases and encodings are called; and counters only grow.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ExpositionTest;
use IPC::Run qw(start);
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGCLIENTENCODING} = 'UTF8';

my $check = "$FindBin::RealBin/../exposition_check";
my $smile = "\xf0\x9f\x98\x80";
my $grin = "\xf0\x9f\x98\x81";
my $e_acute = "\xc3\xa9";
my $kana = "\xe3\x81\x82";
my $replacement = "\xef\xbf\xbd";

# Are all formats and metrics() one truth, as seen from a database?
sub is_one_truth
{
	my ($node, $database) = @_;

	# the first export brings the metrics about exports
	export($node, 'prometheus', $database);
	my %rows = samples_of_rows($node, $database);
	my $rows = [ sort keys %rows ];
	foreach my $format ('prometheus', 'openmetrics')
	{
		my %samples = samples_of_text(export($node, $format, $database));
		is_deeply([ sort keys %samples ],
			$rows, "$format and metrics() in $database");
	}
	my %samples = samples_of_json(export($node, 'json', $database));
	is_deeply([ sort keys %samples ], $rows, "json and metrics() in $database");
	return;
}

sub is_valid
{
	my ($node, $name) = @_;
	my $prometheus = export($node, 'prometheus');
	my $openmetrics = export($node, 'openmetrics');
	my $python = find_python();

	accepts([ 'python3', $check, 'prometheus' ],
		$prometheus, "$name: our check of prometheus");
	accepts([ 'python3', $check, 'openmetrics' ],
		$openmetrics, "$name: our check of openmetrics");
  SKIP:
	{
		my $promtool = find_promtool();
		skip 'no promtool', 1 unless defined $promtool;
		accepts([ $promtool, 'check', 'metrics' ],
			$prometheus, "$name: promtool has nothing to say");
	}
  SKIP:
	{
		skip 'no python3-prometheus-client', 1 unless defined $python;
		accepts(
			[
				$python, '-c',
				'import sys;'
				  . 'from prometheus_client.openmetrics import parser;'
				  . 'list(parser.text_string_to_metric_families('
				  . "sys.stdin.buffer.read().decode('utf-8')))"
			],
			$openmetrics,
			"$name: the strict parser of OpenMetrics");
	}
	return;
}

# The operations that metrics() shows, as seen from a UTF-8 database
sub operations
{
	my ($node) = @_;
	return $node->safe_psql('postgres',
			q(SELECT string_agg(DISTINCT labels->>'operation', '|')
			FROM fraiseql_obs.metrics()
			WHERE name = 'fraiseql_obs_operation_errors_total'));
}

# Runs a statement of an operation, both given as expressions.  Settings are
# not shown: the client could not read all of them.
sub operate
{
	my ($node, $database, $operation, $type) = @_;

	$type //= "''";
	$node->safe_psql($database,
			"SELECT set_config('fraiseql_obs.operation_name', $operation,"
		  . " false) IS NULL,"
		  . " set_config('fraiseql_obs.operation_type', $type, false)"
		  . ' IS NULL; SELECT 1');
	return;
}

my $primary = start_node(
	'primary',
	"fraiseql_obs.slow_query_threshold = '50ms'\nfraiseql_obs.audit_worker = on\n"
	  . 'fraiseql_obs.http_port = ' . PostgreSQL::Test::Cluster::get_free_port()
	  . "\nfraiseql_obs.otlp_endpoint = 'http://127.0.0.1:1'\n"
	  . "wal_level = logical\narchive_mode = on\narchive_command = 'test -f archive_works'\n",
	allows_streaming => 1);
is_valid($primary, 'as it starts');

# Hostile names of operations, and of their types
foreach my $expression (
	q('quo"te'), q('back\slash'), q(E'new\nline'),
	q(E'tab\t and \x01'), q('}'), q('{a="b"} 1'),
	q('='), q('other'), q('# EOF'),
	"'$smile'", "'$e_acute'", q('\u{1f600}'))
{
	operate($primary, 'app', $expression);
	operate($primary, 'app', $expression, $expression);
}
operate($primary, 'app', "'a' || repeat('$smile', 40)", "'$e_acute$smile'");
# ... and of what the application records
foreach my $expression (q('quo"te'), q('back\slash'), q(E'new\r\nline\t\x01'), q('}'),
	q('{a="b"} 1'), q('other'), q('# EOF'), q(' '), "'$smile'", "repeat('$e_acute', 200)")
{
	$primary->safe_psql('postgres', qq(
		SELECT fraiseql_obs.record_http_request($expression, $expression, 200, 0.1),
			fraiseql_obs.record_cache($expression, 1, 2, 3),
			fraiseql_obs.record_pool($expression, 1, 2, 3, 4),
			fraiseql_obs.counter_add('t_total', 0.1, jsonb_build_object('a', $expression, 'b', 1)),
			fraiseql_obs.gauge_set('t_depth', 'NaN', jsonb_build_object('a', $expression)),
			fraiseql_obs.histogram_observe('t_bytes', 1e300, jsonb_build_object('a', $expression), '{1e-9,0.1,1,1024,1e9}')));
}
my $cut = 'a' . $smile x 31;
like(operations($primary), qr/(^|\|)\Q$cut\E(\||$)/,
	'an operation is cut at a character');
is_valid($primary, 'hostile operations');

# Databases of other encodings, and with hostile names
foreach my $database ('raw ENCODING SQL_ASCII', 'latin ENCODING LATIN1',
	'japan ENCODING EUC_JP')
{
	$primary->safe_psql('postgres',
			"CREATE DATABASE $database TEMPLATE template0"
		  . " LC_COLLATE 'C' LC_CTYPE 'C'");
}
foreach my $database ('other', 'quo"te', 'back\\slash', $e_acute, 'a b')
{
	my $quoted = $database =~ s/"/""/gr;

	$primary->safe_psql('postgres', qq(CREATE DATABASE "$quoted"));
	operate($primary, $database, q('everywhere'));
	$primary->psql($database, 'SELECT 1 / 0');
}
operate($primary, 'raw', q(E'raw \xff\xc3'));
operate($primary, 'raw', q{E'raw \xff\xc3('});
operate($primary, 'latin', "'latin $e_acute'");
operate($primary, 'japan', "repeat('$kana', 43)");
foreach my $case ([ 'raw', q{E'\xff\xc3('} ], [ 'latin', "'$e_acute'" ], [ 'japan', "repeat('$kana', 43)" ])
{
	my ($database, $expression) = @$case;
	$primary->safe_psql($database, 'CREATE EXTENSION fraiseql_obs');
	$primary->safe_psql($database,
		"SELECT fraiseql_obs.gauge_set('t_depth', 1, jsonb_build_object('a', $expression)),"
		  . " fraiseql_obs.record_http_request('GET', $expression, 200, 0)");
}
like(export($primary, 'prometheus'), qr/^t_depth\{a="\Q$replacement$replacement\E\("\} 1$/m, 'labels from SQL_ASCII');
like(export($primary, 'prometheus'), qr/^t_depth\{a="\Q$e_acute\E"\} 1$/m, 'labels from LATIN1');
like(export($primary, 'prometheus'), qr/^t_depth\{a="(?:\Q$kana\E){42}"\} 1$/m, 'labels from EUC_JP');
$primary->psql('latin', 'SELECT * FROM missing');
like(operations($primary), qr/raw \Q$replacement$replacement\E(\||$)/,
	'bytes that are no text are replaced');
like(operations($primary), qr/latin \Q$e_acute\E/, 'LATIN1 is converted');
like(operations($primary), qr/(^|\|)(?:\Q$kana\E){42}(\||$)/,
	'EUC_JP is converted and cut at a character');
is_valid($primary, 'hostile databases');
is_one_truth($primary, 'postgres');

# Seen from another encoding, characters that it lacks are told apart.
operate($primary, 'app', "'$grin'");
foreach my $database ('latin', 'raw')
{
	is_one_truth($primary, $database);
	accepts(
		[ 'python3', $check, 'prometheus' ],
		export($primary, 'prometheus', $database),
		"our check of an export in $database");
}
my $from_latin = export($primary, 'prometheus', 'latin');
foreach my $operation ($e_acute, '\\\\u{1f600}', '\\\\u{1f601}',
	'\\\\u{5c}u{1f600}')
{
	like($from_latin, qr/operation="\Q$operation\E"/,
		"$operation in LATIN1");
}

# An unknown format
my ($ret, $out, $err) =
  $primary->psql('postgres', "SELECT fraiseql_obs.export_metrics('xml')");
like(
	$err,
	qr/ERROR:  unrecognized export format "xml"\nHINT:  .*prometheus, openmetrics, json/,
	'an unknown format names those that exist');

# Turned off, exports go on and say so.
like(export($primary, 'prometheus'),
	qr/^fraiseql_obs_collection_enabled 1$/m, 'collection is on');
$primary->safe_psql('postgres',
	'ALTER SYSTEM SET fraiseql_obs.metrics_enabled = off');
$primary->reload;
$primary->poll_query_until('postgres', 'SHOW fraiseql_obs.metrics_enabled',
	'off');
like(export($primary, 'prometheus'),
	qr/^fraiseql_obs_collection_enabled 0$/m,
	'collection is off, exports go on');
$primary->safe_psql('postgres',
	'ALTER SYSTEM RESET fraiseql_obs.metrics_enabled');
$primary->reload;
$primary->poll_query_until('postgres', 'SHOW fraiseql_obs.metrics_enabled',
	'on');

# An audit log has metrics once it is used.
unlike(export($primary, 'prometheus'), qr/fraiseql_obs_audit/, 'no audit log');
$primary->safe_psql('postgres',
	"ALTER SYSTEM SET fraiseql_obs.audit_signing_key_file = '/nowhere'");
$primary->reload;
$primary->safe_psql('postgres', 'SELECT fraiseql_obs.create_audit_log()');
$primary->safe_psql('postgres', "SELECT fraiseql_obs.log_operation('update')");
is(metric($primary, 'fraiseql_obs_audit_events_total{result="success"}') > 0,
	1, 'an entry of an audit log');
$primary->safe_psql('postgres', 'SELECT fraiseql_obs.verify_audit_log()');
ok( $primary->poll_query_until('postgres', q(
		SELECT count(*) = 3 FROM fraiseql_obs.metrics()
		WHERE name IN ('fraiseql_obs_audit_checkpoint_root',
			'fraiseql_obs_audit_checkpoint_signed',
			'fraiseql_obs_audit_partitions_ahead'))),
	'and of its worker');

# Where WAL is archived, and where there are slots, there is more to tell.
$primary->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('physical', true),"
	  . " pg_create_logical_replication_slot('logical', 'pgoutput')");
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
$primary->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver');
append_to_file($primary->data_dir . '/archive_works', '');
$primary->poll_query_until('postgres', 'SELECT archived_count > 0 FROM pg_stat_archiver');
is_valid($primary, 'a server with slots that archives');

# A standby has more to tell, and so has its primary.
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->safe_psql('app', 'CREATE TABLE t AS SELECT 1');
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', q(SELECT fraiseql_obs.record_http_request('GET', '/', 200, 0.1), fraiseql_obs.record_pool('main', 1, 1)));
is(metric($standby, 'fraiseql_obs_pool_connections{pool="main",state="idle"}'), '1', 'an application of a standby records there');
is_valid($primary, 'a primary with a standby');
is_valid($standby, 'a standby');
is_one_truth($primary, 'postgres');
is_one_truth($standby, 'postgres');

# The README lists what there is, and nothing else.
SKIP:
{
	my $readme = "$FindBin::RealBin/../../README.md";
	skip 'no README.md', 1 unless -f $readme;
	my %families;
	foreach my $node ($primary, $standby)
	{
		my $text = export($node, 'prometheus');
		$families{$1} = 1 while $text =~ /^# TYPE (fraiseql_obs_\S+)/mg;
	}
	my %listed = map { $_ => 1 } slurp_file($readme) =~ /^\| `(fraiseql_obs_\w+)` \|/mg;
	is_deeply([ sort keys %listed ],
		[ sort keys %families ],
		'the README lists the families');
}

# Counters while sessions come and go, and a database that goes for good
sub counters
{
	my ($node) = @_;
	my $text = export($node, 'prometheus');
	my %samples = samples_of_text($text);
	my %counters = map { $_ => 1 } $text =~ /^# TYPE (\S+) (?:counter|histogram)$/mg;

	foreach my $sample (keys %samples)
	{
		my ($name) = $sample =~ /^(\w+)/;
		$name =~ s/_(?:bucket|sum|count)$// unless $counters{$name};
		delete $samples{$sample} unless $counters{$name};
	}
	return %samples;
}

my $script = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
append_to_file($script,
		"SET fraiseql_obs.operation_name = 'churn';\n"
	  . "SELECT count(*) FROM pg_catalog.pg_class;\n");
my $load = start [
	'pgbench', '--no-vacuum', '--connect',
	'--client=3', '--time=180', "--file=$script", $primary->connstr('app')
  ],
  '>', \my $load_out, '2>', \my $load_err;
my $calls = sample(
	'fraiseql_obs_operation_duration_seconds_count',
	{ operation => 'churn' });
my %before = counters($primary);
my $calls_before = $before{$calls} // 0;
my @backwards;
foreach my $scrape (1 .. 20)
{
	my %now = counters($primary);

	# nor does it go, unless it is of the database that is dropped
	push @backwards,
	  grep { exists $now{$_} ? $now{$_} < $before{$_} : !/"datname":"quo/ }
	  keys %before;
	%before = (%before, %now);
	$primary->safe_psql('postgres', 'DROP DATABASE "quo""te"')
	  if $scrape == 5;
}
$load->kill_kill;
is_deeply(\@backwards, [], 'no counter goes backwards');
cmp_ok($before{$calls}, '>', $calls_before, 'while sessions come and go');

done_testing();
