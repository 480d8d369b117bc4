/*-------------------------------------------------------------------------
 *
 * otlp_sender.h
 *	  What the server and its sender of spans know of each other.
 *
 * The sender is a module of its own (src/otlp); see otlp_sender.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_SENDER_H
#define FRAISEQL_OBS_OTLP_SENDER_H

#include "port/atomics.h"
#include "utils/guc.h"

#include "exposition.h"
#include "otlp_batch.h"

/* Where fraiseql_obs leaves a FobsOtlpSender for the sender's module */
#define FOBS_OTLP_RENDEZVOUS	"fraiseql_obs_otlp_sender"

/* The sender's module, which is beside ours, and its worker's function */
#define FOBS_OTLP_MODULE		"fraiseql_obs_otlp"
#define FOBS_OTLP_MAIN			"fraiseql_obs_otlp_main"

/* What becomes of a span; the order of outcome_names in otlp_sender.c */
typedef enum FobsOtlpOutcome
{
	FOBS_OTLP_ACCEPTED,
	FOBS_OTLP_REJECTED,			/* by an answer that accepts the others */
	FOBS_OTLP_FAILED,			/* by one that does not, or tried too often */
	FOBS_OTLP_N_OUTCOMES
} FobsOtlpOutcome;

/* What is answered to a request: no status, 2xx to 5xx */
#define FOBS_OTLP_N_ANSWERS		5

typedef enum FobsOtlpCompression
{
	FOBS_OTLP_COMPRESSION_NONE,
	FOBS_OTLP_COMPRESSION_GZIP
} FobsOtlpCompression;

/* The settings, see guc.c */
typedef struct FobsOtlpSettings
{
	char	   *endpoint;		/* '': nothing is sent */
	char	   *headers_file;
	char	   *ca_file;
	int			compression;
	int			interval_ms;
	int			timeout_ms;
} FobsOtlpSettings;

/* In shared memory; the worker alone writes. */
typedef struct FobsOtlpShared
{
	pg_atomic_uint32 pid;		/* the worker's, 0: none runs */
	pg_atomic_uint64 next;		/* number of the first span not done with */
	pg_atomic_uint64 missed;	/* numbers overwritten before they were read */
	pg_atomic_uint64 spans[FOBS_OTLP_N_OUTCOMES];
	pg_atomic_uint64 requests[FOBS_OTLP_N_ANSWERS];
} FobsOtlpShared;

/* All that the sender's module is given */
typedef struct FobsOtlpSender
{
	const char *version;		/* of fraiseql_obs: its own must be the same */
	const FobsOtlpSettings *settings;
	const int  *max_spans;
	FobsOtlpShared *shared;
	uint64		(*spans_begin) (void);
	uint64		(*spans_end) (void);
	void		(*read_batch) (FobsOtlpBatch *batch, StringInfo out);
} FobsOtlpSender;

extern FobsOtlpSettings fobs_otlp_settings;

extern void fobs_otlp_sender_shmem_request(void);
extern void fobs_otlp_sender_shmem_startup(void);
extern void fobs_otlp_sender_register(void);
extern void fobs_otlp_sender_reloaded(void);
extern bool fobs_otlp_endpoint_check(char **newval, void **extra,
									 GucSource source);
extern void fobs_otlp_metrics_write(FobsWriter *writer);

#endif							/* FRAISEQL_OBS_OTLP_SENDER_H */
