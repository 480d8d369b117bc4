# Errors are counted whatever the server logs.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('log_min_messages',
	"log_min_messages = fatal\nlog_statement = none");

$node->psql('app', $_)
  foreach 'SELECT 1 / 0', 'SELEC', 'SELECT no_such_column', 'ROLLBACK',
  'DROP TABLE no_such_table', 'SELECT no_such_column',
  "SELECT 'x'::int", 'BEGIN; SELECT 1 / 0; ';
is( errors($node),
	"22012|2\n22P02|1\n42601|1\n42703|2\n42P01|1",
	'each error that was sent');
unlike(slurp_file($node->logfile), qr/division by zero/, 'none is in the log');
is( metric($node,
		'fraiseql_obs_db_query_errors_total{datname="app",sqlstate_class="22"}'),
	'3', 'exported by class');
is( metric($node,
		'fraiseql_obs_db_query_errors_total{datname="app",sqlstate_class="42"}'),
	'4', 'exported by class');

# Nor does it matter what the client wants to see.
reset_counts($node);
$node->psql('app', "SET client_min_messages = error; SELECT 1 / 0");
is(errors($node), '22012|1', 'client_min_messages');

# Warnings and notices are no errors.
reset_counts($node);
$node->psql('app', "DO 'BEGIN RAISE WARNING ''w''; RAISE NOTICE ''n''; END'");
$node->psql('app', 'ROLLBACK');
is(errors($node), '', 'warnings do not count');
done_testing();
