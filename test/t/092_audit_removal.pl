# Removal of a partition of the audit log goes on after a crash at any point,
# and is taken back if a hold was placed meanwhile.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_removal', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 38, 30);
# what the worker executes, it executes with the guard's door open
set_guard($node, 'off');

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $state = q(SELECT string_agg(format('%s %s', (now() AT TIME ZONE 'UTC')::date - range_from::date, state), ', ')
	FROM fraiseql_obs.audit_removable_partitions());
my $tombstones = q(SELECT string_agg(((now() AT TIME ZONE 'UTC')::date - range_from::date)::text, ' ' ORDER BY range_from)
	FROM fraiseql_audit.fraiseql_audit_partitions);
my $violations = q(SELECT string_agg(message, ', ') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation');

sub query { return $node->safe_psql('app', $_[0]); }

sub from
{
	my ($days) = @_;
	return "(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '$days days') AT TIME ZONE 'UTC'";
}

# The first steps of a removal: the statement that detaches
sub close_partition
{
	my ($days) = @_;
	return query('SELECT fraiseql_obs.audit_close_partition(' . from($days) . ')');
}

sub detach
{
	my ($days) = @_;
	my $statement = close_partition($days);

	like($statement, qr/^ALTER TABLE $log DETACH PARTITION ${log}_\d+ CONCURRENTLY$/, "$days: closed");
	query($statement);
	return;
}

# Begins to detach and is killed; the partition is pending then.
sub detach_half
{
	my ($days) = @_;
	my $statement = close_partition($days);
	my $reader = $node->background_psql('app');

	$reader->query_safe("BEGIN; SELECT count(*) FROM $log");
	my $detacher = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', $statement ],
		'<', \undef, '>', \my $out, '2>', \my $err);
	$node->poll_query_until('app', 'SELECT bool_or(inhdetachpending) FROM pg_inherits')
	  or die 'does not detach';
	is(query(q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%CONCURRENTLY')),
		'1', "$days: terminated while it waits");
	$detacher->finish;
	$reader->query_safe('COMMIT');
	$reader->quit;
	is(query('SELECT count(*) FROM pg_inherits WHERE inhdetachpending'), '1', "$days: pending");
	return;
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

# as the worker does it, all steps
detach(38);
is(query('SELECT fraiseql_obs.audit_drop_partition(' . from(38) . ')'), 't', '38: dropped');
is(query('SELECT fraiseql_obs.audit_drop_partition(' . from(38) . ')'), 'f', '38: and not again');
is(close_partition(38), '', '38: nothing to close');
is(query($state), '37 attached, 36 attached, 35 attached, 34 attached, 33 attached, 32 attached, 31 attached', 'the others are to be removed');

# a crash after the partition was closed
close_partition(37);
crash();
is(query($tombstones), '38 37', '37: closed');
is(query($violations), '', '37: closed, and no violation');
is(maintain($node, 'remove => false'), '', '37: closed and left');
detach(37);
is(query($tombstones), '38 37', '37: closed once');
is(query("SELECT count(*) FROM $log WHERE operation = 'audit.partition_removed'"), '2', '37: and recorded once');

# after it was detached
crash();
like(query($state), qr/^37 detached, 36 attached/, '37: detached');
is(query($violations), '', '37: detached, and no violation');
is(maintain($node, 'remove => false'), 'drop 37', '37: dropped');

# while it is being detached
detach_half(36);
crash();
like(query($state), qr/^36 detaching, 35 attached/, '36: detaching');
is(query("SELECT count(*) FROM $log WHERE created_at < " . from(35)), '0', '36: not read any more');
is(query($violations), '', '36: detaching, and no violation');
like(close_partition(36), qr/^ALTER TABLE $log DETACH PARTITION ${log}_\d+ FINALIZE$/, '36: to be finalized');
is(maintain($node, 'remove => false'), 'drop 36; finalize 36', '36: finalized and dropped');

# all of it in one transaction, when the server crashes before it ends
my $session = $node->background_psql('app');
$session->query_safe('BEGIN');
$session->query_safe('SELECT fraiseql_obs.maintain_audit_log()');
$node->stop('immediate');
$node->start;
eval { $session->quit };
like(query($state), qr/^35 attached/, '35: as it was');

# Rows that come into a partition that is closed keep it.
close_partition(35);
query("INSERT INTO $log (created_at, operation) SELECT " . from(35) . q( + interval '1 hour', 'late'));
my ($status, $out, $err) = $node->psql('app', 'SELECT fraiseql_obs.audit_close_partition(' . from(35) . ')');
like($err, qr/ERROR:  partition "${log}_\d+" of the audit log (is not what was sealed|does not have the rows that it should)/, '35: has a late row');
query("DELETE FROM $log WHERE operation = 'late'");

# holds that are placed meanwhile; one keeps the later partitions out of it
sub hold
{
	my ($from, $until) = @_;
	return query("SELECT fraiseql_obs.place_hold('Case', since => " . from($from)
		  . (defined $until ? ', until => ' . from($until) : '') . ')');
}

sub release
{
	query("SELECT fraiseql_obs.release_hold($_, 'over')") foreach @_;
	return;
}

sub is_kept
{
	my ($days, $steps, $name) = @_;
	my $rest = hold($days - 1);
	my $hold = hold($days, $days - 1);

	like(maintain($node), qr/^${steps}held .*$days by $hold, .*; keep $days$/, "$days: kept when $name");
	is(query("SELECT count(*) FROM $log WHERE created_at >= " . from($days) . ' AND created_at < ' . from($days - 1)),
		'24', "$days: with its rows");
	is(query($tombstones), '38 37 36', "$days: not removed");
	is(query("SELECT details->'hold_id' FROM $log WHERE operation = 'audit.partition_kept' ORDER BY id DESC LIMIT 1"),
		$hold, "$days: which is recorded");
	is(query($violations), '', "$days: and no violation");
	release($rest);
	return $hold;
}

close_partition(35);
my $held_35 = is_kept(35, '', 'closed');
detach(34);
my $warned = hold(34, 33);
($status, $out, $err) = $node->psql('app', 'SELECT fraiseql_obs.audit_drop_partition(' . from(34) . ')');
like($err, qr/ERROR:  cannot drop "${log}_\d+" of the audit log\nDETAIL:  Legal hold $warned keeps it\./, '34: not dropped');
release($warned);
($status, $out, $err) = $node->psql('app', "SELECT fraiseql_obs.place_hold('Case', since => " . from(34) . ', until => ' . from(33) . ')');
like($err, qr/WARNING:  a partition of the period of legal hold $out has been removed before\nDETAIL:  What has not yet been dropped of it is kept\./, 'place_hold() says what has gone');
release($out);
my $held_34 = is_kept(34, '', 'detached');
detach_half(33);
my $held_33 = is_kept(33, 'finalize 33; ', 'detaching');
release($held_35, $held_34, $held_33);
is(maintain($node), 'close 35, 34, 33, 32, 31; remove 35, 34, 33, 32, 31', 'released: removed');
is(query($tombstones), '38 37 36 35 34 33 32 31', 'all of them');
is(query($violations), '', 'and no violation');

$node->stop;
done_testing();
