# Whatever honestly happens to an audit log raises no finding: a standby and its
# promotion, restarts, dumps, copies, an upgrade, a logical subscriber.  A
# checkpoint from before holds for all of them, and shows a log that was set
# back.

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
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $seals = 'fraiseql_audit.fraiseql_audit_seals';
my $dumps = 0;

my $node = start_node('audit_honest', "fraiseql_obs.audit_guard = off\nwal_level = logical",
	allows_streaming => 1);

sub write_rows
{
	my ($server, $database, $n) = @_;
	$server->safe_psql($database, "SELECT fraiseql_obs.log_operation('op', 'Order', i::text,
		details => '{\"total\": 42, \"text\": \"caf\x{c3}\x{a9}\"}', user_id => 'u' || i % 7,
		changed_fields => '{a,\"b, c\"}', duration_ms => i / 3.0)
		FROM generate_series(1, $n) i");
	return;
}

sub seal
{
	my ($server, $database) = @_;
	return $server->safe_psql($database, 'SELECT fraiseql_obs.seal_audit_log()');
}

# A log with an anchor is as it should be but for rows that are not sealed, in
# the server and in a dump; read-only, so that no entry is made of it.
sub is_well
{
	my ($server, $database, $anchor, $name, $unsealed) = @_;
	my $dump = "$folder/" . ++$dumps;
	my $out;

	is($server->safe_psql($database, qq(
		SET default_transaction_read_only = on;
		SELECT severity, kind, substring(message FROM '[0-9]+') FROM fraiseql_obs.verify_audit_log(anchor => '$anchor'))),
		$unsealed ? "unchecked|unsealed|$unsealed" : '', $name);
	append_to_file("$dump.anchor", $anchor);
	$server->command_ok([ 'pg_dump', '-n', 'fraiseql_audit', '-f', "$dump.sql", $database ], "$name: dumped");
	IPC::Run::run([ 'python3', $tool, '--anchor', "$dump.anchor", "$dump.sql" ], '>', \$out);
	is($? >> 8, 0, "$name: so says the tool") or diag($out);
	return;
}

sub anchor_of
{
	my ($server, $database) = @_;
	return $server->safe_psql($database, 'SELECT fraiseql_obs.audit_checkpoint()');
}

$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
write_rows($node, 'app', 10);
seal($node, 'app');
write_rows($node, 'app', 10);
seal($node, 'app');
my $anchor = anchor_of($node, 'app');
write_rows($node, 'app', 3);
is_well($node, 'app', $anchor, 'a log', 3);

# a hot standby, whose primary goes on
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('audit_honest_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
seal($node, 'app');
write_rows($node, 'app', 4);
$node->wait_for_catchup($standby);
is_well($standby, 'app', $anchor, 'a standby', 4);
is(anchor_of($standby, 'app'), anchor_of($node, 'app'), 'it has the same checkpoint');

# a logical subscriber has copies of the tables
my $subscriber = start_node('audit_honest_subscriber', 'fraiseql_obs.audit_guard = off');
$node->command_ok([ 'pg_dump', '--schema-only', '-f', "$folder/schema.sql", 'app' ], 'the schema for a subscriber');
$subscriber->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', "$folder/out", '-d', 'app', '-f', "$folder/schema.sql" ],
	'restored');
$subscriber->safe_psql('app', q(
	INSERT INTO fraiseql_obs.audit_registry (schema_name) VALUES ('fraiseql_audit')));
$node->safe_psql('app', 'CREATE PUBLICATION audit FOR TABLES IN SCHEMA fraiseql_audit WITH (publish_via_partition_root)');
$subscriber->safe_psql('app', 'CREATE SUBSCRIPTION audit CONNECTION \''
	. $node->connstr . ' dbname=app\' PUBLICATION audit');
$subscriber->wait_for_subscription_sync($node, 'audit', 'app');
write_rows($node, 'app', 5);
seal($node, 'app');
write_rows($node, 'app', 2);
$node->wait_for_catchup('audit');
is_well($subscriber, 'app', $anchor, 'a logical subscriber', 2);
my $count = "SELECT count(*) FROM $log";
is($subscriber->safe_psql('app', "SELECT fraiseql_obs.verify_audit_log() \\g /dev/null\n$count"),
	$node->safe_psql('app', $count), 'verification adds no entry where the log is not active');
