/*-------------------------------------------------------------------------
 *
 * sending.c
 *	  When which spans are sent.
 *
 * One batch is read from the ring and sent at a time; the ring is the queue,
 * so memory is bounded, and what cannot be sent in time is overwritten there
 * and counted.  The next batch is read when this one is done with: when it was
 * accepted or refused.
 *
 * Where there is no answer, or one that asks to try again, the batch is sent
 * again after a pause: as long as the answer says, else twice as long as the
 * last one, and a bit more at random, so that servers that lost the same
 * endpoint do not all come back at once.  It is given up when it went out
 * MAX_TRIES times: it may be the batch that the endpoint dies of.  Where
 * nothing could be sent, there is nothing to blame it for.
 *
 * After a batch that was accepted the next one is sent at once while there are
 * more, else after otlp_interval, or sooner if the ring fills.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "answer.h"
#include "compat.h"
#include "gzip.h"
#include "headers.h"
#include "sending.h"
#include "transport.h"

#define TRACES_PATH		"v1/traces"

/* How often a batch goes out before it is given up */
#define MAX_TRIES		10

/* Pauses before a batch is sent again */
#define RETRY_MIN_MS	1000
#define RETRY_MAX_MS	60000

/* An endpoint may ask for more than that, but not for everything. */
#define RETRY_AFTER_MAX_S	3600

/* How often to look whether a quarter of the ring waits to be sent */
#define LOOK_MIN_MS		10
#define LOOK_MAX_MS		200

/* How often the server log is told what goes wrong */
#define REPORT_MS		60000

typedef enum State
{
	STATE_OFF,					/* there is no endpoint */
	STATE_IDLE,					/* there are no spans, or not for long */
	STATE_PAUSING,				/* after a failure */
	STATE_SENDING
} State;

static const FobsOtlpSender *sender;
static State state = STATE_OFF;
static int64 pause_until;		/* ms of now_ms() */

/* Where spans are sent to */
static char *endpoint = NULL;
static char *url = NULL;

/* The batch that is being sent, in its context, which holds a request, too */
static MemoryContext batch_context;
static MemoryContext request_context;
static FobsOtlpBatch batch;		/* spans > 0: there is one */
static StringInfoData batch_text;
static int	tries;

/* How often in a row it was to be tried again */
static int	failures = 0;

/* What was found in the ring since when, and how often to look into it */
static uint64 looked_at;
static int64 looked_ms;
static int64 look_ms = LOOK_MAX_MS;

/* The server log was told that something is wrong, and may be again */
static bool complained = false;
static int64 complain_again_ms = 0;

/* Milliseconds of a clock that is never set */
static int64
now_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

void
fobs_sending_init(const FobsOtlpSender *the_sender)
{
	sender = the_sender;
	batch_context = AllocSetContextCreate(TopMemoryContext,
										  "fraiseql_obs span batch",
										  ALLOCSET_DEFAULT_SIZES);
	request_context = AllocSetContextCreate(TopMemoryContext,
											"fraiseql_obs span request",
											ALLOCSET_DEFAULT_SIZES);
	fobs_transport_init();
}

static void
count(pg_atomic_uint64 *counter, uint64 n)
{
	pg_atomic_fetch_add_u64(counter, n);
}

/* Writes down what goes wrong, if that was not said a moment ago. */
static void
complain(const char *message, const char *consequence)
{
	int64		now = now_ms();

	if (now < complain_again_ms)
		return;
	complained = true;
	complain_again_ms = now + REPORT_MS;
	ereport(LOG,
			(errmsg("could not send spans to \"%s\": %s", endpoint, message),
			 consequence != NULL ? errdetail("%s", consequence) : 0));
}

/* All is well. */
static void
stop_complaining(void)
{
	if (complained)
		ereport(LOG,
				(errmsg("spans are sent to \"%s\" again", endpoint)));
	complained = false;
}

/* An answer that accepts spans may have something to say all the same. */
static void
report_remark(const char *message, int rejected)
{
	static int64 again_ms = 0;
	int64		now = now_ms();

	if (now < again_ms)
		return;
	again_ms = now + REPORT_MS;
	ereport(LOG,
			(errmsg("OpenTelemetry endpoint \"%s\" accepted %d of %d spans: %s",
					endpoint, batch.spans - rejected, batch.spans,
					message[0] != '\0' ? message : "no reason given")));
}

static void
pause_for(int64 ms)
{
	state = STATE_PAUSING;
	pause_until = now_ms() + ms;
}

/*
 * Waits for spans to come together, for as long as they may wait.  How often
 * to look whether the ring fills sooner depends on how fast it did until now.
 */
