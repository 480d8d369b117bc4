# The examples for the two programs that are called sql_exporter: Debian's runs,
# and what the other would read of its collector files is what it documents and
# what the server itself exports.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run ();
use JSON::PP;
use MetricNames;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PrometheusTest;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'no YAML for Python here'
  if !IPC::Run::run [ 'python3', '-c', 'import yaml' ], '>&', \my $ignored;

my $examples = "$FindBin::RealBin/../../examples/sql_exporter";
my $folder = PostgreSQL::Test::Utils::tempdir;

# A YAML file
sub document
{
	my ($file) = @_;
	my ($out, $err);

	IPC::Run::run [ 'python3', '-c', 'import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)', "$examples/$file" ],
	  '>', \$out, '2>', \$err;
	is($err, '', "$file is YAML");
	return decode_json($out);
}

# Users, operations and errors of all kinds, and one who may look
my $node = start_node('sql_exporter', 'autovacuum = off');
$node->safe_psql('postgres', 'CREATE ROLE prometheus LOGIN; GRANT pg_monitor TO prometheus');
$node->safe_psql('app', op(getUser => 'SELECT 1'));
$node->safe_psql('app', q(SET fraiseql_obs.operation_name = E'a"b\\\\c'; SET fraiseql_obs.operation_type = 'query'; SELECT pg_sleep(0.01)));
$node->psql('app', op(getUser => 'SELECT 1 / 0'));
$node->psql('app', q(DO $$ BEGIN RAISE SQLSTATE 'ZZ001'; END $$));

sub rows
{
	my ($query) = @_;
	return @{ decode_json($node->safe_psql('postgres', "SELECT coalesce(json_agg(q), '[]') FROM ($query) AS q",
				extra_params => [ '-U', 'prometheus' ])) };
}

# Its keys are among these.
sub has_keys
{
	my ($what, $hash, @keys) = @_;
	my %known = map { $_ => 1 } @keys;

	is_deeply([ grep { !$known{$_} } sort keys %$hash ], [], "$what: keys");
	return;
}

# Collector files
my $main = document('sql_exporter.yml');
has_keys('sql_exporter.yml', $main, qw(global target jobs collectors collector_files));
has_keys('global', $main->{global}, qw(scrape_timeout scrape_timeout_offset scrape_error_drop_interval min_interval warmup_delay
	max_connections max_idle_connections max_connection_lifetime ping_interval));
