/*-------------------------------------------------------------------------
 *
 * operations.h
 *	  One series per (database, operation, type) of the application.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OPERATIONS_H
#define FRAISEQL_OBS_OPERATIONS_H

#include "series.h"

/* Bytes with the terminating zero; longer values are cut at a character */
#define FOBS_OPERATION_SIZE		129
#define FOBS_OPERATION_TYPE_SIZE 33

/* Padding bytes must be zero: the key is hashed and compared as bytes. */
typedef struct FobsOperationKey
{
	int32		database;		/* entry of counters.c */
	char		operation[FOBS_OPERATION_SIZE];
	char		type[FOBS_OPERATION_TYPE_SIZE];
} FobsOperationKey;

/* An operation summed over the databases; UTF-8 */
typedef struct FobsOperationSum
{
	const FobsOperationKey *key;	/* its database means nothing */
	FobsSeriesSummary *summary;
} FobsOperationSum;

extern void fobs_operations_shmem_request(void);
extern void fobs_operations_shmem_startup(void);
extern void fobs_operations_count(const FobsOperationKey *key,
								  FobsSeriesRef *ref,
								  const FobsObservation *observation);
extern void fobs_operations_visit(FobsSeriesVisitor visitor, void *arg);
extern FobsOperationSum *fobs_operations_sums(int *nsums);
extern FobsSeriesStoreInfo fobs_operations_info(void);
extern void fobs_operations_reset(void);

#endif							/* FRAISEQL_OBS_OPERATIONS_H */
