# A connection that is refused disturbs nothing, before and after the server
# knows its database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('connection_errors');

foreach my $connection ('dbname=no_such_database',
	'dbname=app user=no_such_role', "dbname=app options='-c no.such=1 -c x'",
	"dbname=app options='-c fraiseql_obs.enabled=perhaps'")
{
	isnt(system_log('psql', '-X', '-d', $node->connstr . " $connection",
			'-c', 'SELECT 1'), 0, $connection);
}
$node->safe_psql('postgres', 'ALTER DATABASE app CONNECTION LIMIT 0');
$node->safe_psql('postgres', 'CREATE ROLE regress_fraiseql_app LOGIN');
isnt(system_log('psql', '-X', '-d',
		$node->connstr('app') . ' user=regress_fraiseql_app',
		'-c', 'SELECT 1'), 0, 'too many connections');
$node->safe_psql('postgres', 'ALTER DATABASE app CONNECTION LIMIT -1');

$node->safe_psql('app', op(works => 'SELECT 1'));
is(counts($node, 'works'), '1|0|1', 'the server counts');
is(totals($node), '1|0|1', 'a refused connection is no statement');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/,
	'nothing crashed');
done_testing();
