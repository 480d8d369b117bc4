# All texts of queries are shown where they are more than work_mem, too; and an
# error meanwhile leaves the session with the encoding of its database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('query_texts_large', "pg_stat_statements.track = all\nfraiseql_obs.track = all\n");

# Queries that differ in their number of columns, with a megabyte of text
$node->safe_psql('postgres', q(
	DO $$
	BEGIN
		FOR i IN 2 .. 401 LOOP
			EXECUTE (SELECT 'SELECT ' || string_agg(j || ' AS column_' || j, ', ') FROM generate_series(1, i) AS j);
		END LOOP;
	END $$));

sub seen_in
{
	my ($source) = @_;
	return "SELECT count(*), sum(length(query)) FROM $source WHERE query LIKE 'SELECT \$1 AS column_%'";
}
my $expected = $node->safe_psql('postgres', seen_in('pg_stat_statements'));
like($expected, qr/^400\|\d{7}$/, 'many texts');
foreach my $work_mem ('64kB', '64MB')
{
	foreach my $source ('query_texts()', 'query_stats()')
	{
		is($node->safe_psql('postgres', "SET work_mem = '$work_mem';" . seen_in("fraiseql_obs.$source")),
			$expected, "$source with work_mem = $work_mem");
	}
}

# pg_stat_statements has no room for them
my ($status, $out, $err) = $node->psql('postgres', q(
	SET work_mem = '64kB';
	SET temp_file_limit = 0;
	SELECT count(*) FROM fraiseql_obs.query_texts();
	SELECT getdatabaseencoding();), on_error_stop => 0);
like($err, qr/ERROR:  temporary file size exceeds temp_file_limit/, 'an error meanwhile');
is($out, 'UTF8', 'the encoding is that of the database');
$node->stop;
done_testing();
