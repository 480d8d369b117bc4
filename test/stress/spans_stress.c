/*-------------------------------------------------------------------------
 *
 * spans_stress.c
 *	  Threads that write spans into a small ring, and others that read it.
 *
 *		gcc -O2 -ffunction-sections -Wl,--gc-sections -pthread -Isrc \
 *			-I$(pg_config --includedir-server) test/stress/spans_stress.c
 *
 * Whatever is read is one span: all bytes of it are those of one writer.  In a
 * server, statements write so seldom that a reader hardly ever meets one that
 * is being written; here it does all the time.
 *
 * It has spans.c as a part of it, for a ring without shared memory.  What of
 * that needs a server is not used, and so is left out by the linker.
 *
 *-------------------------------------------------------------------------
 */
#include "../../src/spans.c"

#include <pthread.h>
#include <time.h>

/* the server's are in the server */
#undef printf
#undef fprintf

#define SECONDS		4
#define PLACES		2
#define WRITERS		2
#define READERS		2

int			fobs_max_spans = PLACES;

static volatile bool ends = false;

/* What each of them writes */
static FobsSpan written[WRITERS];

/* Found by the readers */
static pg_atomic_uint64 read_spans;
static pg_atomic_uint64 torn_spans;

/* Each writer has a length of its own, and its letter in each byte. */
static uint16
text_len_of(int writer)
{
	return FOBS_SPAN_TEXT_SIZE - 100 * writer;
}

static size_t
size_of(int writer)
{
	return offsetof(FobsSpan, text) + text_len_of(writer);
}

static void *
write_spans(void *arg)
{
	const FobsSpan *span = arg;

	while (!ends)
		write_span(span);
	return NULL;
}

/* Is it what its writer has written, in all of its bytes? */
static bool
is_whole(const FobsSpan *span)
{
	int			writer = ((const char *) span)[0] - 'a';

	return writer >= 0 && writer < WRITERS &&
		span->header.text_len == text_len_of(writer) &&
		memcmp(span, &written[writer], size_of(writer)) == 0;
}

/* The oldest ones are the next that are overwritten. */
static void *
read_spans_again(void *arg)
{
	FobsSpan	span;

	while (!ends)
	{
		uint64		begin = fobs_spans_begin();

		for (uint64 number = begin; number < begin + PLACES; number++)
		{
			if (!fobs_spans_read(number, &span))
				continue;
			pg_atomic_fetch_add_u64(&read_spans, 1);
			if (!is_whole(&span))
				pg_atomic_fetch_add_u64(&torn_spans, 1);
		}
	}
	return NULL;
}

static void
start(pthread_t * thread, void *(*run) (void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg) != 0)
	{
		fprintf(stderr, "could not start a thread\n");
		exit(2);
	}
}

int
main(void)
{
	pthread_t	threads[WRITERS + READERS];
	struct timespec time = {.tv_sec = SECONDS};

	shared = calloc(1, offsetof(SpansShared, places) +
					PLACES * sizeof(SpanPlace));
	if (shared == NULL)
		return 2;
	for (int i = 0; i < WRITERS; i++)
	{
		memset(&written[i], 'a' + i, sizeof(FobsSpan));
		written[i].header.text_len = text_len_of(i);
		start(&threads[i], write_spans, &written[i]);
	}
	for (int i = 0; i < READERS; i++)
		start(&threads[WRITERS + i], read_spans_again, NULL);
	while (nanosleep(&time, &time) != 0)
		;
	ends = true;
	for (int i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i], NULL);
	printf("%llu spans were read, %llu torn\n",
		   (unsigned long long) pg_atomic_read_u64(&read_spans),
		   (unsigned long long) pg_atomic_read_u64(&torn_spans));
	return pg_atomic_read_u64(&read_spans) < 1000 ||
		pg_atomic_read_u64(&torn_spans) > 0;
}
