# Context that is too long or not valid text never fails a statement: it is
# cut or repaired, counted, and leaves the server as valid UTF-8.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('invalid_context');
$node->safe_psql('postgres',
	"CREATE DATABASE raw ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
	  . ' TEMPLATE template0');
reset_counts($node);

is( $node->safe_psql('raw',
		"SET fraiseql_obs.operation_name = E'bad\\xff\\xc3byte';"
		  . " SELECT 'fine'"),
	'fine', 'invalid bytes in a SQL_ASCII database');
is( $node->safe_psql('raw', "SELECT 'fine' /*action='%ff%C3x'*/"),
	'fine', 'invalid bytes in a comment');
is( $node->safe_psql('app', "SELECT 'fine' /*action='%ff%C3x'*/"),
	'fine', 'invalid bytes in a comment of a UTF-8 database');
is( observe($node, 'SELECT count(*) FROM fraiseql_obs.operation_stats()'
		  . " WHERE datname IN ('app', 'raw')"),
	'3', 'three operations');
foreach my $format ('prometheus', 'openmetrics', 'json')
{
	is( $node->safe_psql('raw',
			"CREATE EXTENSION IF NOT EXISTS fraiseql_obs;"
			  . " SELECT octet_length(convert_from(convert_to("
			  . "fraiseql_obs.export_metrics('$format'), 'SQL_ASCII'), 'UTF8')) > 0"),
		't', "$format is valid UTF-8");
}

reset_counts($node);
foreach my $setting ('operation_name', 'operation_type', 'request_id',
	'user_id', 'tenant_id')
{
	is( $node->safe_psql('app',
			"SET fraiseql_obs.$setting = '" . '€' x 5000 . "';"
			  . " SELECT 'fine'"),
		'fine', "$setting is too long");
}
cmp_ok(metric($node, 'fraiseql_obs_label_truncated_total'),
	'>=', 1, 'truncation is counted');
is( observe($node,
		'SELECT max(octet_length(operation)), bool_and(replace(operation, \'€\', \'\') = \'\')'
		  . " FROM fraiseql_obs.operation_stats() WHERE datname = 'app'"),
	'126|t', 'cut at a character');
done_testing();
