/*-------------------------------------------------------------------------
 *
 * spans.h
 *	  The latest spans, in shared memory.
 *
 * See spans.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SPANS_H
#define FRAISEQL_OBS_SPANS_H

#include "fmgr.h"
#include "port/atomics.h"
#include "tcop/cmdtag.h"

#include "context.h"
#include "tracecontext.h"

/* Bytes of shared memory that a span takes */
#define FOBS_SPAN_PLACE_SIZE 1024

/* A span's identifier: its bytes in their order, not a number; 0 is none */
typedef uint64 FobsSpanId;

typedef enum FobsSpanKind
{
	FOBS_SPAN_STATEMENT,		/* a client's */
	FOBS_SPAN_NESTED,			/* run by a function */
	FOBS_SPAN_COMMIT,
	FOBS_SPAN_PLANNING,			/* these two are made of a statement's */
	FOBS_SPAN_EXECUTION
} FobsSpanKind;

/* Why a span was recorded, the first that holds */
typedef enum FobsSpanReason
{
	FOBS_SPAN_SAMPLED,
	FOBS_SPAN_FAILED,
	FOBS_SPAN_SLOW
} FobsSpanReason;

/* Texts of a span, in the order in which they stand in it */
typedef enum FobsSpanText
{
	FOBS_SPAN_OPERATION,
	FOBS_SPAN_OPERATION_TYPE,
	FOBS_SPAN_USER_ID,
	FOBS_SPAN_TENANT_ID,
	FOBS_SPAN_REQUEST_ID,
	FOBS_SPAN_QUERY
} FobsSpanText;

#define FOBS_SPAN_TEXTS		(FOBS_SPAN_QUERY + 1)

/* What is known of a span beside its texts; times in nanoseconds */
typedef struct FobsSpanHeader
{
	FobsSpanId	span_id;
	FobsTrace	trace;			/* with its parent, zeroes for a root */
	int64		start_ns;		/* since 1970 */
	uint64		duration_ns;	/* from start to end, whatever happened */
	uint64		planning_ns;	/* from the start on; 0: it was not planned */
	uint64		execution_ns;	/* up to the end; 0: not executed */
	uint64		busy_ns;		/* of it, without the client's own time */
	uint64		rows;
	uint64		blocks_hit;
	uint64		blocks_read;
	int64		queryid;		/* 0: the server computed none */
	Oid			userid;
	int			pid;
	int			sqlstate;		/* 0: not known */
	int16		database;		/* entry of counters.c */
	uint16		text_len;		/* bytes in use */
	CommandTag	command;
	uint8		kind;			/* FobsSpanKind */
	uint8		reason;			/* FobsSpanReason */
	bool		failed;
	bool		measured;		/* rows and blocks were */
	bool		parent_is_remote;
} FobsSpanHeader;

#define FOBS_SPAN_TEXT_SIZE \
	(FOBS_SPAN_PLACE_SIZE - sizeof(pg_atomic_uint64) - sizeof(FobsSpanHeader))

/* The texts are UTF-8, one after the other, each with its zero */
typedef struct FobsSpan
{
	FobsSpanHeader header;
	char		text[FOBS_SPAN_TEXT_SIZE];
} FobsSpan;

/* The texts that the spans of a request have in common, but for the query */
typedef struct FobsSpanRequest
{
	int			len;
	char		text[FOBS_OPERATION_SIZE + FOBS_OPERATION_TYPE_SIZE +
					 3 * FOBS_ID_SIZE];
} FobsSpanRequest;

extern void fobs_spans_shmem_request(void);
extern void fobs_spans_shmem_startup(void);

/* Writing */
extern FobsSpanId fobs_spans_new_id(void);
extern void fobs_spans_new_trace(FobsTrace *trace);
extern void fobs_spans_pack(FobsSpanRequest *request,
							const FobsContext *context);
extern void fobs_spans_add(FobsSpan *span, const FobsSpanRequest *request,
						   const char *query, int query_len);

/* Reading */
extern uint64 fobs_spans_begin(void);
extern uint64 fobs_spans_end(void);
extern bool fobs_spans_read(uint64 number, FobsSpan *span);

/* One of the spans that a place makes */
typedef struct FobsSpanPart
{
	FobsSpanKind kind;
	FobsSpanId	span_id;
	uint8		parent_id[sizeof(FobsSpanId)];
	bool		is_root;
	bool		parent_is_remote;
	int64		start_ns;
	int64		end_ns;
	char		name[NAMEDATALEN + FOBS_OPERATION_SIZE];	/* UTF-8 */
} FobsSpanPart;

#define FOBS_SPAN_PARTS		3

extern FobsSpanId fobs_spans_execution_id(FobsSpanId span_id);
extern int	fobs_spans_parts(const FobsSpan *span, FobsSpanPart *parts);
extern const char *fobs_spans_text(const FobsSpan *span, FobsSpanText which);
extern const char *fobs_spans_command(const FobsSpan *span);

/* What SQL functions look for; see fobs_spans_scan_begin() */
typedef struct FobsSpanScan
{
	uint64		begin;
	uint64		next;			/* number after that of the next span */
	int			limit;			/* parts that are left */
	bool		sees_all;
	Oid			userid;
	bool		nothing;		/* fits */
	bool		by_trace;
	FobsTrace	trace;			/* if by_trace */
	int64		since_ns;
	int64		until_ns;
	bool		by_operation;
	char		operation[FOBS_OPERATION_SIZE];
} FobsSpanScan;

extern void fobs_spans_scan_begin(FobsSpanScan *scan,
								  FunctionCallInfo fcinfo);
extern int	fobs_spans_scan_next(FobsSpanScan *scan, FobsSpan *span,
								 FobsSpanPart *parts);

/* About the ring itself */
typedef struct FobsSpansInfo
{
	uint64		recorded;
	uint64		dropped;		/* found no place */
	uint64		overwritten;	/* gave way to newer ones */
} FobsSpansInfo;

extern FobsSpansInfo fobs_spans_info(void);
extern void fobs_spans_reset(void);

#endif							/* FRAISEQL_OBS_SPANS_H */
