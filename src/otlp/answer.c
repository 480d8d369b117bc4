/*-------------------------------------------------------------------------
 *
 * answer.c
 *	  What an answer of the endpoint means.
 *
 * By the OpenTelemetry protocol, section OTLP/HTTP: with status 200 the spans
 * are accepted, but for those that "partialSuccess" tells the number of; with
 * 429, 502, 503 or 504, or without an answer, the request is to be tried
 * again; with any other status it must not.
 *
 * A status of 2xx counts though what comes with it makes no sense or does not
 * end: to send the spans again would double them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "answer.h"
#include "compat.h"

/* Bytes of what the endpoint says that go to the server log */
#define EXCERPT_MAX		200

/* Copies a text to where there are EXCERPT_MAX + 1 bytes, fit for a log. */
static void
make_excerpt(const char *text, size_t len, char *excerpt)
{
	bool		is_utf8 = pg_verify_mbstr(PG_UTF8, text, (int) len, true);
	int			n;

	n = is_utf8 ?
		pg_encoding_mbcliplen(PG_UTF8, text, (int) len, EXCERPT_MAX) :
		(int) Min(len, EXCERPT_MAX);
	for (int i = 0; i < n; i++)
	{
		unsigned char c = text[i];
		bool		fits = c >= ' ' && c != 0x7f && (is_utf8 || c < 0x80);

		excerpt[i] = fits ? c : '?';
	}
	excerpt[n] = '\0';
}

/* A member of an object, or NULL */
static JsonbValue *
member(JsonbContainer *object, const char *name)
{
	if (!JsonContainerIsObject(object))
		return NULL;
	return getKeyJsonValueFromContainer(object, name, strlen(name), NULL);
}

/* The value of an int64, which protobuf writes as a string; 0 if it is none */
static int64
int_value(const JsonbValue *value)
{
	Datum		datum;
	char	   *digits;

	if (value == NULL)
		return 0;
	if (value->type == jbvNumeric)
	{
		datum = NumericGetDatum(value->val.numeric);
		return DatumGetInt64(DirectFunctionCall1(numeric_int8, datum));
	}
	if (value->type == jbvString)
	{
		digits = pnstrdup(value->val.string.val, value->val.string.len);
		datum = CStringGetDatum(digits);
		return DatumGetInt64(DirectFunctionCall1(int8in, datum));
	}
	return 0;
}

/* Reads what was not accepted; raises an error for what is not JSON. */
static void
read_partial_success(const char *body, int spans, FobsJudgement *judgement)
{
	Datum		datum = DirectFunctionCall1(jsonb_in, CStringGetDatum(body));
	Jsonb	   *json = DatumGetJsonbP(datum);
	JsonbValue *partial = member(&json->root, "partialSuccess");
	JsonbValue *message;
	int64		rejected;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("not an object")));
	if (partial == NULL || partial->type != jbvBinary)
		return;
	rejected = int_value(member(partial->val.binary.data, "rejectedSpans"));
	judgement->rejected = (int) Min(Max(rejected, 0), spans);
	message = member(partial->val.binary.data, "errorMessage");
	if (message != NULL && message->type == jbvString)
		make_excerpt(message->val.string.val, message->val.string.len,
					 judgement->message);
}

/* Does the same, and says so if that cannot be done. */
static void
try_partial_success(const FobsAnswer *answer, int spans,
					FobsJudgement *judgement)
{
	MemoryContext context = CurrentMemoryContext;

	/* what is no answer by the protocol is not one that rejects anything */
	PG_TRY();
	{
		if (strlen(answer->body) != answer->body_len ||
			!pg_verify_mbstr(PG_UTF8, answer->body, (int) answer->body_len,
							 true))
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("not a text")));
		read_partial_success(answer->body, spans, judgement);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		snprintf(judgement->message, sizeof(judgement->message),
				 "what came with HTTP status %d is not OTLP/JSON",
				 answer->status);
	}
	PG_END_TRY();
}

static void
judge_accepted(const FobsAnswer *answer, int spans, FobsJudgement *judgement)
{
	judgement->meaning = FOBS_MEANS_ACCEPTED;
	if (!answer->is_whole)
		snprintf(judgement->message, sizeof(judgement->message),
				 "HTTP status %d, but: %s", answer->status, answer->error);
	else if (answer->body_len > 0)
		try_partial_success(answer, spans, judgement);
}

static void
describe_status(const FobsAnswer *answer, FobsJudgement *judgement)
{
	char		excerpt[EXCERPT_MAX + 1];

	make_excerpt(answer->body, answer->body_len, excerpt);
	snprintf(judgement->message, sizeof(judgement->message),
			 excerpt[0] != '\0' ? "HTTP status %d: %s" : "HTTP status %d",
			 answer->status, excerpt);
}

/* Says what the answer to so many spans means. */
void
fobs_answer_judge(const FobsAnswer *answer, int spans,
				  FobsJudgement *judgement)
{
	memset(judgement, 0, sizeof(FobsJudgement));
	switch (answer->status)
	{
		case 0:
			judgement->meaning = FOBS_MEANS_RETRY;
			strlcpy(judgement->message, answer->error,
					sizeof(judgement->message));
			return;
		case 429:
		case 502:
		case 503:
		case 504:
			judgement->meaning = FOBS_MEANS_RETRY;
			break;
		default:
			if (answer->status >= 200 && answer->status < 300)
			{
				judge_accepted(answer, spans, judgement);
				return;
			}
			judgement->meaning = FOBS_MEANS_FAILED;
			break;
	}
	describe_status(answer, judgement);
}
