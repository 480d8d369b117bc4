/*-------------------------------------------------------------------------
 *
 * slowlog.c
 *	  The latest slow and failed statements, in shared memory.
 *
 * A ring of FOBS_SLOWLOG_SIZE records.  Any process writes: it draws a ticket,
 * which names the record, and claims the record by setting its version to an
 * odd number; when the record is written, the version is the ticket's even
 * number.  A reader copies a record and takes the copy only if the version was
 * even and has not changed meanwhile.  So there is no lock, and nobody waits.
 *
 * If the ring comes round while a record is still being written, the newer
 * statement is dropped and counted; the same happens to all that meet a record
 * whose writer was stopped half-way.
 *
 * Slow statements also go to the server log, at most slow_query_log_rate
 * lines a second over all processes; what is over is counted.  The text is
 * shown (and kept in the ring) only if include_query_bodies is on.
 *
 * All text is made UTF-8 when it is written, because who reads it may be in
 * a database of another encoding, or in none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "guc.h"
#include "label.h"
#include "slowlog.h"

PG_FUNCTION_INFO_V1(fraiseql_obs_slow_queries);

/* Characters of a statement's text in the server log */
#define LOG_QUERY_CHARS 100

typedef struct RingRecord
{
	pg_atomic_uint64 version;	/* see ticket_version(); 0: never written */
	FobsSlowRecord record;		/* belongs to who made the version odd */
} RingRecord;

typedef struct SlowlogShared
{
	pg_atomic_uint64 next_ticket;
	pg_atomic_uint64 first_ticket;	/* older ones were reset away */
	pg_atomic_uint64 dropped;
	pg_atomic_uint64 log_window;	/* see log_permitted() */
	pg_atomic_uint64 lines_suppressed;
	RingRecord	ring[FOBS_SLOWLOG_SIZE];
} SlowlogShared;

static SlowlogShared *shared = NULL;

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_slowlog_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(SlowlogShared));
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_slowlog_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_slowlog", sizeof(SlowlogShared),
							 &found);
	if (found)
		return;
	pg_atomic_init_u64(&shared->next_ticket, 0);
	pg_atomic_init_u64(&shared->first_ticket, 0);
	pg_atomic_init_u64(&shared->dropped, 0);
	pg_atomic_init_u64(&shared->log_window, 0);
	pg_atomic_init_u64(&shared->lines_suppressed, 0);
	for (int i = 0; i < FOBS_SLOWLOG_SIZE; i++)
		pg_atomic_init_u64(&shared->ring[i].version, 0);
}

/* The version of a record that is completely written; one less: half-way */
static uint64
ticket_version(uint64 ticket)
{
	return (ticket + 1) * 2;
}

static RingRecord *
ticket_record(uint64 ticket)
{
	return &shared->ring[ticket % FOBS_SLOWLOG_SIZE];
}

static void
write_record(const FobsSlowRecord *record)
{
	uint64		ticket = pg_atomic_fetch_add_u64(&shared->next_ticket, 1);
	RingRecord *place = ticket_record(ticket);
	uint64		version = pg_atomic_read_u64(&place->version);
	uint64		mine = ticket_version(ticket);

	/* odd: somebody writes; greater: the ring has overtaken us */
	if (version % 2 != 0 || version > mine ||
		!pg_atomic_compare_exchange_u64(&place->version, &version, mine - 1))
	{
		pg_atomic_fetch_add_u64(&shared->dropped, 1);
		return;
	}
	pg_write_barrier();
	place->record = *record;
	pg_write_barrier();
	pg_atomic_write_u64(&place->version, mine);
}

/*
 * Whether one more line may be logged in this second.  The window holds the
 * second, shifted left by 16 bits, and the lines logged in it.
 */
static bool
log_permitted(TimestampTz now)
{
	uint64		second = (uint64) (now / USECS_PER_SEC);
	uint64		window = pg_atomic_read_u64(&shared->log_window);
	uint64		next;

	if (fobs_slow_query_log_rate == 0)
		return false;
	do
	{
		uint64		lines = window >> 16 == second ? window & 0xFFFF : 0;

		if (lines >= (uint64) fobs_slow_query_log_rate)
		{
			pg_atomic_fetch_add_u64(&shared->lines_suppressed, 1);
			return false;
		}
		next = (second << 16) | (lines + 1);
	} while (!pg_atomic_compare_exchange_u64(&shared->log_window,
											 &window, next));
	return true;
}

