/*-------------------------------------------------------------------------
 *
 * app_refs.c
 *	  Where this backend found the series for arguments that it has seen.
 *
 * A function that records something makes a key of its arguments as they are,
 * and keeps here what it made of them, so that the next call with the same
 * arguments need not read JSON, convert text, or look into shared memory.
 *
 * There is room for some hundreds of usual keys.  When it is used up, all are
 * forgotten: who sends endlessly many different ones makes this backend search
 * each time, and use no more memory.  A key that is too long is not kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "app_refs.h"

#define ARENA_SIZE	(24 * 1024)
#define BUCKETS		256

typedef struct Entry
{
	uint32		hash;
	uint16		next;			/* in bucket */
	uint16		len;
	FobsAppRefs refs;
	char		key[FLEXIBLE_ARRAY_MEMBER];
} Entry;

/* An entry's place in the arena, in MAXALIGNs from 1 on; 0 is none */
static char *arena = NULL;
static size_t arena_used;
static uint16 buckets[BUCKETS];

static Entry *
entry_at(uint16 place)
{
	return (Entry *) (arena + (place - 1) * MAXIMUM_ALIGNOF);
}

/* Takes room for an entry, and if there is none, that of all others. */
static uint16
allocate(size_t size)
{
	uint16		place;

	if (arena == NULL)
	{
		arena = MemoryContextAlloc(TopMemoryContext, ARENA_SIZE);
		arena_used = 0;
	}
	if (arena_used + size > ARENA_SIZE)
	{
		memset(buckets, 0, sizeof(buckets));
		arena_used = 0;
	}
	place = arena_used / MAXIMUM_ALIGNOF + 1;
	arena_used += size;
	return place;
}

/*
 * What is kept for a key; of one that is new, nothing yet, to be filled in.
 * Stays where it is until the next call.
 */
FobsAppRefs *
fobs_app_refs_find(const FobsAppKey *key)
{
	static FobsAppRefs too_long;
	uint32		hash;
	uint16		place;
	Entry	   *entry;

	if (key->len > FOBS_APP_KEY_SIZE)
	{
		memset(&too_long, 0, sizeof(too_long));
		return &too_long;
	}

	hash = hash_bytes((const unsigned char *) key->bytes, key->len);
	for (place = buckets[hash % BUCKETS]; place != 0; place = entry->next)
	{
		entry = entry_at(place);
		if (entry->hash == hash && entry->len == key->len &&
			memcmp(entry->key, key->bytes, key->len) == 0)
			return &entry->refs;
	}

	place = allocate(MAXALIGN(offsetof(Entry, key) + key->len));
	entry = entry_at(place);
	entry->hash = hash;
	entry->len = key->len;
	memset(&entry->refs, 0, sizeof(entry->refs));
	memcpy(entry->key, key->bytes, key->len);
	entry->next = buckets[hash % BUCKETS];
	buckets[hash % BUCKETS] = place;
	return &entry->refs;
}
