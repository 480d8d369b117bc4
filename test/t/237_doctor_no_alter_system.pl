# The doctor where ALTER SYSTEM is not allowed: what it says mends all the same,
# by lines for postgresql.conf.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use DoctorTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('doctor_no_alter_system');
plan skip_all => 'allow_alter_system came with PostgreSQL 17'
  if $node->pg_version < 17;
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'auto_explain'");
$node->start;

# written before it was turned off, and in force still
my $auto = $node->data_dir . '/postgresql.auto.conf';
$node->safe_psql('postgres', q(ALTER SYSTEM SET track_counts = off));
$node->append_conf('postgresql.conf', 'allow_alter_system = off');
$node->reload;
is_deeply(
	[ mending($node, 'library') ],
	[
		q(conf shared_preload_libraries = 'pg_stat_statements, auto_explain, fraiseql_obs'),
		sprintf('shell %1$s/pg_ctl restart -D %2$s -l %2$s/server.log', $node->config_data('--bindir'), $node->data_dir)
	],
	'lines keep other libraries');
my (undef, $out) = doctor($node);
like($out, qr/^ +postgresql\.conf: shared_preload_libraries = 'pg_stat_statements, auto_explain, fraiseql_obs'\n +\$ \/\S+\/pg_ctl restart/m, 'as text');
mend($node);
my @left = findings($node);
is($left[0], 4, 'it is loaded');
ok((grep { /track_counts is off/ } @left), 'what was set by ALTER SYSTEM is found');
is_deeply(
	[ grep { !/reload|EXTENSION/ } mending($node, 'queries') ],
	[ qq(shell sed -i '3s/^/# /' '$auto'), q(conf track_counts = 'on') ],
	'and taken out of the way');
cured($node, 'until nothing is wrong');
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'),
	'pg_stat_statements, auto_explain, fraiseql_obs', 'all libraries are there');

# a line that is not in force
append_to_file($auto, "fraiseql_obs.track = 'nothing'\n");
$node->reload;
like(wait_for($node, qr/track/), qr/error settings: line \d+ of ".*auto\.conf" is not in force: fraiseql_obs\.track cannot be "nothing"/, 'a wrong line');
cured($node, 'is put out of force');
$node->stop;
done_testing();
