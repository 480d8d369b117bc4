#!/usr/bin/env python3
# ratio.py - judges pairs of rates against a bar.
#
#   ratio.py BAR WHAT <PAIRS
#
# Each line of PAIRS has a rate with and one without what is judged.  Prints the
# median of their ratios with its 95 % interval, by bootstrap.  The exit status
# is 0 if the bar is met for sure, 1 if it is missed for sure, else 3.

import random
import statistics
import sys

bar, what = float(sys.argv[1]), sys.argv[2]
ratios = [float(a) / float(b) for a, b in (line.split() for line in sys.stdin)]
generator = random.Random(4711)
medians = sorted(
    statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(2000)
)
low, high = medians[50], medians[-51]
word, status = "undecided", 3
if low >= bar:
    word, status = "met", 0
elif high < bar:
    word, status = "MISSED", 1
print(
    f"{word}: {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f}) of {what}, at least {bar}"
)
sys.exit(status)
