/*-------------------------------------------------------------------------
 *
 * answer.h
 *	  What an answer of the endpoint means.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_ANSWER_H
#define FRAISEQL_OBS_OTLP_ANSWER_H

#include "transport.h"

typedef enum FobsMeaning
{
	FOBS_MEANS_ACCEPTED,		/* but for some that may be rejected */
	FOBS_MEANS_RETRY,
	FOBS_MEANS_FAILED			/* it would do so again */
} FobsMeaning;

typedef struct FobsJudgement
{
	FobsMeaning meaning;
	int			rejected;
	char		message[512];	/* for the server log; '': nothing to say */
} FobsJudgement;

extern void fobs_answer_judge(const FobsAnswer *answer, int spans,
							  FobsJudgement *judgement);

#endif							/* FRAISEQL_OBS_OTLP_ANSWER_H */
