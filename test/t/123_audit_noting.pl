# While it is noted who did what, which may take long once, legal holds are
# placed as ever; who erases waits for it, and nobody for both.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_noting', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 30);

sub query { return $node->safe_psql('app', $_[0]); }

sub begin
{
	my ($sql) = @_;
	my %session = (out => '', err => '');

	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('app'), '-c', $sql ],
		'<', \undef, '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

sub finish
{
	my ($session) = @_;

	$session->{run}->finish;
	return "$session->{out}$session->{err}" =~ s/\n\z//r;
}

# Noting takes as long as somebody has this lock.
set_guard($node, 'off');
query(q(CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP
			PERFORM pg_sleep(0.05);
		END LOOP;
		RETURN NULL;
	END $$;
	CREATE TRIGGER linger BEFORE INSERT ON fraiseql_audit.fraiseql_audit_actor_operations EXECUTE FUNCTION linger()));
set_guard($node, 'on');
my $gate = $node->background_psql('app');
$gate->query_safe('SELECT pg_advisory_lock(1)');

my $maintenance = begin(q(SELECT m->'failed', jsonb_array_length(m->'remove'), jsonb_array_length(m->'held') FROM fraiseql_obs.maintain_audit_log() AS m));
$node->poll_query_until('app', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query ~ 'maintain'))
  or die 'does not note';
is(query(q(SET lock_timeout = '2s'; SELECT fraiseql_obs.place_hold('Case', since => now() - interval '33 days', until => now() - interval '32 days'))),
	'1', 'a hold is placed meanwhile');
my $erasure = begin(q(SELECT fraiseql_obs.erase_audit_details('user1', before => now() - interval '34 days', reason => 'Art. 17')));
$node->poll_query_until('app', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'erase'))
  or die 'the erasure does not wait';
is(query(q(SET lock_timeout = '2s'; SELECT fraiseql_obs.release_hold(fraiseql_obs.place_hold('Other'), 'over'))), '', 'and while somebody waits to erase');

$gate->quit;
is(finish($maintenance), '[]|4|2', 'what the hold keeps is not removed');
is(finish($erasure), '0', 'the erasure finds what is left');
query(q(SELECT fraiseql_obs.release_hold(1, 'over')));
is(query(q(SELECT fraiseql_obs.erase_audit_details('user1', reason => 'Art. 17'))), '18', 'an erasure after it');
is(query(q(SELECT count(*) FROM fraiseql_audit.fraiseql_audit_actor_operations WHERE user_id = 'user1')), '0', 'takes what was noted along');
is(query(q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '', 'no violation');

$node->stop;
done_testing();
