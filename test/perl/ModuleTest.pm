# What the tests share of workers whose code is in a module of its own.

package ModuleTest;

use strict;
use warnings FATAL => 'all';

use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use parent 'Exporter';
our @EXPORT = qw(has_module need_module process_titled restart_without_modules);

# Where the server looks for libraries
sub library_path
{
	my ($node) = @_;

	chomp(my $libdir = `pg_config --pkglibdir`);
	return $node->safe_psql('postgres', 'SHOW dynamic_library_path') =~ s/\$libdir/$libdir/gr;
}

# Is the module there?  It is built where its library is.
sub has_module
{
	my ($node, $module) = @_;
	return grep { -e "$_/$module.so" } split /:/, library_path($node);
}

# The test needs the module.
sub need_module
{
	my ($node, $module, $library) = @_;

	plan skip_all => "built without $library" if !has_module($node, $module);
	return;
}

# The process of the server with this title
sub process_titled
{
	my ($node, $title) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	foreach my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $file, '<', $stat or next;
		my $line = <$file> // '';
		next if $line !~ /^(\d+) \(.*\) \S $postmaster /;
		my $pid = $1;
		my $command = eval { slurp_file("/proc/$pid/cmdline") } // '';
		return $pid if $command =~ /\Q$title\E/;
	}
	return;
}

# Restarts the server with the extension's library alone, which is copied to
# another folder; returns that.
sub restart_without_modules
{
	my ($node) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir;
	my $path = library_path($node);
	my ($from) = grep { -e "$_/fraiseql_obs.so" } split /:/, $path;

	copy("$from/fraiseql_obs.so", $folder);
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$folder:$path'");
	$node->restart;
	return $folder;
}

1;
