# The command line tool's doctor and an audit log: what is broken here is
# found, and after the commands that it prints it is found no more.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use DoctorTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('doctor_audit', q(
	fraiseql_obs.audit_worker = off
	fraiseql_obs.audit_seal_interval = 1s
	fraiseql_obs.audit_ring_slots = 64
	max_worker_processes = 8));

sub sql { return $node->safe_psql('fresh', $_[0]); }

# Switches the guard where the doctor does, too.
sub guard
{
	my ($value) = @_;

	$node->safe_psql('fresh', $_) foreach "ALTER SYSTEM SET fraiseql_obs.audit_guard = $value", 'SELECT pg_reload_conf()';
	$node->poll_query_until('fresh', "SELECT current_setting('fraiseql_obs.audit_guard') = '$value'")
	  or die 'the guard does not switch';
	return;
}

# Does what the guard refuses.
sub tamper
{
	my ($sql) = @_;

	guard('off');
	sql($sql);
	guard('on');
	return;
}

sub found
{
	my ($pattern, $name) = @_;
	like(wait_for($node, $pattern), $pattern, $name);
	return;
}

# removal that nobody does
make_old_audit_log($node, 33, 0);
$node->safe_psql('app', 'CREATE EXTENSION pg_stat_statements; SELECT fraiseql_obs.maintain_audit_log(remove => false)');
{
	local $ENV{PGDATABASE} = 'app';
	found(qr/^4\nwarning audit: the log still has what is past its retention: fraiseql_audit_log_\d{8}, fraiseql_audit_log_\d{8}\b/,
		'past the retention');
	cured($node, 'removed');
}

