/*-------------------------------------------------------------------------
 *
 * spans.c
 *	  The latest spans, in shared memory.
 *
 * A ring of fobs_max_spans places, each with what is known of one statement or
 * commit.  Any process writes: it draws a number, which names the place, and
 * claims the place by setting its version to an odd number; when the span is
 * written, the version is the number's even one.  A reader copies a span and
 * takes the copy only if the version was even and has not changed meanwhile.
 * So there is no lock, and nobody waits.  A span whose place is still being
 * written by somebody else when the ring has come round is dropped; that and
 * what newer spans overwrite is counted.
 *
 * One place makes up to three spans for those who read: of the statement, of
 * its planning and of its execution.  The identifiers of these two follow from
 * the statement's, so that what is run by the statement can name the latter as
 * its parent while it is not written yet.
 *
 * Texts stand one after the other, so that only as many bytes are written as
 * there are.  They are UTF-8, because who reads them may be in a database of
 * another encoding, or in none.  The statement's own comes last and is cut.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_authid.h"
#include "common/int.h"
#include "common/pg_prng.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "guc.h"
#include "label.h"
#include "spans.h"

/* Told from the statement's identifier by these bits */
#define PLANNING_BITS	UINT64CONST(0x9e3779b97f4a7c15)
#define EXECUTION_BITS	UINT64CONST(0xc2b2ae3d27d4eb4f)

typedef struct SpanPlace
{
	pg_atomic_uint64 version;	/* see number_version(); 0: never written */
	FobsSpan	span;			/* belongs to who made the version odd */
} SpanPlace;

StaticAssertDecl(sizeof(SpanPlace) == FOBS_SPAN_PLACE_SIZE,
				 "FobsSpan must have no padding");

/* With all texts at their longest, some room is left for the statement's */
StaticAssertDecl(FOBS_SPAN_TEXT_SIZE >=
				 sizeof(((FobsSpanRequest *) NULL)->text) + 256,
				 "FOBS_SPAN_PLACE_SIZE is too small");

typedef struct SpansShared
{
	pg_atomic_uint64 next;		/* number */
	pg_atomic_uint64 first;		/* older ones were reset away */
	pg_atomic_uint64 dropped;
	char		padding[PG_CACHE_LINE_SIZE];
	SpanPlace	places[FLEXIBLE_ARRAY_MEMBER];
} SpansShared;

static SpansShared *shared = NULL;

/* The generator of this process */
static pg_prng_state generator;
static int	generator_pid = 0;

static Size
shmem_size(void)
{
	return add_size(offsetof(SpansShared, places),
					mul_size(fobs_max_spans, sizeof(SpanPlace)));
}

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_spans_shmem_request(void)
{
	RequestAddinShmemSpace(shmem_size());
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_spans_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_spans", shmem_size(), &found);
	if (found)
		return;
	pg_atomic_init_u64(&shared->next, 0);
	pg_atomic_init_u64(&shared->first, 0);
	pg_atomic_init_u64(&shared->dropped, 0);
	for (int i = 0; i < fobs_max_spans; i++)
		pg_atomic_init_u64(&shared->places[i].version, 0);
}

/*
 * Identifiers
 */

/* A child must not go on where its parent's generator is. */
static pg_noinline void
seed_generator(void)
{
	/* not as good, but that never fails */
	if (!pg_prng_strong_seed(&generator))
		pg_prng_seed(&generator, (uint64) MyStartTimestamp ^
					 ((uint64) MyProcPid << 40));
	generator_pid = MyProcPid;
}

static inline uint64
random_bits(void)
{
	if (unlikely(generator_pid != MyProcPid))
		seed_generator();
	return pg_prng_uint64(&generator);
}

/* The identifier of a statement's execution */
FobsSpanId
fobs_spans_execution_id(FobsSpanId span_id)
{
	return span_id ^ EXECUTION_BITS;
}

/* A new identifier for a statement; none that follows from it is 0, either. */
FobsSpanId
fobs_spans_new_id(void)
{
	FobsSpanId	id;

	do
	{
		id = random_bits();
	} while (id == 0 || id == PLANNING_BITS || id == EXECUTION_BITS);
	return id;
}

/* A trace of its own, without a parent and not sampled */
void
fobs_spans_new_trace(FobsTrace *trace)
{
	uint64		halves[2];

	do
	{
		halves[0] = random_bits();
		halves[1] = random_bits();
	} while ((halves[0] | halves[1]) == 0);
	memset(trace, 0, sizeof(FobsTrace));
	memcpy(trace->trace_id, halves, sizeof(halves));
	trace->flags = FOBS_TRACE_RANDOM;
}

