/*-------------------------------------------------------------------------
 *
 * context.h
 *	  Who asks: operation, user, tenant, request and trace of a statement.
 *
 * See context.c for where each comes from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_CONTEXT_H
#define FRAISEQL_OBS_CONTEXT_H

#include "utils/guc.h"

#include "operations.h"
#include "sqlcommenter.h"
#include "tracecontext.h"

/* Bytes of an identifier with its zero; longer ones are cut */
#define FOBS_ID_SIZE	129

/* What brought the trace of a statement */
typedef enum FobsCarrier
{
	FOBS_CARRIER_NONE,
	FOBS_CARRIER_COMMENT,
	FOBS_CARRIER_SETTING,
	FOBS_CARRIER_APPLICATION_NAME
} FobsCarrier;

/*
 * The context that a statement started with: valid UTF-8, '' for what is not
 * known.  Only its makers change it; whoever captured it holds a reference.
 */
typedef struct FobsContext
{
	int			refcount;
	FobsCarrier carrier;
	FobsTrace	trace;			/* all zero: it belongs to none */
	FobsOperationKey operation; /* no operation: its name is '' */
	FobsSeriesRef operation_ref;	/* where that series was last found */
	char		request_id[FOBS_ID_SIZE];
	char		user_id[FOBS_ID_SIZE];
	char		tenant_id[FOBS_ID_SIZE];
	char		tracestate[FOBS_TRACESTATE_SIZE];
} FobsContext;

/* Settings of the application that name its user and tenant */
typedef enum FobsSource
{
	FOBS_SOURCE_USER,
	FOBS_SOURCE_TENANT
} FobsSource;

extern void fobs_context_shmem_request(void);
extern void fobs_context_shmem_startup(void);
extern bool fobs_context_sources_check(const char *names);
extern void fobs_context_sources_assign(FobsSource source, const char *names);

#pragma GCC visibility push(hidden)

/* The context last made; see fobs_context_capture() */
extern FobsContext *fobs_context_latest;
extern bool fobs_context_stale;

#pragma GCC visibility pop

extern void fobs_context_renew(const char *query, int query_len);
extern void fobs_context_free(FobsContext *context);
extern void fobs_context_user_id(const FobsContext *context, char *user_id);
extern void fobs_context_tenant_id(const FobsContext *context,
								   char *tenant_id);
extern const char *fobs_context_setting(FobsSource source);
extern bool fobs_context_session_trace(FobsTrace *trace, char *tracestate);
extern uint64 fobs_context_truncated(void);

/*
 * Whether application_name may hold a traceparent, of a version up to 0f.
 * Asked for every statement, because nobody tells when it changes.
 */
static inline bool
fobs_context_application_name_possible(void)
{
	return application_name[0] == '0';
}

/*
 * The context of a statement that starts now; query is its text, of query_len
 * bytes.  To be given back by fobs_context_release().  This process must have
 * attached to the counters.
 */
static inline FobsContext *
fobs_context_capture(const char *query, int query_len)
{
	if (unlikely(fobs_context_stale) ||
		unlikely(fobs_context_application_name_possible()) ||
		fobs_sqlcommenter_possible(query, query_len))
		fobs_context_renew(query, query_len);
	fobs_context_latest->refcount++;
	return fobs_context_latest;
}

/* Gives back a captured context. */
static inline void
fobs_context_release(FobsContext *context)
{
	if (--context->refcount == 0)
		fobs_context_free(context);
}

#endif							/* FRAISEQL_OBS_CONTEXT_H */
