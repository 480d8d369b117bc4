# Verification says that a table beside the audit log, or a partition, is not
# what it was made as, whatever a superuser has made of it; and does not crash.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_tables_changed', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 33, 25);
maintain($node) foreach 1 .. 2;
set_guard($node, 'off');

sub query { return $node->safe_psql('app', $_[0]); }

query(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'test')));
query(q(SELECT fraiseql_obs.seal_audit_log()));
query(q(INSERT INTO fraiseql_audit.fraiseql_audit_checkpoints (size, root, note)
	SELECT seals, fraiseql_obs.audit_tree_root(tree, seals), 'note' FROM fraiseql_audit.fraiseql_audit_rollup_state));
query(q(SELECT fraiseql_obs.seal_audit_log('0')));
is(query(q(SELECT count(*) FROM fraiseql_audit.fraiseql_audit_collapsed WHERE seal_count > 0)), '1', 'some seals are collapsed');

# The violations once something has been done, which is undone
my $verify = q(SET LOCAL transaction_read_only = on;
	SELECT kind, message FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');

sub found
{
	my ($sql, $expected, $name) = @_;
	my ($status, $out, $err) = $node->psql('app', "SET client_min_messages = error; BEGIN; $sql; $verify; ROLLBACK");

	is("$status$err", '0', "$name: no error");
	like($out, $expected, $name);
	return;
}

is(query("BEGIN; $verify"), '', 'nothing is wrong');

# nulls, in each column of each table
my @columns = map { [ split /\|/ ] } split /\n/, query(q(
	SELECT c.oid::regclass, attname, atttypid::regtype, attnotnull
	FROM pg_class c JOIN pg_attribute ON attrelid = c.oid
	WHERE relnamespace = 'fraiseql_audit'::regnamespace AND relkind = 'r' AND NOT relispartition
		AND attnum > 0 AND NOT attisdropped AND relname !~ '_(settings|holds|sources?|actor_operations|actor_state)$'
		AND attname NOT IN ('singleton', 'note', 'made_at', 'removed_by')
		AND (relname !~ 'state' OR attname IN ('seals', 'last_hash', 'origin', 'system_identifier', 'database_oid', 'tree'))
	ORDER BY 1, attnum));
my $constraints = q(DO $$
	DECLARE c record;
	BEGIN
		FOR c IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
			WHERE connamespace = 'fraiseql_audit'::regnamespace AND contype IN ('p', 'u', 'c')
				AND (SELECT relkind = 'r' AND NOT relispartition FROM pg_class WHERE oid = conrelid) LOOP
			EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.name, c.conname);
		END LOOP;
	END $$);
my $tables = '';
foreach (@columns)
{
	my ($table, $column, $type, $not_null) = @$_;

	$tables .= "$table " unless $tables =~ /$table /;
	found("$constraints; ALTER TABLE $table ALTER $column DROP NOT NULL; UPDATE $table SET $column = NULL", qr/./, "$table.$column is null")
	  if $not_null eq 't';
	found("$constraints; UPDATE $table SET $column = NULL", qr/^/, "$table.$column is null, as it may be")
	  if $not_null eq 'f';
	found("$constraints; ALTER TABLE $table ALTER $column TYPE text", qr/^table\|.* column "$column" is of type text/m, "$table.$column is text")
	  if $type ne 'text';
	found("ALTER TABLE $table DROP $column CASCADE", qr/^table\|.* column "$column" is missing/m, "$table.$column is missing");
}
foreach my $table (split / /, $tables)
{
	my ($name) = $table =~ /\.(.*)/;
	found("ALTER TABLE $table RENAME TO t; CREATE VIEW $table AS SELECT * FROM fraiseql_audit.t",
		qr/^table\|.*$name.* it is not an ordinary table/m, "$table is a view");
	found("DROP TABLE $table", qr/^table\|.*$name.* it is missing/m, "$table is missing");
	found("ALTER TABLE $table FORCE ROW LEVEL SECURITY", qr/^table\|.*$name.*row security/m, "$table hides rows");
}

