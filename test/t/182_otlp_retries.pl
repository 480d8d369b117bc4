# What is to be tried again is, at the time that the endpoint or nobody says;
# what is not is not; and each span is counted as what became of it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use OtlpTest;
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $endpoint = OtlpTest::Endpoint->new;
my $node = start_otlp_node('otlp_retries', $endpoint->port);

# What three spans go through, seen from now on
sub go_through
{
	my ($name, $argument) = @_;
	$endpoint->behave($name, $argument);
	$endpoint->forget;
	make_spans($node, 1);
	wait_for("$name " . ($argument // ''), sub { @{ $endpoint->requests } > 0 });
	return;
}

# Seconds until the next request after the first one
sub seconds_until_next
{
	$endpoint->behave('ok');
	wait_for('again', sub { @{ $endpoint->requests } > 1 });
	my ($first, $second) = @{ $endpoint->requests };
	is($second->{body}, $first->{body}, 'the same');
	return $second->{at} - $first->{at};
}

my $accepted = 0;
my $retried = 0;

foreach (429, 502, 503, 504)
{
	go_through('status', $_);
	my $seconds = seconds_until_next();
	cmp_ok($seconds, '>', 0.4, "$_: after a pause");
	cmp_ok($seconds, '<', 5, 'which is short');
	$accepted += 3;
}
go_through('status', '503 Retry-After: 3');
my $seconds = seconds_until_next();
cmp_ok($seconds, '>', 2.9, 'Retry-After in seconds');
cmp_ok($seconds, '<', 7, 'is obeyed');
go_through('status', '429 Retry-After: ' . strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time() + 4)));
$seconds = seconds_until_next();
cmp_ok($seconds, '>', 1.9, 'Retry-After as a date');
cmp_ok($seconds, '<', 8, 'is obeyed');
foreach my $odd ('soon', '-5', '', '99999999999999999999', strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(1)))
{
	next if $odd =~ /9999/;
	go_through('status', "503 Retry-After: $odd");
	cmp_ok(seconds_until_next(), '<', 5, "Retry-After: '$odd' is not");
}
foreach my $broken ('reset', 'close', 'raw')
{
	go_through($broken, 'SSH-2.0-OpenSSH_9.2');
	cmp_ok(seconds_until_next(), '<', 5, "$broken: again");
}
$accepted += 3 * 9;
wait_for('all are accepted', sub { otlp($node) =~ /^accepted $accepted,/ });

# pauses become longer
go_through('status', '503');
wait_for('four tries', sub { @{ $endpoint->requests } == 4 });
my @at = map { $_->{at} } @{ $endpoint->requests };
cmp_ok($at[3] - $at[2], '>', 1.9, 'the third pause');
cmp_ok($at[3] - $at[2], '<', 8, 'is longer');
$endpoint->behave('ok');
$node->reload;
$accepted += 3;
wait_for('a reload ends it', sub { otlp($node) =~ /^accepted $accepted,/ });

# what must not be tried again
my $failed = 0;
foreach (400, 401, 403, 404, 413, 500, 501, 301, 304)
{
	go_through('status', "$_ Location: http://127.0.0.1:" . $endpoint->port . '/elsewhere');
	$failed += 3;
	wait_for("$_ is not tried again", sub { otlp($node) =~ /accepted $accepted, failed $failed,/ });
	is(scalar @{ $endpoint->requests }, 1, 'one request');
}
$endpoint->behave('ok');

# partly accepted
my $rejected = 0;
foreach my $answer ('{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too \u00e9arly\u0007"}}',
	'{"partialSuccess": {"rejectedSpans": 2}}')
{
	go_through('ok', $answer);
	$accepted++;
	$rejected += 2;
	wait_for('partial success', sub { otlp($node) =~ /accepted $accepted, failed $failed, rejected $rejected,/ });
}
like(slurp_file($node->logfile), qr/accepted 1 of 3 spans: too \xc3\xa9arly\?\n/, 'is in the log, made harmless');
foreach my $answer (
	'{"partialSuccess":{"rejectedSpans":"0","errorMessage":"deprecated"}}',
	'{"partialSuccess":{"rejectedSpans":"-7"}}',
	'{"partialSuccess":{"rejectedSpans":"many"}}',
	'{"partialSuccess":[1]}', '{"partialSuccess":null}', '[]', '"x"', '<html>', "{\"a\":\"\xff\"}", "{}\0x",
	'[' x 60000, '{"a":' x 12000, '{"partialSuccess":{"rejectedSpans":1e99999}}')
{
	go_through('ok', $answer);
	$accepted += 3;
	wait_for('accepted: ' . substr($answer, 0, 30), sub { otlp($node) =~ /accepted $accepted, failed $failed, rejected $rejected,/ });
	is(scalar @{ $endpoint->requests }, 1, 'and not sent twice');
}

# what was tried ten times is given up
go_through('status', '503 Retry-After: 1');
$failed += 3;
wait_for('given up', sub { otlp($node) =~ /accepted $accepted, failed $failed, rejected $rejected,/ });
is(scalar @{ $endpoint->requests }, 10, 'after ten tries');
$endpoint->behave('ok');

# an endpoint that is not there is waited for
$endpoint->stop;
make_spans($node, 1);
wait_for('nobody is there', sub { otlp($node) =~ /pending 1/ });
sleep 3;
$endpoint = OtlpTest::Endpoint->new(port => $endpoint->port);
$node->reload;
$accepted += 3;
wait_for('it comes back', sub { otlp($node) =~ /accepted $accepted, failed $failed,/ });

# the log tells of it, and is not flooded
my $log = slurp_file($node->logfile);
cmp_ok(scalar(() = $log =~ /could not send spans/g), '<', 8, 'few lines in the log');
like($log, qr/spans are sent to "http:[^"]*" again/, 'and when it is over');

$node->stop;
done_testing();
