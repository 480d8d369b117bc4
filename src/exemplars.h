/*-------------------------------------------------------------------------
 *
 * exemplars.h
 *	  Recent traces, for the buckets of histograms.
 *
 * See exemplars.c for where they come from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_EXEMPLARS_H
#define FRAISEQL_OBS_EXEMPLARS_H

#include "exposition.h"
#include "operations.h"

typedef struct FobsExemplars FobsExemplars;

extern FobsExemplars *fobs_exemplars_collect(void);
extern const FobsExemplar *fobs_database_exemplars(const FobsExemplars *all,
												   int database);
extern const FobsExemplar *fobs_operation_exemplars(const FobsExemplars *all,
													const char *operation,
													const char *type);

#endif							/* FRAISEQL_OBS_EXEMPLARS_H */
