# Users are counted in their rows of the rollup, wherever these have gone since
# the process that seals last saw them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_actor_days', "timezone = 'UTC'\nautovacuum = off\n"
	  . "fraiseql_obs.audit_guard = off\nfraiseql_obs.audit_worker = off");
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $days = 'fraiseql_audit.fraiseql_audit_actor_days';

sub query { return $node->safe_psql('app', $_[0]); }

query(q(CREATE EXTENSION fraiseql_obs; CREATE ROLE keeper NOLOGIN; SELECT fraiseql_obs.create_audit_log(owner => 'keeper', guard_triggers => false)));

# one session, which remembers
my $sealer = $node->background_psql('app', on_error_stop => 0);
sub seal
{
	$sealer->{stderr} = '';
	$sealer->query('SELECT fraiseql_obs.seal_audit_log()');
	return $sealer->{stderr};
}

# operations of users from one to another, and of nobody
sub operate
{
	my ($from, $until) = @_;
	query(qq(SELECT fraiseql_obs.log_operation('op', result => (ARRAY['success', 'failure', 'denied'])[1 + i % 3], user_id => 'user ' || i)
		FROM generate_series($from, $until) i;
		SELECT fraiseql_obs.log_operation('op')));
	return;
}

sub is_counted
{
	my ($name) = @_;
	is(seal(), '', "$name: sealed");
	is(query(qq(
		WITH counted AS (SELECT day, user_id, n, failed, denied FROM $days),
			plain AS (
				SELECT created_at::date, user_id, count(*), count(*) FILTER (WHERE result = 'failure'), count(*) FILTER (WHERE result = 'denied')
				FROM $log GROUP BY 1, 2)
		SELECT count(*) FROM (
			(TABLE counted EXCEPT ALL TABLE plain) UNION ALL (TABLE plain EXCEPT ALL TABLE counted)) AS d)), 0, "$name: counted");
	return;
}

operate(1, 300);
is_counted('the first time');
operate(1, 300);
is_counted('the second');
operate(251, 350);
is_counted('some, and others');

$sealer->query_safe('BEGIN');
operate(200, 500);
is(seal(), '', 'sealed, and rolled back');
$sealer->query_safe('ROLLBACK');
operate(400, 600);
is_counted('after it was rolled back');

query("VACUUM $days");
operate(1, 300);
is_counted('vacuumed');
query("CLUSTER $days USING fraiseql_audit_actor_days_user_id_day_key");
operate(1, 300);
is_counted('in another order');

# others take the places of those that have gone
query("DELETE FROM $log WHERE user_id BETWEEN 'user 1' AND 'user 4';
	DELETE FROM $days WHERE user_id BETWEEN 'user 1' AND 'user 4'");
query("VACUUM $days");
operate(601, 800);
is_counted('others in their places');
operate(1, 300);
is_counted('they come back');

query("DELETE FROM $log; TRUNCATE $days");
operate(1, 10);
is_counted('emptied');
operate(1, 10);
is_counted('and filled anew');

query("UPDATE $days SET day = day - 1");
operate(1, 5);
is(seal(), '', 'the next day');
is(query("SELECT string_agg(concat_ws(' ', day - current_date, n), ', ' ORDER BY day) FROM $days WHERE user_id = 'user 1'"),
	'-1 2, 0 1', 'has rows of its own');
query("DELETE FROM $log; DELETE FROM $days");

# what a statement would do and say
query(qq(ALTER TABLE $days ADD note text;
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := concat(OLD.note, lower(left(TG_OP, 1))); RETURN NEW; END';
	CREATE TRIGGER note BEFORE INSERT OR UPDATE ON $days FOR EACH ROW EXECUTE FUNCTION note()));
foreach (1 .. 3) { operate(1, 5); is_counted('with a trigger'); }
is(query("SELECT string_agg(DISTINCT note, ' ') FROM $days"), 'iuu', 'which is fired');
query("DROP TRIGGER note ON $days");

my $key = 'fraiseql_audit_actor_days_user_id_day_key';
foreach (
	[ "ADD CONSTRAINT few CHECK (n < 3) NOT VALID", 'DROP CONSTRAINT few', 'violates check constraint "few"' ],
	[ "DROP CONSTRAINT $key", "ADD CONSTRAINT $key UNIQUE NULLS NOT DISTINCT (user_id, day)", 'has no unique index on user_id and day' ],
	[ "ALTER n TYPE numeric", "ALTER n TYPE bigint", 'has no column "n" of type bigint' ])
{
	my ($change, $back, $message) = @$_;
	query("ALTER TABLE $days $change");
	operate(1, 5);
	like(seal(), qr/\Q$message\E/, $change);
	query("ALTER TABLE $days $back");
	is_counted($back);
}
my (undef, undef, $err) = $node->psql('app', "SELECT (fraiseql_obs.audit_seal_rows('$log', inhrelid, false, 0, NULL, NULL, NULL, pg_current_snapshot())).n
	FROM pg_inherits WHERE inhparent = '$log'::regclass");
like($err, qr/"fraiseql_audit_actor_days" is not a table of role "postgres"/, 'past the door');

$sealer->quit;
$node->stop;
done_testing();
