# The example for Docker: what its files say of each other is so, a server takes
# its settings, and Compose takes it where there is one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run ();
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no YAML for Python here'
  if !IPC::Run::run [ 'python3', '-c', 'import yaml' ], '>&', \my $ignored;

my $said;
my $root = "$FindBin::RealBin/../..";
my $docker = "$root/examples/docker";
my $folder = PostgreSQL::Test::Utils::tempdir;

sub document
{
	my ($file) = @_;
	my ($out, $err);

	IPC::Run::run [ 'python3', '-c', 'import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)', "$docker/$file" ],
	  '>', \$out, '2>', \$err;
	is($err, '', "$file is YAML");
	return decode_json($out);
}

sub program
{
	my ($name) = @_;
	return grep { -x $_ } map { "$_/$name" } split /:/, $ENV{PATH};
}

my $compose = document('compose.yaml');
my ($postgresql, $prometheus, $grafana) = @{ $compose->{services} }{qw(postgresql prometheus grafana)};

# What a container has at a path, if that is mounted from here
sub mounted
{
	my ($service, $path) = @_;

	foreach my $volume (@{ $service->{volumes} })
	{
		my ($from, $to) = split /:/, $volume;
		return "$docker/$from" . substr $path, length $to if $from =~ /^\./ && ($path eq $to || index($path, "$to/") == 0);
	}
	return "$path, which is not mounted";
}

