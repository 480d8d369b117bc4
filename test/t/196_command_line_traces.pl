# The command line tool's trace and timeline: what they find, by which names,
# and what they say of what is not there.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use CommandTest;
use JSON::PP qw(decode_json);
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('command_line_traces');
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my $uuid = '4BF92F35-77B3-4DA6-A3CE-929D0E0E4736';
my $parent = "00-$trace-00f067aa0ba902b7-01";

sub rows_of { return decode_json(prints($node, @_, '--format', 'json')); }

$node->safe_psql('postgres', q(CREATE TABLE orders (id int); SELECT fraiseql_obs.create_audit_log()));
$node->psql('postgres', qq(
	SET fraiseql_obs.traceparent = '$parent';
	SET fraiseql_obs.request_id = 'order-3'; SET fraiseql_obs.user_id = 'ann'; SET fraiseql_obs.operation_name = 'createOrder';
	BEGIN; INSERT INTO orders VALUES (3); SELECT fraiseql_obs.log_operation('create', 'Order', '3'); COMMIT;
	SELECT 1 / 0;), on_error_stop => 0);

# A trace, by all of its names
my $tree = prints($node, 'trace', $trace);
like($tree, qr/\ATrace $trace, begun \d{4}-\d\d-\d\d \d\d:.*: spans \d+, failed 1\n +span +\| start_ms \| duration_ms \| rows \| shared_blks_hit \| shared_blks_read \| sqlstate \| query +\n/,
	'a trace has a head');
like($tree, qr/\n INSERT createOrder +\| +0\.000 \|.*\n   planning .*\n   execution .*\n COMMIT +\|.*\n SELECT createOrder .*\| 22012 +\|.*\(\d+ rows\)/s, 'and is a tree');
is(prints($node, 'trace', $_), $tree, "the same by $_") foreach uc $trace, $parent, uc $parent, $uuid;
is_deeply(
	rows_of('trace', $trace),
	decode_json(observe($node, "SELECT json_agg(t) FROM fraiseql_obs.trace_tree('$trace') AS t")), 'all of it as JSON');
is(() = prints($node, 'trace', $trace, '--limit', '2', '--format', 'csv') =~ /\n/g, 3, 'as many as wanted, as CSV');

# One that was made of what the client said
$node->safe_psql('postgres', q(SET fraiseql_obs.trace_sample_rate = 1;
	BEGIN; SELECT fraiseql_obs.set_trace_context('{"X-Request-ID": "a request"}'); INSERT INTO orders VALUES (4); COMMIT));
like(prints($node, 'trace', 'a request'), qr/^ INSERT /m, 'the trace of an X-Request-ID');

# A request, by its name and by its trace
my $line = prints($node, 'timeline', 'order-3');
like($line, qr/\A +at +\| +source +\| +what +\| duration_ms \| result +\| sqlstate \| user_id \| +details +\n/, 'a timeline');
like($line,
	qr/\| statement +\| INSERT createOrder +\|.*\| success \| +\| ann +\| INSERT INTO orders VALUES \(\$1\)\n.*\| audit +\| create +\|.*\| Order 3\n.*\| failed statement \| SELECT createOrder +\|.*\| failure \| 22012 /s,
	'has what happened, with normalised texts');
is(prints($node, 'timeline', $_), $line, "the same by $_") foreach $trace, uc $trace, $parent;
is_deeply(
	rows_of('timeline', 'order-3'),
	decode_json(observe($node, q(SELECT json_agg(t) FROM fraiseql_obs.request_timeline('order-3') AS t))), 'all of it as JSON');
is((prints($node, 'timeline', 'order-3', '--format', 'csv') =~ /^(.*)\n/)[0],
	'at,source,what,duration_ms,result,sqlstate,user_id,tenant_id,trace_id,span_id,request_id,details', 'as CSV');
is(scalar @{ rows_of('timeline', 'order-3', '--limit', '1') }, 1, 'as many as wanted');
unlike(prints($node, 'timeline', 'order-3', '-d', 'dbname=app'), qr/\| audit /, 'without the audit log of another database')
  if $node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs') eq '';

# What is not there
my $file = PostgreSQL::Test::Utils::tempdir . '/trace';
foreach my $format ('table', 'json', 'csv')
{
	refuses($node, 1, qr/^fraiseql-obs: no span of trace 0{31}1 is kept: it was not sampled, or newer spans have taken its place\n\z/,
		'trace', '0' x 31 . '1', '--format', $format);
	refuses($node, 1, qr/^fraiseql-obs: nothing is known of such a request or trace in the last 5 hours\n\z/,
		'timeline', 'nothing', '--hours', '5', '--format', $format);
}
refuses($node, 1, qr/in the last 0 hours\n/, 'timeline', 'order-3', '--hours', '0');
append_to_file($file, 'as it was');
refuses($node, 1, qr/no span/, 'trace', "'; DROP TABLE orders; --", '-o', $file);
is(slurp_file($file), 'as it was', 'nor is a file touched');
is(prints($node, 'trace', $trace, '-o', $file), '', 'to a file');
is(slurp_file($file), $tree, 'as it would be printed');
refuses($node, 2, qr/takes one argument, ID/, $_) foreach 'trace', 'timeline';
refuses($node, 2, qr/ID is empty/, $_, '') foreach 'trace', 'timeline';
refuses($node, 1, qr/^fraiseql-obs: no span of trace [0-9a-f]{32} is kept: .*\nfraiseql-obs: a request that came with a traceparent as well is found by: fraiseql-obs timeline ID\n\z/,
	'trace', 'order-3');
refuses($node, 1, qr/\Afraiseql-obs: no span of trace .*\n\z/, 'trace', $uuid =~ tr/4/5/r);

# Hostile names do not reach the terminal.
$node->safe_psql('postgres', "SET fraiseql_obs.traceparent = '00-" . 'a' x 32 . "-00f067aa0ba902b7-01';
	SET fraiseql_obs.operation_name = '\e[2J\xc2\x9b2J'; SET fraiseql_obs.user_id = '\e[2J'; SELECT 1");
foreach my $command ('trace', 'timeline')
{
	is(raw_controls(at_terminal($node, 100, $command, 'a' x 32, '--format', $_)), '', "$command: as $_")
	  foreach 'table', 'json', 'csv';
}

# Who may not, and who may not read the audit log
$node->safe_psql('postgres', q(CREATE ROLE nobody LOGIN; CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats));
foreach my $command ('trace', 'timeline')
{
	refuses($node, 1, qr/role "nobody" may not read what "$command" prints\n.*GRANT pg_monitor TO nobody;/s, $command, $trace, '-d', 'user=nobody');
}
refuses($node, 1, qr/nothing is known of such .*\n.*: the audit log was left out, which fraiseql_obs\.grant_audit_reader\(\) lets one read\n\z/,
	'timeline', 'unheard-of', '-d', 'user=reader');
is(prints($node, 'trace', $trace, '-d', 'user=reader'), $tree, 'who may read all statistics sees traces');
is(prints($node, 'timeline', $trace, '-d', 'user=reader') =~ s/\(\d+ rows\)//r, $line =~ s/.* audit .*\n//r =~ s/\(\d+ rows\)//r, 'and timelines without the audit log');

$node->stop;
done_testing();
