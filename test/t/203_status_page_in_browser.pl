# The status page in a browser: it shows the figures that SQL shows, whatever
# names are in them, asks nobody else for anything, and fits its window.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Browser;
use HttpTest;
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'no chromium here' if !Browser::is_there();

# The disk of who runs this is none of the test's.
my ($node, $port) = start_http_node('status_page_in_browser', q(
fraiseql_obs.http_status_page = on
fraiseql_obs.slow_query_threshold = 20
fraiseql_obs.health_disk_warning = 0
));
my $hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;';
my $browser = Browser->new;

reset_counts($node);

# What a table shows, by what is in its first column: the texts of the columns
sub rows
{
	my ($table) = @_;
	my %rows;

	foreach my $row (
		@{
			$browser->value(qq([...document.querySelectorAll("#$table tbody tr")].map(r => [...r.cells].map(c => c.textContent)))
			)
		})
	{
		my @columns = @{ $browser->value(qq([...document.querySelectorAll("#$table thead th")].map(c => c.textContent))) };
		my %row;

		@row{@columns} = @$row;
		$rows{ $row->[0] } = \%row;
	}
	return %rows;
}

# As the page writes it
sub with_commas
{
	my ($number) = @_;
	1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
	return $number;
}

# A text as seconds; of a bound, which side of it as well
sub seconds
{
	my ($text) = @_;
	my %unit = ("\xb5s" => 1e-6, ms => 1e-3, s => 1);
	my ($side, $number, $unit) = $text =~ /^([<>]?)\xa0?([\d.,]+)\xa0(\S+)$/ or die "no duration: $text";

	$number =~ tr/,//d;
	return ($number * $unit{$unit}, $side);
}

# Is a percentile that the page shows in the bucket that the true one is in?
sub is_in_bucket
{
	my ($text, $true, $name) = @_;
	my @bounds = (0, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10);
	my ($shown, $side) = seconds($text);

	# the true one is within 12.5 %
	my ($low) = grep { $_ <= $true * 0.87 } reverse @bounds;
	my ($high) = grep { $_ >= $true * 1.13 } @bounds;
	return $side eq '<'
	  ? cmp_ok($true, '<=', $shown * 1.13, $name)
	  : ok($shown >= $low && $shown <= $high, "$name: $shown from $low to $high");
}

sub tile
{
	my ($name) = @_;
	return $browser->value(qq([...document.querySelectorAll(".tile")].find(t => t.firstChild.textContent === "$name").innerText));
}

$browser->resize(1280, 'light');
$browser->open_page("http://127.0.0.1:$port/");
ok($browser->becomes('document.getElementById("word").textContent === "Healthy"'), 'it shows a healthy server');
is($browser->value('document.title'), "127.0.0.1:$port \x{2013} fraiseql_obs", 'its title');
ok($browser->value('!document.querySelector("#operations ~ .none").hidden'), 'no operation so far');

# From here on it looks when it is told to: what it shows of the last seconds
# would be gone with a look of its own, on a machine that is slow enough.
$browser->value('document.getElementById("pause").click()');
ok($browser->becomes('timer === null && !isAsking'), 'a pause');

# a load, while it looks
$node->safe_psql('app', qq(
	SET fraiseql_obs.operation_name = '$hostile';
	SET fraiseql_obs.operation_type = 'mutation';
	) . 'SELECT pg_sleep(0.003);' x 40 . 'SELECT pg_sleep(0.03);' x 4);
