# Requests that share a connection of a driver's pool each have their own
# trace, whichever way the driver tells it and however it prepares.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('trace_drivers', 'fraiseql_obs.slow_query_threshold = 0.001');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
connect_drivers($node, PostgreSQL::Test::Utils::tempdir);

# Each program sends four requests: 1 by headers, one without a trace, 2 by a
# comment, 3 by application_name, and one without again.
my @programs = (
	[ 'psycopg', 'python3', '-c', 'import psycopg', q(
import json, psycopg
sql = "SELECT pg_sleep(%s)"
parent = "00-%032x-%016x-01"
with psycopg.connect(autocommit=True, prepare_threshold=0) as c:
    with c.transaction():
        c.execute("SET LOCAL fraiseql_obs.operation_name = 'headers'")
        c.execute("SELECT fraiseql_obs.set_trace_context(%s)", [json.dumps({"Traceparent": [parent % (1, 1)]})])
        c.execute(sql, [0.0001])
    c.execute(sql + " /*action='none'*/", [0.0001])
    c.execute(sql + " /*action='comment',traceparent='" + parent % (2, 2) + "'*/", [0.0001])
    c.execute("SET application_name = '" + parent % (3, 3) + "'")
    c.execute(sql + " /*action='name'*/", [0.0001])
    c.execute("RESET application_name")
    c.execute(sql + " /*action='name'*/", [0.0001])
) ],
	[ 'asyncpg', 'python3', '-c', 'import asyncpg', q(
import asyncio, json, os, asyncpg
sql = "SELECT pg_sleep($1)"
parent = "00-%032x-%016x-01"
async def main():
    c = await asyncpg.connect(host=os.environ["PGHOST"])
    async with c.transaction():
        await c.execute("SET LOCAL fraiseql_obs.operation_name = 'headers'")
        await c.fetch("SELECT fraiseql_obs.set_trace_context($1)", json.dumps({"Traceparent": [parent % (1, 1)]}))
        await c.fetch(sql, 0.0001)
    await c.fetch(sql + " /*action='none'*/", 0.0001)
    await c.fetch(sql + " /*action='comment',traceparent='" + parent % (2, 2) + "'*/", 0.0001)
    await c.execute("SET application_name = '" + parent % (3, 3) + "'")
    await c.fetch(sql + " /*action='name'*/", 0.0001)
    await c.execute("RESET application_name")
    await c.fetch(sql + " /*action='name'*/", 0.0001)
    await c.close()
asyncio.run(main())
) ],
	[ 'node-postgres', 'node', '-e', "require('pg')", q(
const { Client } = require('pg');
const sql = 'SELECT pg_sleep($1)';
const parent = n => '00-' + String(n).padStart(32, '0') + '-' + String(n).padStart(16, '0') + '-01';
(async () => {
	const c = new Client();
	await c.connect();
	await c.query('BEGIN');
	await c.query("SET LOCAL fraiseql_obs.operation_name = 'headers'");
	await c.query('SELECT fraiseql_obs.set_trace_context($1)', [JSON.stringify({ Traceparent: [parent(1)] })]);
	await c.query({ name: 'a', text: sql, values: [0.0001] });
	await c.query('COMMIT');
	await c.query({ name: 'b', text: sql + " /*action='none'*/", values: [0.0001] });
	await c.query(sql + " /*action='comment',traceparent='" + parent(2) + "'*/", [0.0001]);
	await c.query("SET application_name = '" + parent(3) + "'");
	await c.query({ name: 'c', text: sql + " /*action='name'*/", values: [0.0001] });
	await c.query("RESET application_name");
	await c.query({ name: 'c', text: sql + " /*action='name'*/", values: [0.0001] });
	await c.end();
})();
) ]);

foreach (@programs)
{
	my ($driver, $interpreter, $option, $load, $program) = @$_;
  SKIP:
	{
		skip "no $driver here", 2
		  if system("$interpreter $option \"$load\" >/dev/null 2>&1") != 0;
		my ($out, $err);

		reset_counts($node);
		my $run = IPC::Run::run [ $interpreter, $option, $program ], '>', \$out, '2>', \$err;
		ok($run, "$driver runs") or diag($err);
		is( observe($node, q(
				SELECT string_agg(operation || ' ' || coalesce(ltrim(trace_id, '0') || ' ' || ltrim(span_id, '0'), '-'), ', ' ORDER BY finished_at)
				FROM fraiseql_obs.slow_queries(512)
				WHERE datname = 'app' AND operation IS NOT NULL
					AND duration_ms > 0.1 AND queryid = (SELECT queryid FROM fraiseql_obs.slow_queries(512)
						WHERE operation = 'none' AND datname = 'app'))),
			'headers 1 1, none -, comment 2 2, name 3 3, name -', "$driver: each has its own trace");
	}
}
$node->stop;
done_testing();
