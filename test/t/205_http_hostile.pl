# What the HTTP endpoint sends is valid, whatever its labels are called by who
# may name something: read as clients read it, in both text formats, compressed
# and not, by every parser that there is.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ExpositionTest;
use HttpTest;
use IO::Socket::INET;
use IPC::Run qw(run start);
use JSON::PP;
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $replacement = "\xef\xbf\xbd";

# Bytes that are text in UTF-8
my %text = (
	'quotes' => q("'`) . '""',
	'backslashes' => '\\ \\\\ \\n \\" \\',
	'line ends' => "a\nb\r\nc\rd\x0be\x0cf\xc2\x85g\xe2\x80\xa8h\xe2\x80\xa9i\n",
	'control characters' => join('', map { chr } 1 .. 31, 127) . "\xc2\x80\xc2\x9f",
	'beginnings of lines' => "\n# TYPE a counter\na_total 1\n# EOF\n",
	'ends of labels' => q(} 1 # {trace_id="0"} 1),
	'more labels' => q(",le="+Inf",le="),
	'an emoji, a family' => "\xf0\x9f\x98\x80 \xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",
	'right to left' => "\xe2\x80\xae\xd8\xb9\xd8\xb1\xd8\xa8 \xd7\xa2\xd7\x91\xe2\x80\xac\xe2\x81\xa6",
	'marks that combine' => 'e' . "\xcc\x81" x 40,
	'no characters' => "\xef\xbf\xbf\xef\xbf\xbe\xef\xb7\x90\xf4\x8f\xbf\xbf",
	'a byte order mark' => "\xef\xbb\xbfa",
	'1,000 bytes' => 'abcdefghij' x 100,
	'1,000 bytes of emojis' => "\xf0\x9f\x98\x80" x 250,
	'1,000 bytes of quotes' => '"' x 1000,
	'1,000 bytes of backslashes' => '\\' x 1000,
	'1,000 line ends' => "\n" x 1000,
	'blanks' => '  ',
	'the name of all others' => 'other');

# ... and what is none
my %junk = (
	'bytes beside text' => "a\xff\xfe\xc3(b\x80",
	'too long encodings' => "\xc0\x80 \xc1\xbf \xe0\x80\xaf \xf0\x80\x80\xaf",
	'surrogates' => "\xed\xa0\x80\xed\xb0\x80",
	'beyond Unicode' => "\xf4\x90\x80\x80 \xf8\x88\x80\x80\x80",
	'cut in a character' => "a\xf0\x9f\x98",
	'1,000 bytes' => "\xff" x 1000);

sub expression
{
	my ($bytes, $encoding) = @_;
	return "convert_from('\\x" . unpack('H*', $bytes) . "', '$encoding')";
}

# What the application may name, in a session
sub named_by_application
{
	my ($value) = @_;
	return qq(
		SELECT set_config('fraiseql_obs.operation_name', $value, false) IS NULL,
			set_config('fraiseql_obs.operation_type', $value, false) IS NULL,
			set_config('fraiseql_obs.user_id', $value, false) IS NULL,
			set_config('fraiseql_obs.tenant_id', $value, false) IS NULL,
			set_config('fraiseql_obs.request_id', $value, false) IS NULL,
			set_config('application_name', $value, false) IS NULL;
		SELECT pg_sleep(0.002);
		SELECT fraiseql_obs.record_http_request($value, $value, 200, 0.1),
			fraiseql_obs.record_cache($value, 1, 2, 3),
			fraiseql_obs.record_pool($value, 1, 2, 3, 4),
			fraiseql_obs.counter_add('h_total', 1, jsonb_build_object('a', $value, 'b', $value)),
			fraiseql_obs.gauge_set('h_depth', 1, jsonb_build_object('a', $value)),
			fraiseql_obs.histogram_observe('h_bytes', 1, jsonb_build_object('a', $value)););
}

# An address that is not the loopback's, where answers are compressed
my $probe = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '192.0.2.1', PeerPort => 9);
my $address = $probe ? $probe->sockhost : '';
my $elsewhere = $address !~ /^(127\.|0\.0\.0\.0|$)/ && eval { require IO::Uncompress::Gunzip; 1 };

