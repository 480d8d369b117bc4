/*-------------------------------------------------------------------------
 *
 * resolver.h
 *	  Addresses of a host, without waiting for them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_RESOLVER_H
#define FRAISEQL_OBS_OTLP_RESOLVER_H

/* Bytes that the addresses of a host take as text, as many as are of use */
#define FOBS_ADDRESSES_SIZE 1024

typedef enum FobsResolved
{
	FOBS_RESOLVED_PENDING,
	FOBS_RESOLVED_FOUND,
	FOBS_RESOLVED_FAILED
} FobsResolved;

extern FobsResolved fobs_resolver_ask(const char *host, char *addresses,
									  const char **error);
extern void fobs_resolver_forget(void);

#endif							/* FRAISEQL_OBS_OTLP_RESOLVER_H */
