# The command line tool's doctor: what is broken here is found, and after the
# commands that it prints it is found no more.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use DoctorTest;
use HttpTest;
use IO::Socket::INET;
use ModuleTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# a server that knows nothing of us, but has libraries of its own
my $node = PostgreSQL::Test::Cluster->new('doctor');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'auto_explain'\nfraiseql_obs.max_queries = 200");
$node->start;
is_deeply(
	[ findings($node) ],
	[
		3,
		'error library: fraiseql_obs is not in shared_preload_libraries: nothing is observed',
		'warning extension: the extension is not created in database "postgres"'
	],
	'not loaded');
is_deeply(
	[ mending($node, 'library') ],
	[
		q(sql ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements', 'auto_explain', 'fraiseql_obs';),
		sprintf('shell %1$s/pg_ctl restart -D %2$s -l %2$s/server.log', $node->config_data('--bindir'), $node->data_dir)
	],
	'what mends it keeps other libraries');
$node->safe_psql('postgres', q(ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'fraiseql_obs'));
$node->reload;
like(wait_for($node, qr/put into/), qr/put into shared_preload_libraries, and the server was not restarted since/, 'half of it');
mend($node);
like(wait_for($node, qr/texts/), qr/^4\nwarning queries: pg_stat_statements is not loaded: query_stats\(\) has no texts\z/, 'both mended');
is($node->safe_psql('postgres', 'SHOW fraiseql_obs.max_queries'), '200', 'it is loaded');
mend($node);
is_deeply([ findings($node) ],
	[ 4, 'warning queries: extension pg_stat_statements is not created in database "postgres": query_stats() has no texts there' ],
	'one thing after the other');
cured($node, 'until nothing is wrong');
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'),
	'pg_stat_statements, auto_explain, fraiseql_obs', 'and all libraries are there');

# the order of libraries, and what is to be gone
breaks($node, q(ALTER SYSTEM SET shared_preload_libraries = 'fraiseql_obs', 'pg_stat_statements', 'auto_explain'), 1,
	'warning library: pg_stat_statements comes after fraiseql_obs: utility statements inside of functions are not counted');
