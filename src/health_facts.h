/*-------------------------------------------------------------------------
 *
 * health_facts.h
 *	  What health checks look at, from shared memory.
 *
 * See health_facts.c for where each number comes from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HEALTH_FACTS_H
#define FRAISEQL_OBS_HEALTH_FACTS_H

#include "health.h"

/* The settings "health_check_timeout", in milliseconds, and "health_..." */
extern int	fobs_health_check_timeout_ms;
extern FobsHealthLimits fobs_health_limits;

/* For how long a file system has not answered this process; 0: it does */
extern double fobs_health_unanswered_s;

extern void fobs_health_shmem_request(void);
extern void fobs_health_shmem_startup(void);
extern void fobs_health_read(FobsHealthFacts *facts);
extern void fobs_health_clear(FobsHealthFacts *facts);

#endif							/* FRAISEQL_OBS_HEALTH_FACTS_H */
