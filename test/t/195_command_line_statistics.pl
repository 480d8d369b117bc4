# The command line tool's slow, top, operations and errors: that they show what
# was counted, in columns of the same names, to whom, and how at a terminal.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use CommandTest;
use Encode;
use JSON::PP qw(decode_json);
use ObsTest;
use Test::More;

my $node = start_node('command_line_statistics');

sub rows_of { return decode_json(prints($node, @_, '--format', 'json')); }

# Two operations, one of which fails now and then, and statements that are slow,
# of which one is ended by its time limit
$node->psql('app', join(";\n", 'CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n',
	(map { op('getUser', 'SELECT n FROM numbers WHERE n = 7') } 1 .. 20),
	(map { op('getUser', 'SELECT n / 0 FROM numbers') } 1 .. 2),
	op('salesReport', 'SELECT count(*), pg_sleep(0.3) FROM numbers'),
	'SET statement_timeout = 150', op('export', 'SELECT pg_sleep(60)'),
	'RESET statement_timeout', 'SELECT * FROM nowhere'), on_error_stop => 0);

# slow
my $slow = rows_of('slow');
is_deeply([ map { $_->{operation} } grep { defined $_->{operation} } @$slow ],
	[ 'export', 'salesReport' ], 'slow statements, newest first; what was quick and failed is none');
