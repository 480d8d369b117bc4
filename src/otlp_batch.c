/*-------------------------------------------------------------------------
 *
 * otlp_batch.c
 *	  The spans since one, as a request.
 *
 * The ring of spans.c is the queue of who sends them on: spans are read in the
 * order of their numbers, and what newer ones have overwritten meanwhile is
 * counted.  So whoever writes spans never waits for who sends them, and does
 * nothing for it either.
 *
 * A number may be drawn and its span not written yet.  It is waited for, which
 * takes microseconds, unless the span was dropped.  So after a while it is
 * taken for missing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "portability/instr_time.h"

#include "compat.h"
#include "counters.h"
#include "otlp_batch.h"
#include "otlp_json.h"
#include "spans.h"

/* How much is in a request; servers commonly take 1 MB. */
#define MAX_SPANS		512
#define MAX_BYTES		(512 * 1024)

/* How long to wait for a span that has a number */
#define PATIENCE_MS		1000

/* Is it worth waiting for a span that cannot be read? */
static bool
may_still_come(uint64 number)
{
	static uint64 awaited = 0;
	static instr_time since = {0};
	instr_time	waited;

	if (number < fobs_spans_begin())
		return false;
	INSTR_TIME_SET_CURRENT(waited);
	if (INSTR_TIME_IS_ZERO(since) || awaited != number)
	{
		awaited = number;
		since = waited;
		return true;
	}
	INSTR_TIME_SUBTRACT(waited, since);
	return INSTR_TIME_GET_MILLISEC(waited) < PATIENCE_MS;
}

static void
begin_request(FobsOtlpRequest *request, StringInfo out)
{
	request->out = out;
	request->translate = NULL;
	request->databases = palloc(FOBS_MAX_DATABASES *
								sizeof(*request->databases));
	fobs_counters_databases(request->databases, NULL);
	fobs_otlp_begin(request);
}

/*
 * Writes as many spans as are good for one request, UTF-8, from batch->next
 * on.  Allocates in the current memory context.
 */
void
fobs_otlp_batch_read(FobsOtlpBatch *batch, StringInfo out)
{
	uint64		begin = fobs_spans_begin();
	uint64		end = fobs_spans_end();
	FobsOtlpRequest request;
	FobsSpan	span;
	FobsSpanPart parts[FOBS_SPAN_PARTS];

	batch->missed = 0;
	batch->spans = 0;
	batch->awaits = false;
	if (batch->next < begin)
	{
		batch->missed = begin - batch->next;
		batch->next = begin;
	}
	if (batch->next >= end)
		return;
	begin_request(&request, out);
	for (; batch->next < end && out->len < MAX_BYTES &&
		 batch->spans <= MAX_SPANS - FOBS_SPAN_PARTS; batch->next++)
	{
		int			n;

		if (!fobs_spans_read(batch->next, &span))
		{
			batch->awaits = may_still_come(batch->next);
			if (batch->awaits)
				break;
			batch->missed++;
			continue;
		}
		n = fobs_spans_parts(&span, parts);
		for (int i = 0; i < n; i++)
			fobs_otlp_span(&request, &span, &parts[i]);
		batch->spans += n;
	}
	fobs_otlp_end(&request);
}
