# The command line tool: what it prints, what it refuses and with which status,
# and that no value is ever run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use JSON::PP qw(decode_json);
use POSIX ();
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";
my $node = start_node('command_line');
my %server =
  (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');

# Status, output and errors of a call
sub call
{
	my @arguments = @_;
	my ($out, $err);

	local %ENV = (%ENV, %server);
	IPC::Run::run [ 'sh', $tool, @arguments ], '<', \undef, '>', \$out, '2>',
	  \$err;
	return ($? >> 8, $out, $err);
}

sub prints
{
	my ($name, @arguments) = @_;
	my ($status, $out, $err) = call(@arguments);

	is($status, 0, "$name: status") or diag($err);
	is($err, '', "$name: no error");
	return $out;
}

sub refuses
{
	my ($status_wanted, $message, @arguments) = @_;
	my ($status, $out, $err) = call(@arguments);
	my $name = "'" . join("' '", @arguments) . "'";

	is($status, $status_wanted, "$name: status");
	is($out, '', "$name: prints nothing");
	like($err, $message, "$name: message");
	is(scalar(() = $err =~ /\n/g), 1, "$name: one line") if $status_wanted == 2;
	return;
}

# Who may not read it is told what to grant.
$node->safe_psql('postgres', 'CREATE ROLE "No One" LOGIN');
refuses(1, qr/\AERROR:  role "No One" may not read what "$_->[0]" prints\nHINT:  .*: SELECT fraiseql_obs\.grant_audit_reader\('No One'\);\n\z/,
	@$_, '-d', "user='No One'")
  foreach ['recent-operations'], [qw(by-user u)], [qw(by-entity t i)], ['failures'], ['verify'], ['checkpoint'],
  [qw(report --from 2026-01-01 --to 2026-02-01)];

# without a log
refuses(1, qr/audit log does not exist\nHINT: .*create_audit_log/,
	'recent-operations');
refuses(1, qr/"fraiseql_obs" is not installed in database "app"\nHINT: /,
	'-d', 'app', 'recent-operations');

$node->safe_psql('postgres', q(SELECT fraiseql_obs.create_audit_log();));

my @hostile = (
	q('; DROP TABLE witness; --), q(\\'; DROP TABLE witness; --),
	q($$; DROP TABLE witness; $$), q(:'limit'), q(\! touch hacked),
	"line 1\n\\! touch hacked\nline 3", '--help', '-d', q("quoted", comma),
	'', '*', '$(touch hacked)', '`touch hacked`', "caf\x{c3}\x{a9}");
$node->safe_psql('postgres', 'CREATE TABLE witness ()');

is_deeply(decode_json(prints('empty list', qw(recent-operations --format json))),
	[], 'an empty list is an empty array');

$node->safe_psql(
	'postgres', q(
	SELECT fraiseql_obs.log_operation('create', 'order', '7', user_id => 'ann');
	SELECT fraiseql_obs.log_operation('update', 'order', '7', 'denied', user_id => 'bob');
	SELECT fraiseql_obs.log_operation('delete', 'order', '8', details => '{"a": "x,y"}')));

my $rows = decode_json(prints('json', qw(recent-operations --format json)));
is_deeply([ map { $_->{operation} } @$rows ],
	[qw(delete update create)], 'newest first');
is($rows->[0]{details}{a}, 'x,y', 'documents are documents');
ok(!exists $rows->[0]{personal_salt}, 'the salt is not shown');
is(scalar @{ decode_json(prints('limit', qw(--format=json --limit=2 recent-operations))) },
	2, 'as many as wanted; options before the command');
like(prints('table', 'recent-operations'), qr/\| delete +\|.*\(3 rows\)/s,
	'a table for people');
my $csv = prints('csv', qw(by-entity --format csv order 8));
like($csv, qr/\Aid,created_at,/, 'CSV has a heading');
like($csv, qr/,"\{""a"": ""x,y""\}",/, 'CSV quotes');
is(() = $csv =~ /\n/g, 2, 'a line for each row');
$rows = decode_json(prints('by-user', qw(by-user ann --format json)));
is_deeply([ map { $_->{operation} } @$rows ], ['create'], 'of a user');
$rows = decode_json(prints('failures', qw(failures --hours 1 --format json)));
is_deeply([ map { $_->{user_id} } @$rows ], ['bob'], 'what failed');

# metrics
like(prints('metrics', 'metrics'), qr/^# TYPE fraiseql_obs_/m, 'Prometheus');
like(prints('openmetrics', qw(metrics --format openmetrics)),
	qr/\n# EOF\n\z/, 'OpenMetrics ends as it must');
ok(decode_json(prints('json', qw(metrics --format json))), 'JSON');

# Values are values.
foreach my $value (@hostile)
{
	my $quoted = $value =~ s/'/''/gr;

	$node->safe_psql('postgres',
		"SET standard_conforming_strings = on;
		 SELECT fraiseql_obs.log_operation('hostile', '$quoted', '$quoted', user_id => '$quoted')")
	  if $value ne '';
	foreach my $list ([ '--', 'by-user', $value ], [ 'by-entity', '--', $value, $value ])
	{
		my $found = decode_json(prints("hostile $value", '--format=json', @$list));
		is(scalar @$found, $value eq '' ? 0 : 1, 'found as it is');
	}
}
is( $node->safe_psql('postgres', q(SELECT to_regclass('witness'))),
	'witness', 'nothing was run');
ok(!-e 'hacked', 'nor in the shell');

# What the user has set does not show.
{
	my $home = PostgreSQL::Test::Utils::tempdir;

	append_to_file("$home/psqlrc", "\\set ECHO all\n\\pset format html\n");
	local $ENV{PSQLRC} = "$home/psqlrc";
	local $ENV{PGOPTIONS} =
	  '-c datestyle=SQL,DMY -c search_path=nowhere -c standard_conforming_strings=off -c escape_string_warning=on -c bytea_output=escape';
	my $text = prints('settings', '--format=json', 'by-user', $hostile[1]);
	my $found = decode_json($text);
	is($found->[0]{user_id}, $hostile[1], 'one row, whatever the settings');
	like(prints('settings', qw(by-user ann --format csv)),
		qr/\n\d+,\d{4}-\d\d-\d\d \d\d:/, 'times are as ever');
}

# the compliance report, in all its forms
my @period = ('report', '--from', '2026-01-01', '--to', '2026-02-01');
my $report = decode_json(prints('report as json', @period, qw(--format json --profile pci)));
is($report->{period}{days}, 31, 'the period');
is($report->{report}{profile}, 'pci', 'the profile');
like(prints('report', @period), qr/\ACOMPLIANCE REPORT\n=+\n.*Notes\n-+\n/s, 'as text');
like(prints('report as csv', @period, qw(--format csv)),
	qr/\Asection,item,measure,value\r\nReport,Database,value,postgres\r\n/, 'as csv');
like(prints('report as html', @period, qw(--format=html)),
	qr/\A<!DOCTYPE html>\n.*<\/html>\n\z/s, 'as html');
{
	local $ENV{PGCLIENTENCODING} = 'LATIN1';
	my @days = map { POSIX::strftime('%Y-%m-%d', localtime(time + $_ * 86400)) } -1, 2;

	like(prints('encoding', 'report', '--from', $days[0], '--to', $days[1], '--format', 'html'),
		qr/caf\xc3\xa9/, 'in UTF-8, as it says');
}
refuses(2, qr/--profile must be default, .*, and not "a'b"/, @period, '--profile', "a'b");
refuses(2, qr/--to "2026-01-01" is not after --from "2026-0[12]-01"/, 'report', '--from', $_, '--to', '2026-01-01')
  foreach '2026-02-01', '2026-01-01';

# To a file: all or nothing
my $folder = PostgreSQL::Test::Utils::tempdir;
prints('file', '--output', "$folder/a b.json", qw(by-user ann --format json));
is((stat "$folder/a b.json")[2] & oct 777, oct(666) & ~umask, 'a file as the umask says');
is(decode_json(slurp_file("$folder/a b.json"))->[0]{user_id}, 'ann', 'written');
refuses(1, qr/does not exist/, qw(-d nowhere metrics -o), "$folder/a b.json");
is(decode_json(slurp_file("$folder/a b.json"))->[0]{user_id},
	'ann', 'a failure leaves the file as it was');
is_deeply([ map { s{.*/}{}r } glob("'$folder'/*") ],
	['a b.json'], 'and nothing beside it');
refuses(1, qr/^fraiseql-obs: cannot write.*\n\z/, 'metrics', '-o', "$folder/none/file");
refuses(2, qr/is not a file/, 'metrics', '-o', $folder);

# wrong arguments
refuses(2, qr/no command/);
refuses(2, qr/unknown command "drop"/, 'drop');
refuses(2, qr/unknown option "--nonsense"/, qw(metrics --nonsense));
refuses(2, qr/unknown option "--nonsense"/, qw(metrics --nonsense=1));
refuses(2, qr/--limit needs a value/, qw(recent-operations --limit));
refuses(2, qr/--limit must be a number from 0 to 999999999, and not "-1"/,
	qw(recent-operations --limit -1));
refuses(2, qr/--limit must be a number/,
	qw(recent-operations --limit=1;DROP));
refuses(2, qr/--limit must be a number/,
	qw(recent-operations --limit 99999999999));
refuses(2, qr/--hours must be a number from 0 to 1000000, and not "$_"/, qw(failures --hours), $_)
  foreach 'x', '1000001';
refuses(2, qr/by-user has no option --hours/, qw(by-user a --hours 1));
refuses(2, qr/metrics has no option --limit/, qw(metrics --limit 1));
refuses(2, qr/--format must be table, json or csv, and not "html"/,
	qw(recent-operations --format html));
refuses(2, qr/--format must be prometheus/, qw(metrics --format csv));
refuses(2, qr/takes one argument, USER/, 'by-user');
refuses(2, qr/takes two arguments/, qw(by-entity order));
refuses(2, qr/takes no argument "x"/, qw(failures x));
refuses(2, qr/--verify takes no value/, @period, '--verify=no');
refuses(2, qr/report needs --from/, 'report');
refuses(2, qr/report needs --to/, qw(report --from 2026-01-01));
refuses(2, qr/--to must be a date as .*, and not "$_"/, qw(report --from 2026-01-01 --to), $_)
  foreach 'soon', '2026-13-27', '2026-00-01', '2026-02-30', '2026-04-31', '2027-02-29', '2100-02-29', '2026-01-00', '2026-01-32', '2026-01-1', '2026-01-011', '0000-01-01';
prints('a leap day', qw(report --to 2028-03-01 --from 2028-02-29));
prints('of a century', qw(report --to 2000-03-01 --from), '2000-02-29');

# help
like(prints("help $_->[1]", split / /, $_->[0]), qr/\AUsage: fraiseql-obs $_->[1]/, $_->[0])
  foreach [ 'help', 'COMMAND' ], [ 'help by-user', 'by-user' ], [ 'by-user --help', 'by-user' ];
refuses(2, qr/unknown command "nonsense"/, qw(help nonsense));
refuses(2, qr/--format must be text, json, csv or html/,
	qw(report --from 2026-01-01 --to 2026-02-01 --format pdf));
refuses(2, qr/report has no option --limit/,
	qw(report --from 2026-01-01 --to 2026-02-01 --limit 1));
refuses(2, qr/metrics has no option --profile/, qw(metrics --profile soc2));

# help and version
foreach my $command ('', qw(recent-operations by-user by-entity failures report metrics))
{
	like(prints("help $command", grep({ $_ ne '' } $command), '--help'),
		qr/\AUsage: fraiseql-obs \Q$command\E.*PGHOST/s, "help $command");
}
my $meta = decode_json(slurp_file("$FindBin::RealBin/../../META.json"));
is(prints('version', '--version'), "fraiseql-obs $meta->{version}\n",
	'the version is that of the release');

# without a server
# UTF-8, whatever the client's encoding is
$node->safe_psql('postgres', q(SELECT fraiseql_obs.log_operation('encoded', user_id => 'caf' || chr(233))));
$server{PGCLIENTENCODING} = 'LATIN1';
is(decode_json(prints('encoding', qw(recent-operations --limit 1 --format json)))->[0]{user_id},
	"caf\x{e9}", 'in UTF-8');

$node->stop;
refuses(1, qr/no connection; name the server with PGHOST/, 'metrics');
done_testing();
