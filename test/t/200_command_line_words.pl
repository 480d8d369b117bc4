# What the command line tool's help says is what its completion and its man
# page have, no more and no less; and make install puts them beside it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $source = "$FindBin::RealBin/../..";
$ENV{PATH} = "$source/bin:$ENV{PATH}";

sub output
{
	my @command = @_;
	my ($out, $err);

	IPC::Run::run \@command, '<', \undef, '>', \$out, '2>', \$err or die "@command: $err";
	return $out;
}

# Options of a command, and words that are the values of one, from the help
sub options
{
	my ($help) = @_;
	return map { /(--?[a-z][a-z-]*)/g } map { s/  .*//r } $help =~ /^  (-.*)/mg;
}

my ($list) = output(qw(fraiseql-obs help)) =~ /^Commands:\n(.*?)^$/ms;
my @commands = $list =~ /^  ([a-z-]+)/mg;
my %help = map { $_ => output('fraiseql-obs', 'help', $_) } @commands;
my @everywhere = qw(-d --dbname -o --output --help --version);
cmp_ok(scalar @commands, '>=', 12, 'commands');

# completion, as bash does it
sub completed
{
	my @words = @_;
	return split /\n/, output('bash', '-c', q(. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
		_fraiseql_obs; for word in "${COMPREPLY[@]}"; do echo "$word"; done),
		"$source/completion/fraiseql-obs.bash", @words);
}

is_deeply([ completed('fraiseql-obs', '') ], [ @commands, 'help' ], 'commands are completed');
is_deeply([ completed('fraiseql-obs', 'help', 're') ], [ grep { /^re/ } @commands ], 'for help, too');
foreach my $command (@commands)
{
	is_deeply([ completed('fraiseql-obs', $command, '-') ], [ options($help{$command}) ], "options of $command");
	my ($formats) = $help{$command} =~ /^  --format FORMAT +(.*) \(default/m or next;
	is_deeply([ completed('fraiseql-obs', $command, '--format', '') ], [ split /, | or /, $formats ], "formats of $command");
}
is_deeply([ completed(qw(fraiseql-obs -d shop doctor --format = j)) ], ['json'], 'an equals sign is a word in bash');
is_deeply([ completed(qw(fraiseql-obs doctor --format=j)) ], ['json'], 'and not in zsh');
is_deeply([ completed(qw(fraiseql-obs report --profile s)) ], [qw(soc2 sox)], 'profiles');
is_deeply([ completed('fraiseql-obs', 'readiness', '--role', '') ], [qw(primary replica)], 'roles');
is_deeply([ completed('fraiseql-obs', 'verify', '--anchor', "$source/META") ], ["$source/META.json"], 'files');
is_deeply([ completed('fraiseql-obs', 'metrics', '-o', "$source/META") ], ["$source/META.json"], 'of any command');
is_deeply([ completed('fraiseql-obs', @$_) ], [], "nothing for '@$_'")
  foreach [ 'recent-operations', '--limit', '' ], [ 'by-user', '' ], [ '-d', '' ], [ 'trace', '-a/b', '' ];

# the man page
sub page
{
	my ($file) = @_;
	my $page = slurp_file("$source/man/$file") =~ s/\\([-&])/$1 eq '-' ? '-' : ''/ger;

	return { $page =~ /^\.SH ([A-Z ]+)\n(.*?)(?=^\.SH|\z)/msg };
}

my $page = page('fraiseql-obs.1');
my %described = $page->{COMMANDS} =~ /^\.TP\n\.(?:B|BI) ([a-z-]+)[^\n]*\n(.*?)(?=^\.TP|\z)/msg;
is_deeply([ sort keys %described ], [ sort @commands, 'help' ], 'all commands are in the man page');
foreach my $command (@commands)
{
	my %common = map { $_ => 1 } @everywhere;
	my ($operands) = $help{$command} =~ /^Usage:.*\[--\] (.*)/;
	my ($heading) = $page->{COMMANDS} =~ /^\.BI? $command\b *(.*)/m;

	is_deeply([ sort $described{$command} =~ /(?<!\S)(--[a-z-]+)/g ],
		[ sort grep { !$common{$_} } options($help{$command}) ], "options of $command in the man page");
	is($heading, defined $operands ? qq(" $operands") : '', "operands of $command in the man page");
}
my %known = map { $_ => 1 } map { options($_) } values %help;
is_deeply([ sort map { /(--?[a-z][a-z-]*)/g } $page->{OPTIONS} =~ /^\.TP\n(.*)/mg ], [ sort keys %known ],
	'all options are in the man page');
my %variants = map { $_ => 1 } map { split /, | or / } map { /^  --format FORMAT +(.*) \(default/m } values %help;
my ($formats) = $page->{OPTIONS} =~ /-format " FORMAT"\n(.*?)^\.TP/ms;
like($formats, qr/\b$_\b/, "format $_ in the man page") foreach sort keys %variants;

my $verify = page('fraiseql-obs-verify.1');
is_deeply([ sort map { /(--[a-z-]+)/g } $verify->{OPTIONS} =~ /^\.TP\n(.*)/mg ],
	[ sort { $a cmp $b } options(output('python3', "$source/bin/fraiseql-obs-verify", '--help')) ], 'options of fraiseql-obs-verify');

foreach my $file (qw(fraiseql-obs.1 fraiseql-obs-verify.1))
{
	my ($version) = output('fraiseql-obs', '--version') =~ /(\S+)\n/;

	like(slurp_file("$source/man/$file"), qr/^\.TH .* "fraiseql_obs \Q$version\E"/, "$file: the release");
	foreach my $lint ([qw(mandoc -T lint -W warning)], [qw(groff -man -ww -z)])
	{
		my $out = '';
	  SKIP:
		{
			skip "$lint->[0] is not installed", 1 if system("command -v $lint->[0] >/dev/null") != 0;
			IPC::Run::run [ @$lint, "$source/man/$file" ], '<', \undef, '>', \$out, '2>&1';
			is($out, '', "$file: $lint->[0] has nothing to say");
		}
	}
}

# installed
my $root = PostgreSQL::Test::Utils::tempdir;
is(system("env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -C '$source' with_llvm=no DESTDIR='$root' install >'$root/log' 2>&1"), 0, 'make install')
  or diag(slurp_file("$root/log"));
chomp(my ($share, $man, $bin) = map { `pg_config --$_` } qw(sharedir mandir bindir));
ok(-r "$root$_", $_)
  foreach "$share/bash-completion/completions/fraiseql-obs", map { ("$man/man1/$_.1", "$bin/$_") } qw(fraiseql-obs fraiseql-obs-verify);
is(system("env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -C '$source' with_llvm=no DESTDIR='$root' uninstall >'$root/log' 2>&1"), 0, 'make uninstall');
is_deeply([ grep { !/\/log$/ } split /\n/, output('find', $root, '-type', 'f') ], [], 'nothing is left');
done_testing();
