# No span, no timeline and no exemplar shows a user what others do, unless it
# may read all statistics.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('spans_privileges', 'fraiseql_obs.include_query_bodies = on');
my $trace = 'e' x 32;

$node->safe_psql('postgres', q(
	CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats;
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
	GRANT USAGE ON SCHEMA fraiseql_obs TO alice, bob));

# What a query says to a role, which is not traced itself
sub sees
{
	my ($role, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $status == 0 ? $out : $err =~ /(permission denied for \w+ \w+)/ ? $1 : $err;
}

foreach my $role ('alice', 'bob')
{
	$node->safe_psql('postgres', "SET fraiseql_obs.traceparent = '00-$trace-00000000000000aa-01';
		SET fraiseql_obs.request_id = 'of $role'; SET fraiseql_obs.tenant_id = 'tenant $role';
		SELECT 'secret of $role'", extra_params => [ '-U', $role ]);
}

foreach my $call ('spans()', 'spans_otlp()', "trace_tree('$trace')", "request_timeline('of bob')")
{
	my ($name) = $call =~ /^(\w+)/;
	is(sees('alice', "SELECT * FROM fraiseql_obs.$call"), "permission denied for function $name", "$name is not for everybody");
}
is(sees('alice', 'SELECT * FROM fraiseql_obs.v_spans'), 'permission denied for view v_spans', 'nor is the view');

my $whose = "SELECT string_agg(DISTINCT concat_ws('/', usename, query, request_id, tenant_id), ' ') FROM fraiseql_obs.spans('$trace') WHERE kind = 'statement'";
my $alice = "alice/SELECT 'secret of alice'/of alice/tenant alice";
my $bob = $alice =~ s/alice/bob/gr;
is(sees('reader', $whose), "$alice $bob", 'who may read all statistics sees all');
is(sees('monitor', $whose), "$alice $bob", 'and so does monitoring');

# with a grant, one's own
$node->safe_psql('postgres', q(
	GRANT EXECUTE ON FUNCTION fraiseql_obs.spans, fraiseql_obs.spans_otlp, fraiseql_obs.trace_tree,
		fraiseql_obs.slow_queries, fraiseql_obs.request_timeline, fraiseql_obs.timeline_statements,
		fraiseql_obs.timeline_audit, fraiseql_obs.timeline_errors, fraiseql_obs.timeline_error_logs,
		fraiseql_obs.timeline_wrong_columns TO alice));
is(sees('alice', $whose), $alice, 'with a grant, one\'s own');
is(sees('alice', "SELECT count(*) FROM fraiseql_obs.trace_tree('$trace') WHERE query IS NOT NULL"), '1', 'in the tree');
unlike(sees('alice', "SELECT fraiseql_obs.spans_otlp('$trace')"), qr/bob/, 'in OTLP');
is(sees('alice', "SELECT count(*) FROM fraiseql_obs.request_timeline('of bob')"), '0', 'and in the timeline');
is(sees('alice', "SELECT count(*) > 0 FROM fraiseql_obs.request_timeline('of alice')"), 't', 'where they are');

# A failed statement of somebody else, whose trace is its own
$node->psql('postgres', "SET fraiseql_obs.request_id = 'of bob'; SELECT 1 / 0", extra_params => [ '-U', 'bob' ]);
is(sees('alice', "SELECT count(*) FROM fraiseql_obs.spans() WHERE usename <> 'alice'"), '0', 'nor what has failed');
is(sees('alice', "SELECT count(*) FROM fraiseql_obs.request_timeline('of bob')"), '0', 'nor in the timeline');

# Exemplars have identifiers of traces, and no text.
my $exemplars = join "\n", grep { / # / } split /\n/, observe($node, q(SELECT fraiseql_obs.export_metrics('openmetrics')));
like($exemplars, qr/trace_id="$trace"/, 'exemplars');
unlike($exemplars, qr/secret|alice|bob/, 'say nothing else');

# A table that only looks like FraiseQL's is not read, whoever made it: to read
# it is to run what its owner has attached to it.
$node->safe_psql('postgres', 'CREATE SCHEMA trap AUTHORIZATION bob');
$node->safe_psql('postgres', q(
	CREATE TABLE trap.tb_error_log (error_id uuid, error_type text, error_message text, severity text, status text,
		last_seen timestamptz, trace_id text, span_id text, request_context jsonb, user_context jsonb);
	CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'sprung as %', current_user; END $$;
	ALTER TABLE trap.tb_error_log ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON trap.tb_error_log USING (trap.spring());
	GRANT USAGE ON SCHEMA trap TO PUBLIC;
	GRANT SELECT ON trap.tb_error_log TO PUBLIC;
	INSERT INTO trap.tb_error_log (error_type, last_seen, request_context) VALUES ('bait', now(), '{"request_id": "of alice"}')),
	extra_params => [ '-U', 'bob' ]);
foreach my $role ('reader', 'alice')
{
	is(sees($role, "SELECT count(*) FROM fraiseql_obs.request_timeline('of alice') WHERE source = 'error'"), '0', "$role does not step into a trap");
}
is( $node->safe_psql('postgres', "SELECT count(*) FROM fraiseql_obs.request_timeline('of alice') WHERE source = 'error'"),
	'0', 'nor does a superuser');
done_testing();
