# Rolling back needs no memory: an operation whose transaction fails because
# there is none has its entry as any other.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no prlimit'
  unless grep { -x "$_/prlimit" } split /:/, $ENV{PATH};

my $node = start_node('audit_out_of_memory', 'shared_buffers = 16MB');
$node->safe_psql('postgres', 'SELECT fraiseql_obs.create_audit_log()');

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe(q(SELECT fraiseql_obs.log_operation('before')));

# little more than it has now
my ($size) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+) kB/m;
system_or_bail('prlimit', '--pid', $pid, '--as=' . ($size + 20000) * 1024);

my $exhaust = q(SELECT array_agg(repeat(i::text, 1000)) IS NULL FROM generate_series(1, 1000000) i);
$session->query('BEGIN');
$session->query(q(SELECT fraiseql_obs.log_operation('a')));
$session->query('SAVEPOINT s');
$session->query(q(SELECT fraiseql_obs.log_operation('b')));
$session->query($exhaust);
$session->query($_) foreach 'ROLLBACK TO s', 'RELEASE s';
$session->query(qq(DO \$\$
	BEGIN
		PERFORM fraiseql_obs.log_operation('c');
		PERFORM ($exhaust);
	EXCEPTION WHEN out_of_memory THEN NULL;
	END \$\$));
$session->query($exhaust);
$session->query('COMMIT');
$session->{run}->kill_kill;
is($node->safe_psql('postgres', 'SELECT fraiseql_obs.audit_drain_ring()'),
	3, 'three failures');
is( $node->safe_psql('postgres', q(
	SELECT operation, result, sqlstate, error_message
	FROM fraiseql_obs.recent_operations() ORDER BY operation)),
	"a|failure|53200|out_of_memory\n"
	  . "b|failure|53200|out_of_memory\n"
	  . "before|success||\n"
	  . 'c|failure|53200|out_of_memory', 'each with its reason');

$node->stop;
done_testing();
