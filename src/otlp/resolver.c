/*-------------------------------------------------------------------------
 *
 * resolver.c
 *	  Addresses of a host, without waiting for them.
 *
 * A name server that does not answer keeps getaddrinfo() for as long as the
 * machine's resolver says.  libcurl asks in a thread, but waits for the thread
 * to end before it gives up or closes, which would keep this process from
 * ending when it is told to.  So a thread of our own asks, for which nobody
 * waits; libcurl is given the addresses.
 *
 * There is at most one such thread.  It has none of our signals, calls nothing
 * of PostgreSQL, and shares nothing but a Lookup, which is its own until it
 * says that it is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "port/atomics.h"
#include "portability/instr_time.h"

#include "compat.h"
#include "resolver.h"

/* How long addresses are good for */
#define FRESH_S			60

typedef struct Lookup
{
	pg_atomic_uint32 done;
	char		host[NI_MAXHOST];
	int			error;			/* of getaddrinfo() */
	struct addrinfo *found;
} Lookup;

/* What a thread is busy with, or has done and nobody has taken; or NULL */
static Lookup *lookup = NULL;

/* What was found last, and when */
static char known_host[NI_MAXHOST];
static char known_addresses[FOBS_ADDRESSES_SIZE];
static instr_time known_since;

static void *
look_up(void *arg)
{
	Lookup	   *mine = arg;
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};

	mine->error = getaddrinfo(mine->host, NULL, &hints, &mine->found);
	pg_write_barrier();
	pg_atomic_write_u32(&mine->done, 1);
	return NULL;
}

/* Starts a thread that inherits a mask of all signals; false if it cannot. */
static bool
start_thread(Lookup *arg)
{
	pthread_attr_t attributes;
	pthread_t	thread;
	sigset_t	all;
	sigset_t	before;
	bool		started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started =
		pthread_attr_setdetachstate(&attributes,
									PTHREAD_CREATE_DETACHED) == 0 &&
		pthread_create(&thread, &attributes, look_up, arg) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

static bool
start_lookup(const char *host)
{
	lookup = calloc(1, sizeof(Lookup));
	if (lookup == NULL)
		return false;
	pg_atomic_init_u32(&lookup->done, 0);
	strlcpy(lookup->host, host, sizeof(lookup->host));
	if (start_thread(lookup))
		return true;
	free(lookup);
	lookup = NULL;
	return false;
}

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

/* Takes what a thread has found. */
static FobsResolved
take_result(const char **error)
{
	FobsResolved result = FOBS_RESOLVED_FOUND;

	pg_read_barrier();
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
		freeaddrinfo(lookup->found);
	}
	free(lookup);
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
		if (start_lookup(host))
			return FOBS_RESOLVED_PENDING;
		*error = "out of memory";
		return FOBS_RESOLVED_FAILED;
	}
	if (pg_atomic_read_u32(&lookup->done) == 0)
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
