# Nothing that is honestly done to an audit log while it is verified is a
# violation: sealing, erasing, removing, holding; nor is it in a restored dump.

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
my $node = start_node('audit_honest_upkeep', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 60, 25);

sub query { return $node->safe_psql('app', $_[0]); }

# A database has no violation, nor has its dump
sub is_well
{
	my ($database, $name) = @_;
	my $out;

	is($node->safe_psql($database, q(SET default_transaction_read_only = on;
		SELECT kind, message FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '', $name);
	$node->command_ok([ 'pg_dump', '-f', "$folder/dump.sql", $database ], "$name: dumped");
	IPC::Run::run([ 'python3', $tool, "$folder/dump.sql" ], '>', \$out, '2>&1');
	is($? >> 8, 0, "$name: so says the tool") or diag($out);
	return;
}

# all at once, while partitions go one after the other
my %scripts = (
	write => q(SELECT fraiseql_obs.log_operation('op', 'Type1', '1', user_id => 'user' || (random() * 9)::int);),
	seal => "SELECT fraiseql_obs.seal_audit_log();\n\\sleep 20 ms",
	erase => qq(\\set u random(0, 9)
		SELECT fraiseql_obs.erase_audit_details('user' || :u, reason => 'Art. 17', before => clock_timestamp());
		\\sleep 100 ms),
	erase_some => qq(SELECT fraiseql_obs.erase_audit_details(entity_type => 'Type1', entity_id => '1', columns => '{details}', reason => 'x');
		\\sleep 300 ms),
	hold => qq(SELECT fraiseql_obs.place_hold('Case', user_id => 'nobody', since => now() - interval '50 days', until => now() - interval '49 days') AS hold \\gset
		\\sleep 300 ms
		SELECT fraiseql_obs.release_hold(:hold, 'over');),
	remove => qq(\\set days random(28, 60)
		SELECT fraiseql_obs.set_audit_retention(:days * interval '1 day');
		SELECT fraiseql_obs.maintain_audit_log();
		\\sleep 100 ms),
	verify => q(SELECT 1 / (count(*) = 0)::int FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation';));
append_to_file("$folder/$_.sql", "$scripts{$_}\n") foreach keys %scripts;
my ($out, $err);
IPC::Run::run(
	[
		'pgbench', '-n', '-c', 10, '-j', 2, '-T', 15, '--max-tries=10',
		(map { ('-f', "$folder/$_.sql\@" . ($_ eq 'write' || $_ eq 'verify' ? 4 : 1)) } sort keys %scripts),
		$node->connstr('app')
	],
	'>', \$out, '2>', \$err);
unlike($err, qr/division by zero/, 'no violation while all is done at once') or diag($err);
diag($err) if $err =~ /aborted/;
query('SELECT fraiseql_obs.maintain_audit_log() FROM generate_series(1, 3)');
cmp_ok(query('SELECT count(*) FROM fraiseql_audit.fraiseql_audit_partitions'), '>', 0, 'partitions have been removed');
cmp_ok(query('SELECT seal_count FROM fraiseql_audit.fraiseql_audit_collapsed'), '>', 0, 'seals have been collapsed');
cmp_ok(query('SELECT count(*) FROM fraiseql_audit.fraiseql_audit_erasures'), '>', 0, 'rows have been erased');
is_well('app', 'afterwards');

# erasure and removal of the same partition, and a hold in between
query(q(SELECT fraiseql_obs.set_audit_retention('27 days'); SELECT fraiseql_obs.seal_audit_log();
	SELECT fraiseql_obs.erase_audit_details(entity_type => 'Type0', entity_id => '2', reason => 'x');
	SELECT fraiseql_obs.maintain_audit_log()));
query(q(SELECT fraiseql_obs.erase_audit_details(entity_type => 'Type0', entity_id => '4', reason => 'x')));
is_well('app', 'erased and removed');

# a restored dump, in which retention goes on
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', "$folder/out", '-d', $node->connstr('restored'), '-f', "$folder/dump.sql" ], 'restored');
is_well('restored', 'a restored dump');
$node->safe_psql('restored', 'SELECT fraiseql_obs.create_audit_log()');
$node->safe_psql('restored', "SELECT fraiseql_obs.$_") foreach ("log_operation('there')", 'seal_audit_log()', "set_audit_retention('26 days')",
	'maintain_audit_log()', 'maintain_audit_log()', "erase_audit_details('user3', reason => 'x')", 'seal_audit_log()');
is_well('restored', 'and retention goes on');

$node->stop;
done_testing();
