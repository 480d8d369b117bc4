# An audit log of which only a part was given to another role says so, and how
# to mend it; create_audit_log() does.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_owner_changed');
my $log = 'fraiseql_audit.fraiseql_audit_log';

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('app', "SET client_min_messages = warning; $sql");
}

# What needs the owner fails, and says why; after create_audit_log() it does not.
sub mended
{
	my ($name, $owner, $detail) = @_;

	foreach my $call (q(log_operation('op')), q(seal_audit_log('0')), 'maintain_audit_log()', q(place_hold('reason', user_id => 'u')))
	{
		my ($status, undef, $err) = $node->psql('app', "SELECT fraiseql_obs.$call");
		isnt($status, 0, "$name: $call fails");
		like($err, qr/audit log does not wholly belong to its owner, role "$owner"\nDETAIL:  $detail\nHINT:  .*create_audit_log\('fraiseql_audit'\)/,
			"$name: $call says why");
	}
	is(sql(q(SELECT fraiseql_obs.create_audit_log();
		SELECT fraiseql_obs.log_operation('op') > 0, fraiseql_obs.seal_audit_log('0') > 0,
			fraiseql_obs.maintain_audit_log()->'failed', fraiseql_obs.place_hold('reason', user_id => 'u') > 0;
		SELECT fraiseql_obs.release_hold(hold_id, 'over') FROM fraiseql_obs.holds() h \g /dev/null)), "$log\nt|t|[]|t", "$name: mended");
	is(sql(q(SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ' ') FROM pg_class
		WHERE relnamespace = 'fraiseql_audit'::regnamespace AND relkind IN ('r', 'p', 'v'))), $owner, "$name: all is the owner's");
	is( sql(qq(GRANT SELECT ON own_log TO "$owner"; SELECT count(*) FROM fraiseql_obs.recent_operations(10000) WHERE operation = 'own')),
		'1', "$name: sources that the owner may read are read");
	return;
}

sql(q(CREATE ROLE keeper NOLOGIN; CREATE ROLE other NOLOGIN;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper');
	CREATE TABLE own_log (at timestamptz, what text);
	INSERT INTO own_log VALUES (now(), 'own');
	SELECT fraiseql_obs.adopt_audit_source('own_log', '{"created_at": "at", "operation": "what"}')));

sql("ALTER TABLE $log OWNER TO other");
mended('the log itself', 'other', 'Table "\S+" belongs to role "keeper"\.');
sql('ALTER TABLE fraiseql_audit.fraiseql_audit_seals OWNER TO keeper');
sql('ALTER TABLE fraiseql_audit.fraiseql_audit_settings OWNER TO keeper');
mended('two tables', 'other', 'Table "\S+" belongs to role "keeper"\.');
my $partition = sql("SELECT tableoid::regclass FROM $log LIMIT 1");
sql("ALTER TABLE $partition OWNER TO keeper");
mended('a partition', 'other', qq(Table "$partition" belongs to role "keeper"\\.));
sql('CREATE ROLE third NOLOGIN; REASSIGN OWNED BY other TO third');
mended('all of it', 'third', 'The role has not what create_audit_log\(\) grants to the owner\.');

# the schema is given away with it
sql('REASSIGN OWNED BY keeper TO third');
is(sql("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'fraiseql_audit'"), 'third', 'the schema is given away, too');
sql("DROP OWNED BY keeper; DROP ROLE keeper");

# a view of the owner before does not read with the rights of the new one
my $owner = sql('SELECT current_user');
sql(qq(CREATE TABLE secrets (id int); CREATE ROLE reader NOLOGIN; GRANT USAGE ON SCHEMA fraiseql_audit TO reader;
	SET ROLE third;
	DROP VIEW fraiseql_audit.v_audit_log;
	CREATE VIEW fraiseql_audit.v_audit_log AS SELECT * FROM public.secrets;
	GRANT SELECT ON fraiseql_audit.v_audit_log TO reader;
	RESET ROLE;
	ALTER TABLE $log OWNER TO "$owner"));
mended('to a superuser', $owner, 'Table "\S+" belongs to role "third"\.');
(undef, undef, my $error) = $node->psql('app', 'SET ROLE reader; SELECT * FROM fraiseql_audit.v_audit_log');
like($error, qr/permission denied for table secrets/, "it reads with its reader's rights");
sql("ALTER TABLE $log OWNER TO third; SELECT fraiseql_obs.create_audit_log()");

# what was somebody else's before is not given to the owner
set_guard($node, 'off');
sql(q(CREATE ROLE mallory NOLOGIN; GRANT CREATE, USAGE ON SCHEMA fraiseql_audit TO mallory;
	DROP TABLE fraiseql_audit.fraiseql_audit_holds;
	SET ROLE mallory;
	CREATE VIEW fraiseql_audit.fraiseql_audit_source_forged AS SELECT 1 AS id;
	CREATE TABLE fraiseql_audit.fraiseql_audit_holds (id int)));
my ($status, undef, $err) = $node->psql('app', 'SELECT fraiseql_obs.create_audit_log()');
like($err, qr/cannot make the audit log, for "fraiseql_audit.fraiseql_audit_holds" is in the way/, "what is another's is not taken");
is(sql(q(SELECT count(*) FROM pg_class WHERE relowner = 'mallory'::regrole)), '2', 'and stays his');

$node->stop;
done_testing();
