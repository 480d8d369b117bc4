# overhead.pl - the table and the verdict of dev/bench overhead.
#
#   perl overhead.pl DIRECTORY RUNS STATEMENTS BAR
#
# RUNS has lines "NAME WORKLOAD SHORT LONG": the process ids of two backends
# whose files callgrind.PID stand in DIRECTORY and of which the second ran
# STATEMENTS more statements.  Exits with 1 if fraiseql_obs adds more than BAR
# of what pg_stat_statements adds.

use strict;
use warnings;

my ($directory, $runs, $statements, $bar) = @ARGV;

my @workloads = (
	[ select => 'pgbench -S, prepared' ],
	[ nested => 'nested in PL/pgSQL' ],
	[ one => 'SELECT 1, simple' ]);
my @added = (
	[ bare_again => 'bare again' ],
	[ pg_stat_statements => 'pg_stat_statements' ],
	[ fraiseql_obs => 'fraiseql_obs' ],
	[ with_operation => '  with an operation named' ],
	[ sampled => '  and with its trace sampled' ],
	[ both => 'both' ]);
my %barred = (select => 1, nested => 1);

# What sampling a statement adds to one that is not sampled, in pg_tracing 1.0
# (PostgreSQL 15, by the same workloads); for ours it is to be a tenth of that.
my %pg_tracing = (
	select => 39_501 - 409, nested => 9_491 - 265, one => 29_048 - 1_858);
my $sampled_bar = 0.1;

# Instructions that a backend ran in its life
sub total
{
	my $file = "$directory/callgrind.$_[0]";

	open(my $in, '<', $file) or die "$file: $!\n";
	while (<$in>)
	{
		return $1 if /^(?:summary|totals): (\d+)/;
	}
	die "$file is not complete\n";
}

sub mean
{
	my $sum = 0;

	$sum += $_ for @_;
	return $sum / @_;
}

my %differences;
open(my $in, '<', $runs) or die "$runs: $!\n";
while (<$in>)
{
	my ($name, $workload, $short, $long) = split;

	push @{ $differences{$workload}{$name} },
	  (total($long) - total($short)) / $statements;
}

# Adds thousands' separators
sub number
{
	my $text = sprintf($_[1] // '%.0f', $_[0]);

	1 while $text =~ s/^([-+]?\d+)(\d{3})/$1,$2/;
	return $text;
}

sub row
{
	my ($title, @cells) = @_;

	printf "%-36s%s\n", $title, join('', map { sprintf '%22s', $_ } @cells);
}

my %count;
for my $workload (map { $_->[0] } @workloads)
{
	my $by_name = $differences{$workload};

	$count{$workload}{$_} = mean(@{ $by_name->{$_} }) for keys %$by_name;
}

sub added
{
	my ($workload, $name) = @_;

	return $count{$workload}{$name} - $count{$workload}{bare};
}

sub ratio
{
	my ($workload, $name) = @_;

	return added($workload, $name) / added($workload, 'pg_stat_statements');
}

row('', map { $_->[1] } @workloads);
row('bare', map { number($count{ $_->[0] }{bare}) } @workloads);
print "added to it by\n";
for my $line (@added)
{
	my ($name, $title) = @$line;

	row("  $title", map { number(added($_->[0], $name), '%+.0f') } @workloads);
}
print "as a part of what pg_stat_statements adds\n";
for my $line (@added[ 2 .. 3 ])
{
	my ($name, $title) = @$line;

	row("  $title", map { sprintf '%.3f', ratio($_->[0], $name) } @workloads);
}

my $missed = 0;
for my $workload (grep { $barred{ $_->[0] } } @workloads)
{
	for my $line (@added[ 2 .. 3 ])
	{
		my ($name, $title) = @$line;
		my $ratio = ratio($workload->[0], $name);
		my $met = $ratio <= $bar;

		$title =~ s/^  /fraiseql_obs /;
		printf "%s: %s, %s: %.3f, at most %s\n", $met ? 'met' : 'MISSED',
		  $title, $workload->[1], $ratio, $bar;
		$missed = 1 unless $met;
	}
}
for my $workload (@workloads)
{
	my ($name, $title) = @$workload;
	my $sampling = added($name, 'sampled') - added($name, 'with_operation');
	my $ratio = $sampling / $pg_tracing{$name};
	my $met = $ratio <= $sampled_bar;

	printf "%s: sampling, %s: %s instructions, %.3f of what it takes pg_tracing, at most %s\n",
	  $met ? 'met' : 'MISSED', $title, number($sampling), $ratio,
	  $sampled_bar;
	$missed = 1 unless $met;
}
exit $missed;
