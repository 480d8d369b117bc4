/*-------------------------------------------------------------------------
 *
 * listener.c
 *	  Where the HTTP endpoint listens.
 *
 * A list of addresses, host names, and paths of Unix-domain sockets.  What
 * cannot be opened now is tried again by whoever called, and is in the server
 * log once.
 *
 * When the settings change, sockets that are still wanted stay open, and
 * those that are not are closed only when at least one that is wanted is open:
 * a mistake in the settings costs nobody the endpoint that there was.  Names
 * are looked up before any of that, without waiting (names.c).
 *
 * The kernel does not listen on all addresses and on one of them, of the same
 * port.  So where both are wanted, and it listens on all, the one is left out,
 * as it is among them.  And where an old socket is in the way of a new one, it
 * is closed first, and opened again if that did not help.
 *
 * SO_REUSEADDR lets us listen although connections of before linger.  That two
 * servers listen on the same address it does not allow.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "compat.h"
#include "listener.h"
#include "names.h"

#define BACKLOG			128
#define SOCKET_MODE		0660	/* of a Unix-domain socket's file */

/* One place to listen at */
typedef struct Listener
{
	char		name[MAXPGPATH];	/* as it is shown; tells it from others */
	struct sockaddr_storage address;
	socklen_t	length;
	bool		optional;		/* the host has others */
	pgsocket	fd;				/* PGINVALID_SOCKET: not open */
} Listener;

/*
 * There is place for as many as can be wanted, and beside them, for as many
 * old ones that are open; more than FOBS_MAX_LISTENERS are never open.
 */
#define MAX_ITEMS		(2 * FOBS_MAX_LISTENERS)

/* Several of them, and whether all that are meant could be found out */
typedef struct Listeners
{
	Listener	items[MAX_ITEMS];
	int			n;
	bool		complete;
	bool		pending;		/* for some, a name server was asked */
} Listeners;

static Listeners current = {.complete = true};

/* What the server log was last told is wrong */
static char *last_complaint = NULL;

/*
 * What is wrong this time, as much as there is room for.  Nothing may be
 * raised while sockets are handed on, or one would be nobody's and stay open.
 */
static char complaint[4096];

static void
complain(const char *name, const char *problem)
{
	size_t		len = strlen(complaint);

	snprintf(complaint + len, sizeof(complaint) - len, "%s\"%s\": %s",
			 len > 0 ? "; " : "", name, problem);
}

/* What is wrong, again or still, is to be written down anew. */
void
fobs_listeners_forget_complaint(void)
{
	if (last_complaint != NULL)
		free(last_complaint);
	last_complaint = NULL;
}

/*
 * Writes down what is wrong, unless it is what was wrong the last time, and
 * whether it listens anywhere that is wanted, or only where it did before.
 */
static void
report_complaint(bool listens)
{
	if (last_complaint != NULL && strcmp(last_complaint, complaint) == 0)
		return;
	fobs_listeners_forget_complaint();
	if (complaint[0] == '\0')
		return;
	last_complaint = strdup(complaint);
	ereport(LOG,
			(listens ?
			 errmsg("HTTP endpoint could not listen on all addresses") :
			 errmsg("HTTP endpoint could not listen on any address"),
			 errdetail("%s.", complaint),
			 !listens && fobs_listeners_sockets(NULL) > 0 ?
			 errhint("It listens where it did before, and tries again, more and more seldom up to once a minute.") :
			 errhint("It tries again, more and more seldom up to once a minute.")));
}

static Listener *
add(Listeners *listeners, const char *name)
{
	Listener   *listener;

	for (int i = 0; i < listeners->n; i++)
	{
		if (strcmp(listeners->items[i].name, name) == 0)
			return NULL;		/* it is there already */
	}
	if (listeners->n == FOBS_MAX_LISTENERS)
	{
		complain(name, "too many addresses");
		listeners->complete = false;
		return NULL;
	}
	listener = &listeners->items[listeners->n++];
	memset(listener, 0, sizeof(Listener));
	strlcpy(listener->name, name, sizeof(listener->name));
	listener->fd = PGINVALID_SOCKET;
	return listener;
}

