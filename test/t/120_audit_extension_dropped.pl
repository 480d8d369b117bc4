# DROP EXTENSION fails nobody's statement, and is not refused where the log is
# no longer there.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_extension_dropped', 'fraiseql_obs.audit_worker = off');

$node->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log();
	CREATE TABLE customers (id int PRIMARY KEY)));

# a session looks for the log when it first writes, and finds it being dropped
my $dropper = $node->background_psql('app');
$dropper->query_safe('SET client_min_messages = warning; BEGIN; DROP EXTENSION fraiseql_obs CASCADE');
my ($out, $err) = ('', '');
my $writer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', 'INSERT INTO customers VALUES (1)' ],
	'<', \undef, '>', \$out, '2>', \$err);
$node->poll_query_until('app', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'))
  or die 'nobody waits';
$dropper->query_safe('COMMIT');
$dropper->quit;
$writer->finish;
is($err, '', 'its statement is executed');
is($node->safe_psql('app', 'SELECT count(*) FROM customers'), '1', 'and has done what it should');

# while the guard is off, the log can be dropped first
$node->safe_psql('app', 'SET client_min_messages = warning; CREATE EXTENSION fraiseql_obs');
set_guard($node, 'off');
$node->safe_psql('app', 'SET client_min_messages = warning; DROP TABLE fraiseql_audit.fraiseql_audit_log CASCADE');
($out, $out, $err) = $node->psql('app', 'SET client_min_messages = warning; DROP EXTENSION fraiseql_obs CASCADE');
is($err, '', 'the extension can be dropped without its log');

$node->stop;
done_testing();
