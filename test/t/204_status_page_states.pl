# The status page asks for a token if one is needed and tells nobody else of it,
# and says when what it shows is not what is: that the server cannot be reached,
# or recovers.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Browser;
use HttpTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'no chromium here' if !Browser::is_there();

my $file = PostgreSQL::Test::Utils::tempdir . '/token';

sub write_token
{
	my ($token) = @_;
	unlink $file;
	append_to_file($file, "$token\n");
	chmod 0600, $file;
	return;
}

write_token('secret-1');
my ($node, $port) = start_http_node('status_page_states', qq(
fraiseql_obs.http_status_page = on
fraiseql_obs.http_token_file = '$file'
fraiseql_obs.health_disk_warning = 0
), allows_streaming => 1);
my $browser = Browser->new;
my $state = 'document.getElementById("state").innerText';
my $asks = 'document.getElementById("ask").checkVisibility() && document.activeElement.id === "token"';
my $shows = 'document.getElementById("figures").checkVisibility()';

# Waits until what the page says of the server matches
sub says
{
	my ($pattern, $name) = @_;

	ok($browser->becomes("/$pattern/.test($state)"), $name) or diag($browser->value($state));
	return;
}

sub operations
{
	return $browser->value('[...document.querySelectorAll("#operations tbody th")].map(h => h.textContent).join(" ")');
}

$node->safe_psql('app', op('readOrders' => 'SELECT 1'));
$browser->open_page("http://127.0.0.1:$port/");
says('^Token needed', 'a token is asked for');
ok($browser->becomes($asks), 'in a field that has the focus');
ok(!$browser->value($shows), 'and nothing is shown');
foreach ([ 'secret-2', 'another' ], [ "\x{20ac}", 'what is not ASCII' ])
{
	my ($wrong, $name) = @$_;

	$browser->type_in($wrong, 'Enter');
	ok($browser->becomes('document.getElementById("refused").textContent === "This token is not valid."'), "not $name");
	$browser->value('document.getElementById("refused").textContent = ""');
	ok(!$browser->value($shows), 'still nothing');
}
$browser->type_in('secret-1', 'Enter');
says('^Healthy', 'the token, by the keyboard alone');
ok(!$browser->value('document.getElementById("ask").checkVisibility()'), 'nothing is asked any more');
is(operations(), 'readOrders', 'and all is shown');
is($browser->value('document.getElementById("token").value'), '', 'the field is empty');
is($browser->value('localStorage.length + sessionStorage.length + document.cookie + location.search + location.hash'),
	'0', 'the token is kept nowhere');

# it is taken back, exchanged, and gone when the page is loaded again
write_token('secret-3');
$node->reload;
ok(wait_for_status($port, '/health', 401), 'another token');
$browser->value('round()') while $browser->value($state) !~ /Token/;
says('^Token needed the figures are those of \\d\\d:', 'the token is not valid any more');
ok($browser->value('document.querySelector("main").classList.contains("stale")'), 'what was seen is grey');
$browser->type_in('secret-3', 'Enter');
says('^Healthy', 'the other token');
ok(!$browser->value('document.querySelector("main").classList.contains("stale")'), 'and not grey');
$browser->open_page("http://127.0.0.1:$port/");
says('^Token needed', 'loaded again, it has none');
ok($browser->becomes($asks), 'and asks');
$browser->type_in('secret-3', 'Enter');
says('^Healthy', 'once more');
is_deeply([ grep { /secret|\?(?!format=json$)/ } $browser->requests ], [], 'it is in no URL');

# nobody is there
my $segment = observe($node, q(
	CHECKPOINT;
	SELECT pg_switch_wal() \g /dev/null
	SELECT pg_logical_emit_message(true, '', '') \g /dev/null
	SELECT pg_walfile_name(pg_current_wal_lsn())));
$node->stop('immediate');
$browser->value('round()');
says('^Not reachable since \\d\\d:\\d\\d:\\d\\d the figures are those of then', 'a server that is gone, and since when');
ok($browser->value('document.querySelector("main").classList.contains("stale")'), 'what was seen is grey');
is(operations(), 'readOrders', 'and still there');
my $since = $browser->value($state);
$browser->value('round()');
is($browser->value($state), $since, 'it stays the same moment');

# it recovers, from an archive that has it wait for the last segment
my $go = PostgreSQL::Test::Utils::tempdir . '/go';
$browser->value('document.getElementById("pause").click()');
ok($browser->becomes('timer === null && !isAsking'), 'from here on it looks when it is told to');
$node->append_conf('postgresql.conf',
	"restore_command = 'while [ %f = $segment ] && [ ! -e $go ]; do sleep 0.1; done; false'\nhot_standby = off");
$node->set_recovery_mode;
my $start = IPC::Run::start([ 'pg_ctl', '-D', $node->data_dir, '-l', $node->logfile, '-w', 'start' ],
	'>', \my $out, '2>', \my $err);
ok(wait_for_status($port, '/healthz', 200), 'it starts');
foreach (1 .. 100)
{
	$browser->value('round()');
	last if $browser->value($state) =~ /Starting|Standby/;
	sleep 0.1;
}
says('^(Starting|Standby) server: .*; recovery has replayed up to [0-9A-F]+.[0-9A-F]+$', 'that it recovers, and how far it is');
is($browser->value('document.getElementById("state").className'), 'card unhealthy', 'which is not well');
ok(!$browser->value('document.querySelector("main").classList.contains("stale")'), 'what is shown is what is');
is(operations(), '', 'which is nothing, as it began anew');
append_to_file($go, '');
$start->finish;
$node->_update_pid(1);
ok(wait_for_status($port, '/readyz', 200), 'it is there');
$browser->value('round()');
says('^(Healthy|Degraded)', 'and well');

# the page is off, but who has it open is told what is
$node->append_conf('postgresql.conf', 'fraiseql_obs.http_status_page = off');
$node->reload;
ok(wait_for_status($port, '/', 401), 'off');
$browser->value('round()');
says('^Not reachable since .* it answers queries with status 404', 'the page is off');

is_deeply([ grep { !/^Failed to load resource/ } $browser->complaints ], [], 'nothing else to complain of');
$browser->close_browser;
$node->stop;
done_testing();
