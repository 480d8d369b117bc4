-- What dev/bench needs beside pgbench's tables.

-- Runs a statement "times" times, in one round trip.  Not an assignment:
-- PL/pgSQL evaluates a simple expression without the executor.
CREATE FUNCTION bench_nested(times int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	last int;
BEGIN
	FOR i IN 1..times LOOP
		SELECT i INTO last;
	END LOOP;
	RETURN last;
END $$;

-- so that no measured statement is the first to see a row
VACUUM (FREEZE, ANALYZE);
