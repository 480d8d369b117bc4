/*-------------------------------------------------------------------------
 *
 * errand.h
 *	  What may block, done by a thread that nobody has to wait for.
 *
 * See errand.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_ERRAND_H
#define FRAISEQL_OBS_ERRAND_H

#include "port/atomics.h"

/*
 * Part of a structure that does not move and is not freed before it is done:
 * all of that is the thread's from its start until then.
 */
typedef struct FobsErrand
{
	void		(*run) (struct FobsErrand *errand);
	pg_atomic_uint32 done;
} FobsErrand;

extern bool fobs_errand_start(FobsErrand *errand,
							  void (*run) (FobsErrand *errand));
extern bool fobs_errand_is_done(FobsErrand *errand);
extern bool fobs_errand_wait(FobsErrand *errand, int timeout_ms);

#endif							/* FRAISEQL_OBS_ERRAND_H */
