# A real Prometheus scrapes the endpoint through TLS and a token, and has all
# that it says.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run qw(start);
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my ($prometheus) = grep { -x $_ } map { "$_/prometheus" } split /:/, $ENV{PATH};
plan skip_all => 'no Prometheus here' if !defined $prometheus;
my $folder = PostgreSQL::Test::Utils::tempdir;
plan skip_all => 'no OpenSSL here'
  if system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
	. " -addext subjectAltName=IP:127.0.0.1 -keyout '$folder/key' -out '$folder/crt' 2>/dev/null") != 0;
append_to_file("$folder/token", "hunter2\n");
chmod 0600, "$folder/key", "$folder/token";

my ($node, $port) = start_http_node('http_prometheus');
$node->append_conf('postgresql.conf', qq(
fraiseql_obs.http_token_file = '$folder/token'
fraiseql_obs.http_tls_cert_file = '$folder/crt'
fraiseql_obs.http_tls_key_file = '$folder/key'));
$node->restart;
$node->safe_psql('app', op("say \"hi\"\\ \xe2\x82\xac" => 'SELECT 1'));

my $web = free_port();
append_to_file("$folder/prometheus.yml", qq(
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: with
    scheme: https
    authorization: { credentials_file: $folder/token }
    tls_config: { ca_file: $folder/crt }
    static_configs: [ { targets: [ '127.0.0.1:$port' ] } ]
  - job_name: without
    scheme: https
    tls_config: { ca_file: $folder/crt }
    static_configs: [ { targets: [ '127.0.0.1:$port' ] } ]
));
my ($out, $err) = ('', '');
my $server = start [ $prometheus, "--config.file=$folder/prometheus.yml", "--storage.tsdb.path=$folder/data",
	"--web.listen-address=127.0.0.1:$web", '--log.level=warn' ], '>', \$out, '2>', \$err;

# The result of a query, once there is one
sub query
{
	my ($promql) = @_;
	$promql =~ s/([^\w])/sprintf '%%%02X', ord $1/ge;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$server->pump_nb;
		my $body = get($web, "/api/v1/query?query=$promql")->{body};
		$body =~ s/^[0-9a-f]+\r\n(.*)\r\n0\r\n\r\n$/$1/s;
		my $result = eval { decode_json($body)->{data}{result} } // [];
		return $result if @$result;
		sleep 0.2;
	}
	return [];
}

is(query('up{job="with"} == 1')->[0]{value}[1], '1', 'it is up');
is(query('up{job="without"}')->[0]{value}[1], '0', 'but not without a token');
query('fraiseql_obs_scrape_size_bytes');    # which the first scrape has not
my $lines = query('scrape_samples_scraped{job="with"} > 0')->[0]{value}[1];
my $samples = grep { /^[^#]/ } split /\n/, observe($node, 'SELECT fraiseql_obs.export_metrics()');
cmp_ok(abs($lines - $samples), '<', 20, 'all samples are taken');
my %ingested = map { $_->{metric}{__name__} => 1 } @{ query('{job="with", __name__=~"fraiseql_obs_.*"}') };
my @families = observe($node, 'SELECT fraiseql_obs.export_metrics()') =~ /^# TYPE (\S+)/mg;
is(join(' ', grep { !$ingested{$_} && !$ingested{"${_}_bucket"} } @families), '', 'and all families');
is(query('fraiseql_obs_operation_duration_seconds_count{job="with"}')->[0]{metric}{operation},
	"say \"hi\"\\ \x{20ac}", 'a label as it was');
is(scalar(() = $err =~ /level=(?:warn|error).*scrape/g), 0, 'Prometheus has nothing to say of it') or diag($err);
$server->signal('TERM');
$server->finish;
$node->stop;
done_testing();
