# test/exposition_check finds each fault that it is there to find, and nothing
# in text that has none.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run);
use Test::More;

my $check = "$FindBin::RealBin/../exposition_check";

# Its exit code and what it says
sub check
{
	my ($format, $text) = @_;
	my ($out, $err) = ('', '');

	run [ 'python3', $check, $format ], '<', \$text, '>', \$out, '2>', \$err;
	return ($? >> 8, "$out$err");
}

sub finds
{
	my ($fault, $format, $text, $name) = @_;
	my ($exit, $said) = check($format, $text);

	is($exit, 1, "$name: fails");
	like($said, $fault, "$name: says why");
	return;
}

# A histogram's samples, from its counts by bound
sub histogram
{
	my ($labels, %counts) = @_;
	my $comma = $labels eq '' ? '' : ',';
	my $braces = $labels eq '' ? '' : "{$labels}";
	my @bounds = $counts{bounds} ? @{ $counts{bounds} } : ('0.5', '1.0', '+Inf');
	my @buckets = @{ $counts{buckets} };
	my $text = '';

	$text .= qq(x_bucket{$labels${comma}le="$bounds[$_]"} $buckets[$_]\n)
	  for 0 .. $#buckets;
	return $text . "x_sum$braces $counts{sum}\nx_count$braces $counts{count}\n";
}

my $counter = "# HELP a_total Help.\n# TYPE a_total counter\n";
my $gauge = "# HELP b Help.\n# TYPE b gauge\n";
my $histogram = "# HELP x Help.\n# TYPE x histogram\n";
my $om_counter = "# TYPE a counter\n# HELP a Help.\n";
my @good = (buckets => [ 1, 2, 3 ], sum => 1.5, count => 3);

