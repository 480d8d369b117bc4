# A count of nothing in the rollups is one that sealing did not make: both ways to
# verify say so.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $node = start_node('verify_empty_counts', "fraiseql_obs.audit_guard = off\nfraiseql_obs.audit_worker = off\n");
my $counts = 'fraiseql_audit.fraiseql_audit_counts';

sub query { return $node->safe_psql('app', $_[0]); }

sub both_say
{
	my ($status, $rollup, $name) = @_;
	my ($dump, $out);

	is(query(q(SELECT string_agg(message, ';') FROM fraiseql_obs.verify_audit_log() WHERE severity = 'violation')) =~ s/"//gr =~ s/, success has/ success has/r,
		$rollup, "$name: the server");
	IPC::Run::run([ 'pg_dump', '--schema=fraiseql_audit', $node->connstr('app') ], '>', \$dump) or die;
	IPC::Run::run([ 'python3', $tool ], '<', \$dump, '>&', \$out);
	is($? >> 8, $status, "$name: status without the server");
	my @violations = $out =~ /^violation: [-\d]+: (.*)$/mg;
	is("@violations", $rollup, "$name: without the server");
	return;
}

query(q(CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false);
	SELECT fraiseql_obs.log_operation('op', user_id => 'user');
	SELECT fraiseql_obs.seal_audit_log()));
both_say(0, '', 'a log');
query("INSERT INTO $counts SELECT dimension, grain, bucket, 'none', result, 0 FROM $counts WHERE dimension = 'operation' AND grain = 'day'");
both_say(3, 'rollup of operation none success has 0, rows are 0', 'a count of nothing');
query("DELETE FROM $counts WHERE key = 'none'");
both_say(0, '', 'without it');
$node->stop;
done_testing();
