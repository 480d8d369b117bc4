# The Prometheus rules in dashboards are valid, ask for metrics that there are,
# and each alert has a test that it fires in and one that it is quiet in.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run ();
use MetricNames;
use PostgreSQL::Test::Utils;
use Test::More;

my ($promtool) = grep { -x $_ } map { "$_/promtool" } split /:/, $ENV{PATH};
plan skip_all => 'no promtool here' if !defined $promtool;

my $dashboards = "$FindBin::RealBin/../../dashboards";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $rules = slurp_file("$dashboards/rules.yml");
my %documented = documented_metrics();

# Whether promtool is content, and what it says
sub promtool
{
	my @arguments = @_;
	my $said;

	IPC::Run::run [ $promtool, @arguments ], '>&', \$said;
	return ($? == 0, $said);
}

sub content
{
	my ($name, @arguments) = @_;
	my ($well, $said) = promtool(@arguments);

	ok($well, $name) or diag($said);
	return;
}

content('the rules', 'check', 'rules', "$dashboards/rules.yml");
content('the tests', 'test', 'rules', "$dashboards/rules_test.yml", "$dashboards/burn_test.yml");
is_deeply([ grep { !$documented{$_} } metrics_of($rules =~ s{^  - name: .*}{}mgr) ], [], 'metrics that README.md has');

# The tests by their names, those of each a file that promtool takes
my %tests;
foreach my $file (qw(rules_test.yml burn_test.yml))
{
	my ($head, $body) = slurp_file("$dashboards/$file") =~ /^(.*^tests:\n)(.*)/ms;

	while ($body =~ /^(  - name: (.*)\n(?:(?!  - name: ).*\n)*)/mg)
	{
		$tests{$2} = ($tests{$2} // $head) . $1;
	}
}

# Does the test of that name still pass if the alert has another expression?
sub passes_with
{
	my ($test, $rule, $expression) = @_;
	my $other = $rule =~ s/^( +expr: )(?:>-\n(?:          .*\n)+|.*\n)/$1$expression\n/mr;
	my $changed = $rules;

	die 'no expression' if $other eq $rule;
	substr($changed, index($changed, $rule), length $rule) = $other;
	foreach my $file ([ 'rules.yml', $changed ], [ 'test.yml', $tests{$test} ])
	{
		unlink "$folder/$file->[0]";
		append_to_file("$folder/$file->[0]", $file->[1]);
	}
	content("$test: the other rules", 'check', 'rules', "$folder/rules.yml");
	return (promtool('test', 'rules', "$folder/test.yml"))[0];
}

my @names;
while ($rules =~ /^(      - alert: (\w+)\n(?:(?!      - |  - |\n).*\n)+)/mg)
{
	my ($rule, $name) = ($1, $2);

	$name .= " $1" if $rule =~ /window: (\w+)/;
	push @names, $name;
	like($rule, qr/severity: (?:critical|warning)\b/, "$name has a severity");
	ok(exists $tests{"$name $_"}, "$name has a test that it $_ in") or next foreach 'fires', 'stays quiet';
	ok(!passes_with("$name fires", $rule, 'vector(1) > 1'), "$name fires: fails if it never does");
	ok(!passes_with("$name stays quiet", $rule, 'vector(1)'), "$name stays quiet: fails if it always fires");
}
cmp_ok(scalar @names, '>', 20, 'they were found');
my ($section) = slurp_file("$FindBin::RealBin/../../README.md") =~ /^### Alerts\n(.*?)^##/ms;
my %alerts = map { /^(\w+)/ ? ($1 => 1) : () } @names;
my %told = map { $_ => 1 } $section =~ /`(FraiseqlObs\w+)`/g;
is_deeply([ sort keys %told ], [ sort keys %alerts ], 'README.md tells of each');
my %has = map { $_ => 1 } 'recorded', map { ("$_ fires", "$_ stays quiet") } @names;
is_deeply([ grep { !$has{$_} } sort keys %tests ], [], 'no test is of another alert');

done_testing();
