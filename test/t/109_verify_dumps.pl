# What fraiseql-obs-verify takes for the audit log of a dump: its partitions and
# the tables beside it, once each, and nothing that only looks like them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $node = start_node('verify_dumps', 'fraiseql_obs.audit_guard = off');
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $dumps = 0;

sub query { return $node->safe_psql('app', $_[0]); }

sub dump_of
{
	my (@options) = @_;
	my $file = "$folder/" . ++$dumps;

	$node->command_ok([ 'pg_dump', '-f', $file, @options, 'app' ], "dump $dumps");
	return slurp_file($file);
}

sub verified
{
	my ($dump, $status, $expected, $name, @options) = @_;
	my $out;

	IPC::Run::run([ 'python3', $tool, @options ], '<', \$dump, '>&', \$out);
	is($? >> 8, $status, "$name: status");
	like($out, $expected, $name);
	return;
}

query(q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	SELECT fraiseql_obs.log_operation('op', entity_id => i::text) FROM generate_series(1, 3) i;
	SELECT fraiseql_obs.seal_audit_log()));
my $well = dump_of();
verified($well, 0, qr/^3 rows, 2 seals/, 'a dump');
verified(dump_of('--load-via-partition-root'), 0, qr/^3 rows, 2 seals/, 'one of the log as a whole');
my $row = (grep { /^2\t.*\top\t/ } split /\n/, $well)[0];
my $partition = query("SELECT tableoid::regclass FROM $log LIMIT 1");
my ($copy) = $well =~ /^(COPY \Q$partition\E \(.*\) FROM stdin;\n)/m;

# a row is removed; wherever its line is besides, it is missed
query("DELETE FROM $log WHERE id = 2");
my $missed = qr/^violation: seal 2: has 3 rows, and there are 2: rows were removed/m;
verified(dump_of(), 3, $missed, 'a row is missing');
my $root = $copy =~ s/COPY \S+/COPY $log/r;
foreach my $quote ('$$', '$x$')
{
	query("COMMENT ON SCHEMA public IS ${quote}text\n$root$row\n\\.\n$quote;
		CREATE OR REPLACE FUNCTION public.f() RETURNS text LANGUAGE sql AS ${quote}SELECT \$y\$\n$root$row\n\\.\n\$y\$ $quote");
	verified(dump_of('--load-via-partition-root'), 3, $missed, "it is in a quote $quote");
}
query('DROP FUNCTION public.f(); COMMENT ON SCHEMA public IS NULL');

query("CREATE TABLE fraiseql_audit.fraiseql_audit_log_x (LIKE $log)");
my $found = dump_of() =~ s/^(COPY fraiseql_audit.fraiseql_audit_log_x .*\n)/$1$row\n/mr;
verified($found, 3, $missed, 'it is in a table that is no partition');
verified($found, 3, qr/^unchecked: fraiseql_audit_log_x: is not a partition of the audit log, and its rows were not looked at/m, 'which is said');
query('CREATE SCHEMA s; CREATE TABLE s.fraiseql_audit_log (LIKE fraiseql_audit.fraiseql_audit_log) PARTITION BY RANGE (created_at);
	ALTER TABLE fraiseql_audit.fraiseql_audit_log_x SET SCHEMA s;
	ALTER TABLE s.fraiseql_audit_log ATTACH PARTITION s.fraiseql_audit_log_x DEFAULT');
$found = dump_of() =~ s/^(COPY s.fraiseql_audit_log_x .*\n)/$1$row\n/mr;
verified($found, 1, qr/several audit logs; name one with --schema: fraiseql_audit, s/, 'it is in another schema');
verified($found, 3, $missed, 'of which one is named', '--schema', 'fraiseql_audit');
verified($found, 1, qr/no audit log with seals/, 'or the other', '--schema', 's');
query('DROP SCHEMA s CASCADE');

# what is there twice
my $dump = dump_of();
verified("$dump$root$row\n\\.\n", 1, qr/rows of partitions, and of the audit log as a whole/, 'rows of both');
verified("$dump$dump", 1, qr/has table "\w+" twice/, 'two dumps');
verified("${dump}INSERT INTO $log VALUES (1);\n", 1, qr/has rows of an audit log as INSERT/, 'a row as INSERT');
verified("${dump}INSERT INTO public.t VALUES ('\n$copy$row\n');\n", 3, $missed, 'a quote that is not ended');

# data without the statements that attach partitions
verified(dump_of('--data-only'), 3, qr/^unchecked: the dump does not say which tables are partitions/m, 'data alone');

$node->stop;
done_testing();
