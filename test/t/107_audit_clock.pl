# A clock that was ahead, or is set back, keeps nothing from being sealed, and
# leaves no violation: a gap says that times around then are not proven.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_clock', "timezone = 'UTC'\nfraiseql_obs.audit_guard = off\nfraiseql_obs.audit_worker = off");
my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $log = 'fraiseql_audit.fraiseql_audit_log';

sub query { return $node->safe_psql('app', $_[0]); }

sub findings
{
	return query(q(SET default_transaction_read_only = on;
		SELECT severity, kind, row_id, message FROM fraiseql_obs.verify_audit_log()));
}

# Status of the tool, and how many findings of each severity it has
sub tool
{
	my $out;

	$node->command_ok([ 'pg_dump', '-n', 'fraiseql_audit', '-f', "$folder/dump", 'app' ], 'dumped');
	IPC::Run::run([ 'python3', $tool, "$folder/dump" ], '>', \$out, '2>&1');
	return ($? >> 8) . ': ' . join ' ', sort $out =~ /^(violation|gap|unchecked):/mg;
}

sub seal { return query('SELECT fraiseql_obs.seal_audit_log()'); }

# As if the last seal had been made when the clock was ahead; rows are of now.
sub was_ahead
{
	my ($interval) = @_;
	query("UPDATE fraiseql_audit.fraiseql_audit_rollup_state
		SET refreshed_at = refreshed_at + interval '$interval', horizon_at = horizon_at + interval '$interval',
			tail_since = refreshed_at + interval '$interval' - interval '1 hour'");
	return;
}

sub write_row { return query("SELECT fraiseql_obs.log_operation('$_[0]', user_id => 'u')"); }

query(q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	SELECT fraiseql_obs.audit_ensure_partition(now() - interval '1 day')));
write_row('first');
seal();
is(findings(), '', 'nothing is wrong');

foreach my $interval ('40 days', '90 minutes')
{
	# a row of a transaction that began before the clock was set back
	my $long = $node->background_psql('app');
	$long->query_safe("BEGIN; SELECT fraiseql_obs.log_operation('long')");
	my $before = seal();

	was_ahead($interval);
	write_row('now');
	is(findings() =~ s/^gap.*\n//mgr, 'unchecked|unsealed||rows that are not sealed yet: 1', "$interval: a row after that, not sealed");
	is(query("SELECT count(*) FROM fraiseql_obs.audit_counts('operation', date_trunc('day', now()), date_trunc('day', now()) + interval '1 day')
		WHERE key = 'now'") > 0, 1, "$interval: is counted");
	is(seal(), $before + 1, "$interval: sealed at once");
	is(query('SELECT refreshed_at <= clock_timestamp() FROM fraiseql_audit.fraiseql_audit_rollup_state'), 't', "$interval: by the clock as it is");
	write_row('later');
	is(seal(), $before + 2, "$interval: and it goes on");
	$long->query_safe('COMMIT');
	$long->quit;
	is(seal(), $before + 3, "$interval: the long transaction is sealed");
	like(findings(), qr/^(gap\|clock\|\|the clock of the server was set back: of rows from around then nothing proves the time\n?)+$/,
		"$interval: a gap says so");
	like(tool(), qr/^0: gap/, "$interval: and the tool");
}

# where there are no rows, a heartbeat begins anew
my $before = seal();
was_ahead('40 days');
is(seal(), $before + 1, 'a heartbeat');
is(query('SELECT kind FROM fraiseql_audit.fraiseql_audit_seals ORDER BY seal_no DESC LIMIT 1'), 'heartbeat', 'what it is');
is(seal(), $before + 1, 'one');

# What is dated back where the clock was not is found as before.
query("INSERT INTO $log (created_at, occurred_at, operation, personal_salt, personal_digest)
	VALUES (now() - interval '12 hours', now(), 'forged', '\\x00', sha256('\\x0001'))");
seal();
like(findings(), qr/^violation\|time\|\d+\|row has an earlier time/m, 'a row is dated back');

$node->stop;
done_testing();
