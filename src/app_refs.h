/*-------------------------------------------------------------------------
 *
 * app_refs.h
 *	  Where this backend found the series for arguments that it has seen.
 *
 * See app_refs.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_APP_REFS_H
#define FRAISEQL_OBS_APP_REFS_H

#include "app_series.h"

#define FOBS_APP_KEY_SIZE	512

/* Arguments that say which series is meant, as bytes */
typedef struct FobsAppKey
{
	size_t		len;			/* more than the size: too long to keep */
	char		bytes[FOBS_APP_KEY_SIZE];
} FobsAppKey;

/* What was found for them */
typedef struct FobsAppRefs
{
	FobsAppRef	refs[2];
	bool		truncated;		/* a label's value was cut */
} FobsAppRefs;

static inline void
fobs_app_key_add(FobsAppKey *key, const void *bytes, size_t len)
{
	if (key->len + len <= FOBS_APP_KEY_SIZE)
		memcpy(key->bytes + key->len, bytes, len);
	key->len += len;
}

extern FobsAppRefs *fobs_app_refs_find(const FobsAppKey *key);

#endif							/* FRAISEQL_OBS_APP_REFS_H */
