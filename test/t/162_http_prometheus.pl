# A real Prometheus scrapes the endpoint through TLS and a token, and has all
# that it says.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PrometheusTest;
use Test::More;

PrometheusTest::program();
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

my $prometheus = PrometheusTest->new($folder, qq(
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

is($prometheus->query('up{job="with"} == 1')->[0]{value}[1], '1', 'it is up');
is($prometheus->query('up{job="without"}')->[0]{value}[1], '0', 'but not without a token');
$prometheus->query('fraiseql_obs_scrape_size_bytes');    # which the first scrape has not
my $lines = $prometheus->query('scrape_samples_scraped{job="with"} > 0')->[0]{value}[1];
my $samples = grep { /^[^#]/ } split /\n/, observe($node, 'SELECT fraiseql_obs.export_metrics()');
cmp_ok(abs($lines - $samples), '<', 20, 'all samples are taken');
my %ingested = map { $_->{metric}{__name__} => 1 } @{ $prometheus->query('{job="with", __name__=~"fraiseql_obs_.*"}') };
my @families = observe($node, 'SELECT fraiseql_obs.export_metrics()') =~ /^# TYPE (\S+)/mg;
is(join(' ', grep { !$ingested{$_} && !$ingested{"${_}_bucket"} } @families), '', 'and all families');
is($prometheus->query('fraiseql_obs_operation_duration_seconds_count{job="with"}')->[0]{metric}{operation},
	"say \"hi\"\\ \x{20ac}", 'a label as it was');
is($prometheus->complaints, '', 'Prometheus has nothing to say of it');
$prometheus->stop;
$node->stop;
done_testing();
