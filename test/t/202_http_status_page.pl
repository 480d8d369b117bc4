# The status page of the HTTP endpoint is there if a setting says so, as a page
# that brings all it needs and lets nothing else in; and the queries that it
# shows are those of query_counters().

use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(sha256_base64);
use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = start_http_node('http_status_page', "fraiseql_obs.max_queries = 100\nfraiseql_obs.track = all\n");
my $file = PostgreSQL::Test::Utils::tempdir . '/token';

sub configure
{
	my ($name, $value) = @_;
	$node->append_conf('postgresql.conf', "fraiseql_obs.$name = $value");
	$node->reload;
	return;
}

# As in a header of the policy
sub hash_of
{
	my ($text) = @_;
	return "'sha256-" . sha256_base64($text) . "='";
}

# What is told of each query, in the order that it is told in: by family
sub told
{
	my $answer = get($port, '/queries');
	is($answer->{headers}{'content-type'}, 'application/json', 'queries are JSON');
	return map { $_->{name} => $_->{samples} } @{ decode_json($answer->{body})->{metrics} };
}

# as it is when nobody asks for it
is(status_of($port, $_), 404, "off: no $_") foreach '/', '/queries';
unlike(get($port, '/metrics')->{body}, qr{path="/(?:queries)?"}, 'nor is it counted');

configure(http_status_page => 'on');
ok(wait_for_status($port, '/', 200), 'on at a reload');
my $answer = get($port, '/');
my %headers = %{ $answer->{headers} };
is($headers{'content-type'}, 'text/html; charset=utf-8', 'HTML');
is($headers{'content-length'}, length $answer->{body}, 'its length');
is($headers{'cache-control'}, 'no-cache', 'to be asked for anew');
is($headers{'x-content-type-options'}, 'nosniff', 'and to be taken for nothing else');
is($headers{'referrer-policy'}, 'no-referrer', 'nobody is told where it is');
like($answer->{body}, qr/\A<!DOCTYPE html>.*<\/html>\n\z/s, 'it is whole');

