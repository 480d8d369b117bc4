# Metrics without a port: what the example's service writes is taken by a real
# node_exporter as it is, and is not half of it when the server goes.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run ();
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PrometheusTest;
use Test::More;
use Time::HiRes qw(sleep time);

my ($exporter) = grep { -x $_ } map { ("$_/prometheus-node-exporter", "$_/node_exporter") } split /:/, $ENV{PATH};
plan skip_all => 'no node_exporter here' if !defined $exporter;

my $root = "$FindBin::RealBin/../..";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $file = "$folder/fraiseql_obs.prom";
my %unit = map { $_ => slurp_file("$root/examples/textfile/fraiseql-obs-textfile.$_") } 'service', 'timer';

my $node = start_node('textfile');
$node->safe_psql('postgres', 'CREATE ROLE prometheus LOGIN; GRANT pg_monitor TO prometheus');
$node->safe_psql('app', q(SET fraiseql_obs.operation_name = E'a"b\\\\c\nd'; SELECT 1));
$node->safe_psql('postgres', q(SELECT fraiseql_obs.gauge_set('queue_depth', 17, '{"queue": "mail"}')));

# What the service runs, here
my ($command) = $unit{service} =~ /^ExecStart=(.*)$/m;
my ($umask) = $unit{service} =~ /^UMask=(\d+)$/m;
my @environment = map { split /=/ } split / /, ($unit{service} =~ /^Environment=(.*)$/m)[0];
my ($target) = $command =~ /--output (\S+)$/;
is($target =~ s{/[^/]*$}{}r, ($unit{service} =~ /^ReadWritePaths=(.*)$/m)[0], 'where the service may write');
$command =~ s{^/\S+/fraiseql-obs }{$root/bin/fraiseql-obs } or die 'no command';
$command =~ s{\Q$target\E}{$file};

sub write_metrics
{
	my ($err);
	my $umask_before = umask oct $umask;

	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'prometheus', @environment);
	IPC::Run::run [ 'sh', split / /, $command ], '<', \undef, '2>', \$err;
	my $status = $? >> 8;
	umask $umask_before;
	return ($status, $err);
}

is(join('', write_metrics()), '0', 'the service writes');
is(sprintf('%04o', (stat $file)[2] & oct 7777), '0640', 'for node_exporter alone');

# All of node_exporter, so that nothing is called as something of its own
my $port = free_port();
my ($out, $err) = ('', '');
my $process = IPC::Run::start [ $exporter, "--collector.textfile.directory=$folder", "--web.listen-address=127.0.0.1:$port", '--log.level=warn' ],
  '>', \$out, '2>', \$err;
wait_for_status($port, '/', 200);

# Its samples by their names and labels
sub scrape
{
	my $answer = get($port, '/metrics');

	$process->pump_nb;
	is($answer->{status}, 200, 'node_exporter answers');
	my $body = $answer->{body};
	$body = PrometheusTest::join_chunks($body) if $body =~ /\A[0-9a-f]+\r\n/;
	return samples($body);
}

sub samples
{
	my ($text) = @_;
	my %samples;

	foreach (split /\n/, $text)
	{
		my ($name, $labels, $value) = /^(\w+)(?:\{(.*)\})? (\S+)$/ or next;

		$samples{ join ' ', $name, sort(($labels // '') =~ /(\w+="(?:[^"\\]|\\.)*")/g) } = $value;
	}
	return %samples;
}

my %written = samples(slurp_file($file));
my %taken = scrape();
is($taken{node_textfile_scrape_error}, '0', 'without an error');
is(join('', grep { /textfile|metric|fraiseql/ } split /^/, $err), '', 'or a word');
is(0 + $taken{qq(node_textfile_mtime_seconds file="$file")}, (stat $file)[9], 'it says when the file was written');
cmp_ok(scalar keys %written, '>', 200, 'samples');

# Numbers are written in its own way, those of bounds, too.
sub plain { return join ' ', map { /^le="([\d.]+)"$/ ? 'le="' . (0 + $1) . '"' : $_ } split / (?=\w+=")/, shift; }
my %known = map { plain($_) => $taken{$_} } keys %taken;
is_deeply([ grep { !defined $known{ plain($_) } || $known{ plain($_) } != $written{$_} } sort keys %written ], [], 'all as they were written');
is($taken{'fraiseql_obs_operation_errors_total operation="a\\"b\\\\c d"'}, '0', 'a label as it was');
is($taken{'queue_depth queue="mail"'}, '17', 'and what the application keeps');

# Again, over the old file
utime 1000, 1000, $file;
$node->safe_psql('postgres', q(SELECT fraiseql_obs.gauge_set('queue_depth', 18, '{"queue": "mail"}')));
is(join('', write_metrics()), '0', 'written again');
%taken = scrape();
is($taken{'queue_depth queue="mail"'}, '18', 'it is replaced');

# Without a server: the old file, whole, and its age to be seen
$node->stop;
utime 1000, 1000, $file;
my $before = slurp_file($file);
my ($status, $said) = write_metrics();
is($status, 1, 'no server: the service fails');
like($said, qr/no connection/, 'and says why');
is(slurp_file($file), $before, 'the file stays');
is_deeply([ glob("$folder/*") ], [$file], 'and is alone');
%taken = scrape();
is($taken{node_textfile_scrape_error}, '0', 'which is no error');
is(0 + $taken{qq(node_textfile_mtime_seconds file="$file")}, 1000, 'but is old');
my ($selector) = slurp_file("$root/dashboards/rules.yml") =~ /node_textfile_mtime_seconds\{file=~"(.*)"\}/;
$selector =~ s/\\\\/\\/g;
like($target, qr/^$selector$/, 'as the alert wants it');
$process->signal('TERM');
$process->finish;

# The units, by systemd
SKIP:
{
	my ($analyze) = grep { -x $_ } map { "$_/systemd-analyze" } split /:/, $ENV{PATH};
	skip 'no systemd here', 2 if !defined $analyze;
	$unit{service} =~ s{^ExecStart=/\S+}{ExecStart=/bin/sh}m;
	append_to_file("$folder/fraiseql-obs-textfile.$_", $unit{$_}) foreach keys %unit;
	IPC::Run::run [ $analyze, 'verify', map { "$folder/fraiseql-obs-textfile.$_" } 'service', 'timer' ], '>&', \$said;
	is($said, '', 'systemd takes the units');
	my ($calendar) = $unit{timer} =~ /^OnCalendar=(.*)$/m;
	IPC::Run::run [ $analyze, 'calendar', '--iterations=2', $calendar ], '>', \$said;
	my @seconds = $said =~ /:(\d\d) UTC$/mg;
	ok(@seconds >= 2, 'and the calendar') or diag($said);
}

done_testing();