/*
 * Writes the line to the server log and to nobody else: a number that leads to
 * the query, or the beginning of its text as one line.
 */
static void
log_slow_statement(const FobsSlowRecord *record, const char *query,
				   int query_len)
{
	double		duration_ms = (double) record->duration_ns / 1000000.0;
	char		line[LOG_QUERY_CHARS * MAX_MULTIBYTE_CHAR_LEN + 1];

	if (query == NULL)
	{
		ereport(LOG_SERVER_ONLY,
				(errmsg("slow query: %.1f ms, query identifier " INT64_FORMAT,
						duration_ms, record->queryid),
				 errhidestmt(true), errhidecontext(true)));
		return;
	}

	query_len = pg_mbcharcliplen(query, query_len, LOG_QUERY_CHARS);
	memcpy(line, query, query_len);
	line[query_len] = '\0';
	for (char *c = line; *c != '\0'; c++)
	{
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	}
	ereport(LOG_SERVER_ONLY,
			(errmsg("slow query: %.1f ms, %s", duration_ms, line),
			 errhidestmt(true), errhidecontext(true)));
}

/*
 * Records a statement that has just ended.  The caller has filled in userid,
 * queryid, duration_ns, rows and sqlstate; the rest comes from the statement's
 * context and from this process.  "query" is the text in the server's
 * encoding, or NULL if it is not to be shown.  "slow" asks for a line in the
 * server log.
 */
void
fobs_slowlog_add(FobsSlowRecord *record, const char *query, int query_len,
				 const FobsContext *context, bool slow)
{
	record->finished_at = GetCurrentTimestamp();
	record->database = fobs_counters_database();
	fobs_label_copy(record->application_name, FOBS_APPNAME_SIZE,
					application_name, strlen(application_name));
	strlcpy(record->operation, context->operation.operation,
			FOBS_OPERATION_SIZE);
	strlcpy(record->request_id, context->request_id, FOBS_ID_SIZE);
	record->trace = context->trace;
	fobs_context_user_id(context, record->user_id);
	fobs_context_tenant_id(context, record->tenant_id);
	record->query[0] = '\0';
	if (query != NULL)
	{
		/* white space behind the statement before it in the string */
		for (; query_len > 0 && isspace((unsigned char) *query); query_len--)
			query++;
		fobs_label_copy(record->query, FOBS_SLOWLOG_QUERY_SIZE,
						query, query_len);
	}

	write_record(record);
	/* with memory short, a message could itself be the next error */
	if (slow && record->sqlstate != ERRCODE_OUT_OF_MEMORY &&
		log_permitted(record->finished_at))
		log_slow_statement(record, query, query_len);
}

/* Copies a record if it holds the statement with that ticket. */
static bool
read_record(uint64 ticket, FobsSlowRecord *record)
{
	RingRecord *place = ticket_record(ticket);
	uint64		version = ticket_version(ticket);

	if (pg_atomic_read_u64(&place->version) != version)
		return false;
	pg_read_barrier();
	*record = place->record;
	pg_read_barrier();
	return pg_atomic_read_u64(&place->version) == version;
}

/*
 * Copies the latest records, newest first, into an array of max (at most
 * FOBS_SLOWLOG_SIZE are there); returns how many.
 */
int
fobs_slowlog_read(FobsSlowRecord *records, int max)
{
	uint64		end = pg_atomic_read_u64(&shared->next_ticket);
	uint64		begin = pg_atomic_read_u64(&shared->first_ticket);
	int			n = 0;

	if (end > FOBS_SLOWLOG_SIZE)
		begin = Max(begin, end - FOBS_SLOWLOG_SIZE);
	for (uint64 ticket = end; ticket > begin && n < max; ticket--)
	{
		if (read_record(ticket - 1, &records[n]))
			n++;
	}
	return n;
}

/* Forgets what was recorded so far, and the counters about it. */
void
fobs_slowlog_reset(void)
{
	pg_atomic_write_u64(&shared->first_ticket,
						pg_atomic_read_u64(&shared->next_ticket));
	pg_atomic_write_u64(&shared->dropped, 0);
	pg_atomic_write_u64(&shared->lines_suppressed, 0);
}

