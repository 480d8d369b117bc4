# In single-user mode, as for repairs, statements work with the extension
# loaded, and so do its functions.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('single_user');
$node->stop;

# What the server prints for statements, one a line
sub single_user
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	local $ENV{PATH} =
	  $node->config_data('--bindir') . ":$ENV{PATH}";
	ok( IPC::Run::run(
			[ 'postgres', '--single', '-F', '-D', $node->data_dir, 'postgres' ],
			'<', \$sql, '>', \$out, '2>', \$err),
		'the server ends well') or diag $err;
	return $out;
}

my $out = single_user(
	"SELECT 1 AS one\nSELECT 1 / 0\nCREATE TABLE t (a int)\n"
	  . "SELECT calls, errors FROM fraiseql_obs.query_counters()"
	  . " WHERE errors > 0\n"
	  . "SELECT sqlstate FROM fraiseql_obs.error_stats()\n"
	  . "SELECT octet_length(fraiseql_obs.export_metrics()) > 0 AS works\n");
like($out, qr/one = "1"/, 'a query');
like($out, qr/calls = "1".*\n.*errors = "1"/, 'its counts');
like($out, qr/sqlstate = "22012"/, 'its error');
like($out, qr/works = "t"/, 'the export');
done_testing();
