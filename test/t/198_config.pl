# The command line tool's list of settings: all of them, with their values as
# SHOW has them, and wherever a value may come from.

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

my $source = "$FindBin::RealBin/../..";

# Status, output and errors of "config"
sub config
{
	my ($node, @arguments) = @_;
	my ($out, $err);

	local %ENV = (PGDATABASE => 'postgres', %ENV, PGHOST => $node->host, PGPORT => $node->port);
	IPC::Run::run [ 'sh', "$source/bin/fraiseql-obs", 'config', @arguments ],
	  '<', \undef, '>', \$out, '2>', \$err;
	return ($? >> 8, $out, $err);
}

# The same by name, of a call that says nothing else
sub settings
{
	my ($node, @arguments) = @_;
	my ($status, $out, $err) = config($node, '--format', 'json', @arguments);

	is($status, 0, 'status');
	is($err, '', 'no error');
	return { map { $_->{name} => $_ } @{ decode_json($out) } };
}

my %variables = slurp_file("$source/src/guc.c") =~ /"(fraiseql_obs\.\w+)",\s+"(FRAISEQL_\w+)"/g;
$variables{'fraiseql_obs.audit_log_retention'} = 'FRAISEQL_AUDIT_LOG_RETENTION_DAYS';
$variables{'fraiseql_obs.health_check_timeout'} = 'FRAISEQL_HEALTH_CHECK_TIMEOUT_MS';
is(scalar keys %variables, scalar(() = slurp_file("$source/src/guc.c") =~ /"FRAISEQL_\w+"/g), 'the variables that are read');
my %values = (
	'fraiseql_obs.enabled' => 'on', 'fraiseql_obs.metrics_enabled' => 'on', 'fraiseql_obs.tracing_enabled' => 'off',
	'fraiseql_obs.include_query_bodies' => 'on', 'fraiseql_obs.trace_sample_rate' => '0.25',
	'fraiseql_obs.slow_query_threshold' => '0.5', 'fraiseql_obs.audit_log_retention' => '400',
	'fraiseql_obs.health_check_timeout' => '1500');

my $node = do
{
	local %ENV = (%ENV, map { $variables{$_} => $values{$_} } keys %variables);
	start_node('config', 'fraiseql_obs.max_queries = 300');
};

my $found = settings($node);
is_deeply([ grep { /^fraiseql_obs/ } sort keys %$found ],
	[ split /\n/, $node->safe_psql('postgres', q(SELECT name FROM pg_settings WHERE name ~ '^fraiseql_obs\.' ORDER BY name COLLATE "C")) ],
	'all settings');
is($found->{$_}{source}, "environment variable $variables{$_}", "$_: its source") foreach sort keys %variables;
is_deeply(
	{ map { $_ => $found->{$_}{value} } keys %$found },
	{ map { $_ => $node->safe_psql('postgres', "SHOW $_") } keys %$found },
	'values are those of SHOW');
is($found->{'fraiseql_obs.slow_query_threshold'}{value}, '500us', 'with their unit');
is_deeply([ @{ $found->{'fraiseql_obs.health_lag_warning'} }{qw(value default source)} ],
	[ '256MB', '256MB', 'default' ], 'a default');
my $lines = () = slurp_file($node->data_dir . '/postgresql.conf') =~ /\n/g;
is_deeply([ @{ $found->{'fraiseql_obs.max_queries'} }{qw(value default source)} ],
	[ '300', '1000', $node->data_dir . "/postgresql.conf:$lines" ], 'a file and a line');

# wherever else
$node->safe_psql('postgres', $_)
  foreach 'ALTER SYSTEM SET fraiseql_obs.max_operations = 77', 'ALTER SYSTEM SET fraiseql_obs.slow_query_log_rate = 5',
  'ALTER DATABASE postgres SET fraiseql_obs.audit_failures = on', 'ALTER ROLE CURRENT_USER SET fraiseql_obs.track = "all"',
  'ALTER ROLE CURRENT_USER IN DATABASE postgres SET fraiseql_obs.trace_sample_rate = 1',
  q(CREATE ROLE "odd ""role"""), q(ALTER ROLE "odd ""role""" SET fraiseql_obs.track = none),
  q(ALTER ROLE "odd ""role""" IN DATABASE app SET fraiseql_obs.track = top), 'ALTER DATABASE app SET fraiseql_obs.track = "all"',
  'ALTER ROLE ALL SET fraiseql_obs.user_id_sources = "app.user"';
$node->reload;
$node->poll_query_until('postgres', q(SELECT pending_restart FROM pg_settings WHERE name = 'fraiseql_obs.max_operations'))
  or die 'no restart is pending';
my $user = $node->safe_psql('postgres', 'SELECT quote_ident(current_user)');
$found = settings($node);
is($found->{"fraiseql_obs.$_->[0]"}{source}, $_->[1], $_->[1])
  foreach [ slow_query_log_rate => 'ALTER SYSTEM' ], [ audit_failures => 'ALTER DATABASE postgres' ],
  [ track => "ALTER ROLE $user" ], [ trace_sample_rate => "ALTER ROLE $user IN DATABASE postgres" ],
  [ user_id_sources => 'ALTER ROLE ALL' ];
is_deeply([ @{ $found->{'fraiseql_obs.max_operations'} }{qw(value pending_restart)} ], [ '500', JSON::PP::true ], 'not in force yet');
is_deeply([ grep { $found->{$_}{pending_restart} } keys %$found ], ['fraiseql_obs.max_operations'], 'which others are');
is( $found->{'fraiseql_obs.track'}{elsewhere},
	'ALTER ROLE "odd ""role""" IN DATABASE app: top; ALTER DATABASE app: all; ALTER ROLE "odd ""role""": none',
	'what is set for others');
{
	local $ENV{PGOPTIONS} = '-c fraiseql_obs.track=none';
	is(settings($node)->{'fraiseql_obs.track'}{source}, 'this connection', 'a setting of the connection');
}
$node->stop;
is(system('pg_ctl', '-w', '-s', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-c fraiseql_obs.max_spans=99', 'start'), 0, 'started');
is(settings($node)->{'fraiseql_obs.max_spans'}{source}, 'command line', 'the command line of the server');
$node->_update_pid(1);

# other forms
my ($status, $out, $err) = config($node);
like($out, qr/^ fraiseql_obs\.max_spans +\| 99 +\| 4096 +\| command line +\| f +\| *$/m, 'a table');
(undef, $out) = config($node, '--format=csv');
like($out, qr/\Aname,value,default,source,pending_restart,elsewhere\n.*^fraiseql_obs\.max_spans,99,4096,command line,f,$/ms, 'CSV');

# who may see less
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN');
{
	local $ENV{PGUSER} = 'watcher';
	($status, $out, $err) = config($node, '-d', 'app');
	is($status, 0, 'everybody may look');
	unlike($out, qr/token_file/, 'at what everybody sees');
	is($err, "some settings are shown to members of pg_read_all_settings alone\n", 'and is told so');
}

# not loaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nfraiseql_obs.trak = all");
$node->restart;
($status, $out, $err) = config($node, '--format', 'csv');
is($err, "fraiseql_obs is not loaded by this server: fraiseql-obs doctor says what to do\n", 'not loaded');
like($out, qr/^fraiseql_obs\.trak,,,"?\Q@{[ $node->data_dir ]}\E\/postgresql\.conf:\d+, which is not in force"?,f,$/m, 'and yet in a file');
like($out, qr/^shared_preload_libraries,,,/m, 'and settings of the server');
$node->stop;
like((config($node, '--limit', '1'))[2], qr/config has no option --limit/, 'no limit');
done_testing();
