# Who writes to an audit log does not wait for long while its first seal waits
# for a transaction that has written and goes on.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node('audit_seal_waits', 'fraiseql_obs.audit_worker = off');
my $log = q(SELECT fraiseql_obs.log_operation('op') > 0);

$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');
my $open = $node->background_psql('app');
my $writer = $node->background_psql('app');
$open->query_safe("BEGIN; $log");

my $sealer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', 'SELECT fraiseql_obs.seal_audit_log()' ],
	'<', \undef, '>', \my $out, '2>', \my $err);
my $longest = 0;
while ($sealer->pumpable)
{
	my $began = time;

	$writer->query_safe($log);
	$longest = time - $began if time - $began > $longest;
	$sealer->pump_nb;
}
$sealer->finish;
like($err, qr/ERROR:  canceling statement due to lock timeout/, 'it is given up');
cmp_ok($longest, '>', 0.1, 'writers have waited');
cmp_ok($longest, '<', 0.6, 'and not for long');
$open->query_safe('COMMIT');
is($node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log() > 0'), 't', 'sealed the next time');
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.verify_audit_log())), '0', 'all of it');
$_->quit foreach $open, $writer;

$node->stop;
done_testing();