$node->safe_psql('app', "SET fraiseql_obs.operation_name = 'quick';" . 'SELECT 1;' x 3000);
$node->psql('app', "SET fraiseql_obs.operation_name = 'fails'; SELECT 1; SELECT 1; SELECT 1; SELECT 1 / 0");
my $sleeper = $node->background_psql('app');
$sleeper->query_until(qr/begun/, "SET fraiseql_obs.operation_name = '__proto__';\n\\echo begun\nSELECT pg_sleep(600);\n");
sleep 0.1 while observe($node, q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')) ne '1';
ok( $browser->becomes('ask("metrics?format=json").then(a => sum(familiesOf(a), "fraiseql_obs_db_connections") === 1)'),
	'who has left is gone');
$browser->value('round()');

my %stats = map { $_->{operation} => $_ } @{
	decode_json(
		observe($node, q(
		SELECT json_agg(o) FROM (SELECT operation, type, calls, errors, mean_exec_time, p50_exec_time, p95_exec_time,
			p99_exec_time FROM fraiseql_obs.operation_stats()) AS o))) };
foreach my $span ('recent', 'all')
{
	$browser->value(qq(document.querySelector("#span input[value=$span]").click()));
	my %rows = rows('operations');
	is_deeply([ sort keys %rows ], [ sort keys %stats ], "$span: the operations, a hostile one as text");
	foreach my $name (sort keys %stats)
	{
		my ($row, $true) = ($rows{$name}, $stats{$name});
		my ($mean) = seconds($row->{Mean});

		is($row->{Type}, $true->{type}, "$span, $name: type");
		is($row->{Calls} =~ tr/,//dr, $true->{calls}, 'calls');
		is($row->{Errors} eq '0' ? 0 : $row->{Errors}, $true->{errors} ? "25.0\xa0%" : 0, 'errors');
		cmp_ok(abs($mean * 1000 / $true->{mean_exec_time} - 1), '<', 0.01, 'mean');
		is_in_bucket($row->{"p$_"}, $true->{"p${_}_exec_time"} / 1000, "p$_") foreach 50, 95, 99;
	}
}
is($browser->value('document.title'), "127.0.0.1:$port \x{2013} fraiseql_obs", 'what is hostile has done nothing');
is($browser->value('document.querySelectorAll("img, main script").length'), 0, 'and is nothing');

my %queries = rows('queries');
my %counted = split /[|\n]/, observe($node, q(
	SELECT coalesce(queryid::text, '(none)'), sum(calls) FROM fraiseql_obs.query_counters() GROUP BY 1));
is_deeply({ map { $_ => $queries{$_}{Calls} =~ tr/,//dr } keys %queries }, \%counted, 'the queries');
is($queries{$_}{Database}, 'app', 'of a database') foreach sort keys %queries;

# the tiles: the last seconds, and sums
my ($calls_of_all, $slow_of_all) = map { with_commas(metric($node, qq(fraiseql_obs_db_$_\{datname="app"}))) }
  'query_duration_seconds_count', 'slow_queries_total';
like(tile('Statements'), qr/^[\d.,]+ \/s\n$calls_of_all in all\n/m, 'statements');
like(tile('Errors'), qr/^[\d.]+ \/s\n[\d.]+ for 100 statements, 1 in all\n/m, 'errors');
like(tile('Slow statements'), qr/^$slow_of_all in a minute\n$slow_of_all in all\n/m, 'slow ones');
like(tile('Connections'), qr/^1\nof 100, 1 active\n/m, 'connections');
like(tile('Active'), qr/^1\n1 wait for Timeout\n/m, 'what they wait for');
like(tile('p95 of durations'), qr/^<?\xa0?\d[\d.]*\xa0\S+\np50\xa0<\xa0500\xa0\xb5s, p99\xa0/m, 'durations');

# health, with what was measured
is($browser->value('document.querySelectorAll("#checks details.healthy").length'), 11, 'checks');
$browser->value('document.querySelector("#checks summary").click()');
like($browser->value('document.querySelector("#checks details").innerText'), qr/^server healthy\n.*\brole\nprimary\n/s, 'in detail');
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain()');
$browser->value('round()');
is($browser->value('document.getElementById("state").innerText'),
	'Unhealthy drain: the server was taken out of rotation by drain()', 'a server that is drained');
ok($browser->value('document.querySelector("#checks details").open'), 'what was opened stays open');
$node->safe_psql('postgres', 'SELECT fraiseql_obs.drain(false)');

# by the keyboard: sorted by calls, then the other way round
my $calls = '[...document.querySelectorAll("#operations tbody tr")].map(r => Number(r.cells[2].textContent.replace(",", "")))';
my $sorts = '[...document.querySelectorAll("#operations thead th")].find(h => h.textContent === "Calls")';
$browser->value("$sorts.firstChild.focus()");
foreach my $order ('descending', 'ascending')
{
	$browser->type_in('', 'Enter');
	is($browser->value("$sorts.ariaSort"), $order, "sorted, $order");
	my @shown = @{ $browser->value($calls) };
	my @sorted = sort { $order eq 'ascending' ? $a <=> $b : $b <=> $a } @shown;
	is_deeply(\@shown, \@sorted, 'and so it is');
}

# a reset begins anew
$node->safe_psql('postgres', q(SELECT fraiseql_obs.reset_metrics()));
$browser->value('round()');
is($browser->value('looks.length'), 1, 'a reset has no past');

# more rows than are looked at, and names as long as names can be
$node->safe_psql('app', join ';', map { "SET fraiseql_obs.operation_name = '$_" . 'W' x 120 . "'; SELECT 1" } 1 .. 30);
$browser->value('round()');
is($browser->value('document.querySelectorAll("#operations tbody tr").length'), 20, 'as many rows as one looks at');
is($browser->value('document.querySelector("#operations").closest("section").querySelector(".more").textContent'), 'Show all 30', 'and a way to all');
$browser->value('document.querySelector("#operations").closest("section").querySelector(".more").click()');
is($browser->value('document.querySelectorAll("#operations tbody tr").length'), 30, 'which are these');
foreach my $width (320, 390, 1280)
{
	$browser->resize($width);
	is( $browser->value(q(
		[...document.querySelectorAll("html, body *")]
			.filter(e => !e.closest("svg, caption, .scroll") && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
			.map(e => e.tagName + "." + e.className).join(" "))),
		'', "fits in a window of $width pixels");
}

# text is readable, in both schemes: the contrast that WCAG asks for
foreach my $scheme ('light', 'dark')
{
	$browser->resize(1280, $scheme);
	is( $browser->value(q{
		(() => {
			const light = colour => {
				const [r, g, b] = colour.match(/[\d.]+/g).map(n => n / 255)
					.map(n => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
				return 0.2126 * r + 0.7152 * g + 0.0722 * b;
			};
			const behind = e => /, 0\)$/.test(getComputedStyle(e).backgroundColor) ? behind(e.parentElement) :
				getComputedStyle(e).backgroundColor;
			return [...document.querySelectorAll("body *")]
				.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.checkVisibility() && !e.closest("script"))
				.filter(e => {
					const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
					return (a + 0.05) / (b + 0.05) < 4.5;
				}).map(e => e.tagName + "." + e.className + " " + e.textContent).join("\n");
		})()}),
		'', "$scheme: text is readable");
}

# who pauses it was left alone
is($browser->value('timer'), undef, 'still a pause');
$browser->value('document.getElementById("pause").click()');
ok($browser->becomes('timer !== null'), 'and on');

my %asked = map { $_ => 1 } $browser->requests;
is_deeply([ sort keys %asked ],
	[ map { "http://127.0.0.1:$port/$_" } '', 'health', 'metrics?format=json', 'queries' ], 'nobody else is asked for anything');
is_deeply([ grep { !m{status of 503 .*/health$} } $browser->complaints ], [], 'nothing to complain of');
$browser->close_browser;
$sleeper->{run}->pump_nb;
$node->stop('immediate');
done_testing();
