/*-------------------------------------------------------------------------
 *
 * audit_door.h
 *	  The doors through which the audit log's tables are written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_DOOR_H
#define FRAISEQL_OBS_AUDIT_DOOR_H

#include "postgres_ext.h"

/* What is being done by us, so that the guard lets it pass; a bit set */
typedef enum FobsDoor
{
	FOBS_DOOR_APPEND = 1,		/* a row is appended to the log */
	FOBS_DOOR_KEEP = 2,			/* tables are made, kept or removed */
	FOBS_DOOR_ERASE = 4			/* personal columns of rows are erased */
} FobsDoor;

extern int	fobs_audit_doors;

/* Whose rights this process had before it took those of the log's owner */
typedef struct FobsSavedUser
{
	Oid			user;
	int			security_context;
	int			guc_nest_level;
} FobsSavedUser;

extern void fobs_audit_become_owner(Oid owner, FobsSavedUser *saved);
extern void fobs_audit_become_self(const FobsSavedUser *saved);

#endif							/* FRAISEQL_OBS_AUDIT_DOOR_H */
