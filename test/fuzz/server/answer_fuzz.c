/*-------------------------------------------------------------------------
 *
 * answer_fuzz.c
 *	  libFuzzer harness of otlp/answer.c.
 *
 * Whatever an OpenTelemetry endpoint answers: never are more spans rejected
 * than were sent, what goes to the server log is one line of UTF-8, and a
 * status means what it means whatever comes with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "answer.h"
#include "in_server.h"

#define SPANS	100

static const int statuses[] = {200, 0, 204, 400, 429, 503, 599};

static bool
is_one_line(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if ((unsigned char) *text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

/* What is not accepted: its number on the first line, then the reason */
static char *
partial_success(const char *bytes)
{
	size_t		len = strcspn(bytes, "\n");

	return psprintf("{\"partialSuccess\": {\"rejectedSpans\": %.*s, \"errorMessage\": %s}}",
					(int) len, bytes,
					bytes[len] == '\0' ? "null" : bytes + len + 1);
}

/*
 * The first byte says which status it is, whether it is whole, and what the
 * others are.
 */
static void
try_input(const uint8_t *data, size_t size)
{
	FobsAnswer *answer;
	FobsJudgement judgement;
	bool		is_partial;
	int			status;
	char	   *body;
	size_t		len = size - 1;

	if (size < 1)
		return;
	status = statuses[(data[0] >> 2) % lengthof(statuses)];
	is_partial = (data[0] & 2) != 0;
	body = palloc(size);
	memcpy(body, data + 1, len);
	body[len] = '\0';

	if (is_partial)
	{
		body = partial_success(body);
		len = strlen(body);
	}

	/* no longer than need be, so that to read on is to be caught */
	answer = malloc(offsetof(FobsAnswer, body) + len + 1);
	memset(answer, 0, offsetof(FobsAnswer, body));
	answer->status = status;
	answer->is_whole = data[0] & 1;
	strcpy(answer->error, "the answer is too long");
	answer->body_len = len;
	memcpy(answer->body, body, len + 1);
	memset(&judgement, 0x55, sizeof(judgement));
	fobs_answer_judge(answer, SPANS, &judgement);
	free(answer);

	HOLDS(memchr(judgement.message, '\0', sizeof(judgement.message)) != NULL);
	HOLDS(is_one_line(judgement.message));
	HOLDS(pg_verify_mbstr(PG_UTF8, judgement.message,
						  strlen(judgement.message), true));
	HOLDS(judgement.rejected >= 0 && judgement.rejected <= SPANS);
	HOLDS(judgement.rejected == 0 || status / 100 == 2);
	HOLDS((judgement.meaning == FOBS_MEANS_ACCEPTED) == (status / 100 == 2));
	HOLDS((judgement.meaning == FOBS_MEANS_RETRY) ==
		  (status == 0 || status == 429 || status == 503));
}
