# Members of the log's owner may call what seals are made with: whatever they
# give it, the server stays.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_owner_calls', 'fraiseql_obs.audit_worker = off');

$node->safe_psql('app', q(
	CREATE ROLE keeper NOLOGIN;
	CREATE ROLE lawyer LOGIN IN ROLE keeper;
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log(owner => 'keeper');
	CREATE SCHEMA own AUTHORIZATION lawyer;
	SET ROLE lawyer;
	CREATE TABLE own.fraiseql_audit_counts (dimension text, grain text, bucket timestamptz, key bigint, result bigint, n text);
	INSERT INTO own.fraiseql_audit_counts VALUES ('total', 'day', '2026-01-01', 1, 1, '1');
	CREATE TABLE own.fraiseql_audit_actor_days (day date, user_id bigint, n text, failed text, denied text, ranked text);
	INSERT INTO own.fraiseql_audit_actor_days VALUES ('2026-01-01', 1, 1, 1, 1, 1)));

foreach (
	[ 'audit_seal_rows(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)', 'which rows are to be sealed must not be null' ],
	[ q(audit_seal_rows(1, 1, false, 0, NULL, NULL, NULL, '1:1:')), 'relation with OID 1 does not exist' ],
	[ 'audit_rollup_root(1, now(), now())', 'relation with OID 1 does not exist' ])
{
	my ($call, $message) = @$_;
	my (undef, undef, $err) = $node->psql('app', "SELECT * FROM fraiseql_obs.$call", extra_params => [ '-U', 'lawyer' ]);
	like($err, qr/ERROR:  $message/, $call);
}

is($node->safe_psql('app', q(SELECT length(fraiseql_obs.audit_rollup_root('own.fraiseql_audit_counts', '2026-01-01', '2026-01-02'))),
	extra_params => [ '-U', 'lawyer' ]), '32', 'tables of other types');

$node->stop;
done_testing();