is($slow->[0]{sqlstate}, '57014', 'one that ran into its time limit is');
my ($report) = grep { ($_->{operation} // '') eq 'salesReport' } @$slow;
cmp_ok($report->{duration_ms}, '>=', 300, 'how long it took');
like($report->{query}, qr/^SELECT count\(\*\), pg_sleep\(\$1\) FROM numbers/, 'and its normalised text');
is_deeply(rows_of('slow', '--threshold', '250'), [ grep { $_->{duration_ms} >= 250 } @$slow ], 'from a threshold on');
is_deeply(rows_of('slow', '--limit=1'), [ $slow->[0] ], 'as many as wanted');
like(prints($node, 'slow'),
	qr/^Slow statements, newest first\n +finished_at +\| duration_ms \| datname \| usename +\| +operation +\| sqlstate \| trace_id \| +query +\n-.*\| export +\| 57014 +\| +\| query identifier -?\d+\n/s,
	'a table, where what has no text is named');

# The columns are those of the functions.
sub columns_of
{
	my ($function) = @_;
	return split /,/, observe($node, qq(SELECT string_agg(name, ',' ORDER BY n)
		FROM pg_proc, unnest(proargnames, proargmodes) WITH ORDINALITY AS a (name, mode, n)
		WHERE oid::regproc = 'fraiseql_obs.$function'::regproc AND mode = 'o'));
}
foreach my $pair ([ 'slow', 'slow_queries' ], [ 'top', 'query_stats' ], [ 'operations', 'operation_stats' ], [ 'errors', 'error_stats' ])
{
	my ($command, $function) = @$pair;
	my ($head) = prints($node, $command, '--format', 'csv') =~ /^(.*)\n/;
	my %has = map { $_ => 1 } split /,/, $head;

	is_deeply([ grep { !$has{$_} } columns_of($function) ], [], "$command: has all columns as CSV");
	is_deeply([ sort keys %{ rows_of($command)->[0] } ], [ sort keys %has ], "$command: and as JSON");
}

# top
my $top = rows_of('top', '--limit', '1000');
my ($lookup) = grep { ($_->{query} // '') =~ /^SELECT n FROM numbers/ } @$top;
is("$lookup->{datname} $lookup->{calls} $lookup->{errors} $lookup->{rows}", 'app 20 0 20', 'what a query was counted');
is_deeply([ map { $_->{total_exec_time} } @$top ], [ sort { $b <=> $a } map { $_->{total_exec_time} } @$top ], 'by total time');
my $percent = 0;
$percent += $_->{percent} foreach @$top;
cmp_ok(abs($percent - 100), '<', 0.1, 'percents are of all');
like(prints($node, 'top', '--limit', '1'),
	qr/^Queries by total time, in ms, counted since \d{4}-\d\d-\d\d .* or later\n calls \| errors \| total_exec_time \| percent \| p95_exec_time \| datname \| usename +\| +query +\n.*\(1 row\)\n\n\z/s,
	'as a table');

# operations
my $operations = rows_of('operations');
is_deeply([ map { "$_->{operation} $_->{calls} $_->{errors}" } @$operations ],
	[ 'salesReport 1 0', 'export 1 1', 'getUser 22 2' ], 'operations by total time');
like(prints($node, 'operations', '--limit', '1'),
	qr/ p50_exec_time \| p95_exec_time \| p99_exec_time \n[-+]+\n salesReport \| +\| app +\| +1 \| +0 \| +3\d\d\.\d \| +3\d\d\.\d{3} \|/,
	'as a table');

# errors
is_deeply([ map { join ' ', map { $_ // '-' } @$_{qw(datname sqlstate condition_name errors operations)} } @{ rows_of('errors') } ],
	[
		'app 42P01 undefined_table 1 -', 'app 57014 query_canceled 1 export 1',
		'app 22012 division_by_zero 2 getUser 2' ],
	'errors, the latest first, and what had them');
like(prints($node, 'errors'), qr/\| 22012 +\| division_by_zero \| app +\| getUser 2 +\| query identifier/, 'as a table');

# Texts that are long, wide, or hostile
$node->append_conf('postgresql.conf', 'fraiseql_obs.include_query_bodies = on');
$node->reload;
$node->poll_query_until('app', q(SELECT current_setting('fraiseql_obs.include_query_bodies') = 'on'));
my $hostile = "\e]0;title\a\e[2J \xc2\x9b31m \x7f\r\b";
my %text = (
	long => 'x' x 300,
	wide => decode('UTF-8', "\xe6\x97\xa5") x 200,
	hostile => decode('UTF-8', $hostile));
$node->safe_psql('app', encode('UTF-8', "SELECT pg_sleep(0.1), '$text{$_}'" . " /*action='$_'*/")) foreach sort keys %text;
$node->safe_psql('app', "SET fraiseql_obs.operation_name = '\e[2J\xc2\x9b31m'; SELECT pg_sleep(0.1)");

foreach my $row (@{ rows_of('slow', '--limit', '4') })
{
	my $name = $row->{operation};
	next if !$text{$name};
	like($row->{query}, qr/'\Q$text{$name}\E'/, "$name: all of it as JSON");
}
unlike(prints($node, 'slow', '--format', 'csv'), qr/\.\.\./, 'and as CSV');
foreach my $columns (130, 160)
{
	my $table = at_terminal($node, $columns, 'slow', '--limit', '4');
	my @lines = split /\n/, decode('UTF-8', $table);

	is_deeply([ grep { length() + (() = /[\x{2e80}-\x{ffff}]/g) > $columns } @lines ], [], "$columns columns are not exceeded");
	like($table, qr/ long +\|.*\| SELECT pg_sleep\(0\.1\).*\.\.\.\n/, 'texts are cut');
	is(raw_controls($table), '', 'and no control character reaches the terminal');
}
foreach my $format ('json', 'csv')
{
	my $shown = at_terminal($node, 120, 'slow', '--limit', '4', '--format', $format);

	is(raw_controls($shown), '', "nor as $format");
	like($shown, qr/\\u001b\[2J \\u009b31m \\u007f/, 'but what it is');
}
like(prints($node, 'slow', '--format', 'csv'), qr/\e\[2J \xc2\x9b31m \x7f\r\x08/, 'a file has it as it is');
is(raw_controls(prints($node, $_)), '', "$_: no control character in a table") foreach qw(slow top operations errors);

# Who may not
$node->safe_psql('postgres', q(CREATE ROLE nobody LOGIN; CREATE ROLE "My role" LOGIN;
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats;
	CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA fraiseql_obs TO guest;
	GRANT EXECUTE ON FUNCTION fraiseql_obs.query_stats, fraiseql_obs.query_counters, fraiseql_obs.query_texts TO guest));
foreach my $command (qw(slow top operations errors metrics health readiness))
{
	refuses($node, 1,
		qr/\AERROR:  role "nobody" may not read what "$command" prints\nHINT:  .*GRANT pg_monitor TO nobody;\n\z/,
		$command, '-d', 'user=nobody');
	prints($node, $command, '-d', 'user=monitor');
}
refuses($node, 1, qr/GRANT pg_monitor TO "My role";/, 'top', '-d', "user='My role'");
prints($node, $_, '-d', 'user=reader') foreach 'slow', 'top';
refuses($node, 1, qr/GRANT pg_monitor TO reader;/, 'operations', '-d', 'user=reader');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION fraiseql_obs.operation_stats FROM pg_monitor');
refuses($node, 1, qr/^HINT:  It was taken from pg_monitor; call "fraiseql-obs doctor" to see what to do\.$/m, 'operations', '-d', 'user=monitor');
like(prints($node, 'top', '-d', 'user=guest'), qr/^Queries by total time, in ms\n.*\| <insufficient privilege>\n/s, 'others\' queries have no name');

# Arguments
refuses($node, 2, qr/^fraiseql-obs: $_->[0].*\n\z/, @$_[1 .. $#$_])
  foreach [ '--threshold must be a number from 0', qw(slow --threshold -1) ],
  [ '--watch must be a number from 1 to 86400, and not "0"', qw(top --watch 0) ],
  [ '--watch has no end, and --output', qw(top --watch 1 -o file) ],
  [ 'operations has no option --threshold', qw(operations --threshold 1) ],
  [ 'slow has no option --watch', qw(slow --watch 1) ],
  [ '--format must be table, json or csv', qw(top --format html) ],
  [ 'errors takes no argument "x"', qw(errors x) ];
like(prints($node, $_, '--help'), qr/\AUsage: fraiseql-obs $_ \[OPTION\]\.\.\.\n.*--limit N .*\(default \d+\)/s, "help of $_")
  foreach qw(slow top operations errors);

# Not preloaded
$node->append_conf('postgresql.conf', 'shared_preload_libraries = pg_stat_statements');
$node->restart;
refuses($node, 1, qr/\AERROR:  fraiseql_obs must be loaded via "shared_preload_libraries"\nHINT:  Call "fraiseql-obs doctor" to see what to do\.\n\z/, @$_)
  foreach (map { [$_] } qw(slow top operations errors metrics health readiness)), [qw(trace x)], [qw(timeline x)], [qw(top --watch 1)],
  [qw(slow --format json)];

$node->stop;
done_testing();
