/*-------------------------------------------------------------------------
 *
 * audit_extension.h
 *	  What belongs to the extension, and what only has its name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_EXTENSION_H
#define FRAISEQL_OBS_AUDIT_EXTENSION_H

#include "postgres_ext.h"

#define EXTENSION_NAME	"fraiseql_obs"
#define EXTENSION_SCHEMA "fraiseql_obs"

extern bool fobs_extension_has(Oid catalog, Oid object);
extern Oid	fobs_extension_function(const char *name, int nargs,
									const Oid *types);

#endif							/* FRAISEQL_OBS_AUDIT_EXTENSION_H */
