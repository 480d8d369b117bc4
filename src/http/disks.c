/*-------------------------------------------------------------------------
 *
 * disks.c
 *	  Whether the server's file systems answer.
 *
 * A file system that hangs, as one on the network may, hangs who asks it for
 * anything.  The endpoint has one thread, and is asked whether it is alive,
 * too.  So before it looks at files for an answer it has an errand ask the
 * file systems for their space, which is never answered from memory alone
 * where that matters.  It waits for that once; while the errand is under way,
 * nobody waits again and no file is looked at.
 *
 * Caveat: a file system that begins to hang between that and the look at it
 * hangs the endpoint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/statvfs.h>

#include "portability/instr_time.h"

#include "compat.h"
#include "disks.h"
#include "errand.h"

static FobsErrand errand;
static bool is_asking = false;
static instr_time asked_at;

/* What they say is of no interest here, nor is that one is not there. */
static void
ask(FobsErrand *unused)
{
	struct statvfs space;

	(void) statvfs(".", &space);
	(void) statvfs("pg_wal", &space);
}

/*
 * For how many seconds a file system has not answered; 0 if all did in time.
 * Where there is no memory for a thread nobody knows.
 */
double
fobs_disks_unanswered_s(int timeout_ms)
{
	instr_time	waited;

	if (!is_asking)
	{
		INSTR_TIME_SET_CURRENT(asked_at);
		is_asking = fobs_errand_start(&errand, ask);
		if (!is_asking)
			return 0;
		(void) fobs_errand_wait(&errand, timeout_ms);
	}
	is_asking = !fobs_errand_is_done(&errand);
	if (!is_asking)
		return 0;
	INSTR_TIME_SET_CURRENT(waited);
	INSTR_TIME_SUBTRACT(waited, asked_at);
	return INSTR_TIME_GET_DOUBLE(waited);
}
