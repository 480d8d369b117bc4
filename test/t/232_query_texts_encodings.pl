# Who reads statistics sees texts of databases in all encodings, whatever that of
# his own: what it lacks is shown as an escape, and nothing fails for it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use CommandTest;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('query_texts', join "\n",
	'fraiseql_obs.include_query_bodies = on', 'fraiseql_obs.slow_query_threshold = 0',
	'');
my @encodings = qw(UTF8 LATIN1 WIN1252 EUC_JP SQL_ASCII);
my %database = map { $_ => lc "in_$_" } @encodings, 'MULE_INTERNAL';

foreach my $encoding (@encodings, 'MULE_INTERNAL')
{
	$node->safe_psql('postgres', "CREATE DATABASE $database{$encoding} TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql($database{$encoding}, 'CREATE EXTENSION pg_stat_statements; CREATE EXTENSION fraiseql_obs');
}

# A statement in a database, in its bytes; its name of a column is not normalised
sub run_bytes
{
	my ($database, $encoding, $name) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir . '/statement.sql';
	local $ENV{PGCLIENTENCODING} = $encoding;

	unlink $file;
	append_to_file($file, "SET application_name = 'run';\nSELECT 1 AS \"$name\" /*action='say$name'*/;\n");
	$node->command_ok([ 'psql', '-X', '-q', '-f', $file, '-d', $node->connstr($database) ], "a statement in $database");
	return;
}
run_bytes($database{UTF8}, 'UTF8', "a\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80z");
run_bytes($database{LATIN1}, 'LATIN1', "b\xe9\xa4z");
run_bytes($database{WIN1252}, 'WIN1252', "c\xe9\x80\x81z");
run_bytes($database{EUC_JP}, 'EUC_JP', "d\xc6\xfcz");
run_bytes($database{SQL_ASCII}, 'SQL_ASCII', "e\xff\xc3\xa9z");
run_bytes($database{MULE_INTERNAL}, 'MULE_INTERNAL', "f\x92\xc6\xfcz");
$node->safe_psql('postgres', "CREATE DATABASE gone TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
run_bytes('gone', 'LATIN1', "g\xe9z");
$node->safe_psql('postgres', 'DROP DATABASE gone');

# What is seen in a database, as hexadecimal bytes of its encoding
sub seen
{
	my ($database, $source) = @_;
	my $rows = $node->safe_psql($database, qq(
		SELECT DISTINCT encode(convert_to(substring(text from '"([a-g].*z)"'), getdatabaseencoding()), 'escape')
		FROM (SELECT query FROM $source) AS s (text) WHERE text ~ 'SELECT .* AS "[a-g].*z"' ORDER BY 1));
	return $rows;
}

# An escape, as encode() shows it
sub u { return '\\\\u{' . shift . '}'; }
my $none = u('fffd');
my ($grin, $sun, $euro) = (u('1f600'), u('65e5'), u('20ac'));
my %expected = (
	UTF8 => [ 'a\303\251\346\227\245\360\237\230\200z', 'b\303\251\302\244z', 'c\303\251\342\202\254\357\277\275z', 'd\346\227\245z',
		'e\357\277\275\303\251z', 'f\357\277\275z', 'g\357\277\275z' ],
	LATIN1 => [ "a\\351$sun${grin}z", 'b\351\244z', "c\\351$euro${none}z", "d${sun}z",
		"e$none\\351z", "f${none}z", "g${none}z" ],
	WIN1252 => [ "a\\351$sun${grin}z", 'b\351\244z', 'c\351\200\201z', "d${sun}z",
		"e$none\\351z", "f${none}z", "g${none}z" ],
	EUC_JP => [ "a\\217\\253\\261\\306\\374${grin}z", 'b\217\253\261\217\242\360z', "c\\217\\253\\261$euro${none}z", 'd\306\374z',
		"e$none\\217\\253\\261z", "f${none}z", "g${none}z" ],
	SQL_ASCII => [ 'a\303\251\346\227\245\360\237\230\200z', 'b\351\244z', 'c\351\200\201z', 'd\306\374z',
		'e\377\303\251z', 'f\222\306\374z', 'g\351z' ]);

foreach my $encoding (@encodings)
{
	my $rows = seen($database{$encoding}, 'fraiseql_obs.query_stats()');
	is($rows, join("\n", @{ $expected{$encoding} }), "$encoding: all texts, as they can be");
	foreach my $source ('v_query_stats', 'slow_queries(100)', 'v_slow_queries', 'operation_stats()', 'v_operation_stats', 'error_stats()', 'v_error_stats', 'spans()', 'v_spans', 'metrics()')
	{
		$node->command_ok([ 'psql', '-X', '-q', '-c', "SELECT * FROM fraiseql_obs.$source", '-d', $node->connstr($database{$encoding}) ], "$encoding: $source");
	}
	foreach my $format (qw(prometheus openmetrics json))
	{
		$node->command_ok([ 'psql', '-X', '-q', '-c', "SELECT fraiseql_obs.export_metrics('$format')", '-d', $node->connstr($database{$encoding}) ], "$encoding: $format");
	}
	foreach my $command (qw(top slow operations errors))
	{
		foreach my $format (qw(table csv json))
		{
			my ($status, $out, $err) = call_tool($node, $command, '--format', $format, '-d', $node->connstr($database{$encoding}));
			is("$status$err", '0', "$encoding: fraiseql-obs $command --format $format");
		}
	}
}
$node->stop;
done_testing();
