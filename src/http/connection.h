/*-------------------------------------------------------------------------
 *
 * connection.h
 *	  The connections of the HTTP endpoint, and how long they may stay.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_CONNECTION_H
#define FRAISEQL_OBS_CONNECTION_H

#include "endpoint.h"

/* Connections that there is room for, with those that are being closed */
#define FOBS_MAX_CONNECTIONS 32
#define FOBS_CONNECTION_SLOTS (2 * FOBS_MAX_CONNECTIONS)

typedef struct FobsConnection FobsConnection;

extern void fobs_connections_init(FobsEndpointShared *shared);
extern FobsConnection *fobs_connection_open(pgsocket fd, bool is_local);
extern void fobs_connection_closed(FobsConnection *connection);
extern FobsConnection *fobs_connection_find(pgsocket fd);
extern void fobs_connection_answers(FobsConnection *connection);
extern void fobs_connection_answers_much(FobsConnection *connection);
extern void fobs_connection_is_idle(FobsConnection *connection);
extern bool fobs_connection_is_local(const FobsConnection *connection);
extern void fobs_connections_close_overdue(void);
extern int	fobs_connections_next_deadline_ms(int at_most);

#endif							/* FRAISEQL_OBS_CONNECTION_H */
