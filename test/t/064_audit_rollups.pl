# Rollups have each row of the audit log once, whenever its transaction
# commits, and readers have the rest: counts are those of the rows at each
# moment.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_rollups', 'fraiseql_obs.audit_guard = off');

# The counts of all dimensions, from rollups and rows, are those of the rows;
# and so many are left to count.
my $agree = q(
	WITH counted AS (
		SELECT dimension, key, result, sum(n) AS n FROM fraiseql_obs.audit_tally(
			'{operation,entity_type,tenant}', 'day', 'yesterday', 'tomorrow')
		GROUP BY 1, 2, 3
		UNION ALL
		SELECT 'total', NULL, result, sum(n) FROM fraiseql_obs.audit_counts(
			'total', 'yesterday', 'tomorrow') GROUP BY result
		UNION ALL
		SELECT 'user', user_id, NULL, n
		FROM fraiseql_obs.audit_actor_counts('yesterday', 'tomorrow', 1000)),
	plain AS (
		SELECT d, k, result, count(*) AS n
		FROM fraiseql_audit.fraiseql_audit_log,
			LATERAL (VALUES ('operation', operation), ('entity_type', entity_type),
				('tenant', tenant_id), ('total', NULL)) AS v (d, k)
		GROUP BY 1, 2, 3
		UNION ALL
		SELECT 'user', user_id, NULL, count(*) FROM fraiseql_audit.fraiseql_audit_log
		WHERE user_id IS NOT NULL GROUP BY user_id)
	SELECT (SELECT count(*) FROM (
			(TABLE counted EXCEPT ALL TABLE plain)
			UNION ALL (TABLE plain EXCEPT ALL TABLE counted)) AS d) || ' differ, '
		|| (SELECT coalesce(sum(n), 0) FROM fraiseql_obs.audit_tally(
				'{total}', 'quarter', 'yesterday', 'tomorrow') WHERE live) || ' live');
my $log = q(SELECT fraiseql_obs.log_operation('op' || (random() * 3)::int, 'Type' || (random() * 2)::int,
	result => (ARRAY['success', 'failure', 'denied'])[1 + (random() * 2)::int],
	user_id => nullif('u' || (random() * 50)::int, 'u0'), tenant_id => nullif('t' || (random() * 3)::int, 't0'))
	FROM generate_series(1, %d));
my $refresh = 'SELECT fraiseql_obs.refresh_audit_rollups()';

sub rows { return sprintf $log, $_[0]; }

sub is_counted
{
	my ($on, $live, $name) = @_;
	is($on->safe_psql('app', $agree), "0 differ, $live live", $name);
	return;
}

