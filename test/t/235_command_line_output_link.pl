# fraiseql-obs --output: of a symbolic link the file that it leads to is written,
# as a whole or not at all, and the link stays.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use CommandTest;
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('command_line_output_link');
my $folder = PostgreSQL::Test::Utils::tempdir;

mkdir "$folder/$_" or die foreach 'links', 'files';
append_to_file("$folder/files/old", "old\n");
symlink $$_[0], "$folder/links/$$_[1]" or die
  foreach [ '../files/old', 'to old' ], [ 'to old', 'to link' ], [ "$folder/files/new", 'to new' ],
  [ '../nowhere/file', 'to nowhere' ], [ 'to itself', 'to itself' ], [ '../files', 'to folder' ];

chdir "$folder/links" or die;
foreach my $link ('to old', 'to link')
{
	my $before = (stat "$folder/files/old")[1];
	prints($node, 'metrics', '-o', $link);
	ok(-l $link, "$link: stays a link");
	like(slurp_file("$folder/files/old"), qr/^# TYPE /m, 'what it leads to is written');
	isnt((stat "$folder/files/old")[1], $before, 'as a whole');
}
append_to_file("$folder/files/old", "end\n");
refuses($node, 1, qr/does not exist/, qw(metrics -d nowhere -o), 'to old');
like(slurp_file("$folder/files/old"), qr/^end$/m, 'a failure leaves it as it was');
prints($node, 'metrics', '-o', "$folder/links/to new");
ok(-l "$folder/links/to new", 'a link to what is not there yet stays');
like(slurp_file("$folder/files/new"), qr/^# TYPE /m, 'what it leads to is made');
refuses($node, 2, qr/^fraiseql-obs: --output "to $_" leads nowhere;/, 'metrics', '-o', "to $_") foreach 'itself', 'nowhere';
refuses($node, 2, qr/is not a file/, 'metrics', '-o', 'to folder');
refuses($node, 2, qr{--output "/dev/stdout" is not a file}, 'metrics', '-o', '/dev/stdout');
my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs";
is(system("sh '$tool' metrics -d nowhere -o /dev/stdout >'$folder/out' 2>'$folder/err'") >> 8, 2, 'what it prints to is a file');
like(slurp_file("$folder/err"), qr{--output "/dev/stdout" is not a file}, 'and none to replace');
is_deeply([ map { s{.*/}{}r } glob "'$folder/files'/*" ], [ 'new', 'old' ], 'nothing is left beside it');
is(scalar(my @links = glob "'$folder/links'/*"), 6, 'nor beside the links');
chdir '/' or die;
$node->stop;
done_testing();
