/*-------------------------------------------------------------------------
 *
 * server_backends.h
 *	  What every process of the server says of itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SERVER_BACKENDS_H
#define FRAISEQL_OBS_SERVER_BACKENDS_H

#include "utils/backend_status.h"

typedef void (*FobsBackendVisitor) (const PgBackendStatus *backend,
									void *arg);

extern void fobs_backends_visit(FobsBackendVisitor visit, void *arg);
extern bool fobs_backends_in_transaction(const PgBackendStatus *backend);

#endif							/* FRAISEQL_OBS_SERVER_BACKENDS_H */
