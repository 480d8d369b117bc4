/*-------------------------------------------------------------------------
 *
 * endpoint.h
 *	  What the server and its HTTP endpoint know of each other.
 *
 * The endpoint is a module of its own (src/http); see endpoint.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_ENDPOINT_H
#define FRAISEQL_OBS_ENDPOINT_H

#include "port/atomics.h"
#include "storage/latch.h"

#include "exposition.h"
#include "health.h"

/* Where fraiseql_obs leaves a FobsEndpoint for the endpoint's module */
#define FOBS_ENDPOINT_RENDEZVOUS "fraiseql_obs_endpoint"

/* The endpoint's module, which is beside ours, and its worker's function */
#define FOBS_ENDPOINT_MODULE	"fraiseql_obs_http"
#define FOBS_ENDPOINT_MAIN		"fraiseql_obs_http_main"

/* What is asked for; the order of path_names in endpoint.c */
typedef enum FobsEndpointPath
{
	FOBS_PATH_METRICS,
	FOBS_PATH_LIVE,
	FOBS_PATH_READY,
	FOBS_PATH_STARTUP,
	FOBS_PATH_HEALTH,
	FOBS_PATH_PAGE,
	FOBS_PATH_QUERIES,
	FOBS_PATH_OTHER,
	FOBS_N_PATHS
} FobsEndpointPath;

/* What is answered; the order of status_codes in endpoint.c */
typedef enum FobsEndpointStatus
{
	FOBS_HTTP_OK,
	FOBS_HTTP_NOT_MODIFIED,
	FOBS_HTTP_BAD_REQUEST,
	FOBS_HTTP_UNAUTHORIZED,
	FOBS_HTTP_NOT_FOUND,
	FOBS_HTTP_METHOD_NOT_ALLOWED,
	FOBS_HTTP_TOO_LARGE,
	FOBS_HTTP_ERROR,
	FOBS_HTTP_UNAVAILABLE,
	FOBS_N_STATUSES
} FobsEndpointStatus;

/* Why the endpoint closed a connection; the order of reason_names */
typedef enum FobsEndpointReason
{
	FOBS_CLOSED_DEADLINE,
	FOBS_CLOSED_IDLE,
	FOBS_CLOSED_LIMIT,
	FOBS_N_REASONS
} FobsEndpointReason;

/* The settings, see guc.c */
typedef struct FobsEndpointSettings
{
	int			port;
	char	   *listen_addresses;
	char	   *token_file;
	char	   *tls_cert_file;
	char	   *tls_key_file;
	bool		status_page;
} FobsEndpointSettings;

/*
 * In shared memory.  The worker alone writes, but for restart.
 */
typedef struct FobsEndpointShared
{
	pg_atomic_uint32 pid;		/* the worker's, 0: none runs */
	Latch	   *latch;			/* its, meaningful if there was ever one */
	pg_atomic_uint32 restart;	/* somebody wants it to begin anew */
	pg_atomic_uint32 listening; /* where the settings say */
	pg_atomic_uint32 connections;	/* that are open */
	pg_atomic_uint64 requests[FOBS_N_PATHS][FOBS_N_STATUSES];
	pg_atomic_uint64 closed[FOBS_N_REASONS];
} FobsEndpointShared;

/* All that the endpoint's module is given */
typedef struct FobsEndpoint
{
	const char *version;		/* of fraiseql_obs: its own must be the same */
	const FobsEndpointSettings *settings;
	FobsEndpointShared *shared;
	const int  *status_codes;	/* by FobsEndpointStatus */
	const int  *probe_timeout_ms;	/* health_check_timeout */
	double	   *unanswered_s;	/* see health_facts.h */
	void		(*export_metrics) (FobsFormat format, StringInfo out);
	void		(*export_queries) (StringInfo out);
	bool		(*probe_role) (const char *text,
							   FobsHealthQuestion *question);
	bool		(*probe_max_lag) (const char *text,
								  FobsHealthQuestion *question);
	bool		(*probe_answer) (FobsProbe probe,
								 const FobsHealthQuestion *question,
								 bool detailed, StringInfo out);
} FobsEndpoint;

extern FobsEndpointSettings fobs_endpoint_settings;

extern void fobs_endpoint_shmem_request(void);
extern void fobs_endpoint_shmem_startup(void);
extern void fobs_endpoint_register(void);
extern void fobs_endpoint_reloaded(void);
extern void fobs_endpoint_metrics_write(FobsWriter *writer);

#endif							/* FRAISEQL_OBS_ENDPOINT_H */