# one script and one style, which the policy knows by their hashes
my ($style) = $answer->{body} =~ m{<style>(.*?)</style>}s;
my ($script) = $answer->{body} =~ m{<script>(.*?)</script>}s;
is($headers{'content-security-policy'},
	join('; ', "default-src 'none'", "connect-src 'self'", 'img-src data:', 'style-src ' . hash_of($style),
		'script-src ' . hash_of($script), "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
	'the policy');
my $markup = $answer->{body} =~ s{<(style|script)>.*?</\1>|<!--.*?-->}{}gsr;
unlike($markup, qr/<(?:style|script|iframe|base)|\s(?:on\w+|style|action)\s*=/i, 'no other script or style');
unlike($answer->{body} =~ s{http://www\.w3\.org/2000/svg}{}gr, qr{//[\w-]+\.|\b(?:src|href|url)\b\s*[=(]\s*["']?(?!data:)\w}i,
	'nothing from elsewhere');
unlike($script, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage|sessionStorage|cookie/,
	'no text becomes an element, and nothing is kept');

# who has it already is told so
my $etag = $headers{etag};
foreach my $known ($etag, "W/$etag", "\"other\", $etag", '*')
{
	my $again = get($port, '/', 'If-None-Match' => $known);
	is("$again->{status} '$again->{body}' $again->{headers}{etag}", "304 '' $etag", "If-None-Match: $known");
}
is(status_of($port, '/', 'If-None-Match' => '"other"'), 200, 'who has another one gets it');
$answer = get($port, '/', method => 'HEAD');
is("$answer->{status} '$answer->{body}' $answer->{headers}{'content-length'}", "200 '' $headers{'content-length'}", 'HEAD');
foreach my $path ('/', '/queries')
{
	$answer = get($port, $path, method => 'POST');
	is("$answer->{status} $answer->{headers}{allow}", '405 GET, HEAD', "no POST to $path");
	is(status_of($port, $path, 'Content-Length' => 1), 413, "no body to $path");
}
is(status_of($port, $_), 404, "no $_") foreach '//', '/index.html', '/queries/', '/favicon.ico';
is(metric($node, 'fraiseql_obs_endpoint_requests_total{path="/",status="304"}'), '4', 'it is counted');

# the queries: of all users together, those that took most time first
$node->safe_psql('app', q(
	CREATE ROLE somebody LOGIN;
	CREATE FUNCTION inner_one() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN 1; END'));
reset_counts($node);
$node->safe_psql('app', 'SELECT pg_sleep(0.03), 1; SELECT inner_one()');
$node->safe_psql('app', 'SELECT pg_sleep(0.03), 1', extra_params => [ '-U', 'somebody' ]);
$node->psql('app', 'SELECT pg_sleep(0.01), 1 / 0');
my $counted = observe($node, q(
	SELECT json_agg(q ORDER BY seconds DESC) FROM (
		SELECT queryid::text, toplevel::text, sum(calls) AS count, sum(errors) AS errors, sum(rows) AS rows,
			sum(total_exec_time) / 1000 AS seconds
		FROM fraiseql_obs.query_counters() GROUP BY 1, 2) AS q));
my %told = told();
my $i = 0;
is_deeply([ sort keys %told ],
	[ map { "fraiseql_obs_query_$_" } 'duration_seconds', 'errors_total', 'rows_total' ], 'families');
foreach my $query (@{ decode_json($counted) })
{
	my ($duration, $errors, $rows) = map { $told{"fraiseql_obs_query_$_"}[$i] } 'duration_seconds', 'errors_total', 'rows_total';

	is_deeply($_->{labels}, { datname => 'app', map { $_ => $query->{$_} } 'queryid', 'toplevel' }, "query $i")
	  foreach $duration, $errors, $rows;
	is("$duration->{count} $duration->{buckets}{'+Inf'} $errors->{value} $rows->{value}",
		"$query->{count} $query->{count} $query->{errors} $query->{rows}", 'is counted so');
	cmp_ok(abs($duration->{sum} - $query->{seconds}), '<', 1e-6, 'and took so long');
	$i++;
}
is(scalar @{ $told{fraiseql_obs_query_duration_seconds} }, $i, 'and no others');
is($told{fraiseql_obs_query_duration_seconds}[0]{count}, 2, 'two users are one query');
is(scalar(grep { $_->{labels}{toplevel} eq 'false' } @{ $told{fraiseql_obs_query_rows_total} }),
	1, 'what a function runs is told apart');

# at most 50, and what gave way is one of them
$node->safe_psql('app', join ';', map { 'SELECT ' . join ', ', (1) x $_ } 1 .. 200);
%told = told();
my @labels = map { $_->{labels} } @{ $told{fraiseql_obs_query_duration_seconds} };
is(scalar @labels, 50, 'as many as are told');
is_deeply([ grep { !exists $_->{datname} } @labels ], [ { queryid => 'other' } ], 'what gave way');
$node->safe_psql('app', 'SET compute_query_id = off; SELECT pg_sleep(0.1)');
%told = told();
is_deeply([ grep { !exists $_->{queryid} } map { $_->{labels} } @{ $told{fraiseql_obs_query_errors_total} } ],
	[ { datname => 'app', toplevel => 'true' } ],
	'what has no identifier');

# a token is asked for the figures, and not for the page
append_to_file($file, "secret-1\n");
chmod 0600, $file;
configure(http_token_file => "'$file'");
ok(wait_for_status($port, '/queries', 401), 'queries want a token');
is(status_of($port, '/queries', Authorization => 'Bearer secret-1'), 200, 'which is the one of metrics');
is(status_of($port, '/'), 200, 'the page wants none');
configure(http_status_page => 'off');
ok(wait_for_status($port, '/', 401), 'off, nobody is told whether it is there');
is(status_of($port, $_, Authorization => 'Bearer secret-1'), 404, "and who has a token that it is not: $_")
  foreach '/', '/queries';
$node->stop;
done_testing();
