# Values that are stored compressed or out of line are hashed and counted as what
# they are, and not as where they are.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = "$FindBin::RealBin/../../bin/fraiseql-obs-verify";
my $file = PostgreSQL::Test::Utils::tempdir . '/dump.sql';
my $node = start_node('audit_large_values');
my $out;

$node->safe_psql('app', q{
	SET statement_timeout = '1min';
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log();
	-- text that nothing compresses, and text that becomes small
	CREATE FUNCTION noise(seed text, n integer) RETURNS text LANGUAGE sql AS $$
		SELECT left(string_agg(translate(encode(sha256(convert_to(seed || i, 'UTF8')), 'base64'), E'\n', ''), ''), n)
		FROM generate_series(1, n / 40 + 1) i $$;
	SELECT fraiseql_obs.log_operation('noise', noise('t', 1000), noise('e', 1000), user_id => noise('u', 1000),
		error_message => noise('m', 8000), result => 'failure', changed_fields => ARRAY[noise('c', 1000), NULL],
		details => jsonb_build_object('a', noise('d', 3000), 'b', jsonb_build_array(1.50, noise('f', 3000))));
	SELECT fraiseql_obs.log_operation('keys alone', noise('t', 1000), noise('e', 1000), user_id => noise('u', 1000));
	SELECT fraiseql_obs.log_operation('small', repeat('t', 1000), repeat('e', 1000), user_id => repeat('u', 1000),
		error_message => repeat('m', 8000), result => 'failure', changed_fields => ARRAY[repeat('c', 1000)],
		details => jsonb_build_object('a', repeat('d', 30000), 'b', jsonb_build_array(1.50, repeat('f', 30000))));
	SELECT fraiseql_obs.seal_audit_log() });
is($node->safe_psql('app', q{
	SELECT operation, pg_column_size(user_id) < octet_length(user_id), pg_column_size(error_message) < octet_length(error_message)
	FROM fraiseql_audit.fraiseql_audit_log ORDER BY id }),
	"noise|f|f\nkeys alone|f|\nsmall|t|t", 'some are compressed');
cmp_ok($node->safe_psql('app', q{
	SELECT sum(pg_relation_size(reltoastrelid)) FROM pg_class
	WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'fraiseql_audit.fraiseql_audit_log'::regclass) }),
	'>', 0, 'some are out of line');

is($node->safe_psql('app', 'SELECT kind, message FROM fraiseql_obs.verify_audit_log()'), '', 'none is said to be changed');
is($node->safe_psql('app', q{
	SELECT sum(n) FILTER (WHERE user_id = noise('u', 1000)), sum(n) FILTER (WHERE user_id = repeat('u', 1000))
	FROM fraiseql_audit.fraiseql_audit_actor_days }), '2|1', 'users are counted by their names');

$node->command_ok([ 'pg_dump', '-n', 'fraiseql_audit', '-f', $file, 'app' ], 'dumped');
IPC::Run::run([ 'python3', $tool, $file ], '>', \$out);
like($out, qr/: 0 violations, 0 gaps$/, 'so says the tool');

$node->stop;
done_testing();
