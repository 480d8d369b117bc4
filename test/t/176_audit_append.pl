# A row goes right into its partition, as an INSERT would put it there.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_append', 'fraiseql_obs.audit_guard = off');
my $log = 'fraiseql_audit.fraiseql_audit_log';

$node->safe_psql('app', q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()));
my $today = 'fraiseql_audit.' . $node->safe_psql('app',
	q(SELECT 'fraiseql_audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')));

# one session, which must hear of everything that is changed
my $writer = $node->background_psql('app', on_error_stop => 0);
sub logs
{
	my ($name, $expected, $more) = @_;
	$writer->{stderr} = '';
	my $out = $writer->query("SELECT fraiseql_obs.log_operation('op', entity_id => '$name'$more) > 0");
	my $rows = $node->safe_psql('app', "SELECT count(*) FROM $log WHERE entity_id = '$name'");
	if (ref $expected) { like($writer->{stderr}, $expected, $name); is($rows, 0, "$name: no row"); }
	else { is("$out $rows$writer->{stderr}", 't 1', $name); }
	return;
}

logs('the first', 1, '');
is($node->safe_psql('app', "SELECT tableoid::regclass = '$today'::regclass AND xact = id::text::xid8 IS NOT NULL FROM $log"), 't', 'is in the partition');

$node->safe_psql('app', "ALTER TABLE $log ADD CONSTRAINT short CHECK (length(entity_id) < 30)");
logs('a constraint that holds', 1, '');
logs('a constraint that is violated by a long name', qr/violates check constraint "short"/, '');
$node->safe_psql('app', "ALTER TABLE $log DROP CONSTRAINT short");
logs('a constraint that is no longer there, with a long name', 1, '');

$node->safe_psql('app', "ALTER TABLE $log ADD note text DEFAULT 'by ' || current_user, ADD other integer");
logs('columns added', 1, '');
is($node->safe_psql('app', "SELECT note, other IS NULL FROM $log WHERE entity_id = 'columns added'"), 'by postgres|t', 'have their defaults');
$node->safe_psql('app', "ALTER TABLE $log DROP note, DROP other");
logs('columns dropped', 1, '');

$node->safe_psql('app', qq(CREATE INDEX ON $today (entity_id) WHERE result = 'success'));
logs('an index', 1, '');
is($node->safe_psql('app', "SET enable_seqscan = off; SELECT count(*) FROM $today WHERE entity_id = 'an index' AND result = 'success'"), 1, 'has the row');

# triggers for rows, one of which logs itself
$node->safe_psql('app', qq(
	CREATE TABLE seen (entity_id text);
	CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO public.seen VALUES (NEW.entity_id); RETURN NULL; END \$\$;
	CREATE TRIGGER tell AFTER INSERT ON $log FOR EACH ROW EXECUTE FUNCTION tell();
	CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
		IF NEW.operation = 'op' THEN
			PERFORM fraiseql_obs.log_operation('also', entity_id => NEW.entity_id || ', also');
		END IF;
		RETURN NEW; END \$\$;
	CREATE TRIGGER also BEFORE INSERT ON $log FOR EACH ROW EXECUTE FUNCTION also()));
logs('triggers', 1, '');
is($node->safe_psql('app', "SELECT string_agg(entity_id, '; ' ORDER BY entity_id) FROM seen"), 'triggers; triggers, also', 'are fired');
logs("triggers that have failed", qr/division by zero/, ", details => jsonb_build_object('x', 1/0)");
$node->safe_psql('app', qq(DROP TRIGGER also ON $log;
	ALTER TABLE $log ADD CONSTRAINT logs CHECK (operation <> 'op' OR fraiseql_obs.log_operation('check', entity_id => 'by a constraint') > 0) NOT VALID));
logs('a constraint that logs', 1, '');
is($node->safe_psql('app', "SELECT count(*) FROM $log WHERE entity_id = 'by a constraint'"), 1, 'has logged');
$node->safe_psql('app', qq(ALTER TABLE $log DROP CONSTRAINT logs;
	CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER never BEFORE INSERT ON $log FOR EACH ROW EXECUTE FUNCTION never()));
logs('a trigger that keeps it out', qr/a trigger keeps a row out of the audit log/, '');
$node->safe_psql('app', "DROP TRIGGER never ON $log");
logs('without that trigger', 1, '');