static void
be_idle(void)
{
	int64		now = now_ms();
	uint64		found = batch.next - looked_at;
	double		quarter_ms = LOOK_MAX_MS;

	if (found > 0)
		quarter_ms = (double) *sender->max_spans / 4 / found *
			Max(now - looked_ms, 1);
	look_ms = Max(LOOK_MIN_MS, (int64) Min(quarter_ms, LOOK_MAX_MS));
	looked_at = batch.next;
	looked_ms = now;
	pause_for(batch.awaits ? LOOK_MIN_MS : sender->settings->interval_ms);
	state = STATE_IDLE;
}

static bool
is_ring_filling(void)
{
	return sender->spans_end() - batch.next >= *sender->max_spans / 4;
}

/* How long to wait before sending again what was not accepted */
static int64
retry_pause(int64 retry_after_s)
{
	double		jitter = pg_prng_double(&pg_global_prng_state);
	int64		ms;

	if (retry_after_s > 0)
		return Min(retry_after_s, RETRY_AFTER_MAX_S) * 1000 +
			(int64) (jitter * RETRY_MIN_MS);
	ms = RETRY_MIN_MS;
	for (int i = 1; i < failures && ms < RETRY_MAX_MS; i++)
		ms *= 2;
	ms = Min(ms, RETRY_MAX_MS);
	return ms / 2 + (int64) (jitter * ms / 2);
}

/* The batch is done with, whatever became of it. */
static void
forget_batch(void)
{
	batch.spans = 0;
	MemoryContextReset(batch_context);
}

static void
finish_batch(int accepted, int rejected, int failed)
{
	FobsOtlpShared *shared = sender->shared;

	count(&shared->spans[FOBS_OTLP_ACCEPTED], accepted);
	count(&shared->spans[FOBS_OTLP_REJECTED], rejected);
	count(&shared->spans[FOBS_OTLP_FAILED], failed);
	pg_atomic_write_u64(&shared->next, batch.next);
	forget_batch();
}

/* Reads the next batch, and passes by what is gone; false if there is none. */
static bool
read_batch(void)
{
	MemoryContext before = MemoryContextSwitchTo(batch_context);

	initStringInfo(&batch_text);
	sender->read_batch(&batch, &batch_text);
	MemoryContextSwitchTo(before);
	count(&sender->shared->missed, batch.missed);
	tries = 0;
	if (batch.spans > 0)
		return true;
	finish_batch(0, 0, 0);
	return false;
}

/*
 * Counts what is overwritten while a batch cannot be sent; else it would be
 * noticed only when that is over.
 */
static void
pass_by_overwritten(void)
{
	uint64		begin = sender->spans_begin();

	if (batch.next >= begin)
		return;
	count(&sender->shared->missed, begin - batch.next);
	batch.next = begin;
}

/* The body of a request: the batch, compressed if that is wanted and can be */
static void
make_body(FobsRequest *request)
{
	StringInfoData packed;

	request->body = batch_text.data;
	request->body_len = batch_text.len;
	request->is_gzip = false;
	if (sender->settings->compression != FOBS_OTLP_COMPRESSION_GZIP)
		return;
	initStringInfo(&packed);
	if (!fobs_gzip(&batch_text, &packed))
		return;
	request->body = packed.data;
	request->body_len = packed.len;
	request->is_gzip = true;
}

/* Starts to send the batch; raises what is wrong with the settings. */
static void
start_request(void)
{
	const FobsOtlpSettings *settings = sender->settings;
	FobsRequest request = {
		.url = url,
		.ca_file = settings->ca_file,
		.timeout_ms = settings->timeout_ms,
	};

	if (settings->headers_file[0] != '\0')
		request.headers = fobs_headers_read(settings->headers_file);
	make_body(&request);
	if (!fobs_transport_start(&request))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	state = STATE_SENDING;
}

