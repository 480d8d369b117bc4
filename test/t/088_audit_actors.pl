# new_actors() and off_hours() say what the rows say, whatever of them is noted
# beside the log: at random, and after erasure, removal, and a dump.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# rows of the past are written past the door
my $node = start_node('audit_actors', "timezone = 'UTC'\nfraiseql_obs.audit_guard = off");
my $log = 'fraiseql_audit.fraiseql_audit_log';
my $notes = 'fraiseql_audit.fraiseql_audit_actor_operations';
my $seed = $ENV{FRAISEQL_OBS_TEST_SEED} // int(rand(1_000_000));

note "seed $seed";
srand($seed);

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'app', $sql);
}

sql(q(CREATE ROLE keeper NOLOGIN));
sql(qq(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper', retention => '100 days', guard_triggers => false);
	SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day') FROM generate_series(0, 40) i;
	SELECT setseed(${\ ($seed / 1_000_000)});

	-- times are at the quarters of a day, so that they are often those of a period
	CREATE FUNCTION moment(days double precision) RETURNS timestamptz LANGUAGE sql VOLATILE AS \$\$
		SELECT date_trunc('day', now()) - interval '1 day' * floor(4 * days * random()) / 4
	\$\$;
	CREATE FUNCTION write(rows integer) RETURNS void LANGUAGE sql VOLATILE AS \$\$
		INSERT INTO $log (created_at, operation, user_id)
		SELECT moment(40), 'op' || floor(4 * random() ^ 2),
			CASE WHEN random() < 0.95 THEN 'user' || floor(40 * random() ^ 2) END
		FROM generate_series(1, rows)
	\$\$;
	CREATE FUNCTION fill(rows integer) RETURNS void LANGUAGE sql VOLATILE AS \$\$
		SELECT write(rows);
		-- as if they had not been written ahead of their time
		UPDATE fraiseql_audit.fraiseql_audit_rollup_state SET tail_since = '-infinity';
		UPDATE fraiseql_audit.fraiseql_audit_actor_state SET tail_since = '-infinity'
	\$\$;

	-- what the functions were before anything was noted
	CREATE FUNCTION plain_new_actors(operations text[], since timestamptz, until timestamptz, lookback interval)
	RETURNS TABLE (user_id text, operation text, first_at timestamptz, n bigint) LANGUAGE sql STABLE AS \$\$
		WITH acts AS MATERIALIZED (
			SELECT user_id, operation, min(created_at) AS first_at, count(*) AS n
			FROM $log
			WHERE created_at >= since AND created_at < until AND operation = ANY (operations) AND user_id IS NOT NULL
			GROUP BY user_id, operation)
		SELECT * FROM acts a
		WHERE NOT EXISTS (
			SELECT FROM $log e
			WHERE e.user_id = a.user_id AND e.operation = a.operation AND created_at < since AND created_at >= since - lookback)
			AND (SELECT min(created_at) < since FROM $log)
	\$\$;
	CREATE FUNCTION plain_off_hours(since timestamptz, until timestamptz, lookback interval, share double precision)
	RETURNS TABLE (user_id text, n bigint, first_at timestamptz, last_at timestamptz, reason text) LANGUAGE sql STABLE AS \$\$
		WITH entries AS (
			SELECT user_id, created_at, NOT (extract(hour FROM created_at AT TIME ZONE 'Asia/Kathmandu') BETWEEN 7 AND 19
				AND extract(isodow FROM created_at AT TIME ZONE 'Asia/Kathmandu') < 6) AS is_outside
			FROM $log WHERE user_id IS NOT NULL),
		outside AS (
			SELECT user_id, count(*) AS n, min(created_at) AS first_at, max(created_at) AS last_at
			FROM entries WHERE created_at >= since AND created_at < until AND is_outside
			GROUP BY user_id HAVING count(*) >= 2)
		SELECT o.*, format('%s operations outside of 7:00 to 20:00 on working days; of %s before, %s were', o.n, u.n, u.outside)
		FROM outside o,
			LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE is_outside) AS outside FROM entries e
				WHERE e.user_id = o.user_id AND created_at < since AND created_at >= since - lookback) AS u
		WHERE u.n >= 3 AND u.outside <= share * u.n
	\$\$;

	-- how many rows both say, and how many only one of them
	CREATE FUNCTION compare(calls integer) RETURNS TABLE (same bigint, other bigint) LANGUAGE plpgsql VOLATILE AS \$\$
	DECLARE
		since timestamptz;
		until timestamptz;
		lookback interval;
	BEGIN
		FOR i IN 1 .. calls LOOP
			since := moment(CASE WHEN random() < 0.5 THEN 3 ELSE 40 END);
			until := least(since + interval '6 hours' * (1 + floor(20 * random())), now());
			CONTINUE WHEN until <= since;
			lookback := interval '6 hours' * (1 + floor(120 * random() ^ 2));
			RETURN QUERY
				SELECT count(*) FILTER (WHERE times = 2), count(*) FILTER (WHERE times <> 2)
				FROM (SELECT count(*) AS times FROM (
						SELECT * FROM plain_new_actors('{op0,op2,op3}', since, until, lookback)
						UNION ALL
						SELECT a.user_id, a.operation, a.first_at, a.n FROM fraiseql_obs.new_actors(
							'{op0,op2,op3}', since, until, lookback, '1 microsecond', "limit" => 100000) a) AS u
					GROUP BY u) AS t;
			RETURN QUERY
				SELECT count(*) FILTER (WHERE times = 2), count(*) FILTER (WHERE times <> 2)
				FROM (SELECT count(*) AS times FROM (
						SELECT * FROM plain_off_hours(since, until, lookback, 0.6)
						UNION ALL
						SELECT * FROM fraiseql_obs.off_hours(since, until, time_zone => 'Asia/Kathmandu', min_operations => 2,
							usual_share => 0.6, lookback => lookback, min_usual => 3)) AS u
					GROUP BY u) AS t;
		END LOOP;
	END \$\$;
	SELECT fill(3000)));

