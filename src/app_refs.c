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

#define ARENA_SIZE	(32 * 1024)
#define BUCKETS		256

typedef struct Entry
{
	struct Entry *next;
	uint32		hash;
	uint32		len;
	FobsAppRefs refs;
	char		key[FLEXIBLE_ARRAY_MEMBER];
} Entry;

static char *arena = NULL;
static size_t arena_used;
static Entry *buckets[BUCKETS];

/* Takes room for an entry, and if there is none, that of all others. */
static Entry *
allocate(size_t size)
{
	Entry	   *entry;

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
	entry = (Entry *) (arena + arena_used);
	arena_used += size;
	return entry;
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
	Entry	   *entry;

	if (key->len > FOBS_APP_KEY_SIZE)
	{
		memset(&too_long, 0, sizeof(too_long));
		return &too_long;
	}

	hash = hash_bytes((const unsigned char *) key->bytes, key->len);
	for (entry = buckets[hash % BUCKETS]; entry != NULL; entry = entry->next)
	{
		if (entry->hash == hash && entry->len == key->len &&
			memcmp(entry->key, key->bytes, key->len) == 0)
			return &entry->refs;
	}

	entry = allocate(MAXALIGN(offsetof(Entry, key) + key->len));
	entry->hash = hash;
	entry->len = key->len;
	memset(&entry->refs, 0, sizeof(entry->refs));
	memcpy(entry->key, key->bytes, key->len);
	entry->next = buckets[hash % BUCKETS];
	buckets[hash % BUCKETS] = entry;
	return &entry->refs;
}
