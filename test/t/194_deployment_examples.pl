# The examples for Kubernetes and Prometheus agree with each other and with what
# README.md says of the endpoint, and a server takes their settings.

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

my $root = "$FindBin::RealBin/../..";
my $folder = PostgreSQL::Test::Utils::tempdir;
my ($promtool) = grep { -x $_ } map { "$_/promtool" } split /:/, $ENV{PATH};

plan skip_all => 'no YAML for Python here'
  if !IPC::Run::run [ 'python3', '-c', 'import yaml' ], '>&', \my $ignored;

# The documents of a YAML file
sub documents
{
	my ($file) = @_;
	my ($out, $err);

	IPC::Run::run [ 'python3', '-c',
		'import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)',
		"$root/examples/$file" ],
	  '>', \$out, '2>', \$err;
	is($err, '', "$file is YAML");
	return @{ decode_json($out) };
}

# The paths of the endpoint by README.md, and whether a token is asked for
my %asks_token;
my ($table) = slurp_file("$root/README.md") =~ /^\| path \| token \|.*\n.*\n((?:\|.*\n)+)/m;
foreach my $line (split /\n/, $table)
{
	my (undef, $paths, $token) = split /\s*\|\s*/, $line;
	$asks_token{$_} = $token foreach $paths =~ /`([^`]+)`/g;
}
is($asks_token{'/metrics'}, 'yes', 'README.md has the paths');

my %manifest = map { $_->{kind} => $_ } documents('kubernetes/postgresql.yaml');
my ($monitor) = documents('kubernetes/servicemonitor.yaml');
foreach my $object (values %manifest, $monitor)
{
	ok($object->{apiVersion} && $object->{metadata}{name}, "$object->{kind} has a version and a name");
}
my $pod = $manifest{StatefulSet}{spec}{template};
my $service = $manifest{Service};
my ($container) = @{ $pod->{spec}{containers} };
my %port = map { $_->{name} => $_->{containerPort} } @{ $container->{ports} };
my $conf = $manifest{ConfigMap}{data}{'postgresql.conf'};
my %setting = $conf =~ /^([\w.]+) = '?(.*?)'?$/mg;

# Ports and paths
is($port{metrics}, $setting{'fraiseql_obs.http_port'}, 'the port that is named is that of the endpoint');
foreach my $probe (qw(startupProbe livenessProbe readinessProbe))
{
	my $get = $container->{$probe}{httpGet};

	is($asks_token{ $get->{path} }, 'no', "$probe: a path that asks for no token");
	is($port{ $get->{port} }, $port{metrics}, "$probe: at the endpoint");
	cmp_ok($container->{$probe}{timeoutSeconds}, '>=', 6, "$probe: waits for as long as one takes");
}
my $annotations = $pod->{metadata}{annotations};
is($annotations->{'prometheus.io/port'}, $port{metrics}, 'the port of the annotations');
is($asks_token{ $annotations->{'prometheus.io/path'} }, 'yes', 'and their path');

# Names that one object has of another
my ($service_port) = grep { $_->{name} eq 'metrics' } @{ $service->{spec}{ports} };
my ($endpoint) = @{ $monitor->{spec}{endpoints} };
is($service_port->{port}, $port{metrics}, 'the port of the service');
is($endpoint->{port}, $service_port->{name}, 'which the monitor names');
is($asks_token{ $endpoint->{path} }, 'yes', 'with its path');
is_deeply($monitor->{spec}{selector}{matchLabels}, $service->{metadata}{labels}, 'the monitor finds the service');
is_deeply($_, $pod->{metadata}{labels}, 'the pods are found')
  foreach $service->{spec}{selector}, $manifest{StatefulSet}{spec}{selector}{matchLabels};
is($manifest{StatefulSet}{spec}{serviceName}, $service->{metadata}{name}, 'the service of the set');
my %mounted = map { $_->{mountPath} => $_->{name} } @{ $container->{volumeMounts} };
my %volume = map { $_->{name} => $_ } @{ $pod->{spec}{volumes} };
my ($token_folder, $token_key) = $setting{'fraiseql_obs.http_token_file'} =~ m{^(.*)/([^/]+)$};
my $secret = $volume{ $mounted{$token_folder} }{secret};
is($secret->{secretName}, $endpoint->{authorization}{credentials}{name}, 'the secret of the token');
is($token_key, $endpoint->{authorization}{credentials}{key}, 'and its key');
is($secret->{defaultMode} & oct 37, 0, 'which root has, and its group reads');
my ($conf_folder) = "@{ $container->{args} }" =~ m{^-c config_file=(.*)/postgresql\.conf$};
is($volume{ $mounted{$conf_folder} }{configMap}{name}, $manifest{ConfigMap}{metadata}{name}, 'the configuration');

# A server with these settings
append_to_file("$folder/token", "hunter2\n");
chmod 0600, "$folder/token";
my $http_port = free_port();
$conf =~ s/^listen_addresses = .*\n//m;
$conf =~ s/^(fraiseql_obs\.http_port = ).*/$1$http_port/m;
$conf =~ s/^(fraiseql_obs\.http_token_file = ).*/$1'$folder\/token'/m;
$conf =~ s/^(fraiseql_obs\.http_listen_addresses = ).*/$1'127.0.0.1'/m;
my $node = start_node('deployment', $conf);
need_endpoint($node);
wait_for_status($http_port, '/healthz', 200);
is(status_of($http_port, $container->{$_}{httpGet}{path}), 200, "$_ is answered")
  foreach qw(startupProbe livenessProbe readinessProbe);
is(status_of($http_port, $endpoint->{path}), 401, 'a scrape needs a token');
is(status_of($http_port, $endpoint->{path}, Authorization => 'Bearer hunter2'), 200, 'and has one');
$node->stop;

# Prometheus
my ($prometheus) = documents('prometheus.yml');
my ($wanted_job) = slurp_file("$root/dashboards/rules.yml") =~ /up\{job="(\w+)"\}/;
is($service->{metadata}{name}, $wanted_job, 'the job by the monitor, as in the rules');
foreach my $scrape (@{ $prometheus->{scrape_configs} })
{
	my ($job) = map { $_->{replacement} } grep { ($_->{target_label} // '') eq 'job' } @{ $scrape->{relabel_configs} };

	is($job // $scrape->{job_name}, $wanted_job, "$scrape->{job_name}: the job, as in the rules");
	ok(!exists $scrape->{metrics_path}, "$scrape->{job_name}: the path is /metrics");
	is_deeply([ grep { !/:$port{metrics}$/ } map { @{ $_->{targets} } } @{ $scrape->{static_configs} // [] } ],
		[], "$scrape->{job_name}: the port");
}

SKIP:
{
	skip 'no promtool here', 2 if !defined $promtool;
	# Not all are built with Kubernetes: a file says here what it would.
	my $changed = slurp_file("$root/examples/prometheus.yml");
	my %meta = (
		pod_label_app => $pod->{metadata}{labels}{app}, pod_ip => '10.1.2.3', pod_name => 'postgresql-0', namespace => 'shop',
		pod_annotation_prometheus_io_scrape => $annotations->{'prometheus.io/scrape'},
		pod_annotation_prometheus_io_port => $annotations->{'prometheus.io/port'},
		pod_annotation_prometheus_io_path => $annotations->{'prometheus.io/path'});
	append_to_file("$folder/pods.json", encode_json([
		map { { targets => ["10.1.2.3:$port{$_}"], labels => {
			__meta_kubernetes_pod_container_port_name => $_,
			map { ("__meta_kubernetes_$_" => $meta{$_}) } keys %meta } } } sort keys %port ]));
	$changed =~ s{kubernetes_sd_configs:\n( +)- role: pod}{file_sd_configs:\n$1- files: [$folder/pods.json]} or die 'no pods';
	$changed =~ s{\.\./dashboards}{$root/dashboards} or die 'no rules';
	append_to_file("$folder/prometheus.yml", $changed);

	my $said;
	ok((IPC::Run::run [ $promtool, 'check', 'config', '--syntax-only', "$folder/prometheus.yml" ], '>&', \$said),
		'promtool takes prometheus.yml')
	  or diag($said);
	# of which the files of tokens are elsewhere
	$changed =~ s{^.*credentials_file.*\n}{}mg;
	$changed =~ s{^    authorization:\n}{}mg;
	$changed =~ s{^    tls_config:\n.*\n}{}mg;
	unlink "$folder/prometheus.yml";
	append_to_file("$folder/prometheus.yml", $changed);
	IPC::Run::run [ $promtool, 'check', 'service-discovery', '--timeout', '5s', "$folder/prometheus.yml", 'postgresql-kubernetes' ],
	  '>', \$said, '2>', \my $err;
	my $found = eval { decode_json($said) } // [];
	my @targets = map { $_->{labels} } grep { %{ $_->{labels} // {} } } @$found;
	is_deeply(
		[ map { my $labels = $_; join ' ', map { $labels->{$_} // '' } qw(__address__ __metrics_path__ instance job namespace) } @targets ],
		[ "10.1.2.3:$port{metrics} /metrics postgresql-0 $wanted_job shop" ],
		'a pod with the annotations is one target')
	  or diag("$said$err");
}

done_testing();