# No fault
foreach my $case (
	[ 'prometheus', $counter . "a_total 1\n", 'a counter' ],
	[
		'prometheus',
		$counter . qq(a_total{l="q\\"b\\\\n\\n\x{c3}\x{a9}"} 1e+20\n),
		'escapes and UTF-8'
	],
	[
		'prometheus',
		$gauge . "b{l=\"1\"} NaN\nb{l=\"2\"} -Inf\n",
		'a gauge without a number'
	],
	[
		'prometheus',
		$histogram . histogram('l="1"', @good) . histogram('l="2"', @good),
		'histograms'
	],
	[ 'openmetrics', $om_counter . "a_total 1\n# EOF\n", 'OpenMetrics' ],
	[
		'openmetrics',
		"# TYPE a_seconds counter\n# UNIT a_seconds seconds\n"
		  . "# HELP a_seconds Help.\na_seconds_total 1.5\n# EOF\n",
		'a unit'
	])
{
	my ($format, $text, $name) = @$case;
	my ($exit, $said) = check($format, $text);

	is($said, '', "$name: nothing is said");
	is($exit, 0, "$name: passes");
}

# Series and labels
finds(
	qr/line 4: a_total\{m="2",l="1"\} appeared in line 3 already/,
	'prometheus',
	$counter . qq(a_total{l="1",m="2"} 1\na_total{m="2",l="1"} 1\n),
	'one series twice, its labels in another order');
finds(qr/label l twice/, 'prometheus',
	$counter . qq(a_total{l="1",l="2"} 1\n), 'one label twice');
finds(qr/label l of a_total is empty/,
	'prometheus', $counter . qq(a_total{l=""} 1\n), 'empty label');
finds(qr/label __l of a_total is reserved/,
	'prometheus', $counter . qq(a_total{__l="1"} 1\n), 'reserved label');
foreach my $labels ('l="a"b"', 'l="a\t"', 'l="\\"', 'l="1",', 'l="1" m="2"',
	'l=1', '1l="1"')
{
	finds(qr/labels of a_total cannot be read/,
		'prometheus', $counter . "a_total{$labels} 1\n", "labels $labels");
}
finds(qr/line 3: invalid UTF-8/, 'prometheus',
	$counter . qq(a_total{l="\xff"} 1\n), 'invalid UTF-8 in a label');
finds(
	qr/line 1: invalid UTF-8/, 'prometheus',
	"# HELP a_total \xc3\n# TYPE a_total counter\na_total 1\n",
	'invalid UTF-8 in a help text');

# Lines
finds(qr/the last line does not end/,
	'prometheus', $counter . 'a_total 1', 'no last newline');
finds(qr/control character/, 'prometheus',
	$counter . "a_total 1\r\n", 'carriage return');
finds(qr/neither metadata nor a sample/,
	'prometheus', $counter . "a_total  1\n", 'two spaces');
finds(qr/neither metadata nor a sample/,
	'prometheus', $counter . "\na_total 1\n", 'empty line');
finds(qr/neither metadata nor a sample/,
	'openmetrics', "# comment\n$om_counter" . "a_total 1\n# EOF\n",
	'comment');
finds(qr/neither metadata nor a sample/,
	'prometheus', $counter . "a_total 1 1700000000000\n", 'timestamp');
finds(qr/value of a_total is no number/,
	'prometheus', $counter . "a_total one\n", 'value that is no number');

# Families
finds(qr/second HELP of a_total/,
	'prometheus', "# HELP a_total Help.\n$counter" . "a_total 1\n",
	'help twice');
finds(qr/second TYPE of a_total/,
	'prometheus', $counter . "# TYPE a_total counter\na_total 1\n",
	'type twice');
finds(
	qr/TYPE of a_total after its samples/, 'prometheus',
	"# HELP a_total Help.\na_total 1\n# TYPE a_total counter\n",
	'type too late');
finds(qr/a_total has no HELP/,
	'prometheus', "# TYPE a_total counter\na_total 1\n", 'no help');
finds(qr/empty HELP/, 'prometheus',
	"# HELP a_total \n# TYPE a_total counter\na_total 1\n", 'empty help');
finds(
	qr/HELP of a_total is not escaped/, 'prometheus',
	"# HELP a_total \\d\n# TYPE a_total counter\na_total 1\n",
	'bad escape in a help text');
finds(
	qr/HELP of a is not escaped/, 'openmetrics',
	"# TYPE a counter\n# HELP a \"\na_total 1\n# EOF\n",
	'quote in a help text of OpenMetrics');
finds(
	qr/type untyped of a_total does not exist/, 'openmetrics',
	"# TYPE a_total untyped\n# HELP a_total Help.\na_total 1\n# EOF\n",
	'type that does not exist');
finds(
	qr/a_total is in several pieces/, 'prometheus',
	$counter . "a_total 1\n${gauge}b 1\n${counter}a_total{l=\"1\"} 1\n",
	'family in two pieces');
finds(
	qr/a_total does not belong to the family before it/, 'prometheus',
	$counter . "a_total 1\n${gauge}b 1\na_total{l=\"1\"} 1\n",
	'sample apart from its family');
finds(qr/c does not belong to the family before it/,
	'prometheus', "c 1\n", 'sample without a family');
finds(qr/b has no samples/, 'prometheus', $gauge, 'family without samples');

# Values
finds(qr/counter a_total is negative/,
	'prometheus', $counter . "a_total -1\n", 'negative counter');
finds(qr/counter a_total is negative or no number/,
	'prometheus', $counter . "a_total NaN\n", 'counter that is NaN');
finds(
	qr/counter a does not end in _total/, 'prometheus',
	"# HELP a Help.\n# TYPE a counter\na 1\n", 'counter without _total');
finds(qr/label that is for histograms/,
	'prometheus', $gauge . "b{le=\"1.0\"} 1\n", 'le on a gauge');

# Histograms
finds(qr/buckets of x\{\} are not cumulative/,
	'prometheus',
	$histogram . histogram('', @good, buckets => [ 2, 1, 3 ]),
	'buckets that shrink');
finds(qr/count of x\{\} is not its \+Inf/,
	'prometheus', $histogram . histogram('', @good, count => 4),
	'count that is not +Inf');
finds(
	qr/x\{\} has no \+Inf/, 'prometheus',
	$histogram
	  . histogram('', @good, bounds => [ '0.5', '1.0', '2.0' ]),
	'no +Inf');
finds(
	qr/buckets of x\{\} are not sorted/, 'prometheus',
	$histogram
	  . histogram('', @good, bounds => [ '1.0', '0.5', '+Inf' ]),
	'buckets out of order');
finds(
	qr/series of x differ in their buckets/, 'prometheus',
	$histogram
	  . histogram('l="1"', @good)
	  . histogram('l="2"', @good, bounds => [ '0.5', '1', '+Inf' ]),
	'bounds spelled differently');
finds(
	qr/series of x is in several pieces/, 'prometheus',
	$histogram
	  . qq(x_bucket{l="1",le="+Inf"} 1\nx_bucket{l="2",le="+Inf"} 1\n)
	  . qq(x_sum{l="1"} 1\nx_count{l="1"} 1\nx_sum{l="2"} 1\n)
	  . qq(x_count{l="2"} 1\n),
	'all buckets, then all sums');
finds(qr/x\{\} is not buckets, sum and count/,
	'prometheus',
	$histogram . qq(x_bucket{le="+Inf"} 1\nx_count 1\n), 'no sum');
finds(qr/sum of x is negative or no number/,
	'prometheus', $histogram . histogram('', @good, sum => 'NaN'),
	'sum that is NaN');
finds(qr/x_count is no count/,
	'prometheus', $histogram . histogram('', @good, count => '2.5'),
	'half an observation');
finds(qr/bucket of x without a bound/,
	'prometheus', $histogram . "x_bucket 1\n", 'bucket without a bound');
finds(qr/x_total is not part of a histogram/,
	'prometheus', $histogram . "x_total 1\n", 'foreign suffix');

# OpenMetrics
finds(qr/# EOF is not the last line/,
	'openmetrics', $om_counter . "a_total 1\n", 'no end');
finds(qr/# EOF is not the last line/,
	'openmetrics', $om_counter . "a_total 1\n# EOF\n\n", 'data after the end');
finds(
	qr/a does not end in its unit seconds/, 'openmetrics',
	"# TYPE a counter\n# UNIT a seconds\n# HELP a Help.\na_total 1\n# EOF\n",
	'unit that is not in the name');
finds(
	qr/a_total_total|does not belong/, 'openmetrics',
	"# TYPE a_total counter\n# HELP a_total Help.\na_total 1\n# EOF\n",
	'counter whose family has _total');

# Exemplars
my $exemplar = ' # {trace_id="' . '1' x 32 . '",span_id="' . '2' x 16 . '"}';
my $om_histogram = "# TYPE x histogram\n# HELP x Help.\n";
my $with_exemplar = $om_histogram . histogram('l="1"', @good) . "# EOF\n";
$with_exemplar =~ s/(le="1.0"} 2)/$1$exemplar 0.75 1700000000.123/;
is(join('|', check('openmetrics', $with_exemplar)), '0|', 'an exemplar');
finds(qr/neither metadata nor a sample/, 'prometheus',
	$with_exemplar =~ s/^# EOF\n//mr, 'exemplar in the older format');
foreach my $value ('0.5', '1.5')
{
	finds(qr/exemplar of x\{l='1'\} is not in its bucket/, 'openmetrics',
		$with_exemplar =~ s/ 0\.75 / $value /r, "exemplar of $value");
}
finds(qr/exemplar of what is no bucket/, 'openmetrics',
	$om_counter . "a_total 1$exemplar 1 1700000000.123\n# EOF\n",
	'exemplar of a counter');
finds(qr/neither metadata nor a sample/, 'openmetrics',
	$with_exemplar =~ s/1{32}/1/r, 'exemplar without a trace');

done_testing();
