/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  The settings.
 *
 * Each is explained where it is defined, in guc.c.
 *
 * That they are declared as hidden saves those who read them a look into the
 * global offset table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_GUC_H
#define FRAISEQL_OBS_GUC_H

typedef enum FobsTrack
{
	FOBS_TRACK_NONE,
	FOBS_TRACK_TOP,
	FOBS_TRACK_ALL
} FobsTrack;

/* What is done about an operation when the audit ring has no slot for it */
typedef enum FobsOnFailure
{
	FOBS_ON_FAILURE_CONTINUE,
	FOBS_ON_FAILURE_BLOCK,
	FOBS_ON_FAILURE_FAIL_OPERATION
} FobsOnFailure;

#pragma GCC visibility push(hidden)

/* Both "enabled" and "metrics_enabled" are on */
extern bool fobs_counting;
extern bool fobs_not_counting;

/* Both "enabled" and "tracing_enabled" are on */
extern bool fobs_tracing;
extern double fobs_trace_sample_rate;

/* Statements are to be counted or traced */
extern bool fobs_observing;

extern uint64 fobs_slow_query_threshold_ns;
extern bool fobs_include_query_bodies;
extern int	fobs_slow_query_log_rate;
extern int	fobs_track;
extern int	fobs_max_queries;
extern int	fobs_max_operations;
extern int	fobs_max_spans;
extern int	fobs_audit_ring_slots;
extern int	fobs_audit_on_failure;
extern int	fobs_audit_block_timeout;
extern bool fobs_audit_failures;

/* The request context, as set; context.c has what is made of it */
extern char *fobs_operation_name;
extern char *fobs_operation_type;
extern char *fobs_request_id;
extern char *fobs_user_id;
extern char *fobs_tenant_id;
extern char *fobs_traceparent;
extern char *fobs_tracestate;

/* Changes whenever one of these, or "tracing", may have changed */
extern uint64 fobs_context_generation;

#pragma GCC visibility pop

extern void fobs_guc_init(void);

#endif							/* FRAISEQL_OBS_GUC_H */