/*
 * Writing
 */

static void
append_text(FobsSpanRequest *request, const char *text)
{
	size_t		size = strlen(text) + 1;

	memcpy(request->text + request->len, text, size);
	request->len += size;
}

/* Puts together what is the same in all spans of a request. */
void
fobs_spans_pack(FobsSpanRequest *request, const FobsContext *context)
{
	char		id[FOBS_ID_SIZE];

	request->len = 0;
	append_text(request, context->operation.operation);
	append_text(request, context->operation.type);
	fobs_context_user_id(context, id);
	append_text(request, id);
	fobs_context_tenant_id(context, id);
	append_text(request, id);
	append_text(request, context->request_id);
}

/* Appends what is in the server's encoding, as much as there is room for. */
static void
append_query(FobsSpan *span, const char *query, int query_len)
{
	char	   *start = span->text + span->header.text_len;

	if (likely(query == NULL))
	{
		*start = '\0';
		span->header.text_len++;
		return;
	}
	/* white space behind the statement before it in the string */
	for (; query_len > 0 && isspace((unsigned char) *query); query_len--)
		query++;
	fobs_label_copy(start, FOBS_SPAN_TEXT_SIZE - span->header.text_len,
					query, query_len);
	span->header.text_len += strlen(start) + 1;
}

/* The version of a span that is completely written; one less: half-way */
static inline uint64
number_version(uint64 number)
{
	return (number + 1) * 2;
}

static inline SpanPlace *
number_place(uint64 number)
{
	return &shared->places[number % fobs_max_spans];
}

static void
write_span(const FobsSpan *span)
{
	uint64		number = pg_atomic_fetch_add_u64(&shared->next, 1);
	SpanPlace  *place = number_place(number);
	uint64		version = pg_atomic_read_u64(&place->version);
	uint64		mine = number_version(number);

	/* odd: somebody writes; greater: the ring has overtaken us */
	if (version % 2 != 0 || version > mine ||
		!pg_atomic_compare_exchange_u64(&place->version, &version, mine - 1))
	{
		pg_atomic_fetch_add_u64(&shared->dropped, 1);
		return;
	}
	pg_write_barrier();
	memcpy(&place->span, span,
		   offsetof(FobsSpan, text) + span->header.text_len);
	pg_write_barrier();
	pg_atomic_write_u64(&place->version, mine);
}

/*
 * Records a span.  The caller has filled in its header, but for database, pid
 * and text_len.  "query" is the statement's text in the server's encoding, or
 * NULL if it is not to be shown.  This process must have attached to the
 * counters.  Never raises an error.
 */
void
fobs_spans_add(FobsSpan *span, const FobsSpanRequest *request,
			   const char *query, int query_len)
{
	span->header.database = fobs_counters_database();
	span->header.pid = MyProcPid;
	memcpy(span->text, request->text, request->len);
	span->header.text_len = request->len;
	append_query(span, query, query_len);
	write_span(span);
}

/*
 * Reading
 */

/* The number that the next span will have */
uint64
fobs_spans_end(void)
{
	return pg_atomic_read_u64(&shared->next);
}

/* The number of the oldest span that may be there still */
uint64
fobs_spans_begin(void)
{
	uint64		begin = pg_atomic_read_u64(&shared->first);
	uint64		end = fobs_spans_end();

	return end > fobs_max_spans ? Max(begin, end - fobs_max_spans) : begin;
}

/* Copies the span of that number; false if it is not there, or not yet. */
bool
fobs_spans_read(uint64 number, FobsSpan *span)
{
	SpanPlace  *place = number_place(number);
	uint64		version = number_version(number);

	if (pg_atomic_read_u64(&place->version) != version)
		return false;
	pg_read_barrier();
	span->header = place->span.header;
	if (span->header.text_len <= FOBS_SPAN_TEXT_SIZE)
		memcpy(span->text, place->span.text, span->header.text_len);
	pg_read_barrier();
	return pg_atomic_read_u64(&place->version) == version;
}

/* One of the texts of a span, UTF-8; '' if it is not known */
const char *
fobs_spans_text(const FobsSpan *span, FobsSpanText which)
{
	const char *text = span->text;

	for (int i = 0; i < which; i++)
		text += strlen(text) + 1;
	return text;
}

