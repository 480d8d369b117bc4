/*-------------------------------------------------------------------------
 *
 * listener.h
 *	  Where the HTTP endpoint listens.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_LISTENER_H
#define FRAISEQL_OBS_LISTENER_H

#include <sys/socket.h>

#define FOBS_MAX_LISTENERS 16

typedef enum FobsListening
{
	FOBS_LISTENS_NOT,			/* not everywhere, at least */
	FOBS_LISTENS_SOON,			/* a name server was asked and has not
								 * answered */
	FOBS_LISTENS				/* where it is to */
} FobsListening;

extern FobsListening fobs_listeners_open(const char *addresses, int port);
extern void fobs_listeners_forget_complaint(void);
extern void fobs_listeners_close(void);
extern int	fobs_listeners_sockets(pgsocket *sockets);
extern bool fobs_listeners_are_private(void);
extern bool fobs_address_is_local(const struct sockaddr *address);

#endif							/* FRAISEQL_OBS_LISTENER_H */
