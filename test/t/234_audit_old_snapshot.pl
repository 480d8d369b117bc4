# With an old snapshot nothing is sealed: it is refused, and says how it is not,
# whichever function is called.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_old_snapshot', "fraiseql_obs.audit_worker = off\n");
my $entry = q(SELECT fraiseql_obs.log_operation('op', user_id => 'user'));
my $seal = 'SELECT fraiseql_obs.seal_audit_log()';
my $other = sprintf q(\! psql -X -q -c "%s" -c "%s" -d "%s" >/dev/null), $entry, $seal, $node->connstr('app');

# The guard would keep functions that are not called by its users from writing.
set_guard($node, 'off');
$node->safe_psql('app', "CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false); $entry; $seal");
my $last = $node->safe_psql('app', $seal);
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	foreach my $call ('seal_audit_log()', 'refresh_audit_rollups()', q(audit_seal('1 second')),
		'audit_seal_rows(fraiseql_obs.audit_log(), p.partition, false, 0, NULL, NULL, NULL, pg_current_snapshot()) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) p')
	{
		my ($name) = $call =~ /(\w+)/;
		my (undef, undef, $error) = $node->psql('app', "\\set VERBOSITY verbose
			BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM pg_class;
			$other
			SELECT fraiseql_obs.$call");

		like($error, qr/ERROR:  25001: sealing the audit log must run in a READ COMMITTED transaction\nHINT:  Begin it with: BEGIN ISOLATION LEVEL READ COMMITTED;/, "$level: $name()");
		$last++;
		is($node->safe_psql('app', 'SELECT max(seal_no) FROM fraiseql_audit.fraiseql_audit_seals'), $last, 'meanwhile another session has sealed');
	}
}
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), 0, 'and nothing is wrong');
$node->stop;
done_testing();
