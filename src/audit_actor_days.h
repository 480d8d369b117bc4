/*-------------------------------------------------------------------------
 *
 * audit_actor_days.h
 *	  The rollup of the audit log by user and UTC day.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_ACTOR_DAYS_H
#define FOBS_AUDIT_ACTOR_DAYS_H

#include "storage/itemptr.h"
#include "utils/date.h"

/* What a user has done on a day */
typedef struct ActorDay
{
	DateADT		day;
	const char *user;			/* not terminated */
	int			length;
	bool		null;			/* the user is not known */
	int64		n;
	int64		failed;
	int64		denied;

	/* for who adds it: a hash of user and day, and where the row may be */
	uint32		hash;
	ItemPointerData place;
} ActorDay;

extern void fobs_actor_days_add(Oid table, DateADT today, ActorDay *list,
								int n);

#endif							/* FOBS_AUDIT_ACTOR_DAYS_H */