my $found = 0;

sub compare
{
	my ($name, $database, $calls) = @_;
	my ($same, $other) = split /\|/, sql(sprintf('SELECT sum(same), sum(other) FROM compare(%d)', $calls // 4), $database);

	is($other, 0, $name);
	$found += $same;
	return;
}

# What is noted is what the rows say.
sub is_noted
{
	my ($name, $database) = @_;
	is(sql(qq(
		SELECT count(*) FROM (
			SELECT user_id, operation, (array_agg(day ORDER BY day DESC))[:9] AS days
			FROM (SELECT DISTINCT user_id, operation, created_at::date AS day FROM $log WHERE user_id IS NOT NULL) AS d
			GROUP BY user_id, operation) AS r
		FULL JOIN $notes n USING (user_id, operation) WHERE r.days IS DISTINCT FROM n.days), $database), 0, $name);
	return;
}
my $maintain = q(SELECT fraiseql_obs.seal_audit_log('0'); SELECT fraiseql_obs.maintain_audit_log(false)->'failed');

compare('nothing is sealed');
sql($maintain);
is_noted('noted');
compare('all is noted');
my $before = sql("SELECT md5(string_agg(n::text, ' ' ORDER BY user_id, operation)), min(xmin::text) FROM $notes n");
sql($maintain);
is(sql("SELECT md5(string_agg(n::text, ' ' ORDER BY user_id, operation)), min(xmin::text) FROM $notes n"),
	$before, 'again: nothing is written');

# a transaction that goes on meanwhile
my $late = $node->background_psql('app');
$late->query_safe('BEGIN; SELECT write(50)');
foreach my $round (1 .. 12)
{
	sql(sprintf('SELECT fill(%d)', rand(60)));
	sql("SELECT fraiseql_obs.seal_audit_log('0')") if rand() < 0.3;
	sql($maintain) if rand() < 0.3;
	$late->query_safe('COMMIT') if $round == 6;
	compare("round $round");
}
$late->quit;
sql($maintain);
is_noted('noted, with what was late');

# erasure: wholly, in part, and of rows that are not noted yet
sql(q(SELECT fill(100); SELECT fraiseql_obs.erase_audit_details('user0', reason => 'asked')));
is(sql("SELECT count(*) FROM $notes WHERE user_id = 'user0'"), 0, 'an erased user is not noted');
compare('a user is erased');
sql(q(SELECT fraiseql_obs.erase_audit_details('user1', before => now() - interval '20 days', reason => 'asked')));
compare('a user is erased in part');
sql($maintain);
is_noted('what is erased is not noted again');

# removal; what is noted only of it is forgotten, and a hole is no shortcut
sub remove
{
	my ($days) = @_;
	my $partition = sql("SELECT fraiseql_obs.audit_partition_name('$log', 'day', now()::timestamp - interval '$days days')");
	sql("ALTER TABLE $log DETACH PARTITION $partition; DROP TABLE $partition");
	return;
}
sql(qq(INSERT INTO $log (created_at, operation, user_id) SELECT min(created_at), 'op2', 'gone' FROM $log;
	SELECT fill(0)));
sql($maintain);
is(sql("SELECT count(*) FROM $notes WHERE user_id = 'gone'"), 1, 'one who was there on the first day alone');
remove($_) foreach (2, 5, 10, 33 .. 40);
compare('partitions are gone');
sql($maintain);
is(sql("SELECT count(*) FROM $notes WHERE user_id = 'gone'"), 0, 'is forgotten with it');
compare('partitions are gone, and what is noted is new');

# a dump
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'app' ], 'dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'restored');
is(sql("SELECT count(*) FROM $notes", 'restored'), sql("SELECT count(*) FROM $notes"), 'notes are data');
sql(q(SELECT fraiseql_obs.create_audit_log();
	SELECT fraiseql_obs.audit_ensure_partition(now() - i * interval '1 day') FROM generate_series(0, 40) i;
	SELECT fill(100)), 'restored');
compare('restored', 'restored');
sql($maintain, 'restored');
is_noted('noted anew', 'restored');
compare('restored, and noted', 'restored');

# nothing noted, as for who was granted to read before
sql('CREATE ROLE reader LOGIN');
sql("SELECT fraiseql_obs.grant_audit_reader('reader')");
my $call = q(SELECT md5(string_agg(a::text, ' ')) FROM fraiseql_obs.new_actors('{op0,op1,op2}', now() - interval '9 days', "limit" => 1000) a);
my $wanted = sql($call);
is($node->safe_psql('app', $call, extra_params => [ '-U', 'reader' ]), $wanted, 'a reader is told the same');
sql("REVOKE ALL ON $notes FROM reader");
is($node->safe_psql('app', $call, extra_params => [ '-U', 'reader' ]), $wanted, 'so is one who may not read what is noted');

# guarded as the rest is
set_guard($node, 'on');
my (undef, undef, $err) = $node->psql('app', "DELETE FROM $notes");
like($err, qr/audit log is append-only/, 'notes are guarded');

cmp_ok($found, '>', 200, 'there was something to compare');

$node->stop;
done_testing();