my ($node, $port) = start_http_node('hostile',
	'fraiseql_obs.http_listen_addresses = ' . ($elsewhere ? "'127.0.0.1, $address'" : "'127.0.0.1'")
	  . "\nfraiseql_obs.slow_query_threshold = '1ms'\nfraiseql_obs.include_query_bodies = on\n"
	  . "fraiseql_obs.max_operations = 500\nfraiseql_obs.max_app_series = 2000\n"
	  . "fraiseql_obs.audit_worker = on\nfraiseql_obs.audit_seal_interval = 1s\nwal_level = logical\n",
	allows_streaming => 1);
wait_for_status("$address:$port", '/healthz', 200) if $elsewhere;

sub sql
{
	my ($database, $sql) = @_;
	local $ENV{PGCLIENTENCODING} = 'SQL_ASCII';
	return $node->safe_psql($database, $sql);
}

# Names of databases and roles, which hold for one whose encoding is not known
my @names = (q(quo"te' {a="b"} 1 \\), "# EOF\nline\r\x0b\t\x01\x7f", "\xf0\x9f\x98\x80\xd7\xa2\xe2\x80\xae\xe2\x80\xa8", 'other',
	'b' x 63, "\xff\xc3(", "\xfe\xc3(");
sql('postgres', "CREATE DATABASE raw TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'");
sql('raw', 'CREATE EXTENSION fraiseql_obs');
foreach my $name (@names)
{
	my $quoted = $name =~ s/"/""/gr;
	my $libpq = $name =~ s/([\\'])/\\$1/gr;

	sql('raw', qq(CREATE ROLE "$quoted" SUPERUSER LOGIN));
	sql('raw', qq(CREATE DATABASE "$quoted" OWNER "$quoted" TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'));
	run [ 'psql', '-XAtq', '-d', $node->connstr . " dbname='$libpq'",
		'-c', qq(SET SESSION AUTHORIZATION "$quoted"),
		'-c', q(DO $$ BEGIN RAISE SQLSTATE 'ZZ00A'; END $$) ],
	  '>', \my $out, '2>', \my $err;
	like($err, qr/^ERROR:  ZZ00A/m, 'a database is used') or diag(explain($name));
}
sql('postgres', named_by_application(expression($text{$_}, 'UTF8'))) foreach sort keys %text;
sql('raw', named_by_application(expression($junk{$_}, 'SQL_ASCII'))) foreach sort keys %junk;

# ... in comments, with percent escapes
sql('postgres', "SELECT 1 /*action='" . join('', map { sprintf '%%%02X', ord } split //, $_) . "'*/")
  foreach values %text, values %junk, "a\0b", "\0", "a\0";

# ... and by who receives the log
my @receivers;
foreach my $name (q(a"b\\c'd), "line\nend", 'other', "\xf0\x9f\x98\x80")
{
	my $libpq = $name =~ s/([\\'])/\\$1/gr;

	push @receivers, start [ 'pg_receivewal', '-n', '-s', '1', '-D', PostgreSQL::Test::Utils::tempdir, '-d', $node->connstr . " application_name='$libpq'" ],
	  '>', \my $out, '2>', \my $err;
}
ok( $node->poll_query_until('postgres',
		'SELECT count(*) = ' . @receivers . q( FROM pg_stat_replication WHERE write_lsn IS NOT NULL)), 'receivers of the log');
sql('postgres', q(SELECT pg_create_physical_replication_slot('held', true), pg_create_logical_replication_slot('logical', 'pgoutput')));
status_of($port, $_) foreach "/\"\\", "/%22%0a%ff", "/\xff\xc3", "/\xe2\x80\xa8", '/metrics?format="\\';

# The parsers
my $promtool = find_promtool();
my $python = find_python();
my %parser = (prometheus => 'prometheus_client.parser', openmetrics => 'prometheus_client.openmetrics.parser');

# The samples as the strict parser reads them: name, labels and value
sub samples
{
	my ($format, $text) = @_;
	my ($out, $err);

	run [ $python, '-c', 'import json, sys;'
		. "from $parser{$format} import text_string_to_metric_families as read;"
		. 'json.dump([[s.name, s.labels, str(s.value)] for f in read(sys.stdin.buffer.read().decode("utf-8")) for s in f.samples], sys.stdout)' ],
	  '<', \$text, '>', \$out, '2>', \$err;
	is($err, '', "$format: the strict parser");
	return map { @$_ } eval { decode_json($out) } // [];
}

my %accept = (prometheus => 'text/plain; version=0.0.4', openmetrics => 'application/openmetrics-text; version=1.0.0');
my %sent;
foreach my $format ('prometheus', 'openmetrics')
{
	foreach my $to ($port, $elsewhere ? "$address:$port" : ())
	{
		my $answer = get($to, '/metrics', Accept => $accept{$format}, 'Accept-Encoding' => 'gzip');
		my $text = $answer->{body};
		my $name = "$format, " . ($answer->{headers}{'content-encoding'} // 'plain');

		if ($answer->{headers}{'content-encoding'})
		{
			IO::Uncompress::Gunzip::gunzip(\$answer->{body}, \$text) or die 'gunzip';
		}
		is($answer->{status}, 200, $name);
		is($answer->{headers}{'content-type'}, "$accept{$format}; charset=utf-8", "$name: is what it says");
		accepts([ 'python3', "$FindBin::RealBin/../exposition_check", $format ], $text, "$name: our check");
		accepts([ $promtool, 'check', 'metrics' ], $text, "$name: promtool") if $format eq 'prometheus' && defined $promtool;
		$sent{$format} = [ samples($format, $text) ] if defined $python;
	}
}

SKIP:
{
	skip 'no python3-prometheus-client', 1 if !defined $python;

	# All of both, but for what the requests in between have added
	my %names = map { my $format = $_; $format => { map { $_->[0] => 1 } @{ $sent{$format} } } } keys %sent;
	is_deeply([ sort keys %{ $names{openmetrics} } ], [ sort keys %{ $names{prometheus} } ], 'the same families in both');

	# What is said is in them: cut to 128 bytes, and each in one line
	my %values;
	foreach my $sample (@{ $sent{openmetrics} })
	{
		$values{$_}{ $sample->[1]{$_} } = 1 foreach keys %{ $sample->[1] };
	}
	foreach my $name (sort keys %text)
	{
		my ($value) = $text{$name} =~ /\A((?:[\x00-\x7f]|[\xc0-\xff][\x80-\xbf]+)*)\z/ or die $name;
		my $longest = substr $value, 0, 128;

		$longest =~ s/[\xc0-\xff][\x80-\xbf]*\z// if length $value > 128 && substr($value, 128, 1) =~ /[\x80-\xbf]/;
		$longest =~ tr/\x00-\x1f\x7f/ /;
		utf8::decode($longest);
		is(join(' ', grep { !$values{$_}{$longest} } 'operation', 'endpoint', 'cache_type', 'pool', 'a', 'b'), '', $name);
	}
	foreach my $label ('operation', 'type', 'endpoint', 'cache_type', 'pool', 'a', 'b', 'datname', 'application_name')
	{
		is_deeply([ grep { /[\x00-\x1f\x7f]/ } keys %{ $values{$label} } ], [], "$label: no control characters");
	}
	is_deeply([ grep { !$values{datname}{$_} } '# EOF line     ', "\x{1f600}\x{5e2}\x{202e}\x{2028}", "\x{fffd}\x{fffd}(" ],
		[], 'databases, of which two are one');
	ok($values{application_name}{q(a"b\\c'd)}, 'a receiver');
}

$_->kill_kill foreach @receivers;
$node->stop;
done_testing();
