# Documents are hashed as the text that PostgreSQL makes of them, whatever is in
# them; so anybody can make the hashes again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = start_node('audit_documents');

$node->safe_psql('app', q{
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log();
	CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' });
$node->safe_psql('latin', 'CREATE EXTENSION fraiseql_obs; SELECT fraiseql_obs.create_audit_log()');

# Writes documents, and tells those whose digest is not that of their text.
my $digests = q{
	SELECT fraiseql_obs.log_operation('document', details => document) FROM documents \g /dev/null
	SELECT count(*) FROM fraiseql_audit.fraiseql_audit_log WHERE operation = 'document';
	SELECT left(details::text, 200) FROM fraiseql_audit.fraiseql_audit_log
	WHERE operation = 'document' AND personal_digest <> sha256(personal_salt || '\x010b'
		|| int4send(octet_length(convert_to(details::text, 'UTF8'))) || convert_to(details::text, 'UTF8'));
};

# each shape, and each byte that is escaped, at each place of a word
my $shapes = q{
	CREATE TEMP TABLE documents (document jsonb);
	INSERT INTO documents SELECT d::jsonb FROM unnest(ARRAY['{}', '[]', '1', '"a"', 'null', 'true', 'false', '""',
		'[[]]', '[{}]', '{"a": {}}', '{"a": []}', '{"": ""}', '[null, true, false, 1, "a", [1, [2, {"b": [3]}]]]',
		'{"b": 1, "aa": 2, "a": {"z": null, "y": [true, {"x": -0.0}]}}', '1.00', '-1e-30', '123456789012345678901234567890.5', '1e400']) d;
	INSERT INTO documents SELECT to_jsonb(lpad('', before, 'x') || chr(c) || lpad('', behind, 'y'))
		FROM generate_series(1, 127) c, generate_series(0, 9, 3) before, generate_series(0, 8, 8) behind;
	INSERT INTO documents SELECT jsonb_build_object(repeat(chr(c), n), repeat(chr(c), n))
		FROM unnest(ARRAY[8, 10, 31, 32, 33, 34, 92, 127]) c, generate_series(1, 17) n;
	INSERT INTO documents SELECT jsonb_agg(CASE i % 3 WHEN 0 THEN to_jsonb(i) WHEN 1 THEN to_jsonb('s' || i) ELSE '{"a": [1]}' END)
		FROM generate_series(1, 200) n, generate_series(1, n) i GROUP BY n;
	INSERT INTO documents SELECT jsonb_object_agg('key' || i, CASE i % 3 WHEN 0 THEN to_jsonb(i) WHEN 1 THEN to_jsonb('s' || i) ELSE '[{}]' END)
		FROM generate_series(1, 200) n, generate_series(1, n) i GROUP BY n;
	INSERT INTO documents SELECT (repeat('[', 300) || repeat(']', 300))::jsonb;
};
# beyond ASCII, and such as nobody has thought of
my $random = q{
	SELECT setseed(0.214) \g /dev/null
	CREATE FUNCTION pg_temp.random_text() RETURNS text LANGUAGE sql VOLATILE AS $$
		SELECT coalesce(string_agg(chr(CASE WHEN random() < 0.2 THEN 1 + (random() * 126)::integer
			WHEN random() < 0.2 THEN 160 + (random() * 95)::integer ELSE 97 + (random() * 25)::integer END), ''), '')
		FROM generate_series(1, (random() * 30)::integer) $$;
	CREATE FUNCTION pg_temp.random_document(depth integer) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
	DECLARE
		kind float8 := random() * CASE WHEN depth > 0 THEN 8 ELSE 5 END;
		result jsonb;
	BEGIN
		CASE floor(kind)::integer
			WHEN 0 THEN RETURN to_jsonb(pg_temp.random_text());
			WHEN 1 THEN RETURN to_jsonb(round((random() * 10 ^ (random() * 30 - 10))::numeric, (random() * 10)::integer));
			WHEN 2 THEN RETURN to_jsonb((random() * 100)::integer - 50);
			WHEN 3 THEN RETURN to_jsonb(random() < 0.5);
			WHEN 4 THEN RETURN 'null';
			WHEN 5 THEN
				result := '[]';
				FOR i IN 1 .. (random() * 50)::integer LOOP
					result := result || jsonb_build_array(pg_temp.random_document(depth - 3));
				END LOOP;
			ELSE
				result := '{}';
				FOR i IN 1 .. (random() * 12)::integer LOOP
					result := result || jsonb_build_object(pg_temp.random_text(), pg_temp.random_document(depth - 1));
				END LOOP;
		END CASE;
		RETURN result;
	END $$;
	TRUNCATE documents;
	INSERT INTO documents SELECT pg_temp.random_document(3) FROM generate_series(1, 500);
};

is($node->safe_psql('app', $shapes . $digests), 1572, 'documents of each shape');
is($node->safe_psql('app', 'CREATE TEMP TABLE documents (document jsonb);' . $random . $digests), 2072, 'random ones');
is($node->safe_psql('latin', 'CREATE TEMP TABLE documents (document jsonb);' . $random . $digests), 500, 'in LATIN1');
is($node->safe_psql('app', 'SELECT kind FROM fraiseql_obs.verify_audit_log() WHERE kind <> \'unsealed\''), '', 'none is said to be changed');

$node->stop;
done_testing();
