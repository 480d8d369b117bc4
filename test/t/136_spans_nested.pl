# What functions, triggers and procedures run is nested under what runs it,
# whatever fails and is handled, in parallel, and in COMMIT.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('spans_nested', q(
	fraiseql_obs.track = all
	max_prepared_transactions = 2
	min_parallel_table_scan_size = 0
	parallel_setup_cost = 0
	parallel_tuple_cost = 0
	plan_cache_mode = force_generic_plan));
my $trace = 'c' x 32;

$node->safe_psql('app', q(
	CREATE TABLE t (a integer PRIMARY KEY);
	CREATE TABLE wide AS SELECT generate_series(1, 10000) AS a;
	ANALYZE wide;
	CREATE TABLE d (a integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM count(*) FROM wide; RETURN NULL; END';
	CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
	CREATE CONSTRAINT TRIGGER note AFTER INSERT ON d DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION note();
	CREATE FUNCTION inserts(n integer) RETURNS integer LANGUAGE plpgsql AS
		'BEGIN INSERT INTO t VALUES (n); RETURN n; END';
	CREATE FUNCTION tries(n integer) RETURNS integer LANGUAGE plpgsql AS
		'BEGIN PERFORM inserts(n); RETURN 1; EXCEPTION WHEN unique_violation THEN DELETE FROM wide WHERE false; RETURN 0; END';
	CREATE FUNCTION cursors() RETURNS integer LANGUAGE plpgsql AS
		'DECLARE r record; BEGIN FOR r IN SELECT a FROM t ORDER BY a LOOP UPDATE wide SET a = a WHERE a = r.a AND false; EXIT WHEN r.a = 2; END LOOP; RETURN 1; END';
	CREATE PROCEDURE twice() LANGUAGE plpgsql AS
		'BEGIN INSERT INTO t VALUES (10); COMMIT; INSERT INTO t VALUES (11); COMMIT; END';
	CREATE PROCEDURE refused() LANGUAGE plpgsql AS
		'BEGIN INSERT INTO d VALUES (1); INSERT INTO d VALUES (1); COMMIT; END'));

# The tree of what some SQL runs, a line for each statement: its name, indented
# by the number of statements around it, and its SQLSTATE.  Planning is left
# out, as a plan may be there already.
sub runs
{
	my ($name, $sql, $expected) = @_;

	observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
	$node->psql('app', "SET fraiseql_obs.traceparent = '00-$trace-${\ ('d' x 16)}-01';\n$sql", on_error_stop => 0);
	is( observe($node, qq(
			WITH RECURSIVE found AS MATERIALIZED (SELECT * FROM fraiseql_obs.spans('$trace')),
			tree AS (
				SELECT *, 0 AS depth FROM found WHERE parent_span_id = '${\ ('d' x 16)}'
				UNION ALL
				SELECT f.*, t.depth + (t.kind <> 'execution')::integer
				FROM tree t JOIN found f ON f.parent_span_id = t.span_id)
			SELECT string_agg(repeat('>', depth) || name || coalesce(' ' || sqlstate, ''), ' ' ORDER BY started_at, depth)
			FROM tree WHERE kind IN ('statement', 'nested', 'commit'))),
		$expected, $name);
	is( observe($node, qq(SELECT count(*) FROM fraiseql_obs.spans('$trace') c JOIN fraiseql_obs.spans('$trace') p
			ON p.span_id = c.parent_span_id
			WHERE c.started_at < p.started_at OR c.started_at > p.started_at + p.duration_ms * interval '1 ms' + interval '2 us')),
		'0', "$name: children begin while their parents last");
	return;
}

runs('a function and a trigger', 'SELECT inserts(1)', 'SELECT >INSERT >>SELECT COMMIT');
runs('a handled error', 'SELECT tries(1)',
	'SELECT >SELECT 23505 >>INSERT 23505 >DELETE COMMIT');
runs('an error that is not handled', 'SELECT inserts(1)', 'SELECT 23505 >INSERT 23505');
runs('what follows is not inside of it', 'SELECT inserts(1); SELECT 1; SELECT inserts(2)',
	'SELECT 23505 >INSERT 23505 SELECT SELECT >INSERT >>SELECT COMMIT');
runs('a loop that is left', 'SELECT cursors()', 'SELECT >SELECT >UPDATE >UPDATE');
runs('DO', q(DO $$ BEGIN PERFORM tries(1); PERFORM 1 / 0; END $$),
	'DO 22012 >SELECT >>SELECT 23505 >>>INSERT 23505 >>DELETE >SELECT 22012');
runs('a procedure that commits', 'CALL twice()',
	'CALL >INSERT >>SELECT >COMMIT >INSERT >>SELECT >COMMIT');
runs('a procedure whose COMMIT fails, before it begins', 'CALL refused()',
	'CALL 23505 >INSERT >INSERT >SELECT');
runs('a savepoint', 'BEGIN; SAVEPOINT s; SELECT inserts(3); ROLLBACK TO s; SELECT inserts(4); COMMIT',
	'SELECT >INSERT >>SELECT SELECT >INSERT >>SELECT COMMIT');
runs('deferred triggers run in COMMIT', 'BEGIN; INSERT INTO d VALUES (1); COMMIT', 'INSERT COMMIT >SELECT');
runs('a COMMIT that fails', 'BEGIN; INSERT INTO d VALUES (1); COMMIT', 'INSERT COMMIT 23505');
runs('a COMMIT that rolls back', 'BEGIN; INSERT INTO d VALUES (2); SELECT 1 / 0; COMMIT',
	'INSERT SELECT 22012');
runs('ROLLBACK', 'BEGIN; INSERT INTO d VALUES (2); ROLLBACK', 'INSERT');
runs('PREPARE TRANSACTION', q(BEGIN; INSERT INTO t VALUES (20); PREPARE TRANSACTION 'x'; ROLLBACK PREPARED 'x'),
	'INSERT >SELECT PREPARE TRANSACTION');
runs('PREPARE TRANSACTION that fails', q(CREATE TEMP TABLE x (a integer); BEGIN; INSERT INTO x VALUES (20); PREPARE TRANSACTION 'x'),
	'CREATE TABLE COMMIT INSERT PREPARE TRANSACTION 0A000');
runs('a cursor', 'BEGIN; DECLARE c CURSOR FOR SELECT tries(1); FETCH ALL FROM c; COMMIT',
	'DECLARE CURSOR >SELECT FETCH >>SELECT 23505 >>>INSERT 23505 >>DELETE COMMIT');
runs('EXPLAIN ANALYZE', 'EXPLAIN ANALYZE SELECT inserts(30)', 'EXPLAIN >SELECT >>INSERT >>>SELECT COMMIT');
runs('EXPLAIN', 'EXPLAIN SELECT inserts(30)', '');
runs('EXECUTE', 'PREPARE p AS SELECT tries($1); EXECUTE p(1)', 'SELECT >SELECT 23505 >>INSERT 23505 >DELETE COMMIT');

# Parallel workers are part of their leader.
runs('parallel workers', q(
	SET max_parallel_workers_per_gather = 2;
	SET parallel_leader_participation = off;
	SELECT count(*) FROM wide WHERE a > 0), 'SELECT');
is( observe($node, qq(SELECT rows, shared_blks_hit + shared_blks_read >= 40, busy_ms > 0
	FROM fraiseql_obs.spans('$trace') WHERE kind = 'statement')),
	'1|t|t', 'with the blocks that they read');
runs('an error in a parallel worker', q(
	SET max_parallel_workers_per_gather = 2;
	SET parallel_leader_participation = off;
	SELECT count(*) FROM wide WHERE 1 / (a - 5000) > 5), 'SELECT 22012');

# An expression is planned as a statement, though it is executed as none, and
# without query identifiers they all look the same.
runs('an expression long before a statement', q(
	SET compute_query_id = off;
	DO $$ DECLARE x integer; BEGIN x := (pg_sleep(0.5) IS NULL)::integer; PERFORM x; END $$), 'DO >SELECT');
is( observe($node, qq(SELECT duration_ms < 400 FROM fraiseql_obs.spans('$trace') WHERE kind = 'nested')),
	't', 'which did not begin with that');

# One session after the other: nothing of a request is left for the next.
observe($node, q(SELECT fraiseql_obs.reset_metrics('spans')));
my $session = $node->background_psql('app', on_error_stop => 0);
foreach my $n (1 .. 3)
{
	$session->query("BEGIN; SELECT set_config('fraiseql_obs.traceparent', '00-${\ ($n x 32)}-${\ ('d' x 16)}-01', true)");
	$session->query("SELECT inserts(${n}00); SELECT 1 / 0");
	$session->query('SELECT 1');
	$session->query('ROLLBACK');
	$session->query('INSERT INTO t VALUES (999); DELETE FROM t WHERE a = 999');
}
$session->quit;
is( observe($node, q(SELECT string_agg(spans, ', ') FROM (
		SELECT concat_ws(' ', substr(trace_id, 1, 1), string_agg(name || coalesce(' ' || sqlstate, ''), ' ' ORDER BY started_at)) AS spans
		FROM fraiseql_obs.spans() WHERE kind IN ('statement', 'nested', 'commit') GROUP BY trace_id ORDER BY trace_id) s)),
	join(', ', map { "$_ SELECT INSERT SELECT SELECT 22012" } 1 .. 3), 'requests are apart');
done_testing();