$node->safe_psql('app',
	q(CREATE EXTENSION fraiseql_obs; CREATE ROLE keeper NOLOGIN; CREATE ROLE nobody LOGIN;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper')));
is_counted($node, 0, 'an empty log');
$node->safe_psql('app', rows(100));
is_counted($node, 100, 'before the first refresh');
is($node->safe_psql('app', $refresh), '100', 'refreshed');
is_counted($node, 0, 'after it');
is($node->safe_psql('app', $refresh), '0', 'refreshed again');
$node->safe_psql('app', rows(10));
is_counted($node, 10, 'rows after a refresh');

# transactions that commit after a refresh
my $late = $node->background_psql('app');
$late->query_safe('BEGIN');
$late->query_safe(rows(7));
$node->safe_psql('app', rows(5));
is($node->safe_psql('app', $refresh), '15', 'what is not committed is not refreshed');
$node->safe_psql('app', rows(1));
is($node->safe_psql('app', $refresh), '1', 'and again');
is_counted($node, 0, 'while it goes on');
$late->query_safe('COMMIT');
is_counted($node, 7, 'after it has committed');
is($node->safe_psql('app', $refresh), '7', 'it is refreshed then');
is_counted($node, 0, 'after that');

# a transaction that writes, refreshes, and writes; another ends in between
$late->query_safe('BEGIN');
$late->query_safe(rows(3));
$node->safe_psql('app', rows(2));
is($late->query_safe($refresh), '2', 'not what the transaction itself wrote');
$late->query_safe(rows(4));
is($late->query_safe($agree), '0 differ, 7 live', 'inside of it');
is_counted($node, 2, 'outside of it');
$late->query_safe('COMMIT');
is_counted($node, 7, 'after it');
is($node->safe_psql('app', $refresh), '7', 'refreshed after it');

# a refresh that is rolled back
$node->safe_psql('app', rows(2));
$node->safe_psql('app', "BEGIN; $refresh; ROLLBACK");
is_counted($node, 2, 'rolled back');
$node->safe_psql('app',
	"BEGIN; SAVEPOINT s; $refresh; ROLLBACK TO s; " . rows(1) . '; COMMIT');
is_counted($node, 3, 'rolled back to a savepoint');
is($node->safe_psql('app', "$refresh; SELECT current_user = session_user"),
	"3\nt", 'the role is the caller\'s again');
$late->quit;

# the tail is looked for in the newest partitions alone
$node->safe_psql('app', "$refresh; $refresh");
is( $node->safe_psql('app',
		'SELECT tail_since > now() - interval \'2 hours\' FROM fraiseql_audit.fraiseql_audit_rollup_state'),
	't', 'where the tail begins');
$late = $node->background_psql('app');
$late->query_safe('BEGIN');
$late->query_safe(rows(1));
$node->safe_psql('app', "$refresh; $refresh; $refresh");
is( $node->safe_psql('app',
		q(SELECT horizon_xact <= pg_snapshot_xmin(pg_current_snapshot())
			OR tail_since < horizon_at FROM fraiseql_audit.fraiseql_audit_rollup_state)),
	't', 'a transaction holds it back');
$late->query_safe('COMMIT');
$late->quit;
is_counted($node, 1, 'and is found');

# sessions that write, refresh and read at once
my $folder = PostgreSQL::Test::Utils::tempdir;
append_to_file("$folder/write.sql", rows(3) . ";\n");
append_to_file("$folder/refresh.sql", "$refresh;\n");
append_to_file("$folder/read.sql", <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1 / (SELECT (split_part(a, ' ', 1) = '0')::int FROM ($agree) AS r (a));
COMMIT;
SQL
$node->command_ok(
	[
		'pgbench', '-n', '-c', 6, '-j', 2, '-T', 5,
		'-f', "$folder/write.sql\@8", '-f', "$folder/refresh.sql\@1",
		'-f', "$folder/read.sql\@1", 'app'
	],
	'the same for each snapshot');
$node->safe_psql('app', $refresh);
is_counted($node, 0, 'in the end');

# who may
my ($status, $out, $err) =
  $node->psql('app', $refresh, extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, 'refreshing is not for everyone');
(undef, undef, $err) =
  $node->psql('app', "BEGIN ISOLATION LEVEL REPEATABLE READ; $refresh");
like($err, qr/must run in a READ COMMITTED transaction/, 'one isolation level');
is($node->safe_psql('app', "SET ROLE keeper; $refresh"), '0', 'the owner may');
(undef, undef, $err) =
  $node->psql('app', "SELECT * FROM fraiseql_obs.audit_counts('colour', 'yesterday', 'today')");
like($err, qr/invalid dimension "colour".*HINT:  Valid dimensions are/s, 'a dimension that is none');
foreach my $case (
	[ "'operation', 'today', 'yesterday'", qr/ERROR:  until, .*, is not after since, .*HINT:  Operations from since to before until are counted/s ],
	[ "'operation', 'today', 'today'", qr/ERROR:  until, .*, is not after since/ ],
	(map { [ $_, qr/ERROR:  dimension, since and until must not be null\nHINT: / ] }
		"NULL, 'yesterday', 'today'", "'operation', NULL, 'today'", "'operation', 'yesterday', NULL"))
{
	(undef, undef, $err) = $node->psql('app', "SELECT * FROM fraiseql_obs.audit_counts($case->[0])");
	like($err, $case->[1], "audit_counts($case->[0])");
}

# another cluster, whose transaction ids are lower
$node->safe_psql('app', rows(20));
my $other = start_node('audit_rollups_restored');
$other->safe_psql('app', 'CREATE ROLE keeper');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'app' ], 'dumped');
$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'app', "$folder/dump" ], 'restored');
my $rows = $other->safe_psql('app', 'SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log');
cmp_ok($other->safe_psql('app', 'SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log WHERE xact > pg_current_xact_id()'),
	'>', 0, 'rows of transactions that this cluster has not seen');
is_counted($other, $rows, 'all rows are counted one by one');
$other->safe_psql('app', rows(5));
is_counted($other, $rows + 5, 'and new ones');
is($other->safe_psql('app', $refresh), 25, 'what the dump had not counted, and what is new');
is_counted($other, 0, 'all is in the rollups there');
$other->safe_psql('app', rows(5));
is_counted($other, 5, 'a tail there');
is($other->safe_psql('app', $refresh), '5', 'refreshed there');
is_counted($other, 0, 'all of it');

# a partition that is removed leaves its counts
my $before = $node->safe_psql('app', $refresh);
$rows = $node->safe_psql('app', 'SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log');
$node->safe_psql('app', q(DO $$
	BEGIN
		EXECUTE (SELECT string_agg('DROP TABLE ' || inhrelid::regclass, ';') FROM pg_inherits
			WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass);
	END $$));
is( $node->safe_psql('app', q(SELECT sum(n) FROM fraiseql_obs.audit_counts('total', 'yesterday', 'tomorrow'))),
	$rows, 'counts outlive their rows');

$node->stop;
$other->stop;
done_testing();