/* What a span's statement is, such as SELECT */
const char *
fobs_spans_command(const FobsSpan *span)
{
	return span->header.command == CMDTAG_UNKNOWN ? "statement" :
		GetCommandTagName(span->header.command);
}

/* A client's statement is told apart by its operation, too. */
static void
name_part(const FobsSpan *span, FobsSpanPart *part)
{
	const char *operation = fobs_spans_text(span, FOBS_SPAN_OPERATION);

	strlcpy(part->name, fobs_spans_command(span), NAMEDATALEN);
	if (part->kind == FOBS_SPAN_STATEMENT && operation[0] != '\0')
	{
		strlcat(part->name, " ", sizeof(part->name));
		strlcat(part->name, operation, sizeof(part->name));
	}
}

/* A part of a statement, as a child of it */
static void
make_child(const FobsSpanPart *statement, FobsSpanPart *part,
		   FobsSpanKind kind, const char *name)
{
	*part = *statement;
	part->kind = kind;
	memcpy(part->parent_id, &statement->span_id, sizeof(part->parent_id));
	part->is_root = false;
	part->parent_is_remote = false;
	strlcpy(part->name, name, sizeof(part->name));
}

/*
 * Makes the spans of which one place tells, at most FOBS_SPAN_PARTS, the
 * statement or commit itself first; returns how many there are.
 */
int
fobs_spans_parts(const FobsSpan *span, FobsSpanPart *parts)
{
	const FobsSpanHeader *header = &span->header;
	FobsSpanPart *statement = &parts[0];
	int			n = 1;

	statement->kind = header->kind;
	statement->span_id = header->span_id;
	memcpy(statement->parent_id, header->trace.parent_id,
		   sizeof(statement->parent_id));
	statement->is_root = true;
	for (int i = 0; i < sizeof(statement->parent_id); i++)
		statement->is_root = statement->is_root &&
			statement->parent_id[i] == 0;
	statement->parent_is_remote = header->parent_is_remote;
	statement->start_ns = header->start_ns;
	statement->end_ns = header->start_ns + (int64) header->duration_ns;
	name_part(span, statement);

	if (header->planning_ns > 0)
	{
		make_child(statement, &parts[n], FOBS_SPAN_PLANNING, "planning");
		parts[n].span_id = header->span_id ^ PLANNING_BITS;
		parts[n].end_ns = header->start_ns + (int64) header->planning_ns;
		n++;
	}
	if (header->execution_ns > 0)
	{
		make_child(statement, &parts[n], FOBS_SPAN_EXECUTION, "execution");
		parts[n].span_id = fobs_spans_execution_id(header->span_id);
		parts[n].start_ns = statement->end_ns - (int64) header->execution_ns;
		n++;
	}
	return n;
}

/* Tells what became of the spans since the last reset. */
FobsSpansInfo
fobs_spans_info(void)
{
	uint64		first = pg_atomic_read_u64(&shared->first);
	uint64		drawn = fobs_spans_end() - first;
	FobsSpansInfo info;

	info.dropped = pg_atomic_read_u64(&shared->dropped);
	info.recorded = drawn - Min(info.dropped, drawn);
	info.overwritten = drawn > fobs_max_spans ? drawn - fobs_max_spans : 0;
	info.overwritten = Min(info.overwritten, info.recorded);
	return info;
}

/* Forgets the spans, and the counters about them. */
void
fobs_spans_reset(void)
{
	pg_atomic_write_u64(&shared->first, fobs_spans_end());
	pg_atomic_write_u64(&shared->dropped, 0);
}

/*
 * In SQL
 */

#define NS_PER_US			INT64CONST(1000)
#define EPOCHS_APART_US \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static TimestampTz
timestamp_of_ns(int64 ns)
{
	return ns / NS_PER_US - EPOCHS_APART_US;
}

/* Nanoseconds since 1970, or the greatest that there are */
static int64
ns_of_timestamp(TimestampTz timestamp)
{
	int64		ns;

	if (TIMESTAMP_IS_NOBEGIN(timestamp))
		return PG_INT64_MIN;
	if (TIMESTAMP_IS_NOEND(timestamp) ||
		pg_add_s64_overflow(timestamp, EPOCHS_APART_US, &ns) ||
		pg_mul_s64_overflow(ns, NS_PER_US, &ns))
		return timestamp < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return ns;
}

