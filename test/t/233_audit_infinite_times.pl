# Times without an end, and those that no partition is named for, are refused
# where somebody gives them, and never counted or sealed as times that they are
# not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_infinite_times', "fraiseql_obs.audit_worker = off\n");
my $log = 'fraiseql_audit.fraiseql_audit_log';

# SQLSTATE and message of what is refused, within seconds
sub refusal
{
	my ($sql) = @_;
	my (undef, undef, $error) = $node->psql('app', "\\set VERBOSITY verbose\nSET statement_timeout = '10s';\n$sql");
	return $error =~ /ERROR:  (.*)/ ? $1 : $error;
}

sub query { return $node->safe_psql('app', @_); }

set_guard($node, 'off');
query('CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log(guard_triggers => false)');
foreach my $time ('infinity', '-infinity')
{
	is(refusal("SELECT fraiseql_obs.log_operation('op', occurred_at => '$time')"),
		'22023: "occurred_at" of an audit log entry must not be infinite', "occurred_at: $time");
	is(refusal("SELECT fraiseql_obs.audit_ensure_partition('$time')"),
		"22023: cannot make a partition of the audit log for $time", "partition: $time");
	like(refusal("INSERT INTO $log (created_at, operation) VALUES ('$time', 'op')"),
		qr/^23514: no partition of relation/, "created_at: $time");
}
foreach my $time ('294276-12-31 23:59:59+00', '10000-01-01 00:00:00+00', '4714-11-24 00:00:00+00 BC', '2026-11-24 00:00:00+00 BC')
{
	is(refusal("SET timezone = 'UTC'; SELECT fraiseql_obs.audit_ensure_partition('$time')"),
		"22023: cannot make a partition of the audit log for $time", "partition: $time");
	query("SELECT fraiseql_obs.log_operation('op', occurred_at => '$time')");
}
is(query("SELECT fraiseql_obs.audit_ensure_partition('9999-12-31 23:59:59.999999+00')"), '10000-01-01 00:00:00+00', 'the last partition');

# Somebody has made partitions for all time; what is there is sealed nowhere.
sub seal_with
{
	my ($from, $to) = @_;
	query("SELECT fraiseql_obs.log_operation('before')");
	foreach my $bounds ("($from) TO ('0001-01-01')", "('10000-01-01') TO ($to)")
	{
		my $n = $bounds =~ /^\Q($from)\E/ ? 1 : 2;
		query("DROP TABLE IF EXISTS odd_$n;
			CREATE TABLE odd_$n (LIKE $log INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
			ALTER TABLE $log ATTACH PARTITION odd_$n FOR VALUES FROM $bounds");
	}
	query("INSERT INTO $log (created_at, operation) VALUES ('-infinity', 'odd')");
	query("INSERT INTO $log (created_at, operation) VALUES ('infinity', 'odd')") if $to eq 'MAXVALUE';
	query("SELECT fraiseql_obs.log_operation('after')");
	query('SELECT fraiseql_obs.seal_audit_log()');
	return;
}
foreach my $bounds ([ 'MINVALUE', 'MAXVALUE' ], [ q('-infinity'), q('infinity') ])
{
	seal_with(@$bounds);
	is(query("SELECT max(range_from) < 'infinity' AND min(range_from) > '2000-01-01' AND max(range_to) < 'infinity'
		FROM fraiseql_audit.fraiseql_audit_seals"), 't', "@$bounds: no seal for all time");
	is(query(q(SELECT count(*) FROM fraiseql_audit.fraiseql_audit_counts WHERE key = 'odd' OR bucket NOT BETWEEN '2026-01-01' AND '9999-12-31')),
		0, 'nothing that is odd is counted');
	is(query(q(SELECT sum(n) FROM fraiseql_audit.fraiseql_audit_counts WHERE key IN ('before', 'after') AND grain = 'day'
		AND bucket > now() - interval '2 days')), $bounds->[0] eq 'MINVALUE' ? 2 : 4, 'all else is');
	is(query(qq(SELECT count(*) FROM fraiseql_obs.verify_audit_log() WHERE kind = 'table' AND message LIKE '%ordinary table for a period')),
		2, 'which verification says');
	query('DROP TABLE odd_1, odd_2');
}

# nor of a copy of the database, whose rows are sealed anew
$node->safe_psql('app', "SELECT fraiseql_obs.log_operation('last')");
seal_with(q('-infinity'), q('infinity'));
query("SELECT fraiseql_obs.log_operation('unsealed')");
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE app');
$node->safe_psql('copy', 'SELECT fraiseql_obs.create_audit_log(); SELECT fraiseql_obs.seal_audit_log()');
is($node->safe_psql('copy', q(SELECT count(*) FROM fraiseql_audit.fraiseql_audit_counts WHERE key = 'odd')), 0, 'odd rows are not sealed in a copy');
is($node->safe_psql('copy', q(SELECT count(*) > 0 FROM fraiseql_audit.fraiseql_audit_counts WHERE key = 'unsealed')), 't', 'the others are');
$node->stop;
done_testing();
