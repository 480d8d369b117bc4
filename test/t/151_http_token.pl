# With a token file, the HTTP endpoint tells nobody without a token of it more
# than probes do; and a mistake in the file lets nobody in.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HttpTest;
use ObsTest;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $file = PostgreSQL::Test::Utils::tempdir . '/token';

sub write_tokens
{
	my ($text, $mode) = @_;
	unlink $file;
	append_to_file($file, $text);
	chmod $mode // 0600, $file;
	return;
}

# /metrics with a token; reloads take a moment, so this is until it is so
sub gives
{
	my ($port, $token, $status) = @_;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if status_of($port, '/metrics', Authorization => "Bearer $token") eq $status;
		sleep 0.1;
	}
	return 0;
}

write_tokens("secret-1\n");
my ($node, $port) = start_http_node('http_token', "fraiseql_obs.http_token_file = '$file'");

my $answer = get($port, '/metrics');
is($answer->{status}, 401, 'no token');
is($answer->{headers}{'www-authenticate'}, 'Bearer', 'and how to give one');
unlike($answer->{raw}, qr/fraiseql_obs|PostgreSQL/, 'which tells nothing');
foreach my $path ('/healthz', '/livez', '/health/ready', '/readyz', '/readiness', '/health/startup')
{
	is(status_of($port, $path), 200, "$path is for everybody");
}
is(status_of($port, $_), 401, "nobody is told whether there is $_") foreach '/', '/health', '/nothing';
is(status_of($port, '/metrics', method => 'POST'), 405, 'nor what else could be done');

is(status_of($port, '/metrics', Authorization => 'Bearer secret-1'), 200, 'the token');
is(status_of($port, '/metrics', Authorization => 'bearer   secret-1'), 200, 'the scheme has any case');
foreach my $authorization ('', 'Bearer', 'Bearer ', 'Bearer secret-', 'Bearer secret-11', 'Bearer Secret-1', 'secret-1',
	'Basic secret-1', 'Bearer secret-1 secret-1', 'Bearer secret-2', 'Bearer ' . 'x' x 5000)
{
	is(status_of($port, '/metrics', Authorization => $authorization),
		401, 'not ' . (length $authorization > 50 ? 'a long one' : "\"$authorization\""));
}
is(status_of($port, "/metrics?token=secret-1"), 401, 'not in the URL, where it would be logged');
unlike(ask($port, "GET /metrics\0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")->{status},
	qr/^[^4]/, 'a zero byte does not open it');

# who may ask for no more is told which checks fail, and not what they found
is(get($port, '/health/ready')->{body}, qq({"status": "ready"}\n), 'ready');
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain()');
is(get($port, '/health/ready')->{body}, qq({"status": "not_ready", "failed": ["drain"]}\n), 'not ready, and why');
is(get($port, '/health/ready?role=replica')->{body}, qq({"status": "not_ready", "failed": ["server", "drain"]}\n), 'for two reasons');
is(get($port, '/health/startup')->{body}, qq({"status": "started"}\n), 'which are nothing to who waits for the start');
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain(false)');

# exchanged while both are valid
write_tokens("# since Monday\nsecret-1\n\n  secret-2  \r\n");
$node->reload;
ok(gives($port, 'secret-2', 200), 'a second token');
ok(gives($port, 'secret-1', 200), 'beside the first');
ok(gives($port, '#', 401), 'a comment is none');
write_tokens("secret-2");
$node->reload;
ok(gives($port, 'secret-1', 401), 'the first is gone');
ok(gives($port, 'secret-2', 200), 'the second not');

# a line with a blank is no token, nor is a word of it
my $from = -s $node->logfile;
write_tokens("# one\nmy secret-3\nsecret-2\nsecret-3 # mine\n");
$node->reload;
$node->wait_for_log(qr/LOG: .*line 2 of token file ".*" is ignored\n.*DETAIL:  It has a blank within it/, $from);
ok(gives($port, 'secret-2', 200), 'the other line is a token');
is(status_of($port, '/metrics', Authorization => "Bearer $_"), 401, "not \"$_\"")
  foreach 'my', 'my secret-3', 'secret-3', 'secret-3 # mine';

# without a valid file nobody is let in, who was before neither
foreach my $case (
	[ sub { unlink $file; mkfifo($file, 0600) or die }, 'token file ".*" is not a regular file', 'a pipe' ],
	[ sub { unlink $file }, 'could not read token file ".*": No such file or directory', 'no file' ],
	[ sub { write_tokens("secret-2\n", 0644) }, 'token file ".*" must be readable by its owner alone', 'a file that others read' ],
	[ sub { write_tokens("") }, 'token file ".*" has no token', 'an empty file' ],
	[ sub { write_tokens("\n# nothing\n") }, 'token file ".*" has no token', 'a comment' ],
	[ sub { write_tokens("\nmy secret-2\n") }, 'token file ".*" has no token', 'a line with a blank' ],
	[ sub { write_tokens('x' x 10000) }, 'token file ".*" is too large', 'a large file' ])
{
	my ($mistake, $message, $name) = @$case;
	$from = -s $node->logfile;
	$mistake->();
	$node->reload;
	$node->wait_for_log(qr/LOG: .*$message\n.*DETAIL:  Until that is mended, no token is valid\./, $from);
	ok(gives($port, 'secret-2', 401), "$name: the token of before is valid no more");
	is(status_of($port, '/metrics'), 401, "$name: nor is none");
	is(status_of($port, '/healthz'), 200, "$name: probes are answered");
	write_tokens("secret-2\n");
	$node->reload;
	ok(gives($port, 'secret-2', 200), "$name: mended");
}
like(slurp_file($node->logfile), qr/HINT:  Line 2 has a blank within it/, 'which line it is');
unlink $file;
$node->reload;
ok(gives($port, 'secret-2', 401), 'no file again');
write_tokens("secret-4\n");
ok(gives($port, 'secret-4', 200), 'what failed is tried again');

# nor does one at the start let anybody in
unlink $file;
$node->restart;
ok(wait_for_status($port, '/healthz', 200), 'without the file it starts');
is(status_of($port, '/metrics'), 401, 'without a token');
is(status_of($port, '/metrics', Authorization => $_), 401, "with \"$_\"") foreach 'Bearer ', 'Bearer secret-4';

# who wants none says so
$node->append_conf('postgresql.conf', "fraiseql_obs.http_token_file = ''");
$node->reload;
ok(wait_for_status($port, '/metrics', 200), 'no token is asked for');
unlike(slurp_file($node->logfile), qr/secret-/, 'no token is in the log');
is($node->safe_psql('postgres', q(CREATE ROLE somebody; SET ROLE somebody; SELECT count(*) FROM pg_settings WHERE name ~ 'http_token')),
	'0', 'nor is where they are a thing that everybody sees');
$node->stop;
done_testing();