/* An identifier's bytes as hexadecimal digits */
static Datum
id_datum(const void *id, int size)
{
	char		digits[FOBS_TRACE_ID_SIZE];

	fobs_trace_format_id(id, size, digits);
	return CStringGetTextDatum(digits);
}

/* Reads the identifier of a trace; false if it is none. */
static bool
read_trace_id(const char *digits, FobsTrace *trace)
{
	char		text[FOBS_TRACEPARENT_SIZE];

	if (strlen(digits) != FOBS_TRACE_ID_SIZE - 1)
		return false;
	snprintf(text, sizeof(text), "00-%s-0000000000000001-00", digits);
	for (char *c = text; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	return fobs_traceparent_parse(text, strlen(text), trace);
}

/*
 * Looks for spans by the arguments of an SQL function: trace_id, since, until,
 * operation and limit, of which all but the last may be NULL, newest first.
 * Who may not read all statistics finds its own alone.
 */
void
fobs_spans_scan_begin(FobsSpanScan *scan, FunctionCallInfo fcinfo)
{
	fobs_counters_require();
	memset(scan, 0, sizeof(FobsSpanScan));
	scan->sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	scan->userid = GetUserId();
	scan->since_ns = PG_INT64_MIN;
	scan->until_ns = PG_INT64_MAX;
	if (!PG_ARGISNULL(0))
	{
		scan->by_trace = true;
		scan->nothing =
			!read_trace_id(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						   &scan->trace);
	}
	if (!PG_ARGISNULL(1))
		scan->since_ns = ns_of_timestamp(PG_GETARG_TIMESTAMPTZ(1));
	if (!PG_ARGISNULL(2))
		scan->until_ns = ns_of_timestamp(PG_GETARG_TIMESTAMPTZ(2));
	if (!PG_ARGISNULL(3))
	{
		char	   *operation = text_to_cstring(PG_GETARG_TEXT_PP(3));

		scan->by_operation = true;
		scan->nothing = scan->nothing ||
			!fobs_label_copy(scan->operation, FOBS_OPERATION_SIZE, operation,
							 strlen(operation));
		fobs_label_clear_controls(scan->operation);
	}
	scan->limit = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4);
	if (scan->limit < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("limit must not be negative")));
	scan->begin = fobs_spans_begin();
	scan->next = fobs_spans_end();
}

static bool
is_looked_for(const FobsSpanScan *scan, const FobsSpan *span)
{
	const FobsSpanHeader *header = &span->header;
	const uint8_t *trace_id = scan->trace.trace_id;

	return (scan->sees_all || header->userid == scan->userid) &&
		(!scan->by_trace ||
		 memcmp(header->trace.trace_id, trace_id,
				sizeof(scan->trace.trace_id)) == 0) &&
		header->start_ns + (int64) header->duration_ns >= scan->since_ns &&
		header->start_ns < scan->until_ns &&
		(!scan->by_operation ||
		 strcmp(fobs_spans_text(span, FOBS_SPAN_OPERATION),
				scan->operation) == 0);
}

/* Finds the next one, and makes its parts; returns how many, 0 at the end. */
int
fobs_spans_scan_next(FobsSpanScan *scan, FobsSpan *span, FobsSpanPart *parts)
{
	while (!scan->nothing && scan->limit > 0 && scan->next > scan->begin)
	{
		scan->next--;
		if (fobs_spans_read(scan->next, span) && is_looked_for(scan, span))
		{
			int			n = Min(fobs_spans_parts(span, parts), scan->limit);

			scan->limit -= n;
			return n;
		}
	}
	return 0;
}

PG_FUNCTION_INFO_V1(fraiseql_obs_spans);

#define SPAN_COLUMNS	25

/* Indexed by FobsSpanKind and FobsSpanReason */
static const char *const kind_names[] = {
	"statement", "nested", "commit", "planning", "execution"
};
static const char *const reason_names[] = {"sampled", "failed", "slow"};

typedef struct SpanRows
{
	ReturnSetInfo *rsinfo;
	char		databases[FOBS_MAX_DATABASES][FOBS_DATNAME_SIZE];
	Datum		values[SPAN_COLUMNS];
	bool		nulls[SPAN_COLUMNS];
	int			column;
} SpanRows;

static void
put(SpanRows *rows, Datum value)
{
	rows->values[rows->column] = value;
	rows->nulls[rows->column++] = false;
}

