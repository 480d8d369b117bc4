/*-------------------------------------------------------------------------
 *
 * slowlog.h
 *	  The latest slow and failed statements, in shared memory.
 *
 * See slowlog.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SLOWLOG_H
#define FRAISEQL_OBS_SLOWLOG_H

#include "datatype/timestamp.h"

#include "context.h"

/* Records kept */
#define FOBS_SLOWLOG_SIZE	512

/* Bytes of a statement's text that are kept, with the zero */
#define FOBS_SLOWLOG_QUERY_SIZE 1024

/* Bytes of application_name as UTF-8, with the zero */
#define FOBS_APPNAME_SIZE	(NAMEDATALEN * 3)

/* One statement that was slow or failed; text is UTF-8, '' if not known */
typedef struct FobsSlowRecord
{
	TimestampTz finished_at;
	int			database;		/* entry of counters.c */
	Oid			userid;
	int64		queryid;		/* 0: the server computed none */
	uint64		duration_ns;
	uint64		rows;
	int			sqlstate;		/* 0: it succeeded */
	char		application_name[FOBS_APPNAME_SIZE];
	char		operation[FOBS_OPERATION_SIZE];
	char		user_id[FOBS_ID_SIZE];
	char		tenant_id[FOBS_ID_SIZE];
	char		request_id[FOBS_ID_SIZE];
	FobsTrace	trace;			/* all zero: it belongs to none */
	char		query[FOBS_SLOWLOG_QUERY_SIZE];
} FobsSlowRecord;

extern void fobs_slowlog_shmem_request(void);
extern void fobs_slowlog_shmem_startup(void);

extern void fobs_slowlog_add(FobsSlowRecord *record, const char *query,
							 int query_len, const FobsContext *context,
							 bool slow);

extern int	fobs_slowlog_read(FobsSlowRecord *records, int max);
extern void fobs_slowlog_reset(void);
extern uint64 fobs_slowlog_dropped(void);
extern uint64 fobs_slowlog_lines_suppressed(void);

#endif							/* FRAISEQL_OBS_SLOWLOG_H */
