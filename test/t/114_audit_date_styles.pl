# Removal, legal holds and erasure do the same whatever the database says of time
# zones and of how times are written.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_date_styles', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 44, 30);

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $violations = q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');

sub query { return $node->safe_psql('app', $_[0]); }

sub from
{
	my ($days) = @_;
	return "(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '$days days') AT TIME ZONE 'UTC'";
}

sub hold
{
	my ($since, $until) = @_;
	return query("SELECT fraiseql_obs.place_hold('Case', user_id => 'user1', since => $since" . (defined $until ? ", until => $until" : '') . ')');
}

sub release
{
	my ($hold) = @_;
	query("SELECT fraiseql_obs.release_hold($hold, 'over')");
	return;
}

# The next partitions, under settings of the database.  IST is what SQL style
# says of Kolkata, and no time zone of India when it is read.
sub try_settings
{
	my ($days, $style, $zone) = @_;
	my ($next, $third) = ($days - 1, $days - 2);

	query("ALTER DATABASE app SET datestyle = '$style'");
	query("ALTER DATABASE app SET timezone = '$zone'");
	my $name = query('SHOW datestyle') . ', ' . query('SHOW timezone');

	# a hold of a day, as it is written there, so that it touches two partitions
	my $rest = hold(from($days - 4));
	my $hold = hold("to_char(" . from($days - 1) . ", 'DD/MM/YYYY')::timestamptz", "to_char(" . from($days - 2) . ", 'DD/MM/YYYY')::timestamptz");
	my $held = query(qq(
		SELECT string_agg(((now() AT TIME ZONE 'UTC')::date - (range_from AT TIME ZONE 'UTC')::date)::text || ' by $hold', ', ' ORDER BY range_from)
		FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) p, fraiseql_obs.holds() h
		WHERE hold_id = $hold AND range_from < until AND range_to > since));
	is($held, "$days by $hold, $next by $hold", "$name: the hold's time");
	like(maintain($node), qr/^close $third, \d+; held $held, .*; remove $third, \d+$/, "$name: keeps its partitions and no others");
	release($hold);

	# a hold of half an hour, in which the user has one row
	$hold = hold(from($days) . " + interval '4 hours 45 minutes'", from($days) . " + interval '5 hours 15 minutes'");
	is(query("SELECT count(*) FROM $log WHERE user_id = 'user1' AND created_at < " . from($days - 1)), '6', "$name: rows of the user");
	my ($status, $out, $err) = $node->psql('app', "SELECT fraiseql_obs.erase_audit_details('user1', before => " . from($next) . ", reason => 'Art. 17')");
	like($err, qr/ERROR:  cannot erase entries of the audit log that are under legal hold/, "$name: the hold keeps the row");
	is(query("SELECT count(*) FROM $log WHERE user_id = 'user1' AND created_at < " . from($days - 1)), '6', "$name: and all others");
	release($hold);
	is(query("SELECT fraiseql_obs.erase_audit_details('user1', before => " . from($next) . " + interval '5 hours', reason => 'Art. 17')"), '7', "$name: erased until a time");
	is(query("SELECT count(*) FROM $log WHERE user_id = 'user1' AND created_at < " . from($third)), '5', "$name: and not later");
	is(query($violations), '', "$name: no violation");

	# kept after it was closed and detached
	set_guard($node, 'off');
	query(query('SELECT fraiseql_obs.audit_close_partition(' . from($days) . ')'));
	set_guard($node, 'on');
	$hold = hold(from($days), from($next));
	like(maintain($node), qr/^close $next; held $days by $hold, .*; keep $days; remove $next$/, "$name: brought back");
	is(query("SELECT count(*) FROM $log WHERE created_at >= " . from($days) . ' AND created_at < ' . from($next)), '24', "$name: with its rows");
	release($hold);
	is(maintain($node) =~ /^close $days; held .*; remove $days$/, 1, "$name: released, it goes");
	is(query($violations), '', "$name: no violation");

	# what is not sealed yet is known
	query(q(SELECT fraiseql_obs.log_operation('op')));
	is(query(q(SELECT sum(n) FROM fraiseql_obs.audit_counts('total', now() - interval '1 day', now() + interval '1 day')) . " WHERE key IS NULL"),
		query(qq(SELECT count(*) FROM $log WHERE created_at > now() - interval '1 day')), "$name: counted");
	is(query('SELECT fraiseql_obs.refresh_audit_rollups() > 0'), 't', "$name: and sealed");
	release($rest);
	return;
}

try_settings(44, 'SQL, DMY', 'Asia/Kathmandu');
try_settings(40, 'SQL, DMY', 'Asia/Kolkata');
try_settings(36, 'German', 'Asia/Kolkata');

$node->stop;
done_testing();