static void
add_path(Listeners *listeners, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	Listener   *listener;

	if (strlen(path) >= sizeof(address.sun_path))
	{
		complain(path, "the path is too long for a Unix-domain socket");
		listeners->complete = false;
		return;
	}
	listener = add(listeners, path);
	if (listener == NULL)
		return;
	strcpy(address.sun_path, path);
	memcpy(&listener->address, &address, sizeof(address));
	listener->length = sizeof(address);
}

static void
add_address(Listeners *listeners, const struct addrinfo *info, int port,
			bool optional)
{
	char		host[NI_MAXHOST];
	char		name[NI_MAXHOST + 16];
	Listener   *listener;

	if (getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof(host),
					NULL, 0, NI_NUMERICHOST) != 0)
		return;
	snprintf(name, sizeof(name), strchr(host, ':') ? "[%s]:%d" : "%s:%d",
			 host, port);
	listener = add(listeners, name);
	if (listener == NULL)
		return;
	memcpy(&listener->address, info->ai_addr, info->ai_addrlen);
	if (info->ai_family == AF_INET6)
		((struct sockaddr_in6 *) &listener->address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *) &listener->address)->sin_port = htons(port);
	listener->length = info->ai_addrlen;
	listener->optional = optional;
}

static void
add_addresses(Listeners *listeners, const struct addrinfo *found, int port)
{
	for (const struct addrinfo *info = found; info != NULL;
		 info = info->ai_next)
		add_address(listeners, info, port, found->ai_next != NULL);
}

/* A name may have many addresses; "*" is all that there are. */
static void
add_host(Listeners *listeners, const char *host, int port)
{
	struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *numeric;
	const struct addrinfo *found;
	int			error;

	/* for what is an address already nobody is asked */
	error = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, "0", &hints,
						&numeric);
	if (error == 0)
	{
		add_addresses(listeners, numeric, port);
		freeaddrinfo(numeric);
		return;
	}
	error = fobs_names_ask(host, &found);
	if (error == 0)
		add_addresses(listeners, found, port);
	else
	{
		listeners->complete = false;
		if (error == EAI_INPROGRESS)
			listeners->pending = true;
		else
			complain(host, gai_strerror(error));
	}
}

/* Finds out what the settings mean. */
static void
find_wanted(Listeners *wanted, const char *addresses, int port)
{
	char	   *copy = pstrdup(addresses);
	List	   *names;
	ListCell   *cell;

	wanted->n = 0;
	wanted->complete = true;
	wanted->pending = false;
	if (!SplitGUCList(copy, ',', &names))
	{
		complain(addresses, "the list has a wrong syntax");
		wanted->complete = false;
		list_free(names);
		names = NIL;
	}
	foreach(cell, names)
	{
		char	   *name = lfirst(cell);

		if (is_absolute_path(name))
			add_path(wanted, name);
		else
			add_host(wanted, name, port);
	}
	list_free(names);
	pfree(copy);
}

static bool
is_path(const Listener *listener)
{
	return listener->address.ss_family == AF_UNIX;
}

/*
 * Removes the file of a Unix-domain socket that nobody listens on any more.
 * Where somebody does, or it is no socket, bind() will say so.
 */
static void
remove_stale_file(const Listener *listener)
{
	struct stat status;
	int			fd;

	if (lstat(listener->name, &status) != 0 || !S_ISSOCK(status.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *) &listener->address,
				listener->length) != 0 && errno == ECONNREFUSED)
		(void) unlink(listener->name);
	close(fd);
}

