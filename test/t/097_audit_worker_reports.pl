# What the worker could not do about partitions is said in the server log, once
# each time, and done when it can be.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_worker_reports', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 33, 31);

my $log = 'fraiseql_audit.fraiseql_audit_log';
my $removed = q(SELECT coalesce(string_agg(((now() AT TIME ZONE 'UTC')::date - range_from::date)::text, ' ' ORDER BY range_from), '')
	FROM fraiseql_audit.fraiseql_audit_partitions);

sub query { return $node->safe_psql('app', $_[0]); }

sub times_logged
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile) =~ /$pattern/g);
}

# One that is not what was sealed stays, and one that cannot be made is missing.
set_guard($node, 'off');
query("UPDATE $log SET operation = 'forged' WHERE id = (SELECT min(id) FROM $log WHERE created_at >= (now() AT TIME ZONE 'UTC')::date - 32)");
query("DROP TABLE ${log}_" . query("SELECT to_char((now() AT TIME ZONE 'UTC')::date + 7, 'YYYYMMDD')"));
set_guard($node, 'on');
my $locker = $node->background_psql('app');
$locker->query_safe("BEGIN; LOCK TABLE $log IN SHARE UPDATE EXCLUSIVE MODE");
$node->append_conf('postgresql.conf', 'fraiseql_obs.audit_worker = on');
$node->reload;

my $make = qr/WARNING:  could not maintain the audit log: make \d{4}-\d\d-\d\d: canceling statement due to lock timeout\n/;
ok($node->wait_for_log($make), 'what could not be made');
$locker->query_safe('COMMIT');
$locker->quit;
ok($node->poll_query_until('app', $removed, '33 31'), 'the others are removed');
$node->wait_for_log(qr/ERROR:  partition "${log}_\d+" of the audit log is not what was sealed\n/);
$node->poll_query_until('app', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'fraiseql_obs audit upkeep'), '0');
my $errors = times_logged(qr/ERROR:  partition .* is not what was sealed/);
my $warnings = times_logged(qr/could not maintain/);

$node->reload;
ok($node->poll_query_until('app', 'SELECT count(*) FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) WHERE range_from > now()', '7'),
	'made when it can be');
foreach (1 .. 100)
{
	last if times_logged(qr/ERROR:  partition .* is not what was sealed/) > $errors;
	Time::HiRes::usleep(100_000);
}
is(times_logged(qr/ERROR:  partition .* is not what was sealed/), $errors + 1, 'a violation is reported once each time');
is(times_logged(qr/could not maintain/), $warnings, 'and what has been done no more');
is(query($removed), '33 31', 'and its partition stays');
is(query(q(SELECT value FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_audit_partitions_ahead')), '7', 'the metric says how many there are');

# no process to be had
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
ok($node->wait_for_log(qr/WARNING:  could not start process "fraiseql_obs audit upkeep \(app\)"\n.*HINT:  Increase "max_worker_processes"\./),
	'no room for the process');

$node->stop;
done_testing();
