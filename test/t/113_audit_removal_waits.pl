# Who writes to an audit log does not wait for long while maintain_audit_log()
# removes partitions of which somebody uses one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use List::Util qw(max);
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_removal_waits', "timezone = 'UTC'\nfraiseql_obs.audit_worker = off");
make_old_audit_log($node, 36, 29);
my $folder = PostgreSQL::Test::Utils::tempdir;

sub query { return $node->safe_psql('app', $_[0]); }

# the longest that one of several writers has waited while something was done, in ms
sub longest_wait
{
	my ($what) = @_;
	my ($out, $err, @times);
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 5, '-l', '--log-prefix', "$folder/waits",
			'-f', "$folder/log.sql", $node->connstr('app') ], '<', \undef, '>', \$out, '2>', \$err);

	$node->poll_query_until('app', q(SELECT count(*) > 100 FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'load'))
	  or die 'nobody writes';
	$what->();
	$bench->finish;
	is($err =~ /ERROR/, '', 'no error of a writer');
	foreach my $file (glob "$folder/waits.*")
	{
		push @times, map { (split)[2] / 1000 } split /\n/, slurp_file($file);
		unlink $file;
	}
	cmp_ok(scalar @times, '>', 100, 'writers write');
	return max @times;
}

append_to_file("$folder/log.sql", "SELECT fraiseql_obs.log_operation('load');\n");

# somebody reads a partition, and not by way of the log
my $table = query(q(SELECT partition FROM fraiseql_obs.audit_partitions(fraiseql_obs.audit_log()) ORDER BY range_from OFFSET 1 LIMIT 1));
my $reader = $node->background_psql('app');
$reader->query_safe("BEGIN; SELECT count(*) FROM $table");
cmp_ok(longest_wait(sub {
		like(maintain($node), qr/^close 36, 35, 34, 33, 32, 31; failed remove 35: canceling statement due to lock timeout; remove 36, 34, 33, 32, 31$/,
			'what is in use stays, the others go');
	}), '<', 1500, 'and nobody has waited for who reads');
$reader->query_safe('COMMIT');
$reader->quit;
is(maintain($node), 'close 35; remove 35', 'it goes the next time');

# somebody reads the log all the time
query(q(SELECT fraiseql_obs.set_audit_retention('28 days')));
$reader = $node->background_psql('app');
$reader->query_safe('BEGIN; SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log');
cmp_ok(longest_wait(sub {
		is(maintain($node), 'close 30, 29; failed remove 30: canceling statement due to lock timeout, remove 29: canceling statement due to lock timeout',
			'the log is in use');
	}), '<', 1500, 'and nobody has waited for who reads');
$reader->query_safe('COMMIT');
$reader->quit;
is(maintain($node), 'close 30, 29; remove 30, 29', 'both go the next time');
is(query(q(SELECT count(*) FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')), '0', 'no violation');

$node->stop;
done_testing();
