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
extern const FobsExemplar *fobs_exemplars_of_database(const FobsExemplars *exemplars,
													  int database);
extern const FobsExemplar *fobs_exemplars_of_operation(const FobsExemplars *exemplars,
													   const char *operation,
													   const char *type);

#endif							/* FRAISEQL_OBS_EXEMPLARS_H */
