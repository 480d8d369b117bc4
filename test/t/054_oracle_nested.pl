# With nested statements, too, we count what pg_stat_statements counts:
# functions, triggers, cursors, procedures, prepared statements, utilities.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('oracle_nested', q(
	fraiseql_obs.track = all
	pg_stat_statements.track = all
));
$node->safe_psql('app', q(
	CREATE TABLE parent (id int PRIMARY KEY, n int);
	CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent);
	CREATE TABLE log (at timestamptz);
	CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO log VALUES (now()); RETURN NULL; END';
	CREATE TRIGGER log AFTER INSERT ON child
		FOR EACH ROW EXECUTE FUNCTION log();
	CREATE FUNCTION total() RETURNS bigint LANGUAGE sql AS
		'SELECT count(*) FROM child';
	CREATE FUNCTION walk() RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		r record;
		s bigint := 0;
		c CURSOR FOR SELECT id FROM parent;
	BEGIN
		FOR r IN SELECT id FROM parent LOOP s := s + r.id; END LOOP;
		FOR r IN c LOOP s := s + total(); END LOOP;
		EXECUTE 'SELECT max(id) FROM child' INTO s;
		BEGIN
			INSERT INTO parent SELECT id, 0 FROM parent ORDER BY id LIMIT 1;
		EXCEPTION WHEN unique_violation THEN
			UPDATE parent SET n = n + 1 WHERE id = 1;
		END;
		RETURN s;
	END $$;
	CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 3 LOOP
			INSERT INTO child (parent) VALUES (i);
			COMMIT;
		END LOOP;
	END $$;
	INSERT INTO parent SELECT g, 0 FROM generate_series(1, 20) AS g;
));
my $script = $node->basedir . '/nested.sql';
append_to_file(
	$script, q(
	\set p random(1, 20)
	INSERT INTO child (parent) VALUES (:p);
	SELECT walk();
	CALL steps();
	DO $$ BEGIN PERFORM total() FROM parent; END $$;
	BEGIN;
	DECLARE c CURSOR FOR SELECT id, total() FROM parent;
	FETCH 5 FROM c;
	FETCH 5 FROM c;
	CLOSE c;
	DELETE FROM child WHERE parent = :p;
	END;
	EXPLAIN (ANALYZE) SELECT total();
));

my $joined = q(
	(SELECT * FROM fraiseql_obs.query_stats()) AS o
	FULL JOIN
	(SELECT * FROM pg_stat_statements
	 WHERE query !~ '^(BEGIN|END|COMMIT|ROLLBACK)') AS s
	USING (userid, dbid, toplevel, queryid)
	WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'app'));

foreach my $mode ('simple', 'extended', 'prepared')
{
	reset_counts($node);
	observe($node, 'SELECT pg_stat_statements_reset()');
	$node->command_ok(
		[
			'pgbench', '-n', '-c', '1', '-t', '20', '-M', $mode, '-f',
			$script, 'app'
		],
		"pgbench $mode");
	cmp_ok(observe($node, "SELECT count(*) FROM $joined AND NOT toplevel"),
		'>=', 8, "$mode: nested statements");

	# What failed or has no identifier, we count and they do not.  Up to 15,
	# they count the rows of the last part of a portal alone.
	is( observe($node, qq(
			SELECT coalesce(s.query, o.queryid::text), toplevel,
				o.calls, o.errors, s.calls, o.rows, s.rows
			FROM $joined AND queryid IS NOT NULL
				AND (o.calls IS NULL OR o.errors < o.calls)
				AND (o.calls - o.errors IS DISTINCT FROM s.calls
					OR o.rows <> s.rows AND (toplevel OR s.rows > o.rows)))),
		'', "$mode: calls and rows are equal");
}
done_testing();