foreach my $name (sort keys %{ $compose->{services} })
{
	my $service = $compose->{services}{$name};

	ok($service->{image}, "$name has an image");
	foreach my $volume (@{ $service->{volumes} })
	{
		my ($from, $to) = split /:/, $volume;
		ok($from =~ /^\./ ? -e "$docker/$from" : exists $compose->{volumes}{$from}, "$name: $from");
	}
	is_deeply([ grep { !/^127\.0\.0\.1:/ } @{ $service->{ports} } ], [], "$name: ports of this machine alone");
	is_deeply([ grep { !exists $compose->{services}{$_} } @{ $service->{depends_on} // [] } ], [], "$name: what it depends on");
}
SKIP:
{
	my ($program) = program('docker-compose');
	my @compose = $program ? ($program) : ('docker', 'compose');

	local %ENV = (%ENV, POSTGRES_PASSWORD => 'a', GRAFANA_PASSWORD => 'b');
	skip 'no Compose here', 2 if !IPC::Run::run [ 'sh', '-c', "@compose version" ], '>&', \$ignored;
	ok((IPC::Run::run [ @compose, '-f', "$docker/compose.yaml", 'config', '--quiet' ], '>&', \$said), 'Compose takes it') or diag($said);
	delete $ENV{POSTGRES_PASSWORD};
	ok(!(IPC::Run::run [ @compose, '-f', "$docker/compose.yaml", 'config', '--quiet' ], '>&', \$said), 'not without passwords');
}

# The image: what is copied is there, and what is run is of the shell
my $context = "$docker/$postgresql->{build}{context}";
my $dockerfile = slurp_file("$context/$postgresql->{build}{dockerfile}") =~ s/^#.*\n//mgr =~ s/\\\n//gr;
foreach my $line (grep { /\S/ } split /\n/, $dockerfile)
{
	my ($instruction, $rest) = $line =~ /^([A-Z]+) (.*)$/ or fail($line), next;

	like($instruction, qr/^(?:ARG|FROM|RUN|WORKDIR|COPY)$/, $line);
	ok((IPC::Run::run [ 'sh', '-n' ], '<', \$rest, '>&', \$said), 'a command') or diag($said) if $instruction eq 'RUN';
	next if $instruction ne 'COPY' || $rest =~ /^--from=build /;
	my @sources = split / /, $rest;
	pop @sources;
	is_deeply([ grep { !-e "$context/$_" } @sources ], [], 'is there');
}
my @objects = slurp_file("$root/Makefile") =~ m{\b((?:src|sql|bin|man|completion)/[\w/.-]+?)(?:\.o\b|$)}mg;
is_deeply([ grep { my $at = $_; $at !~ /\$/ && $dockerfile !~ m{^COPY @{[ $at =~ m{^(\w+)/} ]} }m } @objects ], [], 'all that is built is copied');

# Prometheus: its configuration, its rules, and the server
my ($config) = map { /^--config\.file=(.*)/ } @{ $prometheus->{command} };
my $scraping = document(mounted($prometheus, $config) =~ s{^\Q$docker/\E}{}r);
my %setting = map { /^([\w.]+)=(.*)$/ } @{ $postgresql->{command} };
is_deeply($scraping->{scrape_configs}[0]{static_configs}[0]{targets}, ["postgresql:$setting{'fraiseql_obs.http_port'}"], 'its target');
my ($wanted_job) = slurp_file("$root/dashboards/rules.yml") =~ /up\{job="(\w+)"\}/;
is($scraping->{scrape_configs}[0]{job_name}, $wanted_job, 'the job, as in the rules');
my $rules = mounted($prometheus, $config =~ s{[^/]*$}{}r . $scraping->{rule_files}[0]);
ok(-f $rules, 'rules') or diag($rules);
SKIP:
{
	my ($promtool) = program('promtool');
	skip 'no promtool here', 1 if !defined $promtool;
	append_to_file("$folder/prometheus.yml", slurp_file(mounted($prometheus, $config)));
	append_to_file("$folder/$scraping->{rule_files}[0]", slurp_file($rules));
	ok((IPC::Run::run [ $promtool, 'check', 'config', "$folder/prometheus.yml" ], '>&', \$said), 'promtool takes it') or diag($said);
}

# Grafana: its data source, its dashboards, and the first of them
my ($source) = @{ document('grafana/datasources/prometheus.yml')->{datasources} };
my ($provider) = @{ document('grafana/dashboards/fraiseql_obs.yml')->{providers} };
ok(-d mounted($grafana, "/etc/grafana/provisioning/$_"), "provisioned: $_") foreach 'datasources', 'dashboards';
my ($host, $port) = $source->{url} =~ m{^http://(\w+):(\d+)$};
is($source->{type}, 'prometheus', 'a data source');
ok(exists $compose->{services}{$host}, 'which is a service');
is($prometheus->{ports}[0] =~ s/.*://r, $port, 'with its port');
is($source->{jsonData}{timeInterval}, $scraping->{global}{scrape_interval}, 'and interval');
my @dashboards = glob mounted($grafana, $provider->{options}{path}) . '/*.json';
cmp_ok(scalar @dashboards, '>=', 4, 'dashboards');
foreach my $dashboard (map { decode_json(slurp_file($_)) } @dashboards)
{
	ok($dashboard->{uid} && $dashboard->{title} && !$dashboard->{__inputs}, "$dashboard->{title} can be provisioned");
}
ok(-f mounted($grafana, $grafana->{environment}{GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH}), 'the first');

# A server with these settings, set up by the same script, and asked as there
my $http_port = free_port();
$setting{'fraiseql_obs.http_port'} = $http_port;
$setting{'fraiseql_obs.http_listen_addresses'} = '127.0.0.1';
my $node = PostgreSQL::Test::Cluster->new('compose');
$node->init;
$node->append_conf('postgresql.conf', "$_ = '$setting{$_}'") foreach sort keys %setting;
$node->start;
need_endpoint($node);
$node->safe_psql('postgres', slurp_file(mounted($postgresql, '/docker-entrypoint-initdb.d/extensions.sql')));
wait_for_status($http_port, '/health/ready', 200);
my ($kind, $tool, @arguments) = @{ $postgresql->{healthcheck}{test} };
is("$kind $tool", 'CMD fraiseql-obs', 'health by our tool');
s/user=postgres/'user=' . getpwuid $</e foreach @arguments;
local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
my @check = ('sh', "$root/bin/$tool", @arguments);
$ENV{PGDATABASE} = 'postgres';
ok((IPC::Run::run [@check], '>&', \$said), 'it is healthy') or diag($said);
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain(true)');
ok(!(IPC::Run::run [@check], '>&', \$said), 'and not when it is drained');
$node->stop;
done_testing();
