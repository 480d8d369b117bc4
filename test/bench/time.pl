# time.pl - the table and the verdict of one workload of dev/bench time.
#
#   perl time.pl BAR TITLE FILE
#
# FILE has a line per round: nanoseconds per statement on a bare server, a
# second bare server, one with pg_stat_statements and one with fraiseql_obs,
# and then the processor time of their backends in the same order.  BAR is
# the most that fraiseql_obs may add, as a part of what pg_stat_statements
# adds.
#
# Only differences within a round are looked at: what disturbs the machine
# disturbs neighbouring blocks alike.  What a server adds is the median of
# these differences.  Intervals hold 95 % of what the same calculation gives
# for rounds drawn from the measured ones with replacement (the bootstrap,
# with a fixed seed).
#
# The verdict is about what fraiseql_obs adds less BAR times what
# pg_stat_statements adds.  It is met, or missed, only if the whole interval
# says so: exits with 0 if met, 1 if missed, 3 if the interval contains 0.

use strict;
use warnings;

use constant {
	BARE => 0,
	BARE_AGAIN => 1,
	PG_STAT_STATEMENTS => 2,
	FRAISEQL_OBS => 3,
	PROCESSOR => 4,				# first column of processor time
	RESAMPLES => 1000,
};

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

# What each server adds to the first, as a median over the rounds; $first is
# BARE or PROCESSOR
sub added
{
	my ($first, @drawn) = @_;

	return map {
		my $server = $first + $_;

		median(map { $_->[$server] - $_->[$first] } @drawn);
	} BARE, BARE_AGAIN, PG_STAT_STATEMENTS, FRAISEQL_OBS;
}

sub excess
{
	my (@added) = @_;

	return $added[FRAISEQL_OBS] - $bar * $added[PG_STAT_STATEMENTS];
}

sub interval
{
	my @sorted = sort { $a <=> $b } @_;

	return @sorted[ 0.025 * @sorted, 0.975 * @sorted ];
}

# Prints one table; returns the interval of the excess
sub table
{
	my ($what, $first) = @_;
	my $bare = median(map { $_->[$first] } @rounds);
	my @added = added($first, @rounds);
	my @resamples = map {
		[ added($first, map { $rounds[ rand @rounds ] } @rounds) ]
	} 1 .. RESAMPLES;

	printf "  %s\n    %-20s%8.0f\n", $what, 'bare', $bare;
	for my $line ([ 'bare again', BARE_AGAIN ],
		[ 'pg_stat_statements', PG_STAT_STATEMENTS ],
		[ 'fraiseql_obs', FRAISEQL_OBS ])
	{
		my ($name, $server) = @$line;

		printf "    %-20s%+8.0f (%+.0f .. %+.0f), x %.3f\n", $name,
		  $added[$server], interval(map { $_->[$server] } @resamples),
		  1 + $added[$server] / $bare;
	}
	printf "    fraiseql_obs adds %.2f of what pg_stat_statements adds\n",
	  $added[FRAISEQL_OBS] / $added[PG_STAT_STATEMENTS];
	my ($low, $high) = interval(map { excess(@$_) } @resamples);
	printf "    against the bar of %s: %+.0f (%+.0f .. %+.0f)\n", $bar,
	  excess(@added), $low, $high;
	return ($low, $high);
}

srand(1);
printf "\n%s: ns per statement, medians of %d rounds (95 %% intervals)\n",
  $title, scalar(@rounds);
table("processor time of the backends", PROCESSOR);
my ($low, $high) = table("elapsed", BARE);
my ($word, $status) =
    $high <= 0 ? ('met', 0)
  : $low > 0 ? ('MISSED', 1)
  : ('UNDECIDED (try more rounds, or a machine with less to do)', 3);
printf "%s: at most %s of pg_stat_statements' elapsed time\n", $word, $bar;
exit $status;
