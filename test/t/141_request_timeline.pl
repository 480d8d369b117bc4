# One request as it went through the database: its spans, what was slow or has
# failed, its entries in the audit log and the errors of FraiseQL's tracker, in
# the order of time and each once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use Test::More;

my $node = start_node('timeline', q(
	fraiseql_obs.slow_query_threshold = '500ms'
	fraiseql_obs.max_spans = 64));
my ($trace, $other) = ('1' x 32, '2' x 32);

# "source what sqlstate" of a request, separated by commas
sub timeline
{
	my ($arguments, $role) = @_;
	my @as = defined $role ? (extra_params => [ '-U', $role ]) : ();
	return $node->safe_psql('postgres', qq(
		SELECT string_agg(concat_ws(' ', source, what, sqlstate), ', ' ORDER BY n)
		FROM fraiseql_obs.request_timeline($arguments) WITH ORDINALITY AS t
			(at, source, what, duration_ms, result, sqlstate, user_id, tenant_id, trace_id, span_id, request_id, details, n)), @as);
}

$node->safe_psql('postgres', q(
	SELECT fraiseql_obs.create_audit_log();
	CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats;
	CREATE ROLE owner LOGIN;
	CREATE TABLE t (a integer PRIMARY KEY)));
my $setting = "SET fraiseql_obs.traceparent = '00-$trace-00000000000000aa-01';"
  . "SET fraiseql_obs.request_id = 'request 1'; SET fraiseql_obs.tenant_id = 'tenant';";
my $expected = 'statement INSERT, statement SELECT, audit order.create, commit COMMIT, '
  . 'slow statement SELECT, failed statement INSERT 23505';

