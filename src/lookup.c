/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  The addresses of a host, looked up without waiting for them.
 *
 * A name server that does not answer keeps getaddrinfo() for as long as the
 * machine's resolver says.  Meanwhile a process has to go on, and to end when
 * it is told to.  So it is an errand.  Who started it frees it once it is
 * done, and not before.
 *
 * Part of the modules of workers, as errands are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "compat.h"
#include "lookup.h"

static void
look_up(FobsErrand *errand)
{
	FobsLookup *lookup = (FobsLookup *) errand;
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};

	lookup->error = getaddrinfo(lookup->host, NULL, &hints, &lookup->found);
}

/* Starts to look up a host; NULL if there is no memory for it. */
FobsLookup *
fobs_lookup_start(const char *host)
{
	FobsLookup *lookup = calloc(1, sizeof(FobsLookup));

	if (lookup == NULL)
		return NULL;
	strlcpy(lookup->host, host, sizeof(lookup->host));
	if (fobs_errand_start(&lookup->errand, look_up))
		return lookup;
	free(lookup);
	return NULL;
}

/* Frees what is done, and what it has found. */
void
fobs_lookup_free(FobsLookup *lookup)
{
	if (lookup->error == 0)
		freeaddrinfo(lookup->found);
	free(lookup);
}
