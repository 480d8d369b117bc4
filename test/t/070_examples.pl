# The reports in examples are what the functions write.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('examples', 'fraiseql_obs.audit_guard = off');
my $examples = "$FindBin::RealBin/../../examples";
my $folder = PostgreSQL::Test::Utils::tempdir;

$node->command_ok(
	[
		'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', "folder=$folder",
		'-d', 'app', '-f', "$examples/compliance_report.sql" ],
	'the script runs');
foreach my $form (qw(json txt csv html))
{
	my ($written, $kept) =
	  map { slurp_file("$_/compliance_report.$form") } $folder, $examples;

	ok($written eq $kept, "compliance_report.$form")
	  or diag('dev/examples writes it anew');
}

$node->stop;
done_testing();
