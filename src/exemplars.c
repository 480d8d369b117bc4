/*-------------------------------------------------------------------------
 *
 * exemplars.c
 *	  Recent traces, for the buckets of histograms.
 *
 * An exemplar is the latest span in the ring that fell into a bucket, of a
 * client's statement whose trace is sampled.  So it costs a statement nothing,
 * takes no memory of its own, and leads to a span that is still there.
 *
 * What is old says little about the scrape, and whoever stores the trace may
 * have dropped it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "counters.h"
#include "exemplars.h"
#include "spans.h"

#define NS_PER_SEC		INT64CONST(1000000000)

/* Spans that ended longer ago are not taken */
#define OLDEST_NS		(600 * NS_PER_SEC)

/* Nor are more spans looked at, however many are kept */
#define MOST_SPANS		16384

typedef FobsExemplar Buckets[FOBS_EXPORT_BOUNDS + 1];

typedef struct OperationExemplars
{
	FobsOperationKey key;		/* of no database */
	Buckets		buckets;
} OperationExemplars;

struct FobsExemplars
{
	HTAB	   *operations;		/* of OperationExemplars */
	Buckets		databases[FOBS_MAX_DATABASES];
};

static HTAB *
create_operations(void)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(FobsOperationKey);
	info.entrysize = sizeof(OperationExemplars);
	info.hcxt = CurrentMemoryContext;
	return hash_create("fraiseql_obs exemplars", 64, &info,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static FobsExemplar *
find_operation(const FobsExemplars *exemplars, const char *operation,
			   const char *type, HASHACTION action)
{
	FobsOperationKey key;
	OperationExemplars *entry;
	bool		found;

	memset(&key, 0, sizeof(key));
	strlcpy(key.operation, operation, FOBS_OPERATION_SIZE);
	strlcpy(key.type, type, FOBS_OPERATION_TYPE_SIZE);
	entry = hash_search(exemplars->operations, &key, action, &found);
	if (entry == NULL)
		return NULL;
	if (!found)
		memset(entry->buckets, 0, sizeof(entry->buckets));
	return entry->buckets;
}

/* Takes a span as an exemplar, unless a later one was. */
static void
offer(FobsExemplar *buckets, const FobsSpanHeader *header, int64 end_ns)
{
	FobsExemplar *exemplar;

	exemplar = &buckets[fobs_histogram_export_bucket(header->busy_ns)];
	if (exemplar->unix_time > 0)
		return;
	exemplar->unix_time = end_ns / 1e9;
	exemplar->value = header->busy_ns / 1e9;
	fobs_trace_format_id(header->trace.trace_id,
						 sizeof(header->trace.trace_id), exemplar->trace_id);
	fobs_trace_format_id((const uint8 *) &header->span_id,
						 sizeof(header->span_id), exemplar->span_id);
}

/*
 * Looks through the spans for exemplars; all palloc'd.  Needs no database.
 */
FobsExemplars *
fobs_exemplars_collect(void)
{
	FobsExemplars *exemplars = palloc0(sizeof(FobsExemplars));
	uint64		end = fobs_spans_end();
	uint64		begin = fobs_spans_begin();
	int64		now_ns = (int64) (fobs_unix_time(GetCurrentTimestamp()) * 1e9);
	FobsSpan	span;

	exemplars->operations = create_operations();
	if (end > MOST_SPANS)
		begin = Max(begin, end - MOST_SPANS);
	for (uint64 number = end; number > begin; number--)
	{
		const FobsSpanHeader *header = &span.header;
		const char *operation;
		int64		end_ns;

		if (!fobs_spans_read(number - 1, &span) ||
			header->kind != FOBS_SPAN_STATEMENT ||
			!fobs_trace_is_sampled(&header->trace))
			continue;
		end_ns = header->start_ns + (int64) header->duration_ns;
		if (end_ns < now_ns - OLDEST_NS)
			break;
		offer(exemplars->databases[header->database], header, end_ns);
		operation = fobs_spans_text(&span, FOBS_SPAN_OPERATION);
		if (operation[0] != '\0')
			offer(find_operation(exemplars, operation,
								 fobs_spans_text(&span,
												 FOBS_SPAN_OPERATION_TYPE),
								 HASH_ENTER),
				  header, end_ns);
	}
	return exemplars;
}

/*
 * Those of a database, an entry of counters.c, one for each bucket; NULL if
 * none were collected
 */
const FobsExemplar *
fobs_database_exemplars(const FobsExemplars *all, int database)
{
	return all != NULL ? all->databases[database] : NULL;
}

/* Those of an operation, likewise; NULL, too, if it has none */
const FobsExemplar *
fobs_operation_exemplars(const FobsExemplars *all, const char *operation,
						 const char *type)
{
	if (all == NULL)
		return NULL;
	return find_operation(all, operation, type, HASH_FIND);
}
