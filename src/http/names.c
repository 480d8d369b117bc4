/*-------------------------------------------------------------------------
 *
 * names.c
 *	  Addresses of the host names that the endpoint is to listen on.
 *
 * A name server that does not answer keeps getaddrinfo() for as long as the
 * machine's resolver says.  Meanwhile probes must be answered, and the process
 * must end when it is told to.  So each name is an errand, of which there are
 * as many at a time as there can be listeners.  One that outlives its use has
 * its place until it is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "compat.h"
#include "errand.h"
#include "listener.h"
#include "names.h"

/* Most names take no longer, and so are known at the first call. */
#define WAIT_MS			100

typedef struct Lookup
{
	FobsErrand	errand;
	char		host[NI_MAXHOST];
	int			error;			/* of getaddrinfo() */
	struct addrinfo *found;
} Lookup;

static Lookup *lookups[FOBS_MAX_LISTENERS];

static void
look_up(FobsErrand *errand)
{
	Lookup	   *lookup = (Lookup *) errand;
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};

	lookup->error = getaddrinfo(lookup->host, NULL, &hints, &lookup->found);
}

static Lookup *
start_lookup(const char *host)
{
	Lookup	   *lookup = calloc(1, sizeof(Lookup));

	if (lookup == NULL)
		return NULL;
	strlcpy(lookup->host, host, sizeof(lookup->host));
	if (fobs_errand_start(&lookup->errand, look_up))
		return lookup;
	free(lookup);
	return NULL;
}

/* Where a host has its place, or could have one; NULL if there is none left */
static Lookup **
place_of(const char *host)
{
	Lookup	  **place = NULL;

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
	Lookup	  **place = place_of(host);
	Lookup	   *lookup;

	if (strlen(host) >= NI_MAXHOST)
		return EAI_NONAME;
	if (place == NULL)
		return EAI_INPROGRESS;
	if (*place == NULL)
	{
		*place = start_lookup(host);
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
		Lookup	   *lookup = lookups[i];

		if (lookup == NULL || !fobs_errand_is_done(&lookup->errand))
			continue;
		if (lookup->error == 0)
			freeaddrinfo(lookup->found);
		free(lookup);
		lookups[i] = NULL;
	}
}
