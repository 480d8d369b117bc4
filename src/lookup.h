/*-------------------------------------------------------------------------
 *
 * lookup.h
 *	  The addresses of a host, looked up without waiting for them.
 *
 * See lookup.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_LOOKUP_H
#define FRAISEQL_OBS_LOOKUP_H

#include <netdb.h>

#include "errand.h"

/* All but the errand is to be looked at when that is done. */
typedef struct FobsLookup
{
	FobsErrand	errand;			/* must be first */
	char		host[NI_MAXHOST];
	int			error;			/* of getaddrinfo() */
	struct addrinfo *found;
} FobsLookup;

extern FobsLookup *fobs_lookup_start(const char *host);
extern void fobs_lookup_free(FobsLookup *lookup);

#endif							/* FRAISEQL_OBS_LOOKUP_H */