$subscriber->safe_psql('app', 'DROP SUBSCRIPTION audit');
$subscriber->stop;

# a restart, and a crash, which is declared
$node->restart;
seal($node, 'app');
is_well($node, 'app', $anchor, 'restarted');

# restored dumps: in this cluster, and in another, whose transaction ids are
# lower; with rows that had not been sealed, and rows before the first seal there
my $other = start_node('audit_honest_other', 'fraiseql_obs.audit_guard = off');
write_rows($node, 'app', 6);
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'app' ], 'dumped');
foreach my $server ($node, $other)
{
	my $name = $server->name;
	$server->safe_psql('postgres', 'CREATE DATABASE restored');
	$server->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', "$folder/dump" ], 'restored');
	is_well($server, 'restored', $anchor, "a restored dump: $name", 6)
	  if $server eq $node;
	write_rows($server, 'restored', 5);
	seal($server, 'restored');
	is($server->safe_psql('restored', "SELECT kind, n FROM $seals ORDER BY seal_no DESC LIMIT 1"), 'baseline|11',
		"sealed there: $name");
	is_well($server, 'restored', $anchor, "what had not been sealed is: $name");
	write_rows($server, 'restored', 5);
	seal($server, 'restored');
	is_well($server, 'restored', $anchor, "and it goes on: $name");
	is($server->safe_psql('restored', "SELECT (SELECT count(*) FROM $log) = (SELECT sum(n) FROM $seals)"), 't',
		"all rows are sealed: $name");
}
# and once more
$other->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/again", 'restored' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'again', "$folder/again" ], 'restored');
write_rows($node, 'again', 5);
seal($node, 'again');
is_well($node, 'again', $anchor, 'a dump of a restored dump');

# a copy of the database
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE app');
is_well($node, 'copy', $anchor, 'a copy', 6);
write_rows($node, 'copy', 1);
seal($node, 'copy');
is_well($node, 'copy', $anchor, 'it goes on');
$node->safe_psql('postgres', 'DROP DATABASE copy');

# an upgrade: another system identifier, and transaction ids that go on
$node->safe_psql('app', 'UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET system_identifier = 1');
is_well($node, 'app', $anchor, 'upgraded', 6);
write_rows($node, 'app', 2);
seal($node, 'app');
write_rows($node, 'app', 2);
seal($node, 'app');
is_well($node, 'app', $anchor, 'and goes on');
is($node->safe_psql('app', "SELECT count(DISTINCT incarnation) FROM $seals"), '2', 'as another incarnation');

# the standby is promoted, and goes on
$node->wait_for_catchup($standby);
my $last = anchor_of($node, 'app');
$node->stop;
$standby->promote;
is_well($standby, 'app', $last, 'promoted');
write_rows($standby, 'app', 4);
seal($standby, 'app');
is_well($standby, 'app', $last, 'and goes on');
is($standby->safe_psql('app', "SELECT count(DISTINCT incarnation) FROM $seals"), '2', 'as the same incarnation');

# the old primary missed that: it is behind the checkpoint
$last = anchor_of($standby, 'app');
$standby->stop;
$node->start;
is($node->safe_psql('app', "SELECT severity, kind, seal_no FROM fraiseql_obs.verify_audit_log(anchor => '$last')"),
	'violation|anchor|' . (split /\n/, $last)[1], 'a log that is behind its checkpoint');
# and goes another way
write_rows($node, 'app', 1);
seal($node, 'app');
seal($node, 'app');
is($node->safe_psql('app', "SELECT severity, kind FROM fraiseql_obs.verify_audit_log(anchor => '$last') WHERE severity = 'violation'"),
	'violation|anchor', 'a log that went another way than its checkpoint');

# a crash is no violation
$node->stop('immediate');
$node->start;
write_rows($node, 'app', 1);
seal($node, 'app');
is($node->safe_psql('app', "SELECT count(*) FROM fraiseql_obs.verify_audit_log(anchor => '$anchor') WHERE severity = 'violation'"),
	'0', 'a crash is no violation');

$node->stop;
$other->stop;
done_testing();
