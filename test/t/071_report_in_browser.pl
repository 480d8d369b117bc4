# The HTML report in a browser: nothing is wider than its window, however long
# names are, and on paper nothing is cut and each page says what it is of.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no chromium or pdftotext here'
  if system('command -v chromium pdftotext >/dev/null 2>&1') != 0;

my $node = start_node('report_in_browser');
my $folder = PostgreSQL::Test::Utils::tempdir;
my $example = slurp_file("$FindBin::RealBin/../../examples/compliance_report.html");

# The same report with names as long as names can be
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
my $long = $node->safe_psql('app', q(
	SELECT fraiseql_obs.audit_report_html(jsonb_build_object(
		'report', jsonb_build_object('database', repeat('d', 63), 'generated_by', repeat('g', 63),
			'time_zone', 'UTC', 'generated_at', '2026-01-01T00:00:00+00:00'),
		'period', '{"start": "2026-01-01", "end": "2026-02-01", "days": 31}'::jsonb,
		'summary', jsonb_build_object(repeat('W', 1000), '{"success": 99999999999}'::jsonb),
		'by_result', '{"success": 999999999999999, "denied": 999999999999999}'::jsonb,
		'by_day', '[{"day": "2026-01-01", "results": {"success": 999999999999999}}]'::jsonb,
		'by_user', jsonb_build_array(jsonb_build_object('user_id', repeat('m', 1000),
			'total', 999999999999, 'failed', 0, 'denied', 99999)),
		'denied', jsonb_build_object('total', 1, 'entries', jsonb_build_array(jsonb_build_object(
			'created_at', '2026-01-01T00:00:00+05:45', 'operation', repeat('o', 1000), 'user_id', repeat('u', 1000),
			'entity_type', repeat('t', 1000), 'error_message', repeat('x', 8000)))),
		'coverage', jsonb_build_object('sources', jsonb_build_array(repeat('s', 127)))))));

sub browser
{
	my ($page, $arguments) = @_;
	my ($out, $err);

	append_to_file("$folder/page.html", $page);
	IPC::Run::run [
		'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking',
		"--user-data-dir=$folder/chromium", @$arguments, "file://$folder/page.html" ],
	  '>', \$out, '2>', \$err
	  or die $err;
	unlink("$folder/page.html");
	return $out;
}

foreach ([ 'the example', $example ], [ 'long names', $long ])
{
	my ($name, $page) = @$_;

	# A script of ours, which the page's policy would not let run, looks for
	# what is wider than what it is in.
	my $script = q{<script>document.title = [...document.querySelectorAll("html, body *")]
		.filter(e => !e.closest("svg") && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != "inline")
		.map(e => e.tagName + "." + e.className).join(" ") || "fits"</script></body>};
	(my $measured = $page) =~ s/<meta http-equiv="Content-Security-Policy"[^>]*>//;
	$measured =~ s/<\/body>/$script/;
	foreach my $width (500, 1000)
	{
		my ($found) = browser($measured, [ "--window-size=$width,800", '--dump-dom' ]) =~ /<title>(.*?)<\/title>/;
		is($found, 'fits', "$name: in a window of $width pixels");
	}

	browser($page, [ '--no-pdf-header-footer', "--print-to-pdf=$folder/page.pdf" ]);
	my @pages = split /\f/, `pdftotext -layout '$folder/page.pdf' -`;
	my $count = @pages;
	my @numbers = map { /Page (\d+) of $count\s*\z/ ? $1 : () } @pages;
	is_deeply(\@numbers, [ 1 .. $count ], "$name: pages have numbers");
	is(scalar(grep { /\A\s*Compliance report of \w+ +\d{4}-\d\d-\d\d through/ } @pages[ 1 .. $#pages ]),
		$count - 1, "$name: and say what they are of");

	# in points: A4 without its margins of 14 mm
	my @words = `pdftotext -bbox '$folder/page.pdf' -` =~ /<word xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)"/g;
	my @outside = grep { $_ < 39 || $_ > 595.3 - 39 } @words;
	cmp_ok(scalar @words, '>', 200, "$name: words on paper");
	is_deeply(\@outside, [], "$name: none beyond the margins");
	unlike(slurp_file("$folder/page.pdf"), qr{/Subtype ?/Image}, "$name: drawn, and not of pixels");
}

$node->stop;
done_testing();
