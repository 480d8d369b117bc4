# A log with few indexes gets the others where nobody writes any more.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_lean', "timezone = 'UTC'\nfraiseql_obs.audit_guard = off");

$node->safe_psql('app', q(
	CREATE ROLE keeper NOLOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper', indexes => 'lean', guard_triggers => false);
	SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day') FROM generate_series(2, 4) i;
	INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, operation, user_id, entity_type, entity_id)
	SELECT date_trunc('day', now()) - interval '1 day' - i * interval '20 seconds', 'op', 'user' || i % 1000, 'Type', (i % 5000)::text FROM generate_series(1, 12000) i;
	ANALYZE fraiseql_audit.fraiseql_audit_log));

my $index = 'SELECT fraiseql_obs.index_audit_partitions()';
my $indexed = q(SELECT count(*), bool_and(tableowner = 'keeper') FROM pg_indexes JOIN pg_tables USING (schemaname, tablename)
	WHERE schemaname = 'fraiseql_audit' AND indexname ~ '_(user|entity)_idx$');
my $name = 'fraiseql_audit.fraiseql_audit_log_' . $node->safe_psql('app', q(SELECT to_char(now() - interval '3 days', 'YYYYMMDD')));

is($node->safe_psql('app', $indexed), '0|', 'none at first');
my $locker = $node->background_psql('app');
$locker->query_safe("BEGIN; LOCK TABLE $name IN ROW EXCLUSIVE MODE");
my ($status, $out, $err) = $node->psql('app', $index);
is($out, '2', 'those that have ended and are not locked');
like($err, qr/WARNING:  partition "$name" of the audit log is locked, and not indexed/, 'the other is named');
$locker->query_safe('COMMIT');
$locker->quit;
is($node->safe_psql('app', $index), '1', 'the one that was locked');
is($node->safe_psql('app', $index), '0', 'once');
is($node->safe_psql('app', $indexed), '6|t', 'two for each, not for partitions that are written to');
like($node->safe_psql('app', "EXPLAIN SELECT * FROM $name WHERE user_id = 'user7' ORDER BY created_at DESC, id DESC LIMIT 10"),
	qr/_user_idx/, 'and used');
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.by_user('user7', 100))), '12', 'by_user() finds all');
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.by_entity('Type', '7'))), '3', 'by_entity() finds all');

# a full log has them already
$node->safe_psql('postgres', 'CREATE DATABASE full_log');
$node->safe_psql('full_log', q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log();
	SELECT fraiseql_obs.audit_ensure_partition(now() - interval '3 days')));
is($node->safe_psql('full_log', $index), '0', 'nothing to do for a full one');

$node->stop;
done_testing();