# a log as nobody keeps it
$ENV{PGDATABASE} = 'fresh';
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
sql(q(CREATE EXTENSION pg_stat_statements; CREATE EXTENSION fraiseql_obs; CREATE ROLE "the keeper" NOLOGIN));
like((doctor($node))[1], qr/^  audit: ok: database "fresh" has no log$/m, 'no log');
sql(q(SELECT fraiseql_obs.create_audit_log(owner => 'the keeper', schema => 'the log')));
my $day = sql(q(SELECT (now() AT TIME ZONE 'UTC')::date + 3));
tamper(sprintf q(DROP TABLE "the log".fraiseql_audit_log_%s), $day =~ tr/-//dr);
found(qr/^4\nwarning audit: the log has no partition for $day\z/, 'a partition is missing');
cured($node, 'made');
sql(q(SELECT fraiseql_obs.log_operation('first')));
found(qr/^4\nwarning audit: the log was never sealed\z/, 'nobody seals');
is_deeply([ mending($node, 'audit') ],
	[ q(sql ALTER SYSTEM SET fraiseql_obs.audit_worker = 'on';), 'sql SELECT pg_reload_conf();', 'sql SELECT fraiseql_obs.seal_audit_log();' ],
	'the worker would');
cured($node, 'sealed');

# the tables
tamper(q(DROP TRIGGER fraiseql_audit_door ON "the log".fraiseql_audit_log));
found(qr/^3\nerror audit: trigger fraiseql_audit_door of "the log"\.fraiseql_audit_log, which keeps it append-only, is missing\z/, 'a trigger is missing');
cured($node, 'made');
tamper(q(ALTER TABLE "the log".fraiseql_audit_log DISABLE TRIGGER fraiseql_audit_door));
found(qr/^3\nerror audit: trigger fraiseql_audit_door .* is disabled\z/, 'a trigger is disabled');
cured($node, 'enabled');
foreach ([ 'ENABLE' => 'enabled, but not ALWAYS' ], [ 'ENABLE REPLICA' => 'enabled for replicas alone' ])
{
	my ($how, $state) = @$_;

	tamper(qq(ALTER TABLE "the log".fraiseql_audit_log $how TRIGGER fraiseql_audit_append_only));
	found(qr/^3\nerror audit: trigger fraiseql_audit_append_only .* is $state\z/, $state);
	cured($node, 'always');
}
guard('off');
found(qr/^3\nerror audit: fraiseql_obs\.audit_guard is off: superusers may change the log\z/, 'no guard');
cured($node, 'guarded');
tamper('UPDATE fraiseql_obs.audit_registry SET system_identifier = 1');
found(qr/^4\nwarning audit: the log was restored or copied, and is neither guarded nor kept here\z/, 'a copy');
cured($node, 'active');
tamper('DELETE FROM fraiseql_obs.audit_registry');
found(qr/^4\nwarning audit: the log in schema "the log" is neither guarded nor kept; take it if role "the keeper" is to be trusted\z/, 'a log that stands');
cured($node, 'taken');

# rights
sql('CREATE ROLE "some one"; GRANT SELECT ON "the log".fraiseql_audit_log TO PUBLIC; GRANT SELECT, INSERT, UPDATE ON "the log".fraiseql_audit_seals TO "some one"');
is_deeply(
	[ findings($node) ],
	[
		3,
		'error privileges: "some one" may INSERT, UPDATE TABLE "the log".fraiseql_audit_seals, which is for its owner alone',
		'error privileges: PUBLIC may SELECT TABLE "the log".fraiseql_audit_log, which is for its owner alone'
	],
	'rights that nobody is to have');
cured($node, 'taken away');
sql(q(SELECT fraiseql_obs.grant_audit_reader('some one')));
like((doctor($node))[1], qr/^  audit: ok: the log in schema "the log" is in order, as far as is known without a verification of all of it, and was last sealed at .*; it is read by superusers and "some one"$/m,
	'who reads it');

# the retention
sql(q(SELECT fraiseql_obs.set_audit_retention('100 days', maximum => '200 days', profile => 'pci')));
found(qr/^4\nwarning audit: the log is kept for 100 days, and profile pci asks for 400 days\z/, 'too short');
cured($node, 'long enough');

# what has no place
$node->psql('fresh', q(BEGIN; SELECT fraiseql_obs.log_operation('x') FROM generate_series(1, 100); ROLLBACK));
found(qr/^4\nwarning audit: 36 operations failed without an entry, or were refused, for lack of slots\z/, 'too few slots');
is((mending($node, 'audit'))[0], q(sql ALTER SYSTEM SET fraiseql_obs.audit_ring_slots = '128';), 'twice as many');
cured($node, 'more slots');

# the worker
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 2');
$node->restart;
found(qr/^3\nerror audit: the worker of the log does not run; there may be too few worker processes\z/, 'no process for the worker');
cured($node, 'it runs');

# who keeps the log, or reads it, sees it
sql('CREATE ROLE reader LOGIN; GRANT pg_monitor TO reader; CREATE ROLE owner LOGIN IN ROLE pg_monitor, "the keeper"');
sql(q(SELECT fraiseql_obs.grant_audit_reader('reader')));
{
	local $ENV{PGUSER} = 'owner';
	is_deeply([ findings($node) ], [ 4, 'warning access: not checked, as role "owner" may not see it: configuration files, files that settings name' ],
		'a member of the owner');
	$ENV{PGUSER} = 'reader';
	is_deeply([ findings($node) ], [ 4, 'warning access: not checked, as role "reader" may not see it: configuration files, files that settings name, the audit log' ],
		'a reader');
}

# signatures
SKIP:
{
	skip 'no OpenSSL here', 1 if system('openssl version >/dev/null 2>&1') != 0;
	my $key = PostgreSQL::Test::Utils::tempdir . q(/it's the key.pem);

	$node->append_conf('postgresql.conf', "fraiseql_obs.audit_signing_key_file = '@{[ $key =~ s/'/''/gr ]}'");
	$node->reload;
	found(qr/^3\nerror audit: fraiseql_obs\.audit_signing_key_file names ".*it's the key\.pem", which is not there, or empty\z/, 'no key');
	cured($node, 'a key');
	chmod 0644, $key;
	sql(q(SELECT fraiseql_obs.log_operation('unsigned')));
	found(qr/^3\nerror audit: checkpoints cannot be signed with the key in ".*it's the key\.pem"\z/, 'a key for everybody');
	mend($node);
	sql(q(SELECT fraiseql_obs.log_operation('signed')));
	cured($node, 'a key for the server');
}

# what was changed
tamper(q(ALTER TABLE "the log".fraiseql_audit_log DISABLE TRIGGER USER;
	UPDATE "the log".fraiseql_audit_log SET operation = 'second' WHERE operation = 'first';
	ALTER TABLE "the log".fraiseql_audit_log ENABLE ALWAYS TRIGGER fraiseql_audit_append_only));
sql('SELECT fraiseql_obs.verify_audit_log()');
found(qr/^error audit: verification found \d+ violation\(s\) in the log$/m, 'changed');
ok((grep { $_ eq 'sql SELECT * FROM fraiseql_obs.verify_audit_log();' } mending($node, 'audit')), 'look where');
$node->restart;
found(qr/^error audit: verification found \d+ violation\(s\) in the log$/m, 'also after a restart');

# what was found against an anchor, which nothing is without one
tamper(q(ALTER TABLE "the log".fraiseql_audit_log DISABLE TRIGGER USER;
	UPDATE "the log".fraiseql_audit_log SET operation = 'first' WHERE operation = 'second';
	ALTER TABLE "the log".fraiseql_audit_log ENABLE ALWAYS TRIGGER fraiseql_audit_append_only));
sql(q(SELECT fraiseql_obs.verify_audit_log(anchor => overlay(c PLACING 'AAAAAAAA' FROM strpos(c, '=') - 20)) FROM fraiseql_obs.audit_checkpoint() AS c));
sql('SELECT fraiseql_obs.verify_audit_log()');
found(qr/^error audit: verification with an anchor found 1 violation\(s\) in the log$/m, 'an anchor');
ok((grep { /^shell # .*fraiseql-obs verify --anchor FILE$/ } mending($node, 'audit')), 'look with one');

# its owner may not do what he must
sql('REVOKE USAGE ON SCHEMA fraiseql_obs FROM "the keeper"');
found(qr/^error audit: the log cannot be read: audit log does not wholly belong to its owner, role "the keeper"$/m, 'a right that is gone');
ok((grep { $_ eq q(sql SELECT fraiseql_obs.create_audit_log('the log');) } mending($node, 'audit')), 'have it back');
sql(q(SELECT fraiseql_obs.create_audit_log('the log')));

# without the library
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_stat_statements'");
$node->restart;
my $found = join "\n", findings($node);
like($found, qr/^error library: .*: nothing is observed, and the audit log is not guarded$/m, 'not loaded');
like($found, qr/^error audit: verification with an anchor found 1 violation\(s\) in the log$/m, 'what was found is known nevertheless');

# nor the extension
sql('DROP EXTENSION fraiseql_obs CASCADE');
like(join("\n", findings($node)), qr/^error extension: the extension is not created in database "fresh", and the audit log in schema "the log" is neither guarded nor kept$/m,
	'no extension');
$node->stop;
done_testing();
