/*-------------------------------------------------------------------------
 *
 * server_horizons.h
 *	  How far back transactions and multixacts reach.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SERVER_HORIZONS_H
#define FRAISEQL_OBS_SERVER_HORIZONS_H

#include "access/transam.h"

/* NaN is what is not known. */
typedef struct FobsHorizons
{
	TransactionId next;			/* to be assigned; invalid: not known */
	double		oldest_unfrozen;	/* how many transactions ago ... */
	double		oldest_xmin;
	double		oldest_multixact;	/* and multixacts */
	double		left;			/* before the server refuses to assign one */
} FobsHorizons;

extern void fobs_horizons_read(FobsHorizons *horizons);
extern double fobs_horizons_age(const FobsHorizons *horizons,
								TransactionId xid);

#endif							/* FRAISEQL_OBS_SERVER_HORIZONS_H */
