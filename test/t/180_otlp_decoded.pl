# What OpenTelemetry's own code makes of the spans that are sent: each of those
# that spans() shows arrives once, as what it is, in whatever encoding.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = OtlpTest::Receiver->new;
plan skip_all => 'no Node with @opentelemetry/otlp-transformer here' if !defined $receiver;

my $node = start_otlp_node('otlp_decoded', $receiver->port . '/base/');
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my $smile = "\xf0\x9f\x98\x80";

$node->safe_psql('postgres', "CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
my $request = qq(
SET fraiseql_obs.include_query_bodies = on;
SET fraiseql_obs.track = 'all';
SET fraiseql_obs.operation_name = 'save "it"\\';
SET fraiseql_obs.operation_type = 'mutation';
SET fraiseql_obs.request_id = 'request-1';
SET fraiseql_obs.user_id = 'user-1';
SET fraiseql_obs.tenant_id = 'tenant-1';
SET fraiseql_obs.traceparent = '00-$trace-00f067aa0ba902b7-01');
$node->safe_psql('app', qq($request;
BEGIN;
CREATE TABLE t (a int);
INSERT INTO t SELECT generate_series(1, 3);
SELECT '$smile', E'\\t"\\x01';
DO 'BEGIN PERFORM count(*) FROM t; END';
COMMIT));
$node->psql('app', "$request; SELECT 1 / 0");
{
	local $ENV{PGCLIENTENCODING} = 'LATIN1';
	$node->safe_psql('latin1', "$request; SELECT '\xe9'");
}
# one that nobody has asked for, and one that is slow
$node->psql('app', 'SELECT 1 / 0; ');
$node->safe_psql('app', "SET fraiseql_obs.slow_query_threshold = '1ms'; SELECT pg_sleep(0.01)");

my $n = observe($node, q(SELECT count(*) FROM fraiseql_obs.spans("limit" => 10000)));
wait_for('all arrive', sub { @{ $receiver->spans } >= $n });
is(join(' ', grep { defined } map { $_->{error} } @{ $receiver->requests }), '', 'and are understood');
wait_for_metric($node, "accepted $n, 2xx " . @{ $receiver->requests }, 'and counted');

# each as spans() shows it
my $columns = q(trace_id, span_id, coalesce(parent_span_id, ''), name, kind,
	coalesce(sqlstate, ''), coalesce(operation, ''), coalesce(user_id, ''), coalesce(request_id, ''),
	coalesce(datname, ''), round(duration_ms * 1000));
my $shown = observe($node, qq(SELECT string_agg(concat_ws('|', $columns), E'\n' ORDER BY span_id)
	FROM fraiseql_obs.spans("limit" => 10000)));
my @arrived = map {
	my $span = $_;
	my $a = $span->{attributes};
	my $is_statement = exists $a->{'db.query.summary'};
	join '|', $span->{traceId}, $span->{spanId}, $span->{parentSpanId} // '', $span->{name},
	  $span->{kind}, $a->{'db.response.status_code'} // '',
	  $a->{'fraiseql_obs.operation'} // '', $a->{'fraiseql_obs.user_id'} // '',
	  $a->{'fraiseql_obs.request_id'} // '', $a->{'db.namespace'} // '',
	  int(($span->{endTimeUnixNano} - $span->{startTimeUnixNano}) / 1000 + 0.5)
} sort { $a->{spanId} cmp $b->{spanId} } @{ $receiver->spans };
# what planning and execution have in common with their statement is told of it alone
my %kinds = (statement => 2, nested => 1, commit => 1, planning => 1, execution => 1);
my @wanted = map {
	my @c = split /\|/, $_, -1;
	my $is_part = $c[4] eq 'planning' || $c[4] eq 'execution';
	$c[4] = $kinds{ $c[4] };
	@c[ 5 .. 8 ] = ('') x 4 if $is_part;
	join '|', @c;
} split /\n/, $shown;
# the clock's last digit is rounded on one side, cut off on the other
s/\|(\d+)$/'|' . int(($1 + 5) \/ 10)/e foreach @arrived, @wanted;
is(scalar(grep { $arrived[$_] ne $wanted[$_] } 0 .. $#wanted), 0, 'as spans() shows them')
  or diag(join "\n", map { "$arrived[$_]\n$wanted[$_]" } grep { $arrived[$_] ne $wanted[$_] } 0 .. $#wanted);

my @texts = sort map { $_->{attributes}{'db.query.text'} // () } @{ $receiver->spans };
my ($e_acute) = grep { /\x{e9}/ } @texts;
is($e_acute, "SELECT '\x{e9}'", 'a text of another encoding');
ok((grep { /\x{1f600}/ } @texts) == 1, 'a text beyond the basic plane');
my ($failed) = grep { ($_->{attributes}{'db.query.text'} // '') eq 'SELECT 1 / 0' && $_->{traceId} eq $trace }
  @{ $receiver->spans };
is($failed->{status}{code}, 2, 'an error is one');
is($failed->{attributes}{'error.type'}, '22012', 'with its SQLSTATE');
is($failed->{parentSpanId}, '00f067aa0ba902b7', 'and its parent');
is($failed->{flags}, 0x301, 'which is remote and sampled');
is($failed->{resource}{'service.name'}, 'otlp_decoded', 'of this server');

# how they arrive
my ($first) = @{ $receiver->requests };
is($first->{method} . ' ' . $first->{path}, 'POST /base/v1/traces', 'path');
is($first->{headers}{'content-type'}, 'application/json', 'type');
like($first->{headers}{'user-agent'}, qr{^fraiseql_obs/\d}, 'sender');
ok(!exists $first->{headers}{'content-encoding'}, 'as they are');
ok(!exists $first->{headers}{expect}, 'and at once');

# compressed, in batches, with headers of a file
my $folder = PostgreSQL::Test::Utils::tempdir;
append_to_file("$folder/headers", "# secret\n\nAuthorization: Bearer s3cret\r\nX-Scope-OrgID:  \xc3\xa9 \n");
chmod 0600, "$folder/headers";
my $before = @{ $receiver->requests };
configure($node, otlp_compression => 'gzip', otlp_headers_file => "$folder/headers", otlp_interval => '300ms');
make_spans($node, 1000);
wait_for('many arrive', sub { @{ $receiver->spans } == $n + 3000 });
my @requests = @{ $receiver->requests };
splice @requests, 0, $before;
cmp_ok(scalar(@requests), '<', 40, 'several in one request');
is(scalar(grep { @{ $_->{spans} } > 512 } @requests), 0, 'not too many');
is(join(' ', map { $_->{headers}{'content-encoding'} // 'none' } @requests),
	join(' ', map { 'gzip' } @requests), 'compressed');
cmp_ok($requests[1]{headers}{'content-length'}, '<', $requests[1]{bytes} / 4, 'which they are');
is($requests[0]{headers}{authorization}, 'Bearer s3cret', 'with a header');
ok(exists $requests[0]{headers}{'x-scope-orgid'}, 'and another');

# large ones
my $large = 'x' x 2000;
configure($node, otlp_interval => '1s');
$node->safe_psql('app', "$request;\n" . "SELECT '$large';\n" x 400);
wait_for('large ones arrive', sub { otlp($node) !~ /pending/ });
is(scalar(grep { $_->{bytes} > 600_000 || defined $_->{error} } @{ $receiver->requests }), 0, 'in requests that are not too large');

$node->stop;
unlike(slurp_file($node->logfile), qr/could not send|s3cret/, 'nothing to complain about');
done_testing();
