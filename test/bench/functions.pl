# functions.pl - where the instructions that fraiseql_obs adds are spent.
#
#   perl functions.pl DIRECTORY RUNS STATEMENTS NAME WORKLOAD
#
# Arguments as of overhead.pl.  Prints, for one server and one workload, the
# instructions per statement of each function of fraiseql_obs.so, including
# and excluding what it calls; those of a hook include the statement itself.

use strict;
use warnings;

my ($directory, $runs, $statements, $name, $workload) = @ARGV;

# Instructions by function of fraiseql_obs.so, over a backend's life
sub functions
{
	my ($pid, @options) = @_;
	my %count;

	open(my $in, '-|', 'callgrind_annotate', '--threshold=100', @options,
		"$directory/callgrind.$pid")
	  or die "callgrind_annotate: $!\n";
	while (my $line = <$in>)
	{
		next
		  unless $line =~ m{^\s*([\d,]+) .*:(\S+) \[.*/fraiseql_obs\.so\]$};
		my ($number, $function) = ($1, $2);

		$number =~ tr/,//d;
		$count{$function} += $number;
	}
	close($in) or die "callgrind_annotate failed\n";
	return \%count;
}

my ($short, $long);
open(my $in, '<', $runs) or die "$runs: $!\n";
while (<$in>)
{
	my @run = split;

	($short, $long) = @run[ 2, 3 ] if $run[0] eq $name && $run[1] eq $workload;
}

my @per_statement;
for my $options ([], ['--inclusive=yes'])
{
	my ($less, $more) = map { functions($_, @$options) } $short, $long;

	push @per_statement,
	  { map { $_ => ($more->{$_} - ($less->{$_} // 0)) / $statements }
		  keys %$more };
}

my ($self, $inclusive) = @per_statement;
printf "%12s %12s\n", 'inclusive', 'self';
for my $function (sort { $inclusive->{$b} <=> $inclusive->{$a} }
	keys %$inclusive)
{
	next if $inclusive->{$function} < 0.5;
	printf "%12.0f %12.0f  %s\n", $inclusive->{$function},
	  $self->{$function} // 0, $function;
}
