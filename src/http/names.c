/*-------------------------------------------------------------------------
 *
 * names.c
 *	  Addresses of the host names that the endpoint is to listen on.
 *
 * While a name server does not answer, probes must be.  So nobody waits for a
 * lookup for long; there are as many at a time as there can be listeners.  One
 * that outlives its use has its place until it is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "listener.h"
#include "lookup.h"
#include "names.h"

/* Most names take no longer, and so are known at the first call. */
#define WAIT_MS			100

static FobsLookup *lookups[FOBS_MAX_LISTENERS];

/* Where a host has its place, or could have one; NULL if there is none left */
static FobsLookup **
place_of(const char *host)
{
	FobsLookup **place = NULL;

	for (int i = 0; i < FOBS_MAX_LISTENERS; i++)
	{
		if (lookups[i] == NULL)
			place = &lookups[i];
		else if (strcmp(lookups[i]->host, host) == 0)
			return &lookups[i];
	}
	return place;
}

/*
 * Asks for the addresses of a host.  Returns 0, and what was found, which is
 * good until it is forgotten, with all ports being 0; or an error as of
 * getaddrinfo(), of which EAI_INPROGRESS means to ask again.
 */
int
fobs_names_ask(const char *host, const struct addrinfo **found)
{
	FobsLookup **place = place_of(host);
	FobsLookup *lookup;

	if (strlen(host) >= NI_MAXHOST)
		return EAI_NONAME;
	if (place == NULL)
		return EAI_INPROGRESS;
	if (*place == NULL)
	{
		*place = fobs_lookup_start(host);
		if (*place == NULL)
			return EAI_MEMORY;
		(void) fobs_errand_wait(&(*place)->errand, WAIT_MS);
	}
	lookup = *place;
	if (!fobs_errand_is_done(&lookup->errand))
		return EAI_INPROGRESS;
	if (lookup->error == 0)
		*found = lookup->found;
	return lookup->error;
}

/* Forgets what was found, which may be something else the next time. */
void
fobs_names_forget(void)
{
	for (int i = 0; i < FOBS_MAX_LISTENERS; i++)
	{
		FobsLookup *lookup = lookups[i];

		if (lookup == NULL || !fobs_errand_is_done(&lookup->errand))
			continue;
		fobs_lookup_free(lookup);
		lookups[i] = NULL;
	}
}
