# fraiseql-obs top --watch: what it counts under load between two looks, what it
# does to a terminal and not to a file, and how it ends and goes on.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use CommandTest;
use IPC::Run;
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Where the tests run in the background nobody heeds it, and no shell would.
$SIG{INT} = 'DEFAULT';

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";
my $node = start_node('command_line_watch');
$node->command_ok([ 'pgbench', '-i', '-q', 'app' ], 'tables for load');

# Starts it with its output, errors included, to be read
sub watch
{
	my ($out, @arguments) = @_;
	local %ENV = environment($node);
	$$out = '';
	return IPC::Run::start([ 'sh', $tool, 'top', '--watch', '1', @arguments ],
		'<', \undef, '>', $out, '2>&1', IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

# Waits until what it has printed has so many of this.
sub wait_for
{
	my ($run, $out, $wanted, $times) = @_;
	my $seen = 0;
	$run->pump while ($seen = () = $$out =~ /$wanted/g) < ($times // 1) && $run->pumpable;
	return cmp_ok($seen, '>=', $times // 1, "it prints $wanted") || diag($$out);
}

# Waits for so many more looks of the CSV or JSON printed.
sub wait_for_looks
{
	my ($run, $out, $more) = @_;
	my $looks = sub {
		my %at = map { $_ => 1 } $$out =~ /^(?:\d|\[\{"at":")(\S+ ?\S+?)[,"]/mg;
		return scalar keys %at;
	};
	my $wanted = $looks->() + $more;
	$run->pump while $looks->() < $wanted && $run->pumpable;
	return cmp_ok($looks->(), '>=', $wanted, 'it looks again');
}

sub sessions
{
	return $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fraiseql-obs'));
}

sub is_gone
{
	my ($name) = @_;
	ok( $node->poll_query_until('postgres',
			q(SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'fraiseql-obs')),
		"$name: no session stays");
	return;
}

# All JSON documents of a text
sub documents
{
	my ($text) = @_;
	my $json = JSON::PP->new;
	my @documents;
	$json->incr_parse($text);
	while (my $document = $json->incr_parse) { push @documents, $document; }
	return @documents;
}

# Calls between two looks, and nothing but calls
my ($out, $run);
$node->safe_psql('app', 'SELECT 1 AS seven');
$run = watch(\$out, '--format', 'json', '--limit', '1000');
wait_for($run, \$out, qr/"interval_s":0/);
is(sessions(), 1, 'it looks by one session');
$node->safe_psql('app', join ';', ('SELECT 1 AS seven') x 7);
$node->psql('app', 'SELECT 1 / 0');
wait_for_looks($run, \$out, 3);
$run->signal('INT');
$run->finish;
is($run->full_result(0), 0, 'SIGINT ends it, and all is well');
is_gone('SIGINT');
my (%calls, %errors, @seconds);
foreach my $look (documents($out))
{
	push @seconds, $look->[0]{interval_s};
	foreach my $row (@$look)
	{
		next if !defined $row->{interval_s};
		$calls{ $row->{query} // $row->{queryid} } += $row->{interval_calls};
		$errors{ $row->{datname} // '' } += $row->{interval_errors};
	}
}
is($calls{'SELECT $1 AS seven'}, 7, 'calls between looks');
is($errors{app}, 1, 'and errors');
ok(!defined $seconds[0] && !grep({ $_ < 0.5 } @seconds[ 2 .. $#seconds ]), 'the first look has none, and others are a second apart');

# What was reset between two looks is counted from nothing, were it called since
# or not.
$run = watch(\$out, '--format', 'csv', '--limit', '1000');
wait_for_looks($run, \$out, 2);
reset_counts($node);
$node->safe_psql('app', 'SELECT 1 AS seven');
wait_for_looks($run, \$out, 3);
$run->signal('TERM');
$run->finish;
is($run->full_result(0) >> 8, 143, 'SIGTERM ends it');
is_gone('SIGTERM');
is(() = $out =~ /^at,interval_s,/mg, 1, 'CSV has one heading');
unlike($out, qr/^[^,\n]*,[^,\n]*,(?:\d*,)*-\d/m, 'no figure is below 0');

# Under load, to a file
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-T', '60', '-h', $node->host, '-p', $node->port, 'app' ], '>', \my $ignored, '2>&1');
{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=on';
	$run = watch(\$out, '--limit', '3');
	wait_for($run, \$out, qr/calls\/s/, 3);
}
like($out, qr/\A\d{4}-\d\d-\d\d \S+: totals; times in ms\n load \| calls_per_s \| calls /, 'at first totals');
like($out,
	qr/^\d{4}-\d\d-\d\d \S+: \d+\.\d calls\/s, \d+\.\d errors\/s, load \d+\.\d\d in the last \d+\.\d s; times in ms\n load .*\n-.*\n +\d+\.\d\d \| +[1-9]\d*\.\d \| +\d+ \| .*\| (?:UPDATE|INSERT|SELECT) .*\n/m,
	'then what the load does');
unlike($out, qr/\e/, 'a file is not cleared');

# A connection that is lost, and a server that is away
$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fraiseql-obs'));
wait_for($run, \$out, qr/interrupted; trying again every 1 s\n/);
wait_for($run, \$out, qr/: totals/, 2);
$out = '';
$node->stop('immediate');
wait_for($run, \$out, qr/interrupted; trying again every 1 s\n/, 2);
$load->finish;
$node->start;
wait_for($run, \$out, qr/: totals/);
$out = '';
wait_for($run, \$out, qr/calls\/s/);
$run->signal('INT');
$run->finish;
is($run->full_result(0), 0, 'it goes on until it is told not to');

# At a terminal
$load = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-T', '60', '-h', $node->host, '-p', $node->port, 'app' ], '>', \$ignored, '2>&1');
my $in = '';
$run = start_at_terminal($node, 130, 12, \$in, \$out, 'top', '--watch', '1');
wait_for($run, \$out, qr/\e\[H/, 3);
$in = "\x03";
$run->finish;
is($run->full_result(0), 0, 'Ctrl-C ends it');
is_gone('Ctrl-C');
my (undef, @screens) = split /\e\[H\e\[\?7l/, $out;
is(raw_controls($screens[1] =~ s/\e\[K\r\n|\e\[J\e\[\?7h.*//gsr), '', 'screens are drawn over each other, and are text');
is(() = $screens[1] =~ /\n/g, 11, 'within the lines of the terminal');
is_deeply([ grep { length > 130 } map { s/\e.*//sr } split /\r\n/, $screens[1] ], [], 'and its columns');
like($screens[1], qr/\e\[J\e\[\?7h/, 'what was below is cleared, and lines wrap again');
$load->signal('TERM');
$load->finish;

# What ends at once
my $begin = time;
{
	local %ENV = (environment($node), PGPORT => 1);
	my $status = system("sh '$tool' top --watch 60 >/dev/null 2>&1");
	is($status >> 8, 1, 'without a server');
	$ENV{PGPORT} = $node->port;
	$status = system("sh '$tool' top --watch 60 -d dbname=app >/dev/null 2>&1");
	is($status >> 8, 1, 'without the extension');
	system("sh '$tool' top --watch 1 | head -n 1 >/dev/null");
}
cmp_ok(time - $begin, '<', 30, 'nobody waits for a look that cannot be');
is_gone('a pipe that is closed');

$node->stop;
done_testing();
