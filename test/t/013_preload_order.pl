# Before or behind pg_stat_statements, or without it, everything is counted
# the same, utility statements too, and pg_stat_statements counts what it
# counts without us.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $workload = q(
	CREATE TABLE ordered (a int PRIMARY KEY);
	INSERT INTO ordered SELECT generate_series(1, 100);
	SELECT count(*) FROM ordered;
	CREATE TABLE copied AS SELECT * FROM ordered;
	DO $$ BEGIN PERFORM 1; END $$;
	EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT 1 FROM ordered;
	COPY (SELECT * FROM ordered WHERE a < 11) TO PROGRAM 'cat > /dev/null';
	VACUUM ordered;
	UPDATE ordered SET a = -a;
	TRUNCATE ordered;
);
my %ours;
my %theirs;

foreach my $libraries (
	'pg_stat_statements,fraiseql_obs',
	'fraiseql_obs,pg_stat_statements',
	'fraiseql_obs',
	'pg_stat_statements')
{
	my $node = PostgreSQL::Test::Cluster->new($libraries =~ tr/,/-/r);
	$node->init;
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = '$libraries'\ncompute_query_id = on");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('app', $workload);

	# only now, so that the workload's tables have the same OIDs each time
	$node->safe_psql('postgres', "CREATE EXTENSION $_")
	  foreach split /,/, $libraries;
	if ($libraries =~ /fraiseql_obs/)
	{
		$ours{$libraries} = $node->safe_psql(
			'postgres', q(
			SELECT queryid, toplevel, calls, errors, rows
			FROM fraiseql_obs.query_stats() AS s
			JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = 'app'
			ORDER BY queryid, toplevel));
	}
	if ($libraries =~ /pg_stat_statements/)
	{
		$theirs{$libraries} = $node->safe_psql(
			'postgres', q(
			SELECT queryid, toplevel, calls, rows
			FROM pg_stat_statements AS s
			JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = 'app'
			ORDER BY queryid, toplevel));
	}
	$node->stop;
}

# Object identifiers are the same: each server ran the same statements.
my $expected = $ours{'pg_stat_statements,fraiseql_obs'};
is(scalar(split /\n/, $expected), 10, 'ten statements');
unlike($expected, qr/^0\|/m, 'each has its query identifier');
is($ours{'fraiseql_obs,pg_stat_statements'}, $expected, 'we come first');
is($ours{'fraiseql_obs'}, $expected, 'we are alone');

is( $theirs{'pg_stat_statements,fraiseql_obs'},
	$theirs{'pg_stat_statements'},
	'pg_stat_statements before us counts as if alone');
is( $theirs{'fraiseql_obs,pg_stat_statements'},
	$theirs{'pg_stat_statements'},
	'pg_stat_statements behind us counts as if alone');
done_testing();
