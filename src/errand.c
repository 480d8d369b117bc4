/*-------------------------------------------------------------------------
 *
 * errand.c
 *	  What may block, done by a thread that nobody has to wait for.
 *
 * Some calls take as long as somebody else likes, and cannot be given a limit:
 * getaddrinfo() while a name server does not answer, for one.  A process that
 * is to go on meanwhile, and to end when it is told to, has a thread do it.
 *
 * The thread has none of our signals, calls nothing of PostgreSQL, and shares
 * nothing but the errand, which is its own until it says that it is done.  One
 * that is not done when the process ends is left alone.
 *
 * Part of the modules of workers that have use for it; a user's backend has no
 * threads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>

#include "postmaster/interrupt.h"

#include "compat.h"
#include "errand.h"

/* Pauses between two looks at whether it is done */
#define LOOK_MIN_US		20
#define LOOK_MAX_US		1000

static void *
run(void *arg)
{
	FobsErrand *errand = arg;

	errand->run(errand);
	pg_write_barrier();

	/* whoever sees this may free it */
	pg_atomic_write_u32(&errand->done, 1);
	return NULL;
}

/* Starts it in a thread that inherits a mask of all signals; false: cannot. */
bool
fobs_errand_start(FobsErrand *errand, void (*what) (FobsErrand *errand))
{
	pthread_attr_t attributes;
	pthread_t	thread;
	sigset_t	all;
	sigset_t	before;
	bool		started;

	errand->run = what;
	pg_atomic_init_u32(&errand->done, 0);
	if (pthread_attr_init(&attributes) != 0)
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started =
		pthread_attr_setdetachstate(&attributes,
									PTHREAD_CREATE_DETACHED) == 0 &&
		pthread_create(&thread, &attributes, run, errand) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

bool
fobs_errand_is_done(FobsErrand *errand)
{
	bool		done = pg_atomic_read_u32(&errand->done) != 0;

	pg_read_barrier();
	return done;
}

/*
 * Waits a little for what usually takes a moment, unless this process is told
 * to end; returns whether it is done.
 */
bool
fobs_errand_wait(FobsErrand *errand, int timeout_ms)
{
	int64		left_us = timeout_ms * INT64CONST(1000);
	long		pause_us = LOOK_MIN_US;

	while (!fobs_errand_is_done(errand) && left_us > 0 &&
		   !ShutdownRequestPending)
	{
		pg_usleep(pause_us);
		left_us -= pause_us;
		pause_us = Min(pause_us * 2, LOOK_MAX_US);
	}
	return fobs_errand_is_done(errand);
}
