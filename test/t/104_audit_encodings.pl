# The hashes of the audit log do not depend on the settings of who seals and who
# verifies, nor on the encoding of the database; and no text keeps a row from
# being sealed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $node = start_node('audit_encodings');
my $log = 'fraiseql_audit.fraiseql_audit_log';

my @settings = (
	"SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601';",
	"SET TimeZone = 'America/St_Johns'; SET DateStyle = 'German'; SET extra_float_digits = -15;",
	"SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'Postgres, MDY'; SET extra_float_digits = 3;",
	"SET bytea_output = 'escape'; SET standard_conforming_strings = off; SET search_path = '';",
	"SET work_mem = '64kB'; SET jit_above_cost = 0; SET enable_seqscan = off; SET enable_bitmapscan = off;",
	"SET lc_messages = 'C'; SET xmloption = 'document'; SET row_security = on;");

# Findings but for rows that are not sealed, in the server and in a dump
sub is_well
{
	my ($database, $anchor, $settings, $name) = @_;
	my $file = "$folder/$database.sql";
	my $out;

	is($node->safe_psql($database, "SET default_transaction_read_only = on; $settings
		SELECT kind, message FROM fraiseql_obs.verify_audit_log(anchor => '$anchor') WHERE kind NOT IN ('unsealed', 'rollup')"),
		'', $name);
	$node->command_ok([ 'pg_dump', '-n', 'fraiseql_audit', '-f', $file, $database ], "$name: dumped");
	IPC::Run::run([ 'python3', $tool, $file ], '>', \$out);
	is($? >> 8, 0, "$name: so says the tool") or diag($out);
	return;
}

# written, sealed and verified under any settings
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
foreach my $settings (@settings)
{
	$node->safe_psql('app', "$settings
		SELECT fraiseql_obs.log_operation('op', 'Order', i::text, details => '{\"total\": 1.10, \"b\": [null, \"x\"]}',
			changed_fields => ARRAY['a', NULL, 'NULL', 'b' || chr(34) || chr(92) || 'c'], duration_ms => 0.1 + i, occurred_at => '2026-01-01 00:00:00.5+05:45')
		FROM generate_series(1, 500) i;
		SELECT fraiseql_obs.seal_audit_log()");
}
my $anchor = $node->safe_psql('app', 'SELECT fraiseql_obs.audit_checkpoint()');
is_well('app', $anchor, $_, $_) foreach '', @settings;
foreach my $encoding (qw(LATIN1 WIN1252 SQL_ASCII EUC_JP))
{
	local $ENV{PGCLIENTENCODING} = $encoding;
	is_well('app', $anchor, '', "client_encoding $encoding");
}

# the same row has the same leaf in any database that can hold it
my $leaf = q(SELECT encode(fraiseql_obs.audit_leaf_hash(ROW(1, '2026-11-25 12:00:00+00', '2026-11-25 12:00:00+00', '3',
	'caf' || %s, NULL, 'op', NULL, NULL, 'success', NULL, NULL, NULL, ARRAY[%s], NULL, NULL, NULL, 'app', NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL)), 'hex'));
my $expected = $node->safe_psql('app', sprintf $leaf, (q(U&'\00e9')) x 2);
my %databases = (
	LATIN1 => q(U&'\00e9'), LATIN9 => q(U&'\00e9'), WIN1252 => q(U&'\00e9'), WIN1258 => q(U&'\00e9'),
	SQL_ASCII => q(convert_from('\xc3a9', 'SQL_ASCII')));
foreach my $encoding (sort keys %databases)
{
	my $database = lc "in_$encoding";
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
	is($node->safe_psql($database, sprintf $leaf, ($databases{$encoding}) x 2), $expected, "leaf in $encoding");

	# text that cannot be converted, and not even is valid
	my $odd = $encoding eq 'SQL_ASCII' ? q(convert_from('\xff81', 'SQL_ASCII')) : q(convert_from('\x81', getdatabaseencoding()));
	$node->safe_psql($database, "SELECT fraiseql_obs.log_operation('op' || $odd || t, user_id => t,
			details => to_jsonb(t), changed_fields => ARRAY[$odd, t])
		FROM (VALUES ($odd), ($databases{$encoding}), ('plain')) AS v (t);
		SELECT fraiseql_obs.seal_audit_log()");
	is_well($database, $node->safe_psql($database, 'SELECT fraiseql_obs.audit_checkpoint()'), '', "a log in $encoding");
}

$node->stop;
done_testing();
