# What the TAP tests share: a server with the extension, and its counts as
# short text to compare.
#
# The statements of a test run in the database "app", where the extension is
# not installed.  The test looks from the database "postgres", so that what it
# does itself is told apart from what it looks at.

package ObsTest;

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use parent 'Exporter';
our @EXPORT = qw(start_node observe counts totals errors metric
  reset_counts wait_until);

# A running server with both databases and the extensions
sub start_node
{
	my ($name, $conf, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init);
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'pg_stat_statements,fraiseql_obs'");
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	$node->start;
	$node->safe_psql('postgres',
		'CREATE EXTENSION pg_stat_statements; CREATE EXTENSION fraiseql_obs');
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	reset_counts($node);
	return $node;
}

# The answer to a query of the observer
sub observe
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub reset_counts
{
	my ($node) = @_;
	observe($node, 'SELECT fraiseql_obs.reset_metrics()');
	return;
}

# "calls|errors|rows" of the statements of "app" whose text is like this, one
# line per series
sub counts
{
	my ($node, $like) = @_;
	return observe($node, qq(
		SELECT calls, errors, rows
		FROM fraiseql_obs.query_stats() AS s
		JOIN pg_catalog.pg_database AS d ON d.oid = s.dbid
		WHERE d.datname = 'app' AND s.query LIKE '$like'
		ORDER BY calls, errors, rows));
}

# "series|calls|errors|rows" of all statements of "app", whatever their text
sub totals
{
	my ($node) = @_;
	return observe($node, q(
		SELECT count(*), coalesce(sum(calls), 0), coalesce(sum(errors), 0),
			coalesce(sum(rows), 0)
		FROM fraiseql_obs.query_stats() AS s
		JOIN pg_catalog.pg_database AS d ON d.oid = s.dbid
		WHERE d.datname = 'app' AND s.toplevel));
}

# "sqlstate|errors" of "app", one line per SQLSTATE
sub errors
{
	my ($node) = @_;
	return observe($node, q(
		SELECT sqlstate, errors FROM fraiseql_obs.error_stats()
		WHERE datname = 'app' ORDER BY sqlstate COLLATE "C"));
}

# The value of one sample of the Prometheus text; '' if there is none
sub metric
{
	my ($node, $sample) = @_;
	my $text = observe($node, 'SELECT fraiseql_obs.export_metrics()');
	return $text =~ /^\Q$sample\E (\S+)$/m ? $1 : '';
}

sub wait_until
{
	my ($node, $sql, $what) = @_;
	ok($node->poll_query_until('postgres', $sql), $what);
	return;
}

1;
