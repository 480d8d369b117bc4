# Runs the pgTAP tests, which describe the shape of the API.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use File::Basename;
use Test::More;

my $node = start_node('pgtap');
my $available = observe($node,
	"SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'");

plan skip_all => 'pgTAP is not installed' if !$available;
$node->command_ok(
	[
		'pg_prove', '--failures', '--comments', '--dbname', 'postgres',
		sort glob(qq('$FindBin::RealBin/../pgtap/'*.sql))
	],
	'pgTAP');
done_testing();