is(timeline(q('request 1')), '', 'nothing yet');
is(timeline("'$trace'"), '', 'nor of the trace');
$node->psql('postgres', "$setting BEGIN; INSERT INTO t VALUES (1); SELECT fraiseql_obs.log_operation('order.create'); COMMIT;
	SELECT pg_sleep(0.6); INSERT INTO t VALUES (1)", on_error_stop => 0);
# another request, and one that has this one's trace
$node->safe_psql('postgres', "SET fraiseql_obs.traceparent = '00-$other-00000000000000aa-01';"
	  . " SET fraiseql_obs.request_id = 'request 2'; SELECT 'other', pg_sleep(0.6)");
is(timeline(q('request 1')), $expected, 'by request');
is(timeline("'$trace'"), $expected, 'by trace');
is(timeline(uc "'$trace'"), $expected, 'in capitals');
is( $node->safe_psql('postgres', q(SELECT string_agg(DISTINCT concat_ws('/', result, tenant_id, trace_id, request_id), ' ')
		FROM fraiseql_obs.request_timeline('request 1'))),
	"failure/tenant/$trace/request 1 success/tenant/$trace/request 1", 'all of it carries the same');
$node->safe_psql('postgres', "SET fraiseql_obs.traceparent = '00-$trace-00000000000000ab-00'; SELECT fraiseql_obs.log_operation('order.pay')");
is(timeline(q('request 1')), "$expected, audit order.pay", 'what has but its trace belongs to it');
$expected .= ', audit order.pay';
is(timeline(q('request 1', now() + interval '1 hour')), '', 'not before a time');
is(timeline(q('request 1'), 'reader'), $expected =~ s/audit [\w.]+,? ?//gr =~ s/, $//r, 'no audit log for who may not read it');
$node->safe_psql('postgres', q(SELECT fraiseql_obs.grant_audit_reader('reader')));
is(timeline(q('request 1'), 'reader'), $expected, 'who may, does');
my (undef, undef, $error) = $node->psql('postgres', 'SELECT fraiseql_obs.request_timeline(NULL)');
like($error, qr/id and since must not be null/, 'no request');

# 16 has renamed the setting
is( $node->safe_psql('postgres', q(
		SET max_parallel_workers_per_gather = 2;
		SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
		SELECT count(*) > 0 FROM fraiseql_obs.request_timeline('request 1'))),
	"on\nt", 'where queries are parallel');

# FraiseQL's error tracker
$node->safe_psql('postgres', qq(
	CREATE TABLE tb_error_log (error_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), error_fingerprint text NOT NULL UNIQUE,
		error_type text NOT NULL, error_message text NOT NULL, stack_trace text, request_context jsonb DEFAULT '{}',
		application_context jsonb DEFAULT '{}', user_context jsonb DEFAULT '{}', first_seen timestamptz NOT NULL DEFAULT now(),
		last_seen timestamptz NOT NULL DEFAULT now(), occurrence_count integer DEFAULT 1, status text DEFAULT 'unresolved',
		trace_id text, span_id text, severity text DEFAULT 'error');
	INSERT INTO tb_error_log (error_fingerprint, error_type, error_message, trace_id) VALUES ('f1', 'DuplicateOrder', 'order exists', '$trace')));
is(timeline(q('request 1')), "$expected, error DuplicateOrder", 'the log of errors alone');
$node->safe_psql('postgres', qq(
	CREATE TABLE tb_error_occurrence (occurrence_id uuid NOT NULL DEFAULT gen_random_uuid(), error_id uuid NOT NULL,
		occurred_at timestamptz NOT NULL DEFAULT now(), request_context jsonb, user_context jsonb, stack_trace text,
		breadcrumbs jsonb DEFAULT '[]', trace_id text, span_id text, PRIMARY KEY (occurrence_id, occurred_at)) PARTITION BY RANGE (occurred_at);
	CREATE TABLE tb_error_occurrence_all PARTITION OF tb_error_occurrence DEFAULT;
	INSERT INTO tb_error_occurrence (error_id, trace_id, span_id, user_context) SELECT error_id, '$trace', 'bb', '{"user_id": "u"}' FROM tb_error_log;
	INSERT INTO tb_error_occurrence (error_id, trace_id) SELECT error_id, '$other' FROM tb_error_log;
	INSERT INTO tb_error_log (error_fingerprint, error_type, error_message, request_context)
		VALUES ('f2', 'NoMail', 'no mail', '{"request_id": "request 1"}')));
is(timeline(q('request 1')), "$expected, error DuplicateOrder, error NoMail", 'occurrences, and errors that have none');
is( $node->safe_psql('postgres', q(SELECT span_id, user_id, details->>'message', details->>'severity'
		FROM fraiseql_obs.request_timeline('request 1') WHERE what = 'DuplicateOrder')),
	'bb|u|order exists|error', 'with what the log says');
is(timeline(q('request 1'), 'reader'), $expected, 'not for who may not read the tables');
$node->safe_psql('postgres', 'GRANT SELECT ON tb_error_log, tb_error_occurrence TO reader');
is(timeline(q('request 1'), 'reader'), "$expected, error DuplicateOrder, error NoMail", 'with a grant they are');
$node->safe_psql('postgres', 'ALTER TABLE tb_error_log OWNER TO owner; ALTER TABLE tb_error_occurrence OWNER TO owner');
is(timeline(q('request 1')), $expected, 'nor tables of just anybody');
is(timeline(q('request 1', error_log => 'tb_error_log')), "$expected, error DuplicateOrder, error NoMail", 'unless they are named');

# A table of another form, named or not
$node->safe_psql('postgres', q(
	CREATE TABLE log (error_id integer, error_type text, severity text, "Message" text);
	ALTER TABLE log ADD last_seen timestamptz;
	ALTER TABLE log DROP last_seen;
	CREATE SCHEMA odd;
	CREATE TABLE odd.tb_error_log (LIKE log)));
(undef, undef, $error) = $node->psql('postgres', q(SELECT fraiseql_obs.request_timeline('request 1', error_log => 'log')));
like($error, qr/ERROR: .* "public\.log" lacks columns of a log of errors\nDETAIL:  Missing: "error_message", "status", "last_seen", "trace_id", "span_id", "request_context", "user_context"\.\nHINT: /,
	'what a table lacks');
unlike($error, qr/SQL statement/, 'without what is done inside');
is(timeline(q('request 1')), $expected, 'by its name alone it is no log of errors');
$node->safe_psql('postgres', q(
	CREATE VIEW odd.log AS SELECT 1 AS error_id, 'OddOrder' AS error_type, 'odd' AS error_message, 'error' AS severity,
		'new' AS status, now() AS last_seen, NULL AS trace_id, NULL AS span_id, '{"request_id": "request 1"}'::jsonb AS request_context,
		NULL::jsonb AS user_context;
	CREATE TABLE odd.tb_error_occurrence (error_id integer)));
is(timeline(q('request 1', error_log => 'odd.log')), "$expected, error OddOrder", 'a view that has what it lacks');
$node->safe_psql('postgres', q(
	CREATE DOMAIN odd.short AS varchar(10);
	CREATE VIEW odd.strings AS SELECT error_id, error_type::odd.short AS error_type, error_message::varchar AS error_message,
		severity::odd.short AS severity, status::name AS status, last_seen, trace_id::odd.short AS trace_id,
		span_id::char(16) AS span_id, request_context, user_context FROM odd.log;
	CREATE VIEW odd.types AS SELECT error_id, 1 AS error_type, error_message, severity, status,
		last_seen::timestamp AS last_seen, trace_id, span_id, request_context::json AS request_context, user_context FROM odd.log));
is(timeline(q('request 1', error_log => 'odd.strings')), "$expected, error OddOrder", 'and one with strings of other types');
(undef, undef, $error) = $node->psql('postgres', q(SELECT fraiseql_obs.request_timeline('request 1', error_log => 'odd.types')));
like($error, qr/ERROR: .* "odd\.types" has columns of other types than those of a log of errors\nDETAIL:  Column "error_type" is of type integer and not text, "last_seen" is of type timestamp without time zone and not timestamp with time zone, "request_context" is of type json and not jsonb\.\nHINT: /,
	'what is of another type');
# beside the log, its owner's
$node->safe_psql('postgres', q(
	CREATE TABLE odd.tb_error (LIKE odd.log);
	INSERT INTO odd.tb_error SELECT * FROM odd.log;
	DROP TABLE odd.tb_error_occurrence;
	CREATE TABLE odd.tb_error_occurrence (error_id uuid, occurred_at timestamptz, trace_id text, span_id text, request_context jsonb, user_context jsonb)));
is(timeline(q('request 1', error_log => 'odd.tb_error')), "$expected, error OddOrder", 'occurrences of other errors are none of its');
$node->safe_psql('postgres', 'ALTER TABLE odd.tb_error_occurrence DROP error_id, ADD error_id integer, ALTER occurred_at TYPE timestamp');
is(timeline(q('request 1', error_log => 'odd.tb_error')), "$expected, error OddOrder", 'nor what has times of another type');

# What spans have lost, the log of slow statements still has.
$node->safe_psql('postgres', "$setting SET fraiseql_obs.request_id = 'other'; SET fraiseql_obs.traceparent = '00-$other-00000000000000aa-01'; SELECT 1;" x 70);
is(timeline(q('request 1')), 'audit order.create, slow statement, failed statement 23505, audit order.pay', 'spans are overwritten');
done_testing();
