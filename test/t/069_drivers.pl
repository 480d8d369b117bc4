# The README's snippets for drivers run as they stand.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('drivers');
my $folder = PostgreSQL::Test::Utils::tempdir;
my $readme = slurp_file("$FindBin::RealBin/../../README.md");

$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');

connect_drivers($node, $folder);

# title in the README, interpreter, what loads the driver, what is printed
foreach (
	[ 'psycopg 3', 'python3', 'import psycopg', "update 0\n" ],
	[ 'asyncpg', 'python3', 'import asyncpg', "logout 3\n" ],
	[ 'node-postgres', 'node', "require('pg')", "update 42\n" ])
{
	my ($title, $interpreter, $load, $wanted) = @$_;
	my $option = $interpreter eq 'node' ? '-e' : '-c';
  SKIP:
	{
		skip "no $title here", 2
		  if system("$interpreter $option \"$load\" >/dev/null 2>&1") != 0;
		my ($snippet) = $readme =~ /^\Q$title\E[^\n]*:\n\n```\w+\n(.*?)^```$/ms
		  or die "no snippet for $title";
		my ($out, $err);

		append_to_file("$folder/$title", $snippet);
		my $run = IPC::Run::run [ $interpreter, "$folder/$title" ], '>', \$out, '2>', \$err;
		ok($run, "$title runs") or diag($err);
		is($out, $wanted, "$title prints");
	}
}
is($node->safe_psql('app', 'SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log WHERE user_id IS NULL'),
	'0', 'every entry has its user');

$node->stop;
done_testing();
