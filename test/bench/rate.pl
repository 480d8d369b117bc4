# rate.pl - the table and the verdict of dev/bench app-metrics.
#
#   perl rate.pl BAR TITLE FILE
#
# FILE has a line per round: nanoseconds per call of a function that does
# nothing, of the same once more, and of ours, and then the processor time of
# the backends in the same order.  BAR is the least that the rate of ours may be
# of that of the first.
#
# A ratio is taken within a round, so what disturbs the machine disturbs both
# its sides; the verdict is about the median of these ratios.  Its interval
# holds 95 % of what the same calculation gives for rounds drawn from the
# measured ones with replacement (the bootstrap, with a fixed seed).  Exits with
# 0 if the whole interval is above the bar, 1 if below, 3 if it contains it.

use strict;
use warnings;

use constant RESAMPLES => 1000;

my ($bar, $title, $file) = @ARGV;

my @rounds;
open(my $in, '<', $file) or die "$file: $!\n";
while (my $line = <$in>)
{
	push @rounds, [ split ' ', $line ];
}
die "too few rounds\n" if @rounds < 20;

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

sub part
{
	my ($share, @values) = @_;
	my @sorted = sort { $a <=> $b } @values;

	return $sorted[ $share * $#sorted ];
}

# Prints a line about the ratios of two columns; returns the interval
sub compare
{
	my ($what, $first, $other) = @_;
	my @ratios = map { $_->[$first] / $_->[$other] } @rounds;
	my @medians = map {
		median(map { $ratios[ rand @ratios ] } @ratios)
	} 1 .. RESAMPLES;
	my @interval = (part(0.025, @medians), part(0.975, @medians));

	printf "  %-44s%.3f (%.3f .. %.3f), half of the rounds %.3f .. %.3f\n",
	  $what, median(@ratios), @interval, part(0.25, @ratios),
	  part(0.75, @ratios);
	return @interval;
}

srand(1);
printf "\n%s\n  a call that does nothing takes %.0f ns, this %.0f ns; medians of %d rounds\n",
  $title, median(map { $_->[0] } @rounds), median(map { $_->[2] } @rounds),
  scalar @rounds;
compare('rate of what does nothing, of itself', 0, 1);
compare('of the same, by processor time', 3, 5);
my ($low, $high) = compare('rate, of what does nothing', 0, 2);
my ($word, $status) =
    $low >= $bar ? ('met', 0)
  : $high < $bar ? ('MISSED', 1)
  : ('UNDECIDED (try more rounds, or a machine with less to do)', 3);
printf "%s: at least %s of the rate\n", $word, $bar;
exit $status;
