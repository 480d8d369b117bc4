/*-------------------------------------------------------------------------
 *
 * probes.h
 *	  Health probes: what the server's state is judged to be.
 *
 * What SQL functions and the HTTP endpoint both answer with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_PROBES_H
#define FRAISEQL_OBS_PROBES_H

#include "health.h"

extern bool fobs_probe_role(const char *text,
							FobsHealthQuestion *question);
extern bool fobs_probe_max_lag(const char *text,
							   FobsHealthQuestion *question);
extern bool fobs_probe_answer(FobsProbe probe,
							  const FobsHealthQuestion *question,
							  bool detailed, StringInfo out);

#endif							/* FRAISEQL_OBS_PROBES_H */
