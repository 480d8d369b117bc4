/*-------------------------------------------------------------------------
 *
 * names.h
 *	  Addresses of the host names that the endpoint is to listen on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HTTP_NAMES_H
#define FRAISEQL_OBS_HTTP_NAMES_H

#include <netdb.h>

extern int	fobs_names_ask(const char *host, const struct addrinfo **found);
extern void fobs_names_forget(void);

#endif							/* FRAISEQL_OBS_HTTP_NAMES_H */
