/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  The connections of the HTTP endpoint, and how long they may stay.
 *
 * libmicrohttpd knows a timeout by inactivity alone, so that who sends a byte
 * now and then stays for ever, and it accepts nobody while its limit is
 * reached.  So both are done here:
 * - A connection has a moment until which it must have come further, whatever
 *	 it sends or reads meanwhile: until it has sent a request (with the TLS
 *	 handshake, if there is one), until it has read the answer, until it begins
 *	 another request.
 * - There is always room for one more.  Who comes when there is none takes the
 *	 place of the connection that is the least loss: one that waits for another
 *	 request; else the one that has taken longest to send its first; else the
 *	 one that has taken longest to read its answer.  A probe is done in a
 *	 millisecond, so that to get in its way takes that many connections each
 *	 millisecond, again and again.
 * - Large answers, of which a few may take all the memory that is good for
 *	 them, are given to a few at a time, in the same way.
 *
 * To close a connection is to shut its socket down: libmicrohttpd, whose it
 * is, notices and does the rest.  Until then it takes one of the slots that
 * there are twice as many of.
 *
 * Nothing here allocates or raises, as libmicrohttpd calls it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "portability/instr_time.h"

#include "compat.h"
#include "connection.h"

/* How long a connection may take, in milliseconds */
#define REQUEST_MS		5000
#define ANSWER_MS		10000
#define IDLE_MS			65000

/* How many may be reading a large answer */
#define MAX_LARGE		8

/* What it is about to do; when room is needed, the first ones go first */
typedef enum ConnectionState
{
	CONNECTION_UNUSED,			/* no connection */
	CONNECTION_IDLE,			/* may send another request */
	CONNECTION_ASKING,			/* is to send its first request */
	CONNECTION_READING			/* is to read the answer */
} ConnectionState;

struct FobsConnection
{
	ConnectionState state;
	pgsocket	fd;
	bool		is_local;		/* from this very machine */
	bool		is_large;		/* what it reads */
	bool		is_closing;		/* we have shut it down */
	int64		since;			/* when it came to be in this state */
	int64		until;			/* when it must be in another one */
};

static FobsConnection connections[FOBS_CONNECTION_SLOTS];
static FobsEndpointShared *shared;

/* Milliseconds of a clock that is never set */
static int64
now_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

void
fobs_connections_init(FobsEndpointShared *endpoint_shared)
{
	shared = endpoint_shared;
	pg_atomic_write_u32(&shared->connections, 0);
}

static void
enter(FobsConnection *connection, ConnectionState state, int may_take_ms)
{
	connection->state = state;
	connection->is_large = false;
	connection->since = now_ms();
	connection->until = connection->since + may_take_ms;
}

static void
shut_down(FobsConnection *connection, FobsEndpointReason reason)
{
	(void) shutdown(connection->fd, SHUT_RDWR);
	connection->is_closing = true;
	pg_atomic_fetch_add_u64(&shared->closed[reason], 1);
}

static bool
is_open(const FobsConnection *connection)
{
	return connection->state != CONNECTION_UNUSED && !connection->is_closing;
}

/* Shuts down the one that is the least loss, if there are too many. */
static void
make_room(bool of_large, int limit)
{
	FobsConnection *least = NULL;
	int			n = 0;

	for (int i = 0; i < FOBS_CONNECTION_SLOTS; i++)
	{
		FobsConnection *each = &connections[i];

		if (!is_open(each) || (of_large && !each->is_large))
			continue;
		n++;
		if (least == NULL || each->state < least->state ||
			(each->state == least->state && each->since < least->since))
			least = each;
	}
	if (n >= limit)
		shut_down(least, FOBS_CLOSED_LIMIT);
}

/*
 * Notes a new connection, for which another one may have to go.  NULL if not
 * even that helps, until libmicrohttpd has closed some.
 */
FobsConnection *
fobs_connection_open(pgsocket fd, bool is_local)
{
	make_room(false, FOBS_MAX_CONNECTIONS);
	for (int i = 0; i < FOBS_CONNECTION_SLOTS; i++)
	{
		FobsConnection *connection = &connections[i];

		if (connection->state != CONNECTION_UNUSED)
			continue;
		memset(connection, 0, sizeof(FobsConnection));
		connection->fd = fd;
		connection->is_local = is_local;
		enter(connection, CONNECTION_ASKING, REQUEST_MS);
		pg_atomic_fetch_add_u32(&shared->connections, 1);
		return connection;
	}
	return NULL;
}

/* libmicrohttpd has closed it. */
void
fobs_connection_closed(FobsConnection *connection)
{
	if (connection->state == CONNECTION_UNUSED)
		return;
	connection->state = CONNECTION_UNUSED;
	pg_atomic_fetch_sub_u32(&shared->connections, 1);
}

FobsConnection *
fobs_connection_find(pgsocket fd)
{
	for (int i = 0; i < FOBS_CONNECTION_SLOTS; i++)
	{
		if (connections[i].state != CONNECTION_UNUSED &&
			connections[i].fd == fd)
			return &connections[i];
	}
	return NULL;
}

/* It has sent a request. */
void
fobs_connection_answers(FobsConnection *connection)
{
	enter(connection, CONNECTION_READING, ANSWER_MS);
}

/* The answer is a large one. */
void
fobs_connection_answers_much(FobsConnection *connection)
{
	make_room(true, MAX_LARGE);
	connection->is_large = true;
}

/*
 * It has read the answer.  Who has said before that there will be no other
 * request is gone, which libmicrohttpd may have missed.
 */
void
fobs_connection_is_idle(FobsConnection *connection)
{
	char		next;

	enter(connection, CONNECTION_IDLE, IDLE_MS);
	if (recv(connection->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
	{
		(void) shutdown(connection->fd, SHUT_RDWR);
		connection->is_closing = true;
	}
}

bool
fobs_connection_is_local(const FobsConnection *connection)
{
	return connection->is_local;
}

/* Shuts down all that have not come further in time. */
void
fobs_connections_close_overdue(void)
{
	int64		now = now_ms();

	for (int i = 0; i < FOBS_CONNECTION_SLOTS; i++)
	{
		FobsConnection *each = &connections[i];

		if (is_open(each) && each->until <= now)
			shut_down(each, each->state == CONNECTION_IDLE ?
					  FOBS_CLOSED_IDLE : FOBS_CLOSED_DEADLINE);
	}
}

/* Milliseconds until that is to be done again */
int
fobs_connections_next_deadline_ms(int at_most)
{
	int64		now = now_ms();

	for (int i = 0; i < FOBS_CONNECTION_SLOTS; i++)
	{
		if (is_open(&connections[i]))
			at_most = Min(at_most, Max(connections[i].until - now, 0));
	}
	return at_most;
}
