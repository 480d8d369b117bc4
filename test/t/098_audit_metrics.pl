# Metrics of audit logs: of a log by its database, as whoever keeps or verifies
# it has found it, so that who keeps the metrics is a witness.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use MIME::Base64;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_metrics',
	"timezone = 'UTC'\nfraiseql_obs.audit_worker = on\nfraiseql_obs.audit_seal_interval = 1");
my $log = 'fraiseql_audit.fraiseql_audit_log';

sub query { return $node->safe_psql($_[1] // 'app', $_[0]); }

sub value
{
	my ($name, $database) = @_;
	return metric($node, "fraiseql_obs_audit_$name\{datname=\"" . ($database // 'app') . '"}');
}

sub becomes
{
	my ($name, $condition, $what, $database) = @_;
	$database //= 'app';
	ok( $node->poll_query_until('postgres', qq(SELECT coalesce(bool_and(value $condition), false) FROM fraiseql_obs.metrics()
		WHERE name = 'fraiseql_obs_audit_$name' AND labels->>'datname' = '$database')), $what)
	  or diag(value($name, $database));
	return;
}

is(value('worker_up'), '', 'no log, no metric');
query('CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
becomes('worker_up', '= 1', 'the worker runs');
becomes('partitions_ahead', '= 7', 'partitions made ahead');
becomes('checkpoint_size', '>= 1', 'there are seals');
becomes('seal_lag_seconds', 'BETWEEN 0 AND 5', 'up to date');
is(value('violations'), '', 'not verified');
is(value('verified_timestamp_seconds'), '', 'ever');

# a witness
query(q(SELECT fraiseql_obs.log_operation('first')));
my $size = query('SELECT max(seal_no) FROM fraiseql_audit.fraiseql_audit_seals');
becomes('checkpoint_size', "> $size", 'the size of the checkpoint');
($size, my $root) = split /\|/, query(q(
	SELECT max(value) FILTER (WHERE name ~ 'size$'), max(value::bigint) FILTER (WHERE name ~ 'root$')
	FROM fraiseql_obs.metrics() WHERE name ~ 'audit_checkpoint' AND labels->>'datname' = 'app'));
my (undef, $note_size, $note_root) = split /\n/, query('SELECT fraiseql_obs.audit_checkpoint()');
is($size, $note_size, 'that of audit_checkpoint()');
my @bytes = unpack('C6', decode_base64($note_root));
my $number = 0;
$number = $number * 256 + $_ foreach @bytes;
is($root, $number, 'and its root, the first 48 bits');
is(query("SELECT fraiseql_obs.audit_checkpoint_number($size)"), $root, 'as a function gives it');
query(q(SELECT fraiseql_obs.log_operation('second')));
becomes('checkpoint_size', "> $size", 'the log goes on');
becomes('checkpoint_root', "<> $root", 'with another root');
is(query("SELECT fraiseql_obs.audit_checkpoint_number($size)"), $root, 'that of before can be computed');
is(query("SELECT fraiseql_obs.audit_checkpoint_number(n) IS NULL FROM unnest('{-1,0,1000000}'::bigint[]) n GROUP BY 1"), 't', 'and what is not known is null');

# verified by a reader
query(q(CREATE ROLE auditor LOGIN; SELECT fraiseql_obs.grant_audit_reader('auditor')));
my @auditor = (extra_params => [ '-U', 'auditor' ]);
my $before = query('SELECT extract(epoch FROM clock_timestamp())');
is($node->safe_psql('app', 'SELECT count(*) FROM fraiseql_obs.verify_audit_log(now() - interval \'1 day\')', @auditor) ne '', 1, 'a part is verified');
is(value('violations'), '', 'of which metrics say nothing');
$node->safe_psql('app', 'SELECT count(*) FROM fraiseql_obs.verify_audit_log()', @auditor);
is(value('violations'), '0', 'all is verified');
becomes('verified_timestamp_seconds', "BETWEEN $before AND $before + 100", 'and when');
is($node->safe_psql('app', "SELECT fraiseql_obs.audit_checkpoint_number($size)", @auditor), $root, 'who reads the log can compare');
my $verified = value('verified_timestamp_seconds');

# what was found against an anchor stands until that finds nothing
my $anchor = query('SELECT fraiseql_obs.audit_checkpoint()');
my $verify = q(SELECT count(*) FROM fraiseql_obs.verify_audit_log(%s) WHERE severity = 'violation');
is(query(sprintf($verify, "anchor => overlay('$anchor' PLACING 'AAAAAAAA' FROM strpos('$anchor', '=') - 20)")), '1', 'an anchor that does not fit');
is(value('violations'), '1', 'metrics say so');
is(query(sprintf($verify, '')), '0', 'which one without it does not see');
is(value('violations'), '1', 'nor do metrics forget it');
is(value('verified_timestamp_seconds'), $verified, 'or say that all is well');
is(query(sprintf($verify, "anchor => '$anchor'")), '0', 'an anchor that fits');
is(value('violations'), '0', 'and no violation');
cmp_ok($verified = value('verified_timestamp_seconds'), '>', $before, 'since now');

# tampered with
set_guard($node, 'off');
query("SET session_replication_role = replica; ALTER TABLE $log DISABLE TRIGGER ALL;
	UPDATE $log SET operation = 'forged' WHERE operation = 'first'");
set_guard($node, 'on');
cmp_ok(query(q(SELECT count(*) FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '>=', 1, 'a violation');
cmp_ok(value('violations'), '>=', 1, 'which metrics say');
is(value('verified_timestamp_seconds'), $verified, 'and when all was well');

# another database, which is renamed and has a name that is used again
query('CREATE DATABASE shop', 'postgres');
query('CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()', 'shop');
becomes('checkpoint_root', '> 0', 'another database', 'shop');
query('ALTER DATABASE shop RENAME TO store', 'postgres');
becomes('worker_up', '= 1', 'renamed', 'store');
is(value('worker_up', 'shop'), '', 'is not known by its old name');
query('CREATE DATABASE shop', 'postgres');
query('CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()', 'shop');
becomes('worker_up', '= 1', 'which may be that of another one', 'shop');
query('DROP DATABASE store', 'postgres');
ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM fraiseql_obs.metrics() WHERE labels->>'datname' = 'store' AND name ~ 'audit')),
	'dropped: forgotten');

# no worker
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = off');
$node->reload;
becomes('worker_up', '= 0', 'no worker');
becomes('seal_lag_seconds', '> 2', 'which nothing is sealed without');
cmp_ok(value('violations'), '>=', 1, 'violations');

# What is gone is forgotten, at once or by the worker that finds nothing to do.
sub forgotten
{
	my ($name, $what) = @_;
	return ok($node->poll_query_until('postgres', qq(SELECT count(*) = 0 FROM fraiseql_obs.metrics()
		WHERE labels->>'datname' = '$name' AND name ~ 'audit')), $what);
}
query('DROP DATABASE shop', 'postgres');
forgotten('shop', 'a database that is dropped');
set_guard($node, 'off');
query('SET client_min_messages = warning; DROP SCHEMA fraiseql_audit CASCADE; DROP EXTENSION fraiseql_obs CASCADE');
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;
forgotten('app', 'a log that is dropped');
$node->stop;
done_testing();