has_keys('target', $main->{target}, qw(name data_source_name collectors enable_ping));
my @collectors = map { document($_ =~ s{.*/}{}r) } sort glob "$examples/*.collector.yml";
is_deeply([ map { $_->{collector_name} } @collectors ], $main->{target}{collectors}, 'the collectors that there are');
my %collected;
foreach my $collector (@collectors)
{
	my %query = map { $_->{query_name} => $_->{query} } @{ $collector->{queries} };
	my %rows = map { $_ => [ rows($query{$_}) ] } keys %query;

	has_keys($collector->{collector_name}, $collector, qw(collector_name min_interval metrics queries));
	has_keys($_->{query_name}, $_, qw(query_name query no_prepared_statement)) foreach @{ $collector->{queries} };
	foreach my $metric (@{ $collector->{metrics} })
	{
		my $name = $metric->{metric_name};
		my @rows = @{ $rows{ $metric->{query_ref} } };
		my @columns = (@{ $metric->{key_labels} // [] }, @{ $metric->{values} });

		has_keys($name, $metric, qw(metric_name type help key_labels static_labels value_label values query query_ref));
		like($metric->{type}, qr/^(?:counter|gauge)$/, "$name: type");
		ok($metric->{help}, "$name: help");
		is(scalar @{ $metric->{values} }, 1, "$name: one value");
		is_deeply([ grep { !exists $rows[0]{$_} } @columns ], [], "$name: columns");

		# NULL is no value, and as a label the empty string.
		my ($value) = @{ $metric->{values} };
		foreach my $row (grep { defined $_->{$value} } @rows)
		{
			my $labels = join ',', map { "$_=" . ($row->{$_} // '') } sort grep { defined $row->{$_} && $row->{$_} ne '' } @{ $metric->{key_labels} // [] };

			ok(!exists $collected{$name}{$labels}, "$name\{$labels} once");
			$collected{$name}{$labels} = $row->{$value};
		}
		ok(exists $collected{$name}, "$name: samples");
	}
}

# Those that have names of ours are ours, with all of their labels.
my %exported;
foreach my $sample (rows('SELECT name, labels FROM fraiseql_obs.metrics()'))
{
	my %labels = %{ $sample->{labels} };
	$exported{ $sample->{name} }{ join ',', map { "$_=$labels{$_}" } sort keys %labels } = 1;
}
foreach my $metric (@{ $collectors[0]{metrics} })
{
	my $name = $metric->{metric_name};
	is_deeply([ sort keys %{ $collected{$name} } ], [ sort keys %{ $exported{$name} // {} } ], "$name is as the server exports it");
}
is_deeply([ grep { exists $exported{$_} } map { $_->{metric_name} } @{ $collectors[1]{metrics} } ], [], 'others are not called as ours');
my %families = map { s/_(?:bucket|sum|count)$//r => 1 } keys %collected;
is_deeply([ grep { !$families{$_} } metrics_of(slurp_file("$examples/../../dashboards/overview.json")) ],
	[], 'all that the overview asks for');
is($collected{fraiseql_obs_operation_errors_total}{'operation=getUser'}, 1, 'an error');
is((grep { /^datname=app,/ } keys %{ $collected{fraiseql_obs_query_calls_total} }) > 0, 1, 'queries');

# Debian's
my ($exporter) = grep { -x $_ } map { "$_/prometheus-sql-exporter" } split /:/, $ENV{PATH};
my $debian = document('prometheus-sql-exporter.yml');
SKIP:
{
	skip 'no prometheus-sql-exporter', 1 if !defined $exporter;
	my $config = slurp_file("$examples/prometheus-sql-exporter.yml");
	my $port = free_port();
	my ($out, $err) = ('', '');
	my $host = $node->host;
	my $user = getpwuid $<;

	$config =~ s{postgres://postgres\@/postgres\?host=/run/postgresql&}{postgres://$user\@/postgres?host=$host&port=@{[ $node->port ]}&} or die 'no connection';
	append_to_file("$folder/config.yml", $config);
	delete local $ENV{PGHOST};
	my $process = IPC::Run::start [ $exporter, "-config.file=$folder/config.yml", "-web.listen-address=127.0.0.1:$port" ], '>', \$out, '2>', \$err;
	wait_for_status($port, '/metrics', 200);

	# Its samples, once each query has some
	my %samples;
	foreach (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $body = get($port, '/metrics')->{body};
		$body = PrometheusTest::join_chunks($body) if $body =~ /\A[0-9a-f]+\r\n/;
		%samples = map { /^(sql_\w+)(\{.*\}) (\S+)$/ ? ("$1$2" => $3) : () } split /\n/, $body;
		my %named = map { s/\{.*//sr => 1 } keys %samples;
		last if !grep { !$named{"sql_$_->{name}"} } @{ $debian->{jobs}[0]{queries} };
		sleep 0.2;
	}
	$process->pump_nb;
	$process->signal('TERM');
	$process->finish;

	# The value of a sample by its labels
	my $sample = sub {
		my ($name, @labels) = @_;
		my @found = grep { my $at = $_; index($at, "sql_$name\{") == 0 && !grep { index($at, $_) < 0 } @labels } keys %samples;
		return @found == 1 ? $samples{ $found[0] } : scalar @found;
	};
	is($sample->('fraiseql_obs_operation', 'operation="getUser"', 'datname="app"', 'col="calls"'), 2, 'Debian: calls of an operation');
	is($sample->('fraiseql_obs_operation', 'operation="getUser"', 'col="errors"'), 1, 'its errors');
	cmp_ok($sample->('fraiseql_obs_operation', 'operation="a\\"b\\\\c"', 'type="query"', 'col="p95"'), '>=', 0.009, 'its percentiles');
	is($sample->('fraiseql_obs_error', 'sqlstate="22012"', 'condition_name="division_by_zero"'), 1, 'errors by SQLSTATE');
	is($sample->('fraiseql_obs_error', 'sqlstate="ZZ001"', 'condition_name=""'), 1, 'and those of no name');
	like($sample->('fraiseql_obs_health', 'check="connections"'), qr/^[012]$/, 'health');
	cmp_ok($sample->('fraiseql_obs_query', 'datname="app"', 'col="seconds"'), '>', 1, 'queries');
	cmp_ok($sample->('fraiseql_obs_connections', 'datname="postgres"', 'state="active"'), '>=', 1, 'connections');
	is_deeply([ grep { /^sql_exporter_last_scrape_failed/ && $samples{$_} != 0 } keys %samples ], [], 'no query fails');
	# newer ones say how many processors they use
	is($err =~ s/^.* maxprocs: .*\n//mgr, '', 'and nothing is said of any');
	has_keys($_->{name}, $_, qw(name help labels values query query_ref allow_zero_rows timestamp)) foreach @{ $debian->{jobs}[0]{queries} };
}

$node->stop;
done_testing();
