# What spans_otlp() makes is a valid OTLP/JSON request, whatever operations,
# texts and databases are called and whatever encoding they have.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run qw(run);
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $check = "$FindBin::RealBin/../otlp_check";
$ENV{PGCLIENTENCODING} = 'UTF8';

sub finds
{
	my ($text) = @_;
	my $said = '';
	run [ 'python3', $check ], '<', \$text, '>&', \$said;
	return $said;
}

my $node = start_node('spans_otlp', q(
	fraiseql_obs.track = all
	fraiseql_obs.include_query_bodies = on));
my $setting = sprintf "SET fraiseql_obs.traceparent = '00-%s-00000000000000aa-01';", 'f' x 32;

# hostile texts in databases of several encodings
$node->safe_psql('postgres', "CREATE DATABASE raw ENCODING SQL_ASCII TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
$node->safe_psql('postgres', "CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
$node->safe_psql('postgres', 'CREATE DATABASE "quo""te\\\\"');
$node->safe_psql('app', "$setting SET fraiseql_obs.operation_name = E'\"\\\\\\n\\x01€😀';"
	  . " SET fraiseql_obs.user_id = '😀'; SELECT set_config('fraiseql_obs.request_id', repeat('€', 1000), false);"
	  . " SELECT E'\"\\\\ € 😀 \\x07', '" . 'x' x 5000 . "'");
$node->safe_psql('raw', "$setting SELECT E'\\xff\\xc3' AS \"\xff\"", extra_params => [ '-v', 'ON_ERROR_STOP=0' ]);
$node->safe_psql('latin', "$setting SET fraiseql_obs.tenant_id = 'é'; SELECT 'é'");
$node->safe_psql('quo"te\\\\', "$setting SELECT 1");
$node->psql('app', "$setting DO \$\$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END \$\$; SELECT 1 / 0; SELECT now();"
	  . " CREATE TABLE t (a integer); INSERT INTO t VALUES (1); RAISE;", on_error_stop => 0);
$node->psql('app', 'SELECT 1 / 0');

my $otlp = observe($node, 'SELECT fraiseql_obs.spans_otlp()');
is(finds($otlp), '', 'a valid request');
my $request = decode_json($otlp);
my @spans = @{ $request->{resourceSpans}[0]{scopeSpans}[0]{spans} };
is(scalar @spans, observe($node, 'SELECT count(*) FROM fraiseql_obs.spans()'), 'with all spans');
is($request->{resourceSpans}[0]{resource}{attributes}[0]{value}{stringValue}, 'spans_otlp', 'of the service that cluster_name says');

# The attributes of a span, as text
sub attributes
{
	my ($span) = @_;
	return { map { $_->{key} => (values %{ $_->{value} })[0] } @{ $span->{attributes} } };
}
my ($hostile) = grep { ($_->{'fraiseql_obs.user_id'} // '') eq "\x{1f600}" } map { attributes($_) } @spans;
is($hostile->{'fraiseql_obs.operation'}, "\"\\  \x{20ac}\x{1f600}", 'the operation comes through, in one line');
is(length $hostile->{'fraiseql_obs.request_id'}, 42, 'what is long is cut at a character');
like($hostile->{'db.query.text'}, qr/^SELECT E'"\\\\ \x{20ac} \x{1f600} \\x07', 'x{50,}$/, 'and so is the text');
my ($failed) = grep { $_->{status}{code} } @spans;
is(attributes($failed)->{'db.response.status_code'}, '22012', 'SQLSTATE');
is($failed->{status}{message}, 'division_by_zero', 'and its name');

# seen from other encodings
foreach my $database ('latin', 'raw')
{
	$node->safe_psql($database, 'CREATE EXTENSION fraiseql_obs');
	is(finds($node->safe_psql($database, 'SELECT fraiseql_obs.spans_otlp()')), '', "from $database");
	is($node->safe_psql($database, q(SELECT count(*) > 5 FROM fraiseql_obs.spans() WHERE length(trace_id) = 32)), 't', "as rows from $database");
}
is(finds(observe($node, "SELECT fraiseql_obs.spans_otlp('none')")), '', 'without spans');

# The check finds what it is there to find.
my %broken = (
	'integer as number' => sub { $_[0] =~ s/"intValue":"(\d+)"/"intValue":$1/r },
	'short identifier' => sub { $_[0] =~ s/"spanId":"\w/"spanId":"/r },
	'enumeration as name' => sub { $_[0] =~ s/"kind":2/"kind":"SPAN_KIND_SERVER"/r },
	'time as number' => sub { $_[0] =~ s/"endTimeUnixNano":"(\d+)"/"endTimeUnixNano":$1/r },
	'name of the protobuf' => sub { $_[0] =~ s/"traceId"/"trace_id"/r },
	'repeated key' => sub { $_[0] =~ s/"db\.namespace"/"db.system.name"/r },
	'end before start' => sub { $_[0] =~ s/"endTimeUnixNano":"\d+"/"endTimeUnixNano":"1"/r },
	'lost parent' => sub { $_[0] =~ s/("flags":)769/${1}257/r });
isnt(finds($broken{$_}->($otlp)), '', "finds: $_") foreach sort keys %broken;
done_testing();