static bool
bind_socket(pgsocket fd, const Listener *listener)
{
	int			one = 1;
	mode_t		mask;
	int			result;

	if (is_path(listener))
	{
		remove_stale_file(listener);
		mask = umask(0777 & ~SOCKET_MODE);
		result = bind(fd, (const struct sockaddr *) &listener->address,
					  listener->length);
		umask(mask);
		return result == 0;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
		return false;
	if (listener->address.ss_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
		return false;
	return bind(fd, (const struct sockaddr *) &listener->address,
				listener->length) == 0;
}

/* Opens one; false with errno if that fails. */
static bool
open_listener(Listener *listener)
{
	pgsocket	fd = socket(listener->address.ss_family,
							SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int			save_errno;

	if (fd == PGINVALID_SOCKET)
		return false;
	if (bind_socket(fd, listener) && listen(fd, BACKLOG) == 0)
	{
		listener->fd = fd;
		return true;
	}
	save_errno = errno;
	close(fd);
	errno = save_errno;
	return false;
}

static void
close_listener(Listener *listener)
{
	if (listener->fd == PGINVALID_SOCKET)
		return;
	close(listener->fd);
	listener->fd = PGINVALID_SOCKET;
	if (is_path(listener))
		(void) unlink(listener->name);
}

/* The port of an address; of a path none */
static int
port_of(const Listener *listener)
{
	if (listener->address.ss_family == AF_INET)
		return ((const struct sockaddr_in *) &listener->address)->sin_port;
	if (listener->address.ss_family == AF_INET6)
		return ((const struct sockaddr_in6 *) &listener->address)->sin6_port;
	return -1;
}

/* Is it all addresses of a kind? */
static bool
is_any_address(const Listener *listener)
{
	if (listener->address.ss_family == AF_INET)
		return ((const struct sockaddr_in *)
				&listener->address)->sin_addr.s_addr == htonl(INADDR_ANY);
	if (listener->address.ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)
										 &listener->address)->sin6_addr);
	return false;
}

/* Can one not be open beside the other? */
static bool
is_in_the_way(const Listener *one, const Listener *other)
{
	return one->fd != PGINVALID_SOCKET &&
		one->address.ss_family == other->address.ss_family &&
		port_of(one) == port_of(other) &&
		(is_any_address(one) || is_any_address(other));
}

/*
 * Opens a listener that could not be opened because its address is in use, by
 * which it may be that old ones of ours are meant.
 */
static bool
open_in_place_of(Listener *listener, Listeners *old)
{
	bool		closed[MAX_ITEMS] = {0};
	bool		any = false;
	int			save_errno;

	for (int i = 0; i < old->n; i++)
	{
		if (!is_in_the_way(&old->items[i], listener))
			continue;
		close_listener(&old->items[i]);
		closed[i] = any = true;
	}
	if (any && open_listener(listener))
		return true;
	save_errno = any ? errno : EADDRINUSE;
	for (int i = 0; i < old->n; i++)
	{
		if (closed[i])
			(void) open_listener(&old->items[i]);
	}
	errno = save_errno;
	return false;
}

/* Takes over one that is open already. */
static bool
take_over(Listener *listener, Listeners *old)
{
	for (int i = 0; i < old->n; i++)
	{
		if (old->items[i].fd == PGINVALID_SOCKET ||
			strcmp(listener->name, old->items[i].name) != 0)
			continue;
		listener->fd = old->items[i].fd;
		old->items[i].fd = PGINVALID_SOCKET;
		return true;
	}
	return false;
}

/* Has a host one more address, of a kind that this machine does not have? */
static bool
is_dispensable(const Listener *listener)
{
	return listener->optional &&
		(errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

/* Is one of those that are open already all addresses, this one among them? */
static bool
is_covered(const Listener *listener, const Listeners *wanted)
{
	for (int i = 0; i < wanted->n; i++)
	{
		if (&wanted->items[i] != listener &&
			is_any_address(&wanted->items[i]) &&
			is_in_the_way(&wanted->items[i], listener))
			return true;
	}
	return false;
}

/* Has one be open, unless it is covered. */
static void
need_listener(Listener *listener, Listeners *wanted, Listeners *old)
{
	if (is_covered(listener, wanted) || take_over(listener, old))
		return;
	if (open_listener(listener) ||
		(errno == EADDRINUSE && open_in_place_of(listener, old)))
		ereport(LOG,
				(errmsg("HTTP endpoint is listening on \"%s\"",
						listener->name)));
	else if (!is_dispensable(listener))
	{
		complain(listener->name, strerror(errno));
		wanted->complete = false;
	}
}

/* Opens what is not, all addresses first; returns how many are. */
static int
open_missing(Listeners *wanted, Listeners *old)
{
	int			n = 0;

	for (int i = 0; i < wanted->n; i++)
	{
		if (is_any_address(&wanted->items[i]))
			need_listener(&wanted->items[i], wanted, old);
	}
	for (int i = 0; i < wanted->n; i++)
	{
		if (!is_any_address(&wanted->items[i]))
			need_listener(&wanted->items[i], wanted, old);
		if (wanted->items[i].fd != PGINVALID_SOCKET)
			n++;
	}
	return n;
}

/*
 * Keeps those that are open, beside the ones that are wanted, of which none
 * is: so there is place for all.  One that was left out would listen on, with
 * nobody to accept.
 */
static void
keep_old(Listeners *wanted, const Listeners *old)
{
	for (int i = 0; i < old->n; i++)
	{
		if (old->items[i].fd == PGINVALID_SOCKET)
			continue;
		Assert(wanted->n < MAX_ITEMS);
		wanted->items[wanted->n++] = old->items[i];
	}
}

/*
 * Opens what is wanted, and closes the rest, see above; returns whether any of
 * it is open.
 */
static bool
change_listeners(Listeners *wanted, bool wants_any)
{
	bool		listens = open_missing(wanted, &current) > 0;

	if (!listens && wants_any)
		keep_old(wanted, &current);
	else
	{
		for (int i = 0; i < current.n; i++)
			close_listener(&current.items[i]);
	}
	current = *wanted;
	return listens;
}

/*
 * Listens where the settings say, and nowhere else; see above for what happens
 * if that cannot be.  While a name server does not answer, all that is open
 * stays, and where nothing is, what needs no name server is opened.
 */
FobsListening
fobs_listeners_open(const char *addresses, int port)
{
	Listeners  *wanted = palloc0(sizeof(Listeners));
	bool		pending;
	bool		listens = false;

	complaint[0] = '\0';
	find_wanted(wanted, addresses, port);
	pending = wanted->pending;
	if (!pending || fobs_listeners_sockets(NULL) == 0)
		listens = change_listeners(wanted, addresses[0] != '\0');
	if (!pending)
	{
		report_complaint(listens);
		fobs_names_forget();
	}
	pfree(wanted);
	if (pending)
		return FOBS_LISTENS_SOON;
	return current.complete && fobs_listeners_sockets(NULL) > 0 ?
		FOBS_LISTENS : FOBS_LISTENS_NOT;
}

void
fobs_listeners_close(void)
{
	for (int i = 0; i < current.n; i++)
		close_listener(&current.items[i]);
	current.n = 0;
}

/*
 * How many sockets there are, FOBS_MAX_LISTENERS at most, and unless NULL is
 * given, which.
 */
int
fobs_listeners_sockets(pgsocket *sockets)
{
	int			n = 0;

	for (int i = 0; i < current.n; i++)
	{
		if (current.items[i].fd == PGINVALID_SOCKET)
			continue;
		if (sockets != NULL)
			sockets[n] = current.items[i].fd;
		n++;
	}
	return n;
}

/* Is an address one that only this machine can connect to? */
bool
fobs_address_is_local(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr)
				>> 24) == 127;
	if (address->sa_family == AF_INET6)
	{
		const struct in6_addr *ip =
		&((const struct sockaddr_in6 *) address)->sin6_addr;

		return IN6_IS_ADDR_LOOPBACK(ip) ||
			(IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
	}
	return address->sa_family == AF_UNIX;
}

/* Can nobody connect from other machines? */
bool
fobs_listeners_are_private(void)
{
	for (int i = 0; i < current.n; i++)
	{
		if (current.items[i].fd != PGINVALID_SOCKET &&
			!fobs_address_is_local((const struct sockaddr *)
								   &current.items[i].address))
			return false;
	}
	return true;
}
