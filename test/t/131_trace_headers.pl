# Headers are read and written alike in databases of any encoding, without the
# preloaded library, in parallel workers and on a standby.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('trace_headers', undef, allows_streaming => 1);
my %encodings = (
	utf8 => 'UTF8',
	latin1 => 'LATIN1',
	euc_jp => 'EUC_JP',
	raw => 'SQL_ASCII');
foreach my $database (sort keys %encodings)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encodings{$database}'"
		  . " LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION fraiseql_obs');
}

my $extract = q(SELECT trace_id, tracestate, source FROM fraiseql_obs.extract_trace_context('{"x-request-id": "%s"}'));
my %ids = ('plain' => '7f3c', 'latin' => "\xc3\xa9t\xc3\xa9 1", 'kana' => "\xe3\x81\x82-\xe3\x81\x84");
my %traces;
foreach my $database (sort keys %encodings)
{
	foreach my $name (sort keys %ids)
	{
		next if $database eq 'latin1' && $name eq 'kana';
		next if $database eq 'euc_jp' && $name eq 'latin';
		local $ENV{PGCLIENTENCODING} = $database eq 'raw' ? 'SQL_ASCII' : 'UTF8';
		my $trace = $node->safe_psql($database, sprintf($extract, $ids{$name}));
		$traces{$name} //= $trace;
		is($trace, $traces{$name}, "an id in $name letters, $encodings{$database}");
	}
}
like($traces{latin}, qr/\|fraiseql_obs=%C3%A9t%C3%A9%201\|/, 'and encoded');
is( $node->safe_psql('latin1', sprintf(
			q(BEGIN; SELECT 'x' FROM fraiseql_obs.set_trace_context('{"x-request-id": "%s"}');
			SELECT h->>'X-Trace-ID', h->>'X-Request-ID' FROM fraiseql_obs.inject_trace_context() h; COMMIT),
			"\\u00e9t\\u00e9")),
	"x\n%C3%A9t%C3%A9|%C3%A9t%C3%A9", 'a header is ASCII');

# bytes that are no text
local $ENV{PGCLIENTENCODING} = 'SQL_ASCII';
is( $node->safe_psql('raw', sprintf(
			q(BEGIN; SELECT 'x' FROM fraiseql_obs.set_trace_context('{"x-request-id": "%s"}');
			SELECT h->>'X-Trace-ID', h->>'X-Request-ID' FROM fraiseql_obs.inject_trace_context() h; COMMIT),
			"a\xff\xc3b")),
	"x\na%FF%C3b|a%FF%C3b", 'invalid bytes');
delete $ENV{PGCLIENTENCODING};

# parallel workers
my $force = $node->safe_psql('postgres', 'SHOW server_version_num') >= 160000
  ? 'debug_parallel_query' : 'force_parallel_mode';
is( $node->safe_psql('utf8', qq(
		SET $force = on;
		SELECT count(DISTINCT trace_id) FROM generate_series(1, 10) i, fraiseql_obs.extract_trace_context(to_jsonb(i));)),
	'10', 'in a parallel worker');

# what reads only
is( $node->safe_psql('utf8', q(
		BEGIN READ ONLY;
		SELECT length(fraiseql_obs.set_trace_context('{}'));
		SELECT count(*) FROM jsonb_object_keys(fraiseql_obs.inject_trace_context());
		COMMIT)),
	"55\n2", 'in a read-only transaction');
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is( $standby->safe_psql('utf8', q(
		BEGIN;
		SELECT length(fraiseql_obs.set_trace_context('{}'));
		SELECT count(*) FROM jsonb_object_keys(fraiseql_obs.inject_trace_context());
		COMMIT)),
	"55\n2", 'on a standby');
$standby->stop;

# not preloaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
my $parent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
is( $node->safe_psql('utf8', qq(
		SELECT trace_id, parent_span_id, sampled FROM fraiseql_obs.extract_trace_context('{"traceparent": "$parent"}');
		SELECT sampled FROM fraiseql_obs.extract_trace_context('{}');
		BEGIN;
		SELECT fraiseql_obs.set_trace_context('{"traceparent": "$parent", "x-request-id": "7f3c"}');
		SELECT overlay(h->>'traceparent' PLACING 'x' FROM 37 FOR 16), h->>'X-Request-ID' FROM fraiseql_obs.inject_trace_context() h;
		COMMIT;
		SELECT current_setting('fraiseql_obs.traceparent') = '';)),
	"4bf92f3577b34da6a3ce929d0e0e4736|00f067aa0ba902b7|t\nf\n$parent\n00-4bf92f3577b34da6a3ce929d0e0e4736-x-01|7f3c\nt",
	'without the preloaded library');
is( $node->safe_psql('utf8', qq(
		SET application_name = '$parent';
		SELECT left(h->>'traceparent', 36) FROM fraiseql_obs.inject_trace_context() h)),
	'00-4bf92f3577b34da6a3ce929d0e0e4736-', 'of application_name');
$node->stop;
done_testing();
