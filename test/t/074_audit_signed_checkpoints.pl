# The worker signs checkpoints with the key of a file, so that OpenSSL, which
# knows nothing of us, finds the signature good.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Digest::SHA qw(sha256);
use MIME::Base64;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $folder = PostgreSQL::Test::Utils::tempdir;
my $key = "$folder/key.pem";

plan skip_all => 'no OpenSSL here'
  if system("openssl genpkey -algorithm ed25519 -out '$key' 2>/dev/null") != 0;
system("openssl pkey -in '$key' -pubout -out '$folder/public.pem'");
chmod 0600, $key;

my $node = start_node('audit_signed',
	"fraiseql_obs.audit_worker = on\nfraiseql_obs.audit_seal_interval = 1");
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; CREATE ROLE keeper NOLOGIN; SELECT fraiseql_obs.create_audit_log(owner => \'keeper\')');

plan skip_all => 'built without OpenSSL'
  if !grep { -e "$_/fraiseql_obs_sign.so" }
  split /:/, $node->safe_psql('app', 'SHOW dynamic_library_path') =~ s/\$libdir/./r;

# The checkpoint as soon as it is signed; between a seal and that is a moment.
sub signed_checkpoint
{
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $note = $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
		return $note if $note =~ /\n\n/;
		usleep(100_000);
	}
	return '';
}

$node->poll_query_until('app', 'SELECT count(*) > 0 FROM fraiseql_audit.fraiseql_audit_seals');
unlike($node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()'), qr/\n\n/,
	'no key, no signature');

# configured, and nobody has signed yet
$node->append_conf('postgresql.conf', "fraiseql_obs.audit_signing_key_file = '$key'\nfraiseql_obs.audit_worker = off");
$node->reload;
ok($node->poll_query_until('app', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit worker')), 'no worker');
$node->safe_psql('app', $_) foreach ('SELECT fraiseql_obs.log_operation(\'x\')', 'SELECT fraiseql_obs.seal_audit_log()') x 2;
like(($node->psql('app', 'SELECT fraiseql_obs.audit_checkpoint()'))[2],
	qr/WARNING:  checkpoint of the audit log is not signed\nDETAIL:  It is of \d+ seals, and none is signed\.\nHINT:  Only the audit worker signs checkpoints, every "fraiseql_obs\.audit_seal_interval"; if it cannot, the server log says why\.\z/,
	'nobody but the worker signs');
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;
my ($text, $name, $signature) = signed_checkpoint() =~ /^(.*\n)\n\xe2\x80\x94 (\S+) (\S+)\n\z/s;
ok(defined $signature, 'signed once there is a key');
my ($origin) = $text =~ /^(.*)\n/;
is($name, $origin, 'the name of the key is the origin');

is(($node->psql('app', 'SELECT fraiseql_obs.audit_checkpoint()'))[2], '', 'no warning');
ok($node->poll_query_until('app', q(SELECT count(*) = 1 FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_audit_checkpoint_signed' AND value = 1)),
	'and a metric says so');

my $bytes = decode_base64($signature);
is(length $bytes, 68, 'four bytes of the key, and a signature');
my $public = substr(decode_base64(slurp_file("$folder/public.pem") =~ s/^-.*$//mgr), -32);
is(substr($bytes, 0, 4), substr(sha256("$name\n\x01$public"), 0, 4), 'the key that it says');

append_to_file("$folder/text", $text);
append_to_file("$folder/signature", substr($bytes, 4));
my @verify = ('openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', "$folder/public.pem",
	'-rawin', '-in', "$folder/text", '-sigfile', "$folder/signature");
command_ok([@verify], 'OpenSSL finds the signature good');
append_to_file("$folder/text", 'more');
command_fails([@verify], 'and that of another text bad');

my ($status, $out, $err) = $node->psql('app', 'SELECT fraiseql_obs.audit_sign_checkpoint()');
like($err, qr/only the audit worker can sign checkpoints/, 'no session reads the key');

# a key that is no secret, or none at all, is not used
my $seals = $node->safe_psql('app', 'SELECT max(seal_no) FROM fraiseql_audit.fraiseql_audit_seals');
chmod 0644, $key;
$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('more')));
ok($node->poll_query_until('app', "SELECT max(seal_no) > $seals FROM fraiseql_audit.fraiseql_audit_seals"),
	'seals go on');
$node->wait_for_log(qr/private key file ".*" must be readable by its owner alone/);
unlike($node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()'), qr/\n\n/,
	'but without a signature');
$node->poll_query_until('app', "SELECT refreshed_at < clock_timestamp() - interval '11 seconds' OR seals > (SELECT max(size) + 1 FROM fraiseql_audit.fraiseql_audit_checkpoints)
	FROM fraiseql_audit.fraiseql_audit_rollup_state");
(undef, undef, $err) = $node->psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
like($err, qr/WARNING:  checkpoint of the audit log is not signed\nDETAIL:  It is of \d+ seals, and the newest one that is signed of \d+\.\nHINT: /,
	'which whoever keeps it is told');
is(metric($node, 'fraiseql_obs_audit_checkpoint_signed{datname="app"}'), '0', 'and a metric says');
append_to_file("$folder/none.pem", 'nonsense');
chmod 0600, "$folder/none.pem";
$node->append_conf('postgresql.conf', "fraiseql_obs.audit_signing_key_file = '$folder/none.pem'");
$node->reload;
$node->wait_for_log(qr/file ".*" has no usable private key/);
pass('no key in the file');

$node->stop;
done_testing();
