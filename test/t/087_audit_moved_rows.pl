# A sealed row that was given to another transaction, before its seal, in
# another one, or after all, is missed by its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_moved_rows', 'fraiseql_obs.audit_guard = off');
my $log = 'fraiseql_audit.fraiseql_audit_log';

# Seal 1 begins, 2 and 3 have three rows each.  What was there before seals is
# sealed by its ids, whatever its transactions.
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	SELECT fraiseql_obs.seal_audit_log()');
$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('op') FROM generate_series(1, 3);
	SELECT fraiseql_obs.seal_audit_log())) foreach (1 .. 2);
my $findings = q(SET default_transaction_read_only = on;
	SELECT string_agg(DISTINCT kind || ' ' || coalesce(seal_no::text, '-'), ', ')
	FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');
is($node->safe_psql('app', $findings), '', 'nothing is found in the log as it is');

foreach (
	[ 'one of long ago', "'3'", qr/\brows 2\b/ ],
	[ 'one of another seal', "(SELECT max(xact) FROM $log)", qr/\brows 2, rows 3\b/ ],
	[ 'one that is not sealed', 'pg_current_xact_id()', qr/\brows 2\b/ ],
	[ 'one that has not begun', "'9223372036854775806'", qr/\brows 2\b.*\bxact -/ ])
{
	my ($name, $xact, $found) = @$_;
	like($node->safe_psql('app', qq(
		CREATE TABLE saved AS SELECT id, xact FROM $log;
		UPDATE $log SET xact = $xact WHERE id = (SELECT min(id) FROM $log);
		$findings;
		SET default_transaction_read_only = off;
		UPDATE $log l SET xact = s.xact FROM saved s WHERE s.id = l.id;
		DROP TABLE saved)), $found, $name);
}
is($node->safe_psql('app', $findings), '', 'put back, it is as it was');

$node->stop;
done_testing();
