/*-------------------------------------------------------------------------
 *
 * resolver.c
 *	  Addresses of a host, without waiting for them.
 *
 * libcurl asks a name server in a thread, but waits for the thread to end
 * before it gives up or closes, which would keep this process from ending when
 * it is told to.  So it is a lookup of ours, of which there is at most one at
 * a time; libcurl is given the addresses.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "portability/instr_time.h"

#include "compat.h"
#include "lookup.h"
#include "resolver.h"

/* How long addresses are good for */
#define FRESH_S			60

/* What is under way, or is done and nobody has taken; or NULL */
static FobsLookup *lookup = NULL;

/* What was found last, and when */
static char known_host[NI_MAXHOST];
static char known_addresses[FOBS_ADDRESSES_SIZE];
static instr_time known_since;

/* Writes addresses as libcurl takes them, with commas between. */
static void
write_addresses(const struct addrinfo *found)
{
	size_t		len = 0;

	known_addresses[0] = '\0';
	for (; found != NULL; found = found->ai_next)
	{
		char		address[NI_MAXHOST];
		const char *format = found->ai_family == AF_INET6 ? "[%s]" : "%s";

		if (getnameinfo(found->ai_addr, found->ai_addrlen, address,
						sizeof(address), NULL, 0, NI_NUMERICHOST) != 0 ||
			len + strlen(address) + 4 > sizeof(known_addresses))
			continue;
		if (len > 0)
			known_addresses[len++] = ',';
		len += snprintf(known_addresses + len, sizeof(known_addresses) - len,
						format, address);
	}
}

/* Takes what was found. */
static FobsResolved
take_result(const char **error)
{
	FobsResolved result = FOBS_RESOLVED_FOUND;

	if (lookup->error != 0)
	{
		*error = gai_strerror(lookup->error);
		result = FOBS_RESOLVED_FAILED;
	}
	else
	{
		strcpy(known_host, lookup->host);
		write_addresses(lookup->found);
		INSTR_TIME_SET_CURRENT(known_since);
	}
	fobs_lookup_free(lookup);
	lookup = NULL;
	return result;
}

static bool
is_known(const char *host)
{
	instr_time	age;

	if (strcmp(host, known_host) != 0)
		return false;
	INSTR_TIME_SET_CURRENT(age);
	INSTR_TIME_SUBTRACT(age, known_since);
	return INSTR_TIME_GET_DOUBLE(age) < FRESH_S;
}

/* What is known may be wrong: nobody was there. */
void
fobs_resolver_forget(void)
{
	known_host[0] = '\0';
}

/*
 * Asks for the addresses of a host, "addresses" of FOBS_ADDRESSES_SIZE.  To be
 * called again and again while it is pending.
 */
FobsResolved
fobs_resolver_ask(const char *host, char *addresses, const char **error)
{
	if (is_known(host))
	{
		strcpy(addresses, known_addresses);
		return FOBS_RESOLVED_FOUND;
	}
	if (lookup == NULL)
	{
		lookup = fobs_lookup_start(host);
		if (lookup != NULL)
			return FOBS_RESOLVED_PENDING;
		*error = "out of memory";
		return FOBS_RESOLVED_FAILED;
	}
	if (!fobs_errand_is_done(&lookup->errand))
		return FOBS_RESOLVED_PENDING;
	if (strcmp(lookup->host, host) == 0)
	{
		FobsResolved result = take_result(error);

		if (result == FOBS_RESOLVED_FOUND)
			strcpy(addresses, known_addresses);
		return result;
	}

	/* that was for an earlier endpoint */
	(void) take_result(error);
	return FOBS_RESOLVED_PENDING;
}
