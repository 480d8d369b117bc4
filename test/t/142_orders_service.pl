# The service in examples: requests are followed into the database and back.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use IPC::Run;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# where Debian's module is, or else whatever Python there is
my ($python) = grep { system("$_ -c 'import psycopg' >/dev/null 2>&1") == 0 } '/usr/bin/python3', 'python3';
plan skip_all => 'no psycopg 3 here' if !$python;

my $examples = "$FindBin::RealBin/../../examples";
my $node = start_node('orders_service', q(
	fraiseql_obs.max_spans = 1000
	fraiseql_obs.trace_sample_rate = 1));
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my $caller = '00f067aa0ba902b7';

$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'app', '-f', "$examples/orders_service.sql" ],
	'the database is made');
my ($out, $err) = ('', '');
my $service = IPC::Run::start(
	[
		$python, "$examples/orders_service.py", 0,
		join ' ', 'host=' . $node->host, 'port=' . $node->port, 'dbname=app user=shop_service' ],
	'<', \undef, '>', \$out, '2>', \$err,
	IPC::Run::timer($PostgreSQL::Test::Utils::timeout_default));
$service->pump until $out =~ /listening on port (\d+)\n/ or !$service->pumpable;
my ($port) = $out =~ /(\d+)/ or die "the service did not start: $err";

sub post
{
	my ($body, %headers) = @_;
	my %all = (Host => 'test', Connection => 'close', 'Content-Length' => length $body, %headers);
	return ask($port, "POST /orders HTTP/1.1\r\n" . join('', map { "$_: $all{$_}\r\n" } sort keys %all) . "\r\n$body");
}

