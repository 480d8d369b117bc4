# The command line tool's health and readiness: what they print, and that the
# status says the verdict.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use JSON::PP qw(decode_json);
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";
my $node = start_node('command_line_health');
my $folder = PostgreSQL::Test::Utils::tempdir;

# Its output, after its status was looked at
sub says
{
	my ($wanted, @arguments) = @_;
	my ($out, $err);

	local %ENV =
	  (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	IPC::Run::run [ 'sh', $tool, @arguments ], '<', \undef, '>', \$out, '2>', \$err;
	is($? >> 8, $wanted, "@arguments: status") or diag($err);
	return $out . $err;
}

# A setting in the configuration file, where it is in force
sub configure
{
	my ($name, $value) = @_;

	$node->append_conf('postgresql.conf', "$name = $value");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('$name') = '$value'")
	  or die "$name is not in force";
	return;
}

# The disk of who runs this is none of the test's.
configure('fraiseql_obs.health_disk_warning', 0);

like(says(0, 'health'), qr/\AStatus: healthy\n(?:  \w+: healthy\n){11}\z/, 'healthy');
like(says(0, 'health', '--detailed'), qr/^  connections: healthy \(limit \d+, reserved 3, used \d+\)$/m, 'with details');
like(says(0, 'health', '--detailed'), qr/^  canary: healthy$/m, 'of what is known');
is(decode_json(says(0, qw(health --format json)))->{checks}{server}{role}, 'primary', 'as JSON');
like(says(0, 'readiness'), qr/\AStatus: ready\n/, 'ready');
like(says(0, qw(readiness --role=primary)), qr/\AStatus: ready\n/, 'as a primary');
like(says(0, 'readiness', '--max-lag', $_), qr/^Status: ready/, "with a lag of $_") foreach '0', '7B', '1.5 GB', '16kB';
like(says(3, qw(readiness --role replica --max-lag 16MB)),
	qr/\AStatus: not_ready\n  server: unhealthy: the server is no replica\n/, 'not as a replica, and why comes first');

# degraded, and ready nonetheless
configure('fraiseql_obs.health_connections_warning', 1);
my @held = map { $node->background_psql('postgres') } 1 .. 2;
like(says(4, 'health'), qr/\AStatus: degraded\n  connections: degraded: \d+ of \d+ connections are in use\n/, 'degraded');
is(decode_json(says(4, qw(health --format json -o), "$folder/health.json") || slurp_file("$folder/health.json"))->{status},
	'degraded', 'the same to a file');
like(says(0, 'readiness'), qr/\AStatus: ready\n  connections: degraded: /, 'and ready');
$_->quit foreach @held;
configure('fraiseql_obs.health_connections_warning', 0);

# out of rotation
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain()');
like(says(3, 'readiness'), qr/\AStatus: not_ready\n  drain: unhealthy: /, 'drained');
like(says(3, 'health'), qr/\AStatus: unhealthy\n  drain: unhealthy: /, 'which is unhealthy');
is(decode_json(says(3, qw(readiness --format=json)))->{status}, 'not_ready', 'as JSON');

# what is refused
like(says(2, @$_[1 .. $#$_]), qr/^fraiseql-obs: $_->[0].*\n\z/, "@$_[1 .. $#$_]")
  foreach [ 'health has no option --role', qw(health --role primary) ],
  [ 'health has no option --max-lag', qw(health --max-lag 1) ],
  [ 'health has no option --limit', qw(health --limit 1) ],
  [ 'readiness has no option --from', qw(readiness --from 2026-01-01) ],
  [ 'metrics has no option --detailed', qw(metrics --detailed) ],
  [ '--role must be primary or replica, and not "both"', qw(readiness --role both) ],
  [ '--max-lag needs a value', qw(readiness --max-lag) ],
  (map { [ "--max-lag must be a number of bytes, as 16MB, and not \"$_\"", 'readiness', '--max-lag', $_ ] }
	'16XB', '16k', 'MB', '.', '1.2.3', '-1', q(1'; DROP)),
  [ '--format must be text or json, and not "csv"', qw(health --format csv) ],
  [ 'readiness takes no argument "x"', qw(readiness x) ];
like(says(0, $_, '--help'), qr/\AUsage: fraiseql-obs $_ .*Exits with.status.3/s, "help of $_")
  foreach 'health', 'readiness';

$node->stop;
like(says(1, $_), qr/no connection/, "$_ without a server") foreach 'health', 'readiness';
done_testing();
