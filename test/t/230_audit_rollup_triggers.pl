# Triggers that somebody has put on the rollup of users for some of its columns
# are fired when a seal changes these, as by a statement that does.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_rollup_triggers', "timezone = 'UTC'\n"
	  . "fraiseql_obs.audit_guard = off\nfraiseql_obs.audit_worker = off");
my $days = 'fraiseql_audit.fraiseql_audit_actor_days';

sub query { return $node->safe_psql('app', $_[0]); }

query(qq(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	ALTER TABLE $days ADD COLUMN twice bigint GENERATED ALWAYS AS (n * 2) STORED;
	CREATE TABLE fired (what text, n bigint);
	CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO public.fired VALUES (TG_NAME, NEW.n); RETURN NEW; END';
	CREATE TRIGGER before_n BEFORE UPDATE OF n ON $days FOR EACH ROW EXECUTE FUNCTION fire();
	CREATE TRIGGER after_n AFTER UPDATE OF n ON $days FOR EACH ROW EXECUTE FUNCTION fire();
	CREATE TRIGGER before_user BEFORE UPDATE OF user_id ON $days FOR EACH ROW EXECUTE FUNCTION fire()));

sub operate_and_seal
{
	query(q(SELECT fraiseql_obs.log_operation('op', user_id => 'u')));
	query('SELECT fraiseql_obs.seal_audit_log()');
	return;
}

operate_and_seal();
is(query('TABLE fired'), '', 'nothing is fired by a row that is new');
operate_and_seal();
is(query('SELECT what, n FROM fired ORDER BY 1'), "after_n|2\nbefore_n|2",
	'what is for the columns that change is fired, and nothing else');
query("DROP TRIGGER before_n ON $days; DROP TRIGGER before_user ON $days");
operate_and_seal();
is(query("SELECT n, twice FROM $days WHERE user_id = 'u'"), '3|6',
	'a generated column follows');
is(query("SELECT n FROM fired WHERE what = 'after_n' ORDER BY 1"), "2\n3",
	'and so does a trigger that is fired after it');

$node->stop;
done_testing();
