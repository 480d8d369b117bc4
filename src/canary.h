/*-------------------------------------------------------------------------
 *
 * canary.h
 *	  Tries now and then what clients want to do.
 *
 * See canary.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_CANARY_H
#define FRAISEQL_OBS_CANARY_H

#include "datatype/timestamp.h"

/* The settings "health_canary_interval", in seconds, and "..._database" */
extern int	fobs_canary_interval_s;
extern char *fobs_canary_database;

extern void fobs_canary_shmem_request(void);
extern void fobs_canary_shmem_startup(void);
extern void fobs_canary_register(void);
extern bool fobs_canary_last_success(TimestampTz *at, double *seconds);
extern PGDLLEXPORT void fraiseql_obs_canary_main(Datum arg);

#endif							/* FRAISEQL_OBS_CANARY_H */
