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
  reset_counts set_guard make_old_audit_log maintain connect_drivers);

# The first cluster of a test is a copy of the one in INITDB_TEMPLATE, if that is
# set and the test has no wishes of its own, as PostgreSQL::Test::Cluster makes
# them all since 17.  Others are made, so that each has an identifier of its own.
my $clusters = 0;

sub make_cluster
{
	my ($run, @command) = @_;
	my $template = $ENV{INITDB_TEMPLATE} // '';

	if ("@command" =~ /^(?:initdb -D (\S+) -A trust -N|cp .*\Q$template\E (\S+))$/ && $template ne '')
	{
		my $folder = $1 // $2;
		@command = $clusters++ ? ('initdb', '-D', $folder, '-A', 'trust', '-N') : ('cp', '-RPp', $template, $folder);
	}
	return $run->(@command);
}

{
	no warnings 'redefine';
	my $run = \&PostgreSQL::Test::Utils::system_or_bail;
	*PostgreSQL::Test::Utils::system_or_bail = sub { return make_cluster($run, @_) };
}

# Audit logs have partitions of days of UTC, and tests name them by how long ago
# they were.  So a test that would run across midnight begins after it: fewer
# seconds are left of the day then than any of them takes.
my $most_seconds = 300;
my $has_begun = 0;

sub begin_in_one_day
{
	my $left = 86400 - time % 86400;

	return if $has_begun++ || $left > $most_seconds;
	note "waiting for the next day, which begins in $left seconds";
	sleep 1 while time % 86400 >= 86400 - $most_seconds;
	return;
}

# A running server with both databases and the extensions
sub start_node
{
	my ($name, $conf, %init) = @_;
	begin_in_one_day();
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init);
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'pg_stat_statements,fraiseql_obs'");
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	$node->start;
	$node->safe_psql('postgres', q(
		CREATE EXTENSION pg_stat_statements;
		CREATE EXTENSION fraiseql_obs;
		CREATE DATABASE app STRATEGY file_copy;
	));
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

# Has drivers connect to the database "app", and Node find node-postgres: where
# Debian has its modules; who has a Node of his own has npm.
sub connect_drivers
{
	my ($node, $folder) = @_;

	$ENV{PGHOST} = $node->host;
	$ENV{PGPORT} = $node->port;
	$ENV{PGDATABASE} = 'app';
	$ENV{PGUSER} = getpwuid($<);    # node-postgres looks nowhere else
	delete $ENV{DATABASE_URL};
	$ENV{NODE_PATH} = '/usr/share/nodejs:/usr/lib/nodejs';
	if (system(q(node -e "require('pg')" >/dev/null 2>&1)) != 0
		&& system("npm install --silent --no-audit --no-fund --prefix '$folder' pg >/dev/null 2>&1 </dev/null") == 0)
	{
		$ENV{NODE_PATH} = "$folder/node_modules";
	}
	return;
}

# Switches the guard of audit logs for all sessions that begin from now on.
sub set_guard
{
	my ($node, $value) = @_;
	$node->append_conf('postgresql.conf', "fraiseql_obs.audit_guard = $value");
	$node->reload;
	$node->poll_query_until('postgres',
		"SELECT current_setting('fraiseql_obs.audit_guard') = '$value'")
	  or die 'the guard does not switch';
	return;
}

# An audit log in "app" with partitions of so many days ago, each with 24 rows
# that are sealed: kept for 30 days, owned by "keeper", and guarded.  Nobody else
# may seal it before.
sub make_old_audit_log
{
	my ($node, $from, $to) = @_;

	set_guard($node, 'off');
	$node->safe_psql('app', qq(
		CREATE EXTENSION fraiseql_obs;
		CREATE ROLE keeper NOLOGIN;
		SELECT fraiseql_obs.create_audit_log(owner => 'keeper', retention => '30 days', guard_triggers => false);
		SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day') FROM generate_series($to, $from) i;
		INSERT INTO fraiseql_audit.fraiseql_audit_log (created_at, occurred_at, operation, result, user_id,
			entity_type, entity_id, tenant_id, details, personal_salt, personal_digest)
		SELECT at, at, 'op' || h % 3, CASE h % 6 WHEN 0 THEN 'failure' ELSE 'success' END, 'user' || h % 4,
			'Type' || h % 2, (h % 8)::text, 'tenant' || h % 2, '{"a": 1}', salt,
			sha256(salt || '\\x01' || '\\x06' || int4send(5) || convert_to('user' || h % 4, 'UTF8')
				|| '\\x0b' || int4send(8) || '{"a": 1}'::bytea)
		FROM generate_series($to, $from) d, generate_series(0, 23) h,
			LATERAL (SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') - d * interval '1 day' + h * interval '1 hour')
				AT TIME ZONE 'UTC', uuid_send(gen_random_uuid())) AS t (at, salt)
		ORDER BY at;
		SELECT fraiseql_obs.refresh_audit_rollups();));
	set_guard($node, 'on');
	return;
}

# What maintain_audit_log() says, without what is the same in each test: names
# of partitions are how many days ago they were
sub maintain
{
	my ($node, $arguments) = @_;
	$arguments //= '';
	return $node->safe_psql('app', qq(
		SELECT string_agg(m.key || ' ' || v.value, '; ' ORDER BY m.key)
		FROM jsonb_each(fraiseql_obs.maintain_audit_log($arguments)) AS m,
			LATERAL (SELECT string_agg(CASE WHEN jsonb_typeof(e) = 'string' THEN days
					WHEN e ? 'step' THEN format('%s %s: %s', e->>'step', days, e->>'message')
					ELSE format('%s by %s', days, e->>'hold_id') END, ', ')
				FROM jsonb_array_elements(CASE jsonb_typeof(m.value) WHEN 'array' THEN m.value ELSE '[]' END) e,
					LATERAL (SELECT coalesce(((now() AT TIME ZONE 'UTC')::date - to_date(
						substring(coalesce(e->>'partition', e #>> '{}') FROM '_(\\d{8})\$'), 'YYYYMMDD'))::text,
						coalesce(e->>'partition', e #>> '{}'))) AS d (days)) AS v (value)
		WHERE v.value <> ''));
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