/* How many statements found no place in the ring. */
uint64
fobs_slowlog_dropped(void)
{
	return pg_atomic_read_u64(&shared->dropped);
}

/* How many lines the server log was spared. */
uint64
fobs_slowlog_lines_suppressed(void)
{
	return pg_atomic_read_u64(&shared->lines_suppressed);
}

#define SLOW_COLUMNS	15

/* A label as a column, NULL if it is not known. */
static void
put_label(Datum *values, bool *nulls, int column, const char *label)
{
	nulls[column] = label[0] == '\0';
	if (!nulls[column])
		values[column] = fobs_label_datum(label);
}

/* The ids of a trace and of the caller's span in it, NULL if there is none. */
static void
put_trace(Datum *values, bool *nulls, int column, const FobsTrace *trace)
{
	char		trace_id[FOBS_TRACE_ID_SIZE] = "";
	char		span_id[FOBS_SPAN_ID_SIZE] = "";

	if (fobs_trace_is_set(trace))
	{
		fobs_trace_format_id(trace->trace_id, FOBS_TRACE_ID_BYTES,
							 trace_id);
		fobs_trace_format_id(trace->parent_id, FOBS_SPAN_ID_BYTES,
							 span_id);
	}
	put_label(values, nulls, column, trace_id);
	put_label(values, nulls, column + 1, span_id);
}

/*
 * slow_queries(limit): finished_at, datname, usename, application_name,
 * queryid, query, duration_ms, rows, sqlstate, operation, user_id, tenant_id,
 * request_id, trace_id, span_id, newest first.  What is not known is NULL, and
 * so is, for who may not read all statistics, what tells other users'
 * statements and requests.
 */
Datum
fraiseql_obs_slow_queries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int32		limit = PG_GETARG_INT32(0);
	bool		sees_all = has_privs_of_role(GetUserId(),
											 ROLE_PG_READ_ALL_STATS);
	char		(*databases)[FOBS_DATNAME_SIZE];
	FobsSlowRecord *records;
	int			nrecords;

	fobs_counters_require();
	if (limit < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("limit must not be negative")));
	InitMaterializedSRF(fcinfo, 0);

	limit = Min(limit, FOBS_SLOWLOG_SIZE);
	databases = palloc(FOBS_MAX_DATABASES * FOBS_DATNAME_SIZE);
	records = palloc(limit * sizeof(FobsSlowRecord));
	nrecords = fobs_slowlog_read(records, limit);
	fobs_counters_databases(databases, NULL);
	for (int i = 0; i < nrecords; i++)
	{
		FobsSlowRecord *record = &records[i];
		const char *usename = GetUserNameFromId(record->userid, true);
		const char *sqlstate = record->sqlstate == 0 ? "" :
		unpack_sql_state(record->sqlstate);
		Datum		values[SLOW_COLUMNS] = {0};
		bool		nulls[SLOW_COLUMNS] = {0};

		values[0] = TimestampTzGetDatum(record->finished_at);
		put_label(values, nulls, 1, databases[record->database]);
		nulls[2] = usename == NULL;
		if (!nulls[2])
			values[2] = CStringGetTextDatum(usename);
		put_label(values, nulls, 3, record->application_name);
		if (!sees_all && record->userid != GetUserId())
		{
			record->queryid = 0;
			record->query[0] = '\0';
			record->user_id[0] = '\0';
			record->tenant_id[0] = '\0';
			record->request_id[0] = '\0';
			memset(&record->trace, 0, sizeof(FobsTrace));
		}
		nulls[4] = record->queryid == 0;
		values[4] = Int64GetDatum(record->queryid);
		put_label(values, nulls, 5, record->query);
		values[6] = Float8GetDatum((double) record->duration_ns / 1000000.0);
		values[7] = Int64GetDatum((int64) record->rows);
		put_label(values, nulls, 8, sqlstate);
		put_label(values, nulls, 9, record->operation);
		put_label(values, nulls, 10, record->user_id);
		put_label(values, nulls, 11, record->tenant_id);
		put_label(values, nulls, 12, record->request_id);
		put_trace(values, nulls, 13, &record->trace);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc,
							 values, nulls);
	}
	return (Datum) 0;
}
