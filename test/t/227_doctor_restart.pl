# The restart that the doctor suggests works as it is typed, wherever the data
# is and whatever PATH has, and leaves the terminal to whoever types it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use DoctorTest;
use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('doctor_restart');
my $data = PostgreSQL::Test::Utils::tempdir . q(/it's the data);

$node->stop;
symlink $node->data_dir, $data or die "cannot make a link: $!";
is(system('pg_ctl', '-w', '-s', '-D', $data, '-l', $node->logfile, 'start'), 0, 'started');
$node->safe_psql('postgres', 'ALTER SYSTEM SET fraiseql_obs.max_queries = 300');
$node->reload;
is(wait_for($node, qr/restart/), "4\nwarning settings: fraiseql_obs.max_queries waits for a restart", 'a restart is needed');

my (undef, $text) = doctor($node);
my ($command) = $text =~ /^ +\$ (.*)/m;
my $out;
{
	local $ENV{PATH} = '/nonexistent';
	IPC::Run::run [ '/bin/sh', '-c', "$command; echo done" ], '<', \undef, '>', \$out, '2>&1';
}
like($out, qr/^server started\ndone\n\z/m, 'restarted');
unlike($out, qr/LOG:/, 'the log is not at the terminal');
like(slurp_file("$data/server.log"), qr/database system is ready/, 'but in a file');
is_deeply([ findings($node) ], [0], 'nothing is wrong');

# who may see less is told less
$node->safe_psql('postgres', 'ALTER SYSTEM SET fraiseql_obs.max_queries = 400; CREATE ROLE watcher LOGIN');
$node->reload;
wait_for($node, qr/restart/);
$ENV{PGUSER} = 'watcher';
is((mending($node, 'settings'))[0], 'shell # restart the server', 'by whoever knows how');
$node->safe_psql('postgres', 'GRANT pg_monitor TO watcher', extra_params => [ '-U', getpwuid($<) ]);
is((mending($node, 'settings'))[0], q(shell pg_ctl restart -D ') . ($data =~ s/'/'\\''/gr) . q(' -l ') . ($data =~ s/'/'\\''/gr) . q(/server.log'),
	'of the folder, but not of programs');
$node->_update_pid(1);
$node->stop;
done_testing();
