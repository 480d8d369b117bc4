# fraiseql-obs top, with --watch and without it, at terminals of all widths: the
# query is seen, and of the other columns what there is room for.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use CommandTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Where the tests run in the background nobody heeds it, and no shell would.
$SIG{INT} = 'DEFAULT';

my $node = start_node('command_line_narrow');
$node->safe_psql('app', 'SELECT 1 AS ' . join('', 'a' .. 'z') . ', pg_sleep(0.5)');

my %others = (
	200 => [qw(load calls_per_s calls errors total_exec_time p95_exec_time datname usename)],
	125 => [qw(load calls_per_s calls errors total_exec_time p95_exec_time datname usename)],
	124 => [qw(load calls_per_s calls errors total_exec_time p95_exec_time datname)],
	100 => [qw(load calls_per_s calls errors total_exec_time datname)],
	80 => [qw(load calls_per_s total_exec_time datname)],
	60 => [qw(load calls_per_s)],
	40 => [qw(load)],
	20 => [qw(load)]);
foreach my $width (sort { $b <=> $a } keys %others)
{
	my ($in, $out) = ('', '');
	my $run = start_at_terminal($node, $width, 24, \$in, \$out, 'top', '--watch', '1');

	$run->pump while (() = $out =~ /\e\[H/g) < 2 && $run->pumpable;
	$in = "\x03";
	$run->finish;
	is($run->full_result(0), 0, "$width columns: ended");
	my @lines = map { s/\e.*//sr } split /\r\n/, (split /\e\[H\e\[\?7l/, $out)[1];
	is_deeply([ split /[ |]+/, $lines[1] =~ s/^ +//r ], [ @{ $others{$width} }, 'query' ], 'the columns');
	my ($seen) = map { /^.*\| (SELECT \$1 AS a.*)/ } @lines;
	cmp_ok(length $seen, '>=', 20, 'and 20 of the query') if ok(defined $seen, 'the query is there') || diag($out);
	is_deeply([ grep { length > $width } @lines[ 1 .. $#lines ] ], [], 'within the terminal') if $width >= 40;
}

%others = (
	200 => [qw(calls errors total_exec_time percent p95_exec_time datname usename)],
	111 => [qw(calls errors total_exec_time percent p95_exec_time datname usename)],
	110 => [qw(calls errors total_exec_time percent p95_exec_time datname)],
	80 => [qw(calls total_exec_time percent datname)],
	60 => [qw(total_exec_time percent)],
	40 => [qw(total_exec_time)]);
foreach my $width (sort { $b <=> $a } keys %others)
{
	my @lines = split /\n/, at_terminal($node, $width, 'top', '--limit', '5');

	is_deeply([ split /[ |]+/, $lines[1] =~ s/^ +//r ], [ @{ $others{$width} }, 'query' ], "$width columns without --watch");
	my ($seen) = map { /^.*\| (SELECT \$1 AS a.*)/ } @lines;
	cmp_ok(length $seen, '>=', 20, 'and 20 of the query') if ok(defined $seen, 'the query is there') || diag(@lines);
	is_deeply([ grep { length > $width } @lines[ 1 .. $#lines ] ], [], 'within the terminal');
}
$node->stop;
done_testing();
