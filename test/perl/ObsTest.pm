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
our @EXPORT = qw(start_node observe op counts took totals errors metric
  reset_counts);

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

# The answer to a query of the observer, which is not counted itself
sub observe
{
	my ($node, $sql) = @_;
	local $ENV{PGOPTIONS} = '-c fraiseql_obs.enabled=off';
	return $node->safe_psql('postgres', $sql);
}

sub reset_counts
{
	my ($node) = @_;
	observe($node, 'SELECT fraiseql_obs.reset_metrics()');
	return;
}

# A statement that names its operation in a comment, so that its counts can be
# asked for by that name.  (Its text is no help: pg_stat_statements shows it
# only when it has itself counted the statement, and what differs in constants
# and names of columns alone is one query.)
sub op
{
	my ($name, $sql) = @_;
	return "$sql /*action='$name'*/";
}

# "calls|errors|rows" of an operation of "app"; '' if it was not called
sub counts
{
	my ($node, $name) = @_;
	return observe($node, qq(
		SELECT calls, errors, rows FROM fraiseql_obs.operation_stats()
		WHERE datname = 'app' AND operation = '$name'));
}

# Are all times of an operation of "app" between these, in milliseconds?
sub took
{
	my ($node, $name, $from, $to) = @_;
	return observe($node, qq(
		SELECT min_exec_time >= $from AND max_exec_time < $to
		FROM fraiseql_obs.operation_stats()
		WHERE datname = 'app' AND operation = '$name'));
}

# "calls|errors|rows" of all statements of "app", whatever their text
sub totals
{
	my ($node) = @_;
	return observe($node, q(
		SELECT coalesce(sum(calls), 0), coalesce(sum(errors), 0),
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

1;