# a function that a constraint calls, which planning had put in its place
$node->safe_psql('app', qq(
	CREATE FUNCTION fits(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length(\$1) < 40';
	ALTER TABLE $log ADD CONSTRAINT fits CHECK (fits(entity_id)) NOT VALID));
logs('a function in a constraint', 1, '');
$node->safe_psql('app', q(CREATE OR REPLACE FUNCTION fits(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) < 10'));
logs('that function replaced', qr/violates check constraint "fits"/, '');
$node->safe_psql('app', "ALTER TABLE $log DROP CONSTRAINT fits");

$node->safe_psql('app', "ALTER TABLE $log ADD CONSTRAINT placed CHECK (tableoid::bigint <> 0)");
logs('a constraint on the table', 1, '');
$node->safe_psql('app', "ALTER TABLE $log DROP CONSTRAINT placed");

SKIP: {
	skip 'all constraints are enforced before 18', 4 if $node->pg_version < 18;
	$node->safe_psql('app', "ALTER TABLE $log ADD CONSTRAINT lax CHECK (length(entity_id) < 5) NOT ENFORCED");
	logs('a constraint that is not enforced', 1, '');
	$node->safe_psql('app', "ALTER TABLE $log DROP CONSTRAINT lax");
	$node->safe_psql('app', "ALTER TABLE $log ADD virtual integer GENERATED ALWAYS AS (length(entity_id)) VIRTUAL, ADD CONSTRAINT virtual CHECK (virtual < 20) NOT VALID");
	logs('a virtual column', 1, '');
	logs('a virtual column that is too large', qr/violates check constraint "virtual"/, '');
	$node->safe_psql('app', "ALTER TABLE $log DROP virtual");
}

# the partition is not taken away from under the row
$node->safe_psql('app', qq(
	CREATE FUNCTION detach() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ALTER TABLE $log DETACH PARTITION $today; RETURN NEW; END';
	CREATE TRIGGER detach BEFORE INSERT ON $log FOR EACH ROW EXECUTE FUNCTION detach()));
logs('a trigger that detaches', qr/because it is being used by active queries in this session/, '');
$node->safe_psql('app', "DROP TRIGGER detach ON $log");

# nor is code run of whom it was given to
logs('all of one owner', 1, '');
$node->safe_psql('app', "CREATE ROLE mallory; ALTER TABLE $today OWNER TO mallory");
logs('a partition of somebody else', qr/audit log does not wholly belong to its owner, role "postgres"/, '');
$node->safe_psql('app', "ALTER TABLE $today OWNER TO postgres");
logs('given back', 1, '');

# another partition in its place, with its columns in another order
$node->safe_psql('app', qq(
	ALTER TABLE $log DETACH PARTITION $today;
	CREATE TABLE other AS SELECT acting_for, xact, created_at, id, personal_digest FROM $log LIMIT 0;
	SELECT fraiseql_obs.audit_ensure_partition(now() - interval '400 days');
	DROP TABLE other));
like($node->psql('app', "SELECT fraiseql_obs.log_operation('op')", on_error_die => 0) ? 'failed' : 'done', qr/failed/, 'the table that was detached is in the way');
$node->safe_psql('app', "ALTER TABLE $today RENAME TO was_today");
logs('after the partition was detached', 1, '');
is($node->safe_psql('app', "SELECT count(*) FROM $today"), 1, 'is in a new one');
$node->safe_psql('app', qq(
	ALTER TABLE $log DETACH PARTITION $today;
	DO \$\$ BEGIN EXECUTE (SELECT format('CREATE TABLE reordered (%s)', string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attname))
		FROM pg_attribute WHERE attrelid = '$log'::regclass AND attnum > 0 AND NOT attisdropped); END \$\$;
	DO \$\$ BEGIN EXECUTE (SELECT string_agg(format('ALTER TABLE reordered ALTER %I SET NOT NULL', attname), '; ')
		FROM pg_attribute WHERE attrelid = '$log'::regclass AND attnotnull AND attnum > 0); END \$\$;
	DO \$\$ BEGIN EXECUTE (SELECT coalesce(string_agg(format('ALTER TABLE reordered ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), '; '), 'SELECT')
		FROM pg_constraint WHERE conrelid = '$log'::regclass AND contype = 'c'); END \$\$;
	DO \$\$ BEGIN EXECUTE (SELECT format('ALTER TABLE $log ATTACH PARTITION reordered FOR VALUES FROM (%L) TO (%L)',
		date_trunc('day', now(), 'UTC'), date_trunc('day', now(), 'UTC') + interval '1 day')); END \$\$));
logs('columns in another order', 1, ", user_id => 'alice'");
is($node->safe_psql('app', q(SELECT operation, user_id FROM reordered WHERE entity_id = 'columns in another order')), 'op|alice', 'are each in its place');

# what no longer is the log
$node->safe_psql('app', "ALTER TABLE $log ALTER error_message TYPE varchar");
logs('another type', qr/column "error_message" of partition "reordered" of the audit log must be of type text/, '');
$writer->quit;
$node->stop;
done_testing();