breaks($node, q(ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'), 0,
	'error library: fraiseql_obs is not in shared_preload_libraries any more, and will be gone after the next restart');

# settings
breaks($node, 'ALTER SYSTEM SET fraiseql_obs.max_queries = 300', 0, 'warning settings: fraiseql_obs.max_queries waits for a restart');
my $file = $node->data_dir . '/postgresql.conf';
my $lines = () = slurp_file($file) =~ /\n/g;
$node->append_conf('postgresql.conf', "fraiseql_obs.trak = 'all'\nfraiseql_obs.http_port = none");
$node->reload;
wait_for($node, qr/trak/);
is_deeply(
	[ findings($node) ],
	[
		3,
		sprintf('error settings: line %d of "%s" is not in force: there is no setting fraiseql_obs.trak', $lines + 1, $file),
		sprintf('error settings: line %d of "%s" is not in force: fraiseql_obs.http_port cannot be "none"', $lines + 2, $file)
	],
	'mistakes in a file');
cured($node, 'are mended');
$lines = () = slurp_file($file) =~ /\n/g;
$node->append_conf('postgresql.conf', "shared_bufers = 1GB\nfraiseql_obs.slow_query_threshold = 1s");
$node->reload;
is_deeply(
	[ findings($node) ],
	[ 3, sprintf('error settings: line %d of "%s" is not in force: there is no setting shared_bufers, so that no change in these files is, and the server does not start', $lines + 1, $file) ],
	'one for which no other is in force');
cured($node, 'is mended');
is($node->safe_psql('postgres', 'SHOW fraiseql_obs.slow_query_threshold'), '1s', 'so that they are');

# what statements need to be counted and to have a text
breaks($node, $_->[0], $_->[1], "warning queries: $_->[2]")
  foreach
  [ 'ALTER SYSTEM SET fraiseql_obs.enabled = off', 0, 'fraiseql_obs.enabled is off: nothing is observed' ],
  [ 'ALTER DATABASE postgres SET fraiseql_obs.metrics_enabled = off', 0,
	'fraiseql_obs.metrics_enabled is off: statements and errors are not counted' ],
  [ 'ALTER ROLE CURRENT_USER SET compute_query_id = off', 0,
	'compute_query_id is off: all statements share a row of query_stats()' ],
  [ 'ALTER ROLE CURRENT_USER IN DATABASE postgres SET track_activities = off', 0,
	'track_activities is off: what connections do is not known' ],
  [ 'ALTER SYSTEM SET fraiseql_obs.track = "all"', 0,
	'pg_stat_statements.track is top, and fraiseql_obs.track all: texts are missing' ],
  [ 'DROP EXTENSION pg_stat_statements', 0,
	'extension pg_stat_statements is not created in database "postgres": query_stats() has no texts there' ];
breaks($node, q(ALTER SYSTEM SET shared_preload_libraries = 'fraiseql_obs'), 1,
	'warning queries: pg_stat_statements is not loaded: query_stats() has no texts');

# rights, of roles that want to be quoted
my $role = q("o'dd ""role"" $(touch hacked)");
$node->safe_psql('postgres', "CREATE ROLE $role LOGIN");
breaks($node, 'GRANT EXECUTE ON FUNCTION fraiseql_obs.reset_metrics TO PUBLIC', 0,
	'error privileges: everybody may EXECUTE FUNCTION fraiseql_obs.reset_metrics(text)');
breaks($node, 'GRANT SELECT ON fraiseql_obs.v_spans TO PUBLIC', 0,
	'error privileges: everybody may SELECT TABLE fraiseql_obs.v_spans');
breaks($node, "GRANT CREATE ON SCHEMA fraiseql_obs TO $role", 0,
	"error privileges: role $role may create objects in the schema of the extension");
breaks($node, 'REVOKE EXECUTE ON FUNCTION fraiseql_obs.health FROM pg_monitor', 0,
	'warning privileges: pg_monitor may not EXECUTE FUNCTION fraiseql_obs.health() any more');
breaks($node, 'REVOKE EXECUTE ON FUNCTION fraiseql_obs.inject_trace_context FROM PUBLIC', 0,
	'warning privileges: PUBLIC may not EXECUTE FUNCTION fraiseql_obs.inject_trace_context() any more');
$node->safe_psql('postgres', "GRANT USAGE ON SCHEMA fraiseql_obs TO PUBLIC; GRANT EXECUTE ON FUNCTION fraiseql_obs.metrics TO $role");
is_deeply([ findings($node) ], [0], 'what may be granted is no finding');

# a name of two lines is on one
$node->safe_psql('postgres', qq(CREATE ROLE "one\n  http: ok" LOGIN IN ROLE pg_monitor));
like((doctor($node))[1], qr/^  privileges: ok: metrics are read by superusers and "one   http: ok"\n  queries: /m, 'a name with a newline');
$node->safe_psql('postgres', qq(GRANT CREATE ON SCHEMA fraiseql_obs TO "one\n  http: ok"));
like((doctor($node))[1], qr/^  privileges: error: .*"one   http: ok".*\n      # it has a name with a line break, see --format json\n  \w+: /m, 'nor is a command with one shown');
$node->safe_psql('postgres', qq(DROP OWNED BY "one\n  http: ok"; DROP ROLE "one\n  http: ok"));

# the HTTP endpoint
SKIP:
{
	skip 'no module of the HTTP endpoint', 1 if !has_module($node, 'fraiseql_obs_http');
	my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "cannot listen: $!";
	my $port = $taken->sockport;

	breaks($node, "ALTER SYSTEM SET fraiseql_obs.http_port = $port", 0,
		"error http: the endpoint does not listen on port $port of 127.0.0.1: the port is taken, or module fraiseql_obs_http is not installed; the server log says which");
	like((doctor($node))[1], qr/^  http: ok: the endpoint listens on port @{[ $port + 1 ]} of 127\.0\.0\.1$/m, 'the next port');
	skip 'no OpenSSL', 1 if system('openssl version >/dev/null 2>&1') != 0;
	$port = free_port();
	breaks($node, "ALTER SYSTEM SET fraiseql_obs.http_port = $port; ALTER SYSTEM SET fraiseql_obs.http_listen_addresses = '0.0.0.0'", 0,
		'warning http: the endpoint asks for no token: whoever reaches 0.0.0.0 may read the metrics');
	my $token = $node->data_dir . q(/it's a "token");
	breaks($node, "ALTER SYSTEM SET fraiseql_obs.http_token_file = '@{[ $token =~ s/'/''/gr ]}'", 0,
		qq(error http: fraiseql_obs.http_token_file names "$token", which is not there, or empty));
	my $tls = $node->data_dir . '/tls';
	$node->safe_psql('postgres', "ALTER SYSTEM SET fraiseql_obs.http_tls_cert_file = '$tls.crt'");
	$node->reload;
	like(wait_for($node, qr/which is not there/), qr/^3
error http: fraiseql_obs\.http_tls_cert_file is set and fraiseql_obs\.http_tls_key_file is not, so that the endpoint goes on as before, or does not listen
error http: fraiseql_obs\.http_tls_cert_file names "\Q$tls\E\.crt", which is not there, or empty\z/, 'half of TLS');
	$node->safe_psql('postgres', "ALTER SYSTEM SET fraiseql_obs.http_tls_key_file = '$tls.key'");
	$node->reload;
	wait_for($node, qr/\A3\nerror http: fraiseql_obs.http_tls_cert_file names .*\nerror http: fraiseql_obs.http_tls_key_file names/);
	cured($node, 'TLS');
	$node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM RESET fraiseql_obs.http_port', 'SELECT pg_reload_conf()';
}

# spans that do not arrive
SKIP:
{
	skip 'no module of the sender', 1 if !has_module($node, 'fraiseql_obs_otlp');
	$node->safe_psql('postgres', $_)
	  foreach q(ALTER SYSTEM SET fraiseql_obs.otlp_endpoint = 'http://127.0.0.1:1'), 'SELECT pg_reload_conf()', 'SELECT pg_sleep(1)',
	  q(SELECT 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/);
	like(wait_for($node, qr/otlp/),
		qr/^3\nerror otlp: 0 spans were accepted and 0 refused, and \d+ wait; \d+ requests had no answer, and 0 none that was 2xx\z/,
		'nobody takes spans');
	is_deeply([ mending($node, 'otlp') ],
		[ q(shell curl -i -H 'Content-Type: application/json' -d '{"resourceSpans": []}' http://127.0.0.1:1/v1/traces) ], 'try it');
	$node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM RESET fraiseql_obs.otlp_endpoint', 'SELECT pg_reload_conf()';
	cured($node, 'spans are not sent');
}

# more than there is room for
$node->append_conf('postgresql.conf', 'fraiseql_obs.max_operations = 10');
$node->restart;
$node->safe_psql('postgres', join ';', map { op("operation$_", 'SELECT 1') } 1 .. 50);
like((findings($node))[1], qr/^warning capacity: there are too many operations: \d+ were counted as "other", and \d+ gave way$/, 'no room');
is((mending($node, 'capacity'))[0], q(sql ALTER SYSTEM SET fraiseql_obs.max_operations = '20';), 'make more');
cured($node, 'there is more');

# who may see less is told what was not looked at
{
	local $ENV{PGUSER} = 'watcher';
	$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN', extra_params => [ '-U', getpwuid($<) ]);
	my @hidden = ('some settings', 'configuration files', 'files that settings name');
	is_deeply([ findings($node) ],
		[ 4, sprintf 'warning access: not checked, as role "watcher" may not see it: %s', join ', ', 'what is measured', @hidden ],
		'a role without rights');
	$node->safe_psql('postgres', 'GRANT pg_monitor TO watcher', extra_params => [ '-U', getpwuid($<) ]);
	is_deeply([ findings($node) ],
		[ 4, sprintf 'warning access: not checked, as role "watcher" may not see it: %s', join ', ', @hidden[ 1, 2 ] ],
		'one that monitors');
	my ($command) = mending($node, 'access');
	is($command, sprintf('shell PGUSER=%s fraiseql-obs doctor -d postgres', scalar getpwuid($<)), 'who may see it');
}

# a standby, on which little can be mended
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('doctor_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
is_deeply([ findings($standby) ], [0], 'a standby');
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION fraiseql_obs.drain TO PUBLIC');
$node->wait_for_catchup($standby);
is_deeply(
	[ mending($standby, 'privileges') ],
	['sql REVOKE EXECUTE ON FUNCTION fraiseql_obs.drain(boolean) FROM PUBLIC; -- on the primary'],
	'what is to be done elsewhere');
$standby->stop;
cured($node, 'there');

# what is on the command line of the server only that changes
$node->stop;
is(system('pg_ctl', '-w', '-s', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-c fraiseql_obs.track=none', 'start'), 0, 'started');
is((mending($node, 'queries'))[0], 'shell # the command line of the server sets fraiseql_obs.track, which must be top', 'no command');
$node->_update_pid(1);
$node->stop;
$node->start;

# without the preloaded library, or without the extension
$node->safe_psql('postgres', 'CREATE DATABASE app');
is_deeply([ (doctor($node, '-d', 'app'))[0] ], [4], 'a database without the extension');
$node->append_conf('postgresql.conf', q(shared_preload_libraries = ''));
$node->safe_psql('postgres', 'ALTER SYSTEM RESET shared_preload_libraries');
$node->restart;
is_deeply([ findings($node) ],
	[ 3, 'error library: fraiseql_obs is not in shared_preload_libraries: nothing is observed' ], 'created, and not loaded');
cured($node, 'mended');
ok(!-e 'hacked', 'names are names');

# an update that is there, and the release that runs
SKIP:
{
	my $root = $node->safe_psql('postgres', q(SELECT coalesce(current_setting('extension_destdir', true), '')));
	skip 'this server finds extensions where it was installed alone', 1 if $root eq '';
	my $folder = PostgreSQL::Test::Utils::tempdir;
	chomp(my $share = `pg_config --sharedir`);

	is(system("cp -rs '$root/.' '$folder'"), 0, 'a copy of the extension');
	append_to_file("$folder$share/extension/fraiseql_obs--1.0--1.0.1.sql", "SELECT 1;\n");
	$node->append_conf('postgresql.conf', "extension_destdir = '$folder'");
	$node->reload;
	wait_for($node, qr/version/);
	is_deeply(
		[ findings($node) ],
		[
			4,
			'warning extension: the extension in database "postgres" has version 1.0, and version 1.0.1 is installed',
			'warning library: the server runs release 1.0.0, and version 1.0.1 is installed'
		],
		'a newer version');
	is_deeply([ mending($node, 'extension') ], [q(sql ALTER EXTENSION fraiseql_obs UPDATE TO '1.0.1';)], 'how to update');
	mend($node);
	is($node->safe_psql('postgres', q(SELECT extversion FROM pg_extension WHERE extname = 'fraiseql_obs')), '1.0.1', 'updated');
}

$node->stop;
like((doctor($node))[2], qr/no connection/, 'without a server');
done_testing();