/* Does that, and tries again later if it raises an error. */
static void
try_start_request(void)
{
	MemoryContext before = MemoryContextSwitchTo(request_context);

	PG_TRY();
	{
		start_request();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(request_context);
		error = CopyErrorData();
		FlushErrorState();
		AtEOXact_Files(false);
		complain(error->message, error->hint);
		failures++;
		pause_for(retry_pause(0));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	if (state != STATE_SENDING)
		MemoryContextReset(request_context);
}

static void
take_accepted(const FobsJudgement *judgement)
{
	failures = 0;
	stop_complaining();
	if (judgement->message[0] != '\0' || judgement->rejected > 0)
		report_remark(judgement->message, judgement->rejected);
	finish_batch(batch.spans - judgement->rejected, judgement->rejected, 0);

	/* at once, if there are more; if not, that is when it is seen */
	pause_for(0);
}

static void
take_failed(const FobsJudgement *judgement)
{
	complain(judgement->message, "These spans are dropped.");
	failures = 0;
	finish_batch(0, 0, batch.spans);
	pause_for(sender->settings->interval_ms);
}

static void
take_unavailable(const FobsAnswer *answer, const FobsJudgement *judgement)
{
	failures++;
	if (answer->was_asked)
		tries++;
	if (tries >= MAX_TRIES)
	{
		complain(judgement->message,
				 "These spans are dropped, as they were tried too often.");
		finish_batch(0, 0, batch.spans);
	}
	else
		complain(judgement->message, "They will be tried again.");
	pause_for(retry_pause(answer->retry_after_s));
}

/* Acts upon what the endpoint has answered. */
static void
take_answer(void)
{
	const FobsAnswer *answer = fobs_transport_answer();
	MemoryContext before = MemoryContextSwitchTo(request_context);
	FobsJudgement judgement;

	count(&sender->shared->requests[answer->status == 0 ? 0 :
									answer->status / 100 - 1], 1);
	fobs_answer_judge(answer, batch.spans, &judgement);
	switch (judgement.meaning)
	{
		case FOBS_MEANS_ACCEPTED:
			take_accepted(&judgement);
			break;
		case FOBS_MEANS_FAILED:
			take_failed(&judgement);
			break;
		case FOBS_MEANS_RETRY:
			take_unavailable(answer, &judgement);
			break;
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(request_context);
}

/* The pause is over. */
static void
end_pause(void)
{
	if (batch.spans > 0)
		pass_by_overwritten();
	else if (!read_batch())
	{
		be_idle();
		return;
	}
	try_start_request();
}

/* Waits for the end of a pause, or for our latch. */
static void
wait_for_pause(uint32 wait_event)
{
	int64		ms = state == STATE_OFF ? -1 :
	Max(pause_until - now_ms(), 0);

	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
					 (ms >= 0 ? WL_TIMEOUT : 0),
					 (long) ms, wait_event);
	ResetLatch(MyLatch);
}

/* Waits for what is next, or our latch, and does it. */
void
fobs_sending_go_on(void)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = WaitEventExtensionNew("FraiseqlObsOtlp");
	if (state == STATE_SENDING)
	{
		if (fobs_transport_wait(wait_event))
			take_answer();
		return;
	}
	wait_for_pause(wait_event);
	if (state != STATE_OFF &&
		(pause_until <= now_ms() ||
		 (state == STATE_IDLE && is_ring_filling())))
		end_pause();
}

/* Sets where to send to, by the rules of OTLP: the setting is a base URL. */
static void
set_endpoint(const char *value)
{
	const char *slash = value[strlen(value) - 1] == '/' ? "" : "/";

	if (endpoint != NULL)
	{
		pfree(endpoint);
		pfree(url);
	}
	endpoint = MemoryContextStrdup(TopMemoryContext, value);
	url = MemoryContextAlloc(TopMemoryContext, strlen(value) +
							 sizeof("/" TRACES_PATH));
	sprintf(url, "%s%s" TRACES_PATH, value, slash);
}

/* Ends all sending. */
static void
turn_off(void)
{
	if (state == STATE_SENDING)
		fobs_transport_cancel();
	forget_batch();
	MemoryContextReset(request_context);
	state = STATE_OFF;
}

/* Begins with what is in the ring and was not sent, and misses no other. */
static void
turn_on(void)
{
	batch.next = Max(pg_atomic_read_u64(&sender->shared->next),
					 sender->spans_begin());
	looked_at = batch.next;
	looked_ms = now_ms();
	pg_atomic_write_u64(&sender->shared->next, batch.next);
}

/* The settings may have changed: does what they say, without a pause. */
void
fobs_sending_configure(void)
{
	const FobsOtlpSettings *settings = sender->settings;

	complain_again_ms = 0;
	failures = 0;
	if (settings->endpoint[0] == '\0')
	{
		turn_off();
		return;
	}
	if (state == STATE_OFF)
		turn_on();
	if (endpoint == NULL || strcmp(endpoint, settings->endpoint) != 0)
	{
		set_endpoint(settings->endpoint);
		if (state == STATE_SENDING)
		{
			fobs_transport_cancel();
			MemoryContextReset(request_context);
			state = STATE_PAUSING;
		}
	}
	if (state != STATE_SENDING)
		pause_for(0);
}
