# Spans go by TLS to an endpoint whose certificate is signed by whom
# otlp_ca_file trusts, and is of the host that is asked for; to nobody else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir;

# A certificate for a host, signed by an authority of its own
sub make_certificate
{
	my ($name, $host) = @_;
	my $ec = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
	my $file = "$folder/$name";

	append_to_file("$file.ext", "subjectAltName = $host\n");
	return system("openssl req -x509 $ec -days 2 -subj /CN=authority -keyout $file.ca.key -out $file.ca.crt 2>/dev/null"
		. " && openssl req $ec -subj /CN=$name -keyout $file.key -out $file.csr 2>/dev/null"
		. " && openssl x509 -req -in $file.csr -CA $file.ca.crt -CAkey $file.ca.key -CAcreateserial"
		. " -days 2 -extfile $file.ext -out $file.crt 2>/dev/null") == 0;
}

plan skip_all => 'no OpenSSL here' if !make_certificate('good', 'DNS:localhost');
make_certificate('other', 'DNS:elsewhere');
my $good = OtlpTest::Receiver->new(key => "$folder/good.key", certificate => "$folder/good.crt");
plan skip_all => 'no Node with @opentelemetry/otlp-transformer here' if !defined $good;
my $other = OtlpTest::Receiver->new(key => "$folder/other.key", certificate => "$folder/other.crt");

my $node = start_otlp_node('otlp_tls', 1);
configure($node, otlp_endpoint => 'https://localhost:' . $good->port, otlp_ca_file => "$folder/good.ca.crt");
make_spans($node, 5);
wait_for('they arrive', sub { @{ $good->spans } == 15 });
wait_for_metric($node, 'accepted 15, 2xx ' . @{ $good->requests }, 'by TLS');

# Whom nobody trusts, or who is somebody else, is told nothing.
sub is_refused
{
	my ($name, $message, %settings) = @_;
	my $offset = -s $node->logfile;

	configure($node, %settings);
	make_spans($node, 1);
	wait_for($name, sub { slurp_file($node->logfile, $offset) =~ /could not send spans to "https[^\n]*$message/ });
	return;
}

is_refused('an authority that is not trusted', 'certificate', otlp_ca_file => "$folder/other.ca.crt");
is_refused('one that the system does not know', 'certificate', otlp_ca_file => '');
is_refused('no such file', '', otlp_ca_file => "$folder/none.crt");
is_refused('another host', '', otlp_ca_file => "$folder/other.ca.crt", otlp_endpoint => 'https://localhost:' . $other->port);
is_refused('another name of the same host', '',
	otlp_ca_file => "$folder/good.ca.crt", otlp_endpoint => 'https://127.0.0.1:' . $good->port);
is(scalar @{ $other->requests }, 0, 'nothing is sent');
is(scalar @{ $good->spans }, 15, 'to nobody');

configure($node, otlp_endpoint => 'https://localhost:' . $good->port);
wait_for('all arrive in the end', sub { @{ $good->spans } == 30 });
wait_for('each once', sub { otlp($node) =~ /^accepted 30,/ });

# who speaks no TLS
my $plain = OtlpTest::Endpoint->new;
is_refused('an endpoint without TLS', '', otlp_endpoint => 'https://localhost:' . $plain->port);
is(scalar @{ $plain->requests }, 0, 'nothing is sent in plain text');

$node->stop;
done_testing();
