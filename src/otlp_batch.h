/*-------------------------------------------------------------------------
 *
 * otlp_batch.h
 *	  The spans since one, as a request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_BATCH_H
#define FRAISEQL_OBS_OTLP_BATCH_H

#include "lib/stringinfo.h"

/* Numbers are those of spans.c, of which each makes some spans. */
typedef struct FobsOtlpBatch
{
	uint64		next;			/* number to begin with, then to go on with */
	uint64		missed;			/* numbers before that which nobody can read */
	int			spans;			/* in the request; 0: there is none */
	bool		awaits;			/* next is being written, it seems */
} FobsOtlpBatch;

extern void fobs_otlp_batch_read(FobsOtlpBatch *batch, StringInfo out);

#endif							/* FRAISEQL_OBS_OTLP_BATCH_H */