static void
put_null(SpanRows *rows)
{
	rows->nulls[rows->column++] = true;
}

static void
put_bigint(SpanRows *rows, bool known, int64 value)
{
	if (known)
		put(rows, Int64GetDatum(value));
	else
		put_null(rows);
}

static void
put_text(SpanRows *rows, const char *text)
{
	if (text != NULL && text[0] != '\0')
		put(rows, fobs_label_datum(text));
	else
		put_null(rows);
}

/* The columns of which a part has its own */
static void
put_part(SpanRows *rows, const FobsSpan *span, const FobsSpanPart *part)
{
	put(rows, id_datum(span->header.trace.trace_id,
					   sizeof(span->header.trace.trace_id)));
	put(rows, id_datum(&part->span_id, sizeof(part->span_id)));
	if (part->is_root)
		put_null(rows);
	else
		put(rows, id_datum(part->parent_id,
						   sizeof(part->parent_id)));
	put(rows, CStringGetTextDatum(kind_names[part->kind]));
	put_text(rows, part->name);
	put(rows, TimestampTzGetDatum(timestamp_of_ns(part->start_ns)));
	put(rows, Float8GetDatum((part->end_ns - part->start_ns) / 1000000.0));
}

/* What was done, which is told of the statement and not of its parts */
static void
put_statement(SpanRows *rows, const FobsSpan *span, bool is_statement)
{
	const FobsSpanHeader *header = &span->header;
	bool		measured = is_statement && header->measured;
	bool		has_rows = is_statement && header->kind != FOBS_SPAN_COMMIT;

	if (is_statement)
		put(rows, Float8GetDatum(header->busy_ns / 1000000.0));
	else
		put_null(rows);
	put_bigint(rows, has_rows, (int64) header->rows);
	put_bigint(rows, measured, (int64) header->blocks_hit);
	put_bigint(rows, measured, (int64) header->blocks_read);
	put(rows, BoolGetDatum(is_statement && header->failed));
	put_text(rows, is_statement && header->sqlstate != 0 ?
			 unpack_sql_state(header->sqlstate) : NULL);
	put_bigint(rows, header->queryid != 0, header->queryid);
	put_text(rows, is_statement ?
			 fobs_spans_text(span, FOBS_SPAN_QUERY) : NULL);
}

/* Whose it is */
static void
put_request(SpanRows *rows, const FobsSpan *span)
{
	const FobsSpanHeader *header = &span->header;
	const char *usename = GetUserNameFromId(header->userid, true);

	put_text(rows, rows->databases[header->database]);
	if (usename != NULL)
		put(rows, CStringGetTextDatum(usename));
	else
		put_null(rows);
	put(rows, Int32GetDatum(header->pid));
	for (int which = 0; which < FOBS_SPAN_QUERY; which++)
		put_text(rows, fobs_spans_text(span, which));
	put(rows, BoolGetDatum(fobs_trace_is_sampled(&header->trace)));
	put(rows, CStringGetTextDatum(reason_names[header->reason]));
}

/*
 * spans(trace_id, since, until, operation, limit): a row for each span, with
 * the columns in the order of put_part(), put_statement() and put_request().
 */
Datum
fraiseql_obs_spans(PG_FUNCTION_ARGS)
{
	FobsSpanScan scan;
	FobsSpan	span;
	FobsSpanPart parts[FOBS_SPAN_PARTS];
	SpanRows   *rows = palloc(sizeof(SpanRows));
	MemoryContext per_span;
	MemoryContext outer;
	int			n;

	fobs_spans_scan_begin(&scan, fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	rows->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	fobs_counters_databases(rows->databases, NULL);

	/* there may be a million, and the rows have their copies */
	per_span = AllocSetContextCreate(CurrentMemoryContext, "span",
									 ALLOCSET_DEFAULT_SIZES);
	outer = MemoryContextSwitchTo(per_span);
	while ((n = fobs_spans_scan_next(&scan, &span, parts)) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(per_span);
		for (int i = 0; i < n; i++)
		{
			rows->column = 0;
			put_part(rows, &span, &parts[i]);
			put_statement(rows, &span, i == 0);
			put_request(rows, &span);
			Assert(rows->column == SPAN_COLUMNS);
			tuplestore_putvalues(rows->rsinfo->setResult,
								 rows->rsinfo->setDesc, rows->values,
								 rows->nulls);
		}
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(per_span);
	return (Datum) 0;
}