# arrays that are no trees, and numbers that are none of seals
my $state = 'fraiseql_audit.fraiseql_audit_rollup_state';
my $collapsed = 'fraiseql_audit.fraiseql_audit_collapsed';
foreach my $nodes ("'{}'", "'{NULL}'", "'{{\\\\x00,\\\\x01},{\\\\x02,\\\\x03}}'", q(ARRAY['\x00'::bytea]),
	q(array_fill('\x00'::bytea, ARRAY[100])), q(array_fill(sha256(''), ARRAY[63])))
{
	found("UPDATE $state SET tree = $nodes", qr/^state/m, "tree is $nodes");
	found("UPDATE $collapsed SET nodes = $nodes", qr/^state/m, "nodes are $nodes");
}
found("UPDATE $collapsed SET seal_count = $_", qr/^(state|seal)/m, "$_ are collapsed")
  foreach (-1, 0, 1, 1000000, '9223372036854775807');
found("UPDATE $state SET seals = $_", qr/^(state|seal)/m, "$_ seals") foreach (-1, 0, '9223372036854775807');
found("DELETE FROM $_", qr/^state/m, "$_ is empty") foreach ($state, $collapsed);
found("$constraints; INSERT INTO $_ SELECT * FROM $_", qr/^state/m, "$_ has two rows") foreach ($state, $collapsed);
found("$constraints; INSERT INTO $_ SELECT * FROM $_", qr/^seal\|.*more than once/m, "$_ has each twice")
  foreach ('fraiseql_audit.fraiseql_audit_seals');
found('UPDATE fraiseql_audit.fraiseql_audit_checkpoints SET ' . $_, qr/^checkpoint/m, "checkpoint: $_")
  foreach ("root = ''", 'size = 0', 'size = -1');

# rows, and partitions
my $log = 'fraiseql_audit.fraiseql_audit_log';
foreach my $column (qw(occurred_at xact operation result))
{
	found("ALTER TABLE $log ALTER $column DROP NOT NULL; UPDATE $log SET $column = NULL WHERE id = (SELECT min(id) FROM $log)",
		qr/^rows\|row was changed/m, "a row without $column");
	(my $status, my $out, my $err) = $node->psql('app', "BEGIN; ALTER TABLE $log ALTER $column DROP NOT NULL;
		INSERT INTO $log (operation) VALUES ('x'); UPDATE $log SET $column = NULL WHERE operation = 'x'; SELECT fraiseql_obs.seal_audit_log()");
	like($err, qr/cannot seal the audit log: a row has nulls|^$/, "a row without $column, and sealed");
}
my $ahead = "FOR VALUES FROM ('2200-01-01') TO ('2200-02-01')";
found("CREATE TABLE part (LIKE $log INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (created_at); ALTER TABLE $log ATTACH PARTITION part $ahead",
	qr/^table\|partition is not one of an audit log/m, 'a partition that is partitioned');
found("CREATE TABLE part (LIKE $log INCLUDING DEFAULTS INCLUDING CONSTRAINTS); ALTER TABLE $log ATTACH PARTITION part FOR VALUES FROM (MINVALUE) TO ('1990-01-01')",
	qr/^table\|partition is not one of an audit log/m, 'a partition without a begin');
found("CREATE TABLE part (LIKE $log INCLUDING DEFAULTS INCLUDING CONSTRAINTS); ALTER TABLE $log ATTACH PARTITION part DEFAULT",
	qr/^table\|partition is not one of an audit log/m, 'a default partition');
# Which table is the log is nobody's to say who verifies.
(undef, undef, my $err) = $node->psql('app', "SELECT fraiseql_obs.audit_verify('$log', NULL, NULL, NULL, NULL, NULL)");
like($err, qr/does not exist/, 'no log is given');
is(query("BEGIN; $verify"), '', 'nothing was done');

$node->stop;
done_testing();
