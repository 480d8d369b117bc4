# fraiseql-obs verify and checkpoint, and fraiseql-obs-verify: what they print,
# what they refuse and with which status.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use JSON::PP qw(decode_json);
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bin = "$FindBin::RealBin/../../bin";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $node = start_node('verify_commands', 'fraiseql_obs.audit_guard = off');
my %server = (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'app');

# Status, output and errors of a call, with what it reads
sub call
{
	my ($command, $in, @arguments) = @_;
	my ($out, $err);

	local %ENV = (%ENV, %server);
	IPC::Run::run([ @$command, @arguments ], '<', \$in, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

sub calls
{
	my ($command, $status_wanted, $output, $errors, $in, @arguments) = @_;
	my ($status, $out, $err) = call($command, $in, @arguments);
	my $name = "$command->[-1] @arguments" =~ s/\Q$folder\E/.../gr =~ s{.*/bin/}{}r;

	is($status, $status_wanted, "$name: status");
	like($out, $output, "$name: output");
	like($err, $errors, "$name: errors");
	return $out;
}

sub obs { return calls([ 'sh', "$bin/fraiseql-obs" ], @_); }
sub tool { return calls([ 'python3', "$bin/fraiseql-obs-verify" ], @_); }

sub dump_of
{
	my ($name, @options) = @_;
	$node->command_ok([ 'pg_dump', '-f', "$folder/$name", @options, 'app' ], "dumped: $name");
	return "$folder/$name";
}

my $nothing = qr/^$/;
obs(1, $nothing, qr/"fraiseql_obs" is not installed/, '', 'verify');
$node->safe_psql('app', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false);');
obs(1, $nothing, qr/there is no seal of the audit log/, '', 'checkpoint');
foreach my $from ('2026-12-01', '2026-11-01')
{
	my (undef, undef, $err) = $node->psql('app', "SELECT * FROM fraiseql_obs.verify_audit_log('$from', '2026-11-01')");

	obs(2, $nothing, qr/--to "2026-11-01" is not after --from "$from"/, '', 'verify', '--from', $from, '--to', '2026-11-01');
	like($err, qr/until, 2026-11-01.*, is not after from, $from/, "nor from $from in SQL");
}
is($node->safe_psql('app', q(SELECT count(*) FROM fraiseql_obs.by_operation('audit.verified'))), '0', 'a period that is none leaves no entry');
$node->safe_psql('app', q(SELECT fraiseql_obs.log_operation('op', entity_id => i::text, details => '{}') FROM generate_series(1, 3) i;
	SELECT fraiseql_obs.seal_audit_log()));

# checkpoints
my $note = obs(0, qr{^fraiseql_obs/[0-9a-f-]{36}/app\n2\n[A-Za-z0-9+/]{43}=\n$}, $nothing, '', 'checkpoint');
obs(0, $nothing, $nothing, '', 'checkpoint', '-o', "$folder/anchor");
is(slurp_file("$folder/anchor"), $note, 'a checkpoint in a file');

# a log as it is
obs(0, qr/\(0 rows\)\s+$/, $nothing, '', 'verify');
$node->safe_psql('app', 'SELECT fraiseql_obs.seal_audit_log()');
is_deeply(decode_json(obs(0, qr/./, $nothing, '', qw(verify --format json --anchor), "$folder/anchor")), [], 'an empty list');
obs(0, qr/^severity,kind,seal_no,partition,row_id,at,message\nunchecked,unsealed,,,,\S+ \S+,rows that are not sealed yet: 1$/,
	$nothing, '', qw(verify --format csv --from 2026-01-01), '--to=2999-01-01');
my $well = dump_of('well');
tool(0, qr/^unchecked: rows that are not sealed yet: 2\n6 rows, 3 seals, root \S{44}: 0 violations, 0 gaps$/, $nothing, '', $well);
tool(0, qr/^6 rows/m, $nothing, slurp_file($well), '--anchor', "$folder/anchor");
tool(0, qr/^6 rows/m, $nothing, slurp_file($well), "--anchor=$folder/anchor", '-');
tool(0, qr/^6 rows/m, $nothing, '', dump_of('data', '--data-only', '-n', 'fraiseql_audit'));
tool(0, qr/^6 rows/m, $nothing, '', dump_of('root', '--load-via-partition-root'));

# one that was changed
$node->safe_psql('app', "UPDATE fraiseql_audit.fraiseql_audit_log SET details = '[]' WHERE id = 2");
obs(3, qr/^ violation +\| personal +\| +2 \| fraiseql_audit_log_\d+ \| +2 \|/m, $nothing, '', 'verify');
obs(3, qr/"severity":"violation","kind":"personal","seal_no":2,/, $nothing, '', qw(verify --format json));
obs(3, $nothing, $nothing, '', 'verify', '--output', "$folder/findings");
like(slurp_file("$folder/findings"), qr/violation/, 'findings in a file');
my $wrong = dump_of('wrong');
tool(3, qr/^violation: fraiseql_audit_log_\d+, row 2, seal 2: personal columns were changed/m, $nothing, '', $wrong);

# what is refused
obs(2, $nothing, qr/is not a file that can be read/, '', 'verify', '--anchor', "$folder/none");
append_to_file("$folder/empty", '');
obs(2, $nothing, qr/a file that is empty/, '', 'verify', '--anchor', "$folder/empty");
append_to_file("$folder/noise", "one\ntwo\nthree\n");
obs(2, $nothing, qr/is not a file that can be read/, '', 'verify', '--anchor', $folder);
obs(3, qr/\(\d+ rows?\)/, $nothing, $note, qw(verify --anchor /dev/stdin));
obs(2, $nothing, qr/noise" is not a checkpoint of an audit log/, '', 'verify', '--anchor', "$folder/noise");
obs(2, $nothing, qr/--from must be a date/, '', 'verify', '--from', 'yesterday');
obs(2, $nothing, qr/checkpoint has no option --format/, '', 'checkpoint', '--format', 'json');
obs(2, $nothing, qr/report has no option --anchor/, '', qw(report --anchor x --from 2026-01-01 --to 2026-01-02));
obs(2, $nothing, qr/verify takes no argument "x"/, '', 'verify', 'x');
obs(0, qr/--anchor FILE/, $nothing, '', 'verify', '--help');

my $unreadable = qr/^fraiseql-obs-verify: could not open file "\Q$folder\E\/none": No such file or directory\n\z/;
tool(2, $nothing, $unreadable, '', '--anchor', "$folder/none", $well);
tool(2, $nothing, qr/could not open file "\Q$folder\E": Is a directory/, '', '--anchor', $folder, $well);
append_to_file("$folder/bytes", "\xff\xfe\n1\n");
tool(2, $nothing, qr/bytes" is not a checkpoint of an audit log/, '', '--anchor', "$folder/bytes", $well);
tool(2, $nothing, qr/noise" is not a checkpoint of an audit log/, '', '--anchor', "$folder/noise", $well);
tool(1, $nothing, $unreadable, '', "$folder/none");
tool(1, $nothing, qr/there is no data of a plain dump/, '', dump_of('custom', '-Fc'));
tool(1, $nothing, qr/has rows of an audit log as INSERT/, '', dump_of('inserts', '--inserts'));
tool(1, $nothing, qr/there is no data of a plain dump/, '', dump_of('schema', '--schema-only'));
tool(1, $nothing, qr/no audit log with seals/, '', dump_of('other', '-n', 'fraiseql_obs'));
tool(1, $nothing, qr/ends in the middle of a table/, slurp_file($well) =~ s/\\\.\n.*//sr);
tool(1, $nothing, qr/no audit log with seals/, '', '--schema', 'public', $well);
tool(2, $nothing, qr/unknown option "--x"/, '', '--x');
tool(2, $nothing, qr/--anchor needs a value/, '', '--anchor');
tool(2, $nothing, qr/more than one dump/, '', $well, $wrong);
tool(0, qr/^Verify the audit log/, $nothing, '', '--help');
tool(0, qr/^fraiseql-obs-verify 1\./, $nothing, '', '--version');

# tables that are not those of a log, as somebody may have made them
my $text = slurp_file($well);
my $not_a_log = qr/\Afraiseql-obs-verify: the dump's tables are not those of an audit log: /;
tool(1, qr/^/, qr/${not_a_log}there is no column "seal_no"\n\z/, $text =~ s/seal_no, /number, /r);
tool(1, qr/^/, qr/${not_a_log}they have values that none of its own can have\n\z/, $text =~ s/^2(\t[^\t]*\t[^\t]*\t\d+\t)/$_$1/mr)
  foreach 'two', '\\N';
tool(3, qr/^violation: /, qr/${not_a_log}they have values that none of its own can have\n\z/,
	slurp_file($wrong) =~ s/^(operation\t.*\t)\d+$/$1x/mr);
{
	my $err;
	IPC::Run::run([ '/bin/sh', '-c', 'exec python3 "$0" "$1" >&-', "$bin/fraiseql-obs-verify", $well ], '2>', \$err);
	is(($? >> 8) . " $err", "1 fraiseql-obs-verify: standard output is not open\n", 'nowhere to write');
	IPC::Run::run([ '/bin/sh', '-c', 'exec python3 "$0" <&-', "$bin/fraiseql-obs-verify" ], '2>', \$err);
	is(($? >> 8) . " $err", "1 fraiseql-obs-verify: standard input is not open\n", 'nothing to read');
}

# what cannot be written is said
{
	local $ENV{PYTHONIOENCODING} = 'ascii';
	my ($out, $err);
	IPC::Run::run([ 'python3', "$bin/fraiseql-obs-verify", $well ], '>', '/dev/full', '2>', \$err);
	is(($? >> 8) . " $err", "1 fraiseql-obs-verify: could not write to standard output: No space left on device\n", 'a disk that is full');
	tool(3, qr/^violation: \S+: rollup of operation a\\u000aviolation:\\u001b\[2J\\xe4 success has 4, rows are 0\n/m, $nothing,
		$text =~ s/^(operation\t.*\t)op(\tsuccess\t)\d+$/$1a\\nviolation:\e[2J\xc3\xa4${2}4/mr);
}

# two logs in a dump, and a schema that needs quotes
$node->safe_psql('app', 'ALTER SCHEMA fraiseql_audit RENAME TO "Old ""one"""');
$node->safe_psql('app', q(DELETE FROM fraiseql_obs.audit_registry; SELECT fraiseql_obs.create_audit_log();
	SELECT fraiseql_obs.log_operation('op'); SELECT fraiseql_obs.seal_audit_log()));
my $two = dump_of('two');
tool(1, $nothing, qr/several audit logs; name one with --schema: Old "one", fraiseql_audit/, '', $two);
tool(3, qr/row 2, seal 2: personal columns were changed/, $nothing, '', '--schema', 'Old "one"', $two);
tool(0, qr/^1 rows, 2 seals/, $nothing, '', '--schema=fraiseql_audit', $two);

$node->stop;
done_testing();