sub trace_of
{
	my ($answer) = @_;
	my ($id) = ($answer->{headers}{traceparent} // '') =~ /^00-([0-9a-f]{32})-[0-9a-f]{16}-0[0-3]$/;
	return $id // '';
}

sub sql { return $node->safe_psql('app', shift); }

# with a caller's span
my $answer = post('{"customer": "alice", "amount": 42}',
	traceparent => "00-$trace-$caller-01", tracestate => 'congo=t61rcWkgMzE', 'X-Request-ID' => 'order-1');
is("$answer->{status} $answer->{body}", qq(201 {"id": 1}\n), 'an order is made');
is(trace_of($answer), $trace, 'the answer is of the trace');
unlike($answer->{headers}{traceparent}, qr/$caller/, 'and has a span of its own');
like($answer->{headers}{traceparent}, qr/-01$/, 'it is sampled');
is($answer->{headers}{tracestate}, 'congo=t61rcWkgMzE', 'tracestate is passed on');
is("$answer->{headers}{'x-trace-id'} $answer->{headers}{'x-request-id'}", "$trace order-1", 'the other headers');
is(sql(qq(SELECT string_agg(name, ', ' ORDER BY started_at) FROM fraiseql_obs.spans('$trace')
		WHERE parent_span_id = '$caller')),
	'SELECT createOrder, SELECT createOrder, INSERT createOrder, SELECT createOrder, COMMIT', 'statements are spans of the caller');
is(sql(q(SELECT concat_ws(' ', operation, entity_type, entity_id, user_id, trace_id, span_id, request_id, new_data, db_role)
		FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'create')),
	qq(create Order 1 alice $trace $caller order-1 {"amount": 42.0, "customer": "alice"} shop_service), 'the entry of the audit log');
is(sql(qq(SELECT string_agg(concat_ws(' ', source, what), ', ' ORDER BY n)
		FROM fraiseql_obs.request_timeline('order-1') WITH ORDINALITY AS t
			(at, source, what, duration_ms, result, sqlstate, user_id, tenant_id, trace_id, span_id, request_id, details, n))),
	'statement SELECT createOrder, statement SELECT createOrder, statement INSERT createOrder, '
	  . 'statement SELECT createOrder, audit create, commit COMMIT', 'the timeline of the request');
like(sql(qq(SELECT string_agg(span, E'\n') FROM fraiseql_obs.trace_tree('$trace'))),
	qr/^INSERT createOrder\n  planning\n  execution$/m, 'the tree of the trace');

# the next one of the same connection
$answer = get($port, '/orders/1');
is("$answer->{status} $answer->{body}", qq(200 {"id": 1, "customer": "alice", "amount": 42.0}\n), 'the order is read');
my $new = trace_of($answer);
isnt($new, '', 'a trace begins');
isnt($new, $trace, 'which is a new one');
is($answer->{headers}{'x-request-id'}, undef, 'no request id is left');
is(sql("SELECT count(*) > 0 AND bool_and(operation = 'getOrder') FROM fraiseql_obs.spans('$new') WHERE kind = 'statement'"), 't', 'it has spans');

$answer = get($port, '/orders/1', 'X-Trace-ID' => 'test-trace-123');
is($answer->{headers}{'x-trace-id'}, 'test-trace-123', 'an identifier of another kind comes back');
is(sql("SELECT count(*) > 0 FROM fraiseql_obs.spans('" . trace_of($answer) . "') WHERE request_id = 'test-trace-123'"), 't', 'and is known');

my $quiet = 'a' x 32;
$answer = post('{"customer": "bob", "amount": 1}', traceparent => "00-$quiet-$caller-00");
like($answer->{headers}{traceparent}, qr/^00-$quiet-[0-9a-f]{16}-00$/, 'a trace that is not sampled');
is(sql("SELECT count(*) FROM fraiseql_obs.spans('$quiet')"), 0, 'has no span');
is(sql("SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log WHERE trace_id = '$quiet' AND user_id = 'bob'"), 1, 'and is in the audit log');

# what fails
my $bad = 'b' x 32;
$answer = post('{"customer": "carol", "amount": -1}', traceparent => "00-$bad-$caller-01");
is("$answer->{status} " . trace_of($answer), "422 $bad", 'a statement that fails');
is(sql("SELECT string_agg(concat_ws(' ', source, what, sqlstate), ', ') FROM fraiseql_obs.request_timeline('$bad') WHERE sqlstate IS NOT NULL"),
	'failed statement INSERT createOrder 23514', 'is in the timeline');
foreach my $body ('', '{', '[]', '{"customer": "x"}', '{"customer": "\ud800", "amount": 1}', '[' x 60000)
{
	$answer = post($body, traceparent => "00-$bad-$caller-01");
	is("$answer->{status} " . trace_of($answer), "400 $bad", 'no order: ' . substr $body, 0, 40);
}
is(post('{"customer": "\u0000", "amount": 1}')->{status}, 422, 'text that PostgreSQL does not take');
is(post('{"customer": "x", "amount": NaN}')->{status}, 422, 'nor is this JSON');
is(sql('SELECT count(*) FROM orders'), 2, 'none was made');
$answer = get($port, '/orders/1', traceparent => "00-\0", tracestate => "\xff", 'X-Request-ID' => "'; DROP TABLE orders");
is($answer->{status}, 200, 'headers of any kind');
is(get($port, '/orders/4711')->{status}, 404, 'no such order');
is(get($port, '/', traceparent => "00-$trace-$caller-01")->{status}, 404, 'no such page');

# connections that are ended
sql(q(SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'shop_service'));
is(get($port, '/orders/1')->{status}, 500, 'a connection has been ended');
is(get($port, '/orders/1')->{status}, 200, 'and there is another');
$service->pump until $err =~ /^getOrder: .*\n/m or !$service->pumpable;
like($err, qr/^getOrder: /m, 'the service says so');

is(sql(q(SELECT string_agg(concat_ws(' ', labels ->> 'method', labels ->> 'endpoint', labels ->> 'status', value), ', '
			ORDER BY labels ->> 'method', labels ->> 'endpoint', labels ->> 'status')
		FROM fraiseql_obs.metrics() WHERE name = 'fraiseql_obs_http_requests_total')),
	'GET /orders/{id} 200 4, GET /orders/{id} 404 1, POST /orders 201 2, POST /orders 400 6, POST /orders 422 3', 'all that could be were counted');
my ($status, undef, $refused) = $node->psql('app', 'SELECT * FROM fraiseql_obs.spans()', extra_params => [ '-U', 'shop_service' ]);
like($refused, qr/permission denied for function spans/, 'the service may not read spans');

$service->signal('TERM');
$service->finish;
$node->stop;
done_testing();
