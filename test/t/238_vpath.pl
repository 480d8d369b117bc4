# Builds in a folder beside the source, as PGXS has it: all is made there, and
# the same is installed.

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = abs_path(PostgreSQL::Test::Utils::tempdir);
my $source = "$folder/source";
my $top = "$FindBin::RealBin/../..";

# make of the test suite is not make of these
delete @ENV{ grep { /^MAKE|^MFLAGS|^DESTDIR|^VPATH/ } keys %ENV };
my @make = ('make', 'with_llvm=no', 'PG_CONFIG=pg_config');

# What is there in a folder, with what is in it; of modules only that they are there
sub listing
{
	my ($root) = @_;
	return map { my $name = $_; $name =~ s/^\Q$root//; $name => /\.so$/ ? 'module' : slurp_file($_) }
	  grep { -f } split /\n/, qx(find '$root');
}

# the source, without what was built there
mkdir $source or die;
my @left_out = map { "--exclude='$_'" } '*.o', '*.so', '*.bc', 'status_page.inc', 'fraiseql_obs--*';
is(system("tar -C '$top' -cf - @left_out Makefile META.json fraiseql_obs.control bin completion man sql src | tar -C '$source' -xf -"),
	0, 'a copy of the source');
my @before = sort split /\n/, qx(find '$source');

# what needs the compiler to find other files: one of each folder
mkdir "$folder/real" or die;
command_ok([ @make, '-s', '-C', "$folder/real", '-f', '../source/Makefile', 'COPT=-O0',
		qw(src/fraiseql_obs.o src/label.o src/http/status_page.o src/http/server.o src/otlp/gzip.o) ], 'compiled');

# all, by a compiler that is quick
append_to_file("$folder/cc", "#!/bin/sh\nwhile [ \$# -gt 0 ]; do [ \"\$1\" != -o ] || : >\"\$2\"; shift; done\n");
chmod 0755, "$folder/cc" or die;
foreach my $way ([ 'file', '-f', '../source/Makefile' ], [ 'vpath', '-f', '../source/Makefile', 'VPATH=../source' ], [ 'absolute', '-f', "$source/Makefile" ])
{
	my ($build, @how) = @$way;
	mkdir "$folder/$build" or die;
	command_ok([ @make, '-s', '-C', "$folder/$build", @how, "CC=$folder/cc", "DESTDIR=$folder/$build.root", 'install' ], "installed: @how");
	is_deeply([ sort split /\n/, qx(find '$source') ], \@before, 'the source is as it was');
}
command_ok([ @make, '-s', '-C', $source, "CC=$folder/cc", "DESTDIR=$folder/source.root", 'install' ], 'installed from the source');
my %installed = listing("$folder/source.root");
ok((grep { m{/fraiseql_obs\.so$} } keys %installed), 'the module');
ok((grep { m{/man1/fraiseql-obs\.1$} } keys %installed), 'and the manual');
is_deeply({ listing("$folder/$_.root") }, \%installed, "the same: $_") foreach qw(file vpath absolute);
command_ok([ @make, '-s', '-C', "$folder/vpath", '-f', '../source/Makefile', "DESTDIR=$folder/vpath.root", 'uninstall' ], 'uninstalled');
is_deeply({ listing("$folder/vpath.root") }, {}, 'nothing is left');
done_testing();
