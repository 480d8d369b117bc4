# Runs the table of cases of the SQLCommenter parser, which is plain C.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $program = PostgreSQL::Test::Utils::tempdir . '/cases';
my @compiler = split ' ', $ENV{CC} || 'cc';

plan skip_all => "no compiler: $compiler[0]"
  if system("command -v $compiler[0] > /dev/null 2>&1") != 0;
command_ok(
	[
		@compiler, '-Wall', '-Werror', "-I$root/test/fuzz", "-I$root/src",
		'-o', $program, "$root/test/fuzz/sqlcommenter_cases.c",
		"$root/src/sqlcommenter.c"
	],
	'compiles without the server');
my @lines = split /\n/, `'$program'`;
is($?, 0, 'all cases hold');
is(pop @lines, '1..' . scalar @lines, 'all cases ran');
foreach my $line (@lines)
{
	my ($result, $name) = $line =~ /^(ok|not ok) \d+ - (.*)$/s;
	is($result, 'ok', $name);
}
done_testing();
