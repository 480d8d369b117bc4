/*-------------------------------------------------------------------------
 *
 * audit_counts.c
 *	  Counts of rows of the audit log, as its rollups have them.
 *
 * A hash table in this process, filled either from rows (of a batch that is
 * sealed, of a partition that is verified) or from the rollups' tables, see
 * audit_rollups.sql.  What was counted of a batch is added to the tables; what
 * was counted of a partition is compared with what was read of them.
 *
 * A row adds to four counts: of its operation by quarter of an hour, of its
 * entity type and its tenant by day, each by result, and of its user by day.
 * The other two, all operations by quarter and each by day, are sums of the
 * first and made at the end.
 *
 * The hash of counts (rollup_root of a seal) is SHA-256 of their encodings in
 * bytewise order, which depends on no collation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit_actor_days.h"
#include "audit_counts.h"
#include "audit_query.h"
#include "bytes.h"
#include "compat.h"
#include "sha256.h"

#define USECS_PER_QUARTER	(15 * USECS_PER_MINUTE)

/* The first byte of an encoding; nothing else that is hashed begins so */
#define ENC_COUNT		0x03
#define ENC_ACTOR_DAY	0x04

/* Columns of the queries of the rollups that must not be null, as bits */
#define COUNTS_NOT_NULL		0x37	/* all but the key */
#define ACTOR_DAYS_NOT_NULL	0x1d	/* all but the user */

typedef enum CountSet
{
	TOTAL_BY_QUARTER,
	OPERATION_BY_QUARTER,
	OPERATION_BY_DAY,
	ENTITY_TYPE_BY_DAY,
	TENANT_BY_DAY,
	ACTOR_BY_DAY,
	N_SETS
} CountSet;

/* Actors' counts are in a table of their own, with no result */
static const struct
{
	const char *dimension;
	const char *grain;
}			sets[N_SETS] =

{
	[TOTAL_BY_QUARTER] = {"total", "quarter"},
	[OPERATION_BY_QUARTER] = {"operation", "quarter"},
	[OPERATION_BY_DAY] = {"operation", "day"},
	[ENTITY_TYPE_BY_DAY] = {"entity_type", "day"},
	[TENANT_BY_DAY] = {"tenant", "day"},
	[ACTOR_BY_DAY] = {"user", "day"},
};

/* What is counted: bytes are the result and then the key */
typedef struct CountKey
{
	TimestampTz bucket;
	const char *bytes;
	uint32		length;
	uint16		result_length;
	uint8		set;
	bool		null;			/* the key is NULL */
} CountKey;

typedef struct Count
{
	CountKey	key;			/* its bytes are those at the end */
	int64		n;
	int64		failed;			/* these two of actors alone */
	int64		denied;
	int64		rolled_n;		/* what rollups have, if they were read */
	int64		rolled_failed;
	int64		rolled_denied;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} Count;

/* What is in the hash table: small, because who counts waits for memory */
typedef struct CountEntry
{
	const CountKey *key;		/* of a Count, which begins with it */
	uint32		hash;
	char		status;
} CountEntry;

static uint32 hash_key(const CountKey *key);
static bool same_key(const CountKey *one, const CountKey *other);

#define SH_PREFIX counts
#define SH_ELEMENT_TYPE CountEntry
#define SH_KEY_TYPE const CountKey *
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_key(key)
#define SH_EQUAL(tb, a, b) same_key(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Those that each row is counted in by its result: by which column and time */
static const struct
{
	CountSet	set;
	AuditColumn column;
	bool		by_day;
}			row_sets[] =

{
	{OPERATION_BY_QUARTER, AUDIT_OPERATION, false},
	{ENTITY_TYPE_BY_DAY, AUDIT_ENTITY_TYPE, true},
	{TENANT_BY_DAY, AUDIT_TENANT_ID, true},
};

#define N_RECENT		64		/* a power of two */

struct AuditCounts
{
	MemoryContext context;
	counts_hash *hash;
	StringInfoData scratch;		/* bytes of keys that are looked up */

	/* what the rows before were counted in, of which most are next */
	TimestampTz quarter;
	TimestampTz day;
	Count	   *recent[lengthof(row_sets)][N_RECENT];

	/* the count of the next row's actor */
	CountKey	actor;
	uint32		actor_hash;
};

/* The bytes that a count is hashed as */
typedef struct EncodedCount
{
	const char *bytes;
	int			length;
} EncodedCount;

static uint32
hash_key(const CountKey *key)
{
	uint32		hash = hash_bytes((const unsigned char *) key->bytes,
								  key->length);

	return hash_combine(hash, murmurhash32((uint32) (key->bucket >> 20) +
										   key->set));
}

static bool
same_key(const CountKey *one, const CountKey *other)
{
	return one->bucket == other->bucket && one->set == other->set &&
		one->length == other->length &&
		one->result_length == other->result_length &&
		one->null == other->null &&
		memcmp(one->bytes, other->bytes, one->length) == 0;
}

AuditCounts *
fobs_counts_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "audit log counts",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	AuditCounts *counts = palloc0(sizeof(AuditCounts));

	counts->context = context;
	counts->hash = counts_create(context, 1024, NULL);
	initStringInfo(&counts->scratch);
	MemoryContextSwitchTo(before);
	return counts;
}

void
fobs_counts_free(AuditCounts *counts)
{
	MemoryContextDelete(counts->context);
}

/* The bytes that counts take. */
Size
fobs_counts_memory(AuditCounts *counts)
{
	return MemoryContextMemAllocated(counts->context, true);
}

/*---- counting ----*/

/* The start of the unit of time that a time is in; units begin in 2000. */
static TimestampTz
start_of(TimestampTz time, int64 unit)
{
	TimestampTz start = time - time % unit;

	return start > time ? start - unit : start;
}

/* The same, of a time that mostly is in the unit that the last one was in */
static TimestampTz
start_near(TimestampTz *start, TimestampTz time, int64 unit)
{
	if ((uint64) time - (uint64) *start >= (uint64) unit)
		*start = start_of(time, unit);
	return *start;
}

/* The count of a key, 0 if it is new; the key's bytes are copied then. */
static Count *
find_hashed_count(AuditCounts *counts, const CountKey *key, uint32 key_hash)
{
	bool		found;
	CountEntry *entry;

	entry = counts_insert_hash(counts->hash, key, key_hash, &found);

	if (!found)
	{
		Count	   *count = MemoryContextAlloc(counts->context,
											   offsetof(Count, bytes) +
											   key->length);

		memset(count, 0, offsetof(Count, bytes));
		count->key = *key;
		count->key.bytes = count->bytes;
		if (key->length > 0)
			memcpy(count->bytes, key->bytes, key->length);
		entry->key = &count->key;
	}
	return (Count *) entry->key;
}

static Count *
find_count(AuditCounts *counts, const CountKey *key)
{
	return find_hashed_count(counts, key, hash_key(key));
}

/* The count of a set, a bucket, a result and a key, which may be null. */
static Count *
find_text_count(AuditCounts *counts, CountSet set, TimestampTz bucket,
				const char *result, uint32 result_length,
				const char *text, uint32 text_length, bool null)
{
	CountKey	key = {
		.bucket = bucket,.set = set,.null = null,
		.result_length = result_length
	};

	resetStringInfo(&counts->scratch);
	fobs_append(&counts->scratch, result, result_length);
	if (!null)
		fobs_append(&counts->scratch, text, text_length);
	key.bytes = counts->scratch.data;
	key.length = counts->scratch.len;
	return find_count(counts, &key);
}

/* The key of a user's count by day */
static CountKey
actor_key(TimestampTz day, Datum user, bool null)
{
	CountKey	key = {.bucket = day,.set = ACTOR_BY_DAY,.null = null};

	if (!null)
	{
		key.bytes = VARDATA_ANY(fobs_unpacked(user));
		key.length = VARSIZE_ANY_EXHDR(fobs_unpacked(user));
	}
	return key;
}

/* Has the processor bring the entry of a hash. */
static inline void
prefetch(const counts_hash * hash, uint32 key_hash)
{
#ifdef __GNUC__
	__builtin_prefetch(&hash->data[key_hash & hash->sizemask]);
#endif
}

/*
 * Looks where the count of a row's actor is.  That takes the memory a while,
 * so the caller had better do something else before it adds the row.
 */
void
fobs_counts_prepare(AuditCounts *counts, const AuditRow *row)
{
	TimestampTz at = DatumGetTimestampTz(row->values[AUDIT_CREATED_AT]);

	counts->actor = actor_key(start_near(&counts->day, at, USECS_PER_DAY),
							  row->values[AUDIT_USER_ID],
							  row->nulls[AUDIT_USER_ID]);
	counts->actor_hash = hash_key(&counts->actor);
	prefetch(counts->hash, counts->actor_hash);
}

static bool
is_text(Datum text, const char *string)
{
	struct varlena *bytes = fobs_unpacked(text);

	return VARSIZE_ANY_EXHDR(bytes) == strlen(string) &&
		memcmp(VARDATA_ANY(bytes), string, strlen(string)) == 0;
}

/* Where a recent count is, which is the same for the same texts */
static inline uint32
place_of(const char *text, uint32 length, uint32 result_length)
{
	uint32		tail = length;

	for (uint32 i = length - Min(length, 3); i < length; i++)
		tail = tail * 31 + (uint8) text[i];
	return (tail * 31 + result_length) & (N_RECENT - 1);
}

static inline bool
is_count_of(const Count *count, TimestampTz bucket,
			const char *result, uint32 result_length,
			const char *text, uint32 text_length, bool null)
{
	return count != NULL && count->key.bucket == bucket &&
		count->key.result_length == result_length &&
		count->key.length == result_length + text_length &&
		count->key.null == null &&
		memcmp(count->bytes, result, result_length) == 0 &&
		memcmp(count->bytes + result_length, text, text_length) == 0;
}

/* Counts a row's text of a column. */
static void
add_text(AuditCounts *counts, int row_set, TimestampTz bucket,
		 const struct varlena *result, const AuditRow *row)
{
	AuditColumn column = row_sets[row_set].column;
	bool		null = row->nulls[column];
	struct varlena *value = null ? NULL : fobs_unpacked(row->values[column]);
	const char *text = null ? "" : VARDATA_ANY(value);
	uint32		length = null ? 0 : VARSIZE_ANY_EXHDR(value);
	uint32		result_length = VARSIZE_ANY_EXHDR(result);
	Count	  **count = &counts->recent[row_set][place_of(text, length,
														  result_length)];

	if (!is_count_of(*count, bucket, VARDATA_ANY(result), result_length,
					 text, length, null))
		*count = find_text_count(counts, row_sets[row_set].set, bucket,
								 VARDATA_ANY(result), result_length,
								 text, length, null);
	(*count)->n++;
}

/* Counts the row that was prepared. */
void
fobs_counts_add(AuditCounts *counts, const AuditRow *row)
{
	TimestampTz at = DatumGetTimestampTz(row->values[AUDIT_CREATED_AT]);
	Datum		result = row->values[AUDIT_RESULT];
	TimestampTz quarter = start_near(&counts->quarter, at, USECS_PER_QUARTER);
	TimestampTz day = start_near(&counts->day, at, USECS_PER_DAY);
	Count	   *actor = find_hashed_count(counts, &counts->actor,
										  counts->actor_hash);

	for (int i = 0; i < lengthof(row_sets); i++)
		add_text(counts, i, row_sets[i].by_day ? day : quarter,
				 fobs_unpacked(result), row);
	actor->n++;
	if (is_text(result, "success"))
		return;
	if (is_text(result, "denied"))
		actor->denied++;
	else if (is_text(result, "failure") || is_text(result, "error") ||
			 is_text(result, "timeout"))
		actor->failed++;
}

static text *
result_of(const Count *count)
{
	return cstring_to_text_with_len(count->key.bytes,
									count->key.result_length);
}

static text *
key_of(const Count *count)
{
	return cstring_to_text_with_len(count->key.bytes +
									count->key.result_length,
									count->key.length -
									count->key.result_length);
}

/* All counts, in no order */
static Count **
list_counts(AuditCounts *counts, int *n)
{
	Count	  **list = palloc_extended(sizeof(Count *) *
									   (Size) (counts->hash->members + 1),
									   MCXT_ALLOC_HUGE);
	counts_iterator iterator;
	CountEntry *entry;

	*n = 0;
	counts_start_iterate(counts->hash, &iterator);
	while ((entry = counts_iterate(counts->hash, &iterator)) != NULL)
		list[(*n)++] = (Count *) entry->key;
	return list;
}

/* Makes the sums, once all rows are counted. */
void
fobs_counts_complete(AuditCounts *counts)
{
	int			n;
	Count	  **list;

	list = list_counts(counts, &n);
	for (int i = 0; i < n; i++)
	{
		CountKey	key = list[i]->key;

		if (key.set != OPERATION_BY_QUARTER)
			continue;
		key.set = OPERATION_BY_DAY;
		key.bucket = start_of(key.bucket, USECS_PER_DAY);
		find_count(counts, &key)->n += list[i]->n;
		key = list[i]->key;
		key.set = TOTAL_BY_QUARTER;
		key.length = key.result_length;
		key.null = true;
		find_count(counts, &key)->n += list[i]->n;
	}
	pfree(list);
}

/* How many rows there are of each result, as a JSON object. */
Jsonb *
fobs_counts_results(AuditCounts *counts)
{
	AuditCounts *sums = fobs_counts_create();
	StringInfoData json;
	int			n;
	Count	  **list = list_counts(counts, &n);

	for (int i = 0; i < n; i++)
	{
		CountKey	key = list[i]->key;

		key.bucket = 0;
		if (key.set == TOTAL_BY_QUARTER)
			find_count(sums, &key)->n += list[i]->n;
	}
	pfree(list);
	list = list_counts(sums, &n);
	initStringInfo(&json);
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(&json, i == 0 ? "{" : ", ");
		escape_json(&json, text_to_cstring(result_of(list[i])));
		appendStringInfo(&json, ": " INT64_FORMAT, list[i]->n);
	}
	appendStringInfoString(&json, n == 0 ? "{}" : "}");
	fobs_counts_free(sums);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json.data)));
}

/*---- hashing ----*/

static void
append_number(StringInfo buffer, uint8 tag, int64 number)
{
	fobs_audit_append_value(buffer, tag, INT8OID, Int64GetDatum(number));
}

/* Encodes a count: the tags are the numbers of its table's columns. */
static void
encode_count(StringInfo buffer, const Count *count)
{
	const CountKey *key = &count->key;

	if (key->set == ACTOR_BY_DAY)
	{
		appendStringInfoCharMacro(buffer, ENC_ACTOR_DAY);
		append_number(buffer, 1, key->bucket);
		if (!key->null)
			fobs_audit_append_value(buffer, 2, TEXTOID,
									PointerGetDatum(key_of(count)));
		append_number(buffer, 3, count->n);
		append_number(buffer, 4, count->failed);
		append_number(buffer, 5, count->denied);
		return;
	}
	appendStringInfoCharMacro(buffer, ENC_COUNT);
	fobs_audit_append_value(buffer, 1, TEXTOID,
							CStringGetTextDatum(sets[key->set].dimension));
	fobs_audit_append_value(buffer, 2, TEXTOID,
							CStringGetTextDatum(sets[key->set].grain));
	append_number(buffer, 3, key->bucket);
	if (!key->null)
		fobs_audit_append_value(buffer, 4, TEXTOID,
								PointerGetDatum(key_of(count)));
	fobs_audit_append_value(buffer, 5, TEXTOID,
							PointerGetDatum(result_of(count)));
	append_number(buffer, 6, count->n);
}

static int
compare_encoded(const void *a, const void *b)
{
	const EncodedCount *one = a;
	const EncodedCount *other = b;
	int			result = memcmp(one->bytes, other->bytes,
								Min(one->length, other->length));

	return result != 0 ? result : one->length - other->length;
}

/* The hash of all counts. */
void
fobs_counts_root(AuditCounts *counts, MerkleHash *root)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "audit log counts encoded",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	int			n;
	Count	  **list = list_counts(counts, &n);
	EncodedCount *encoded = palloc_extended(sizeof(EncodedCount) *
											((Size) n + 1), MCXT_ALLOC_HUGE);
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (int i = 0; i < n; i++)
	{
		char	   *bytes;

		resetStringInfo(&buffer);
		encode_count(&buffer, list[i]);
		bytes = palloc(buffer.len);
		memcpy(bytes, buffer.data, buffer.len);
		encoded[i].bytes = bytes;
		encoded[i].length = buffer.len;
	}
	qsort(encoded, n, sizeof(EncodedCount), compare_encoded);
	fobs_sha256_begin();
	for (int i = 0; i < n; i++)
		fobs_sha256_update(encoded[i].bytes, encoded[i].length);
	fobs_sha256_end(root);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}

/*---- the rollups' tables ----*/

static char *
table_name(Oid log, const char *name)
{
	char	   *schema = get_namespace_name(get_rel_namespace(log));

	if (schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", log)));
	return quote_qualified_identifier(schema, name);
}

/* An array of the values of a column, for unnest(). */
typedef struct ColumnArray
{
	Oid			type;
	Datum	   *values;
	bool	   *nulls;
	int			n;
} ColumnArray;

static void
begin_arrays(ColumnArray *arrays, const Oid *types, int n_arrays, int n_values)
{
	for (int i = 0; i < n_arrays; i++)
	{
		arrays[i].type = types[i];
		arrays[i].n = 0;
		arrays[i].values = palloc(sizeof(Datum) * Max(n_values, 1));
		arrays[i].nulls = palloc(sizeof(bool) * Max(n_values, 1));
	}
}

static void
put_value(ColumnArray *array, Datum value, bool null)
{
	array->values[array->n] = value;
	array->nulls[array->n] = null;
	array->n++;
}

/* Runs a statement with the arrays as its arguments. */
static void
execute_with_arrays(const char *statement, ColumnArray *arrays, int n_arrays)
{
	Datum		values[FUNC_MAX_ARGS];
	Oid			types[FUNC_MAX_ARGS];

	for (int i = 0; i < n_arrays; i++)
	{
		ColumnArray *array = &arrays[i];
		int			lower = 1;
		int16		length;
		bool		by_value;
		char		align;

		get_typlenbyvalalign(array->type, &length, &by_value, &align);
		types[i] = get_array_type(array->type);
		values[i] =
			PointerGetDatum(construct_md_array(array->values, array->nulls, 1,
											   &array->n, &lower, array->type,
											   length, by_value, align));
	}
	if (SPI_execute_with_args(statement, n_arrays, types, values, NULL,
							  false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not add to the rollups of the audit log");
}

static void
write_counts(Count **list, int n, Oid log)
{
	static const Oid types[] = {
		TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID
	};
	ColumnArray arrays[lengthof(types)];

	begin_arrays(arrays, types, lengthof(types), n);
	for (int i = 0; i < n; i++)
	{
		const CountKey *key = &list[i]->key;

		if (key->set == ACTOR_BY_DAY)
			continue;
		put_value(&arrays[0],
				  CStringGetTextDatum(sets[key->set].dimension), false);
		put_value(&arrays[1], CStringGetTextDatum(sets[key->set].grain),
				  false);
		put_value(&arrays[2], TimestampTzGetDatum(key->bucket), false);
		put_value(&arrays[3], PointerGetDatum(key_of(list[i])), key->null);
		put_value(&arrays[4], PointerGetDatum(result_of(list[i])), false);
		put_value(&arrays[5], Int64GetDatum(list[i]->n), false);
	}
	execute_with_arrays(psprintf(
								 "INSERT INTO %s AS c (dimension, grain, bucket, key, result, n) "
								 "SELECT * FROM unnest($1, $2, $3, $4, $5, $6) "
								 "ON CONFLICT (dimension, grain, bucket, key, result) "
								 "DO UPDATE SET n = c.n + excluded.n",
								 table_name(log, "fraiseql_audit_counts")),
						arrays, lengthof(types));
}


static DateADT
date_of(TimestampTz time)
{
	return (DateADT) (start_of(time, USECS_PER_DAY) / USECS_PER_DAY);
}

static void
write_actor_days(Count **list, int n, Oid log)
{
	ActorDay   *days = palloc_extended(sizeof(ActorDay) * ((Size) n + 1),
									   MCXT_ALLOC_HUGE);
	int			n_days = 0;

	for (int i = 0; i < n; i++)
	{
		const CountKey *key = &list[i]->key;
		ActorDay	day = {
			.day = date_of(key->bucket),
			.user = key->bytes,
			.length = key->length,
			.null = key->null,
			.n = list[i]->n,
			.failed = list[i]->failed,
			.denied = list[i]->denied
		};

		if (key->set == ACTOR_BY_DAY)
			days[n_days++] = day;
	}
	fobs_actor_days_add(get_relname_relid("fraiseql_audit_actor_days",
										  get_rel_namespace(log)),
						date_of(GetCurrentTimestamp()), days, n_days);
	pfree(days);
}

/* Adds the counts to the rollups. */
void
fobs_counts_write(AuditCounts *counts, Oid log)
{
	int			n;
	Count	  **list = list_counts(counts, &n);

	SPI_connect();
	write_counts(list, n, log);
	SPI_finish();
	write_actor_days(list, n, log);
	pfree(list);
}

/* Who reads the rollups */
typedef struct CountReader
{
	AuditCounts *rows;			/* to be compared with; may be NULL */
	AuditCounts *others;		/* what rows have no count of */
} CountReader;

static void
take_count(CountReader *reader, const CountKey *key, int64 n, int64 failed,
		   int64 denied)
{
	CountEntry *entry = reader->rows == NULL ? NULL :
	counts_lookup(reader->rows->hash, key);
	Count	   *count;

	if (entry != NULL)
	{
		count = (Count *) entry->key;
		count->rolled_n += n;
		count->rolled_failed += failed;
		count->rolled_denied += denied;
		return;
	}
	count = find_count(reader->others, key);
	count->n += n;
	count->failed += failed;
	count->denied += denied;
}

static void
read_count(TupleTableSlot *slot, void *arg)
{
	CountReader *reader = arg;
	StringInfo	scratch = &reader->others->scratch;
	struct varlena *result = fobs_unpacked(slot->tts_values[4]);
	CountKey	key = {
		.bucket = DatumGetTimestampTz(slot->tts_values[2]),
		.null = slot->tts_isnull[3],
		.result_length = VARSIZE_ANY_EXHDR(result)
	};

	resetStringInfo(scratch);
	fobs_append(scratch, VARDATA_ANY(result), key.result_length);
	if (!key.null)
	{
		struct varlena *text = fobs_unpacked(slot->tts_values[3]);

		fobs_append(scratch, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
	}
	key.bytes = scratch->data;
	key.length = scratch->len;
	for (key.set = 0; key.set < ACTOR_BY_DAY; key.set++)
		if (is_text(slot->tts_values[0], sets[key.set].dimension) &&
			is_text(slot->tts_values[1], sets[key.set].grain))
			take_count(reader, &key, DatumGetInt64(slot->tts_values[5]), 0, 0);
}

/* What is ranked otherwise than it is counted is no count of anything. */
static void
read_actor_day(TupleTableSlot *slot, void *arg)
{
	TimestampTz bucket = DatumGetDateADT(slot->tts_values[0]) * USECS_PER_DAY;
	CountKey	key = actor_key(bucket, slot->tts_values[1],
								slot->tts_isnull[1]);
	int64		n = DatumGetInt64(slot->tts_values[2]);
	bool		ranked = slot->tts_isnull[5] ||
	DatumGetInt64(slot->tts_values[5]) == n;

	take_count(arg, &key, ranked ? n : -1,
			   DatumGetInt64(slot->tts_values[3]),
			   DatumGetInt64(slot->tts_values[4]));
}

/*
 * Reads what the rollups have of a period of whole days.  The lists of
 * dimensions and grains are there for the table's index.  Counts rows with
 * nulls where there must be none, or raises an error if it is not asked to.
 * Which log it is may be the caller's word, so types are what we make them.
 */
static void
read_rollups(CountReader *reader, Oid log, TimestampTz from, TimestampTz to,
			 int64 *incomplete)
{
	AuditQuery	query = {
		.row = read_count,.arg = reader,
		.required = COUNTS_NOT_NULL,.incomplete = incomplete
	};

	query.text = psprintf("SELECT dimension::text, grain::text, bucket::timestamptz, "
						  "key::text, result::text, n::bigint FROM %s "
						  "WHERE dimension IN ('total', 'operation', 'entity_type', 'tenant') "
						  "AND grain IN ('quarter', 'day') "
						  "AND bucket >= $1 AND bucket < $2",
						  table_name(log, "fraiseql_audit_counts"));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID, TimestampTzGetDatum(from));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID, TimestampTzGetDatum(to));
	fobs_audit_run_query(&query);

	/* all columns in their order, which the server need not put together */
	query.text = psprintf("SELECT day::date, user_id::text, n::bigint, "
						  "failed::bigint, denied::bigint, ranked::bigint FROM %s "
						  "WHERE day >= $1 AND day < $2",
						  table_name(log, "fraiseql_audit_actor_days"));
	query.n_args = 0;
	query.row = read_actor_day;
	query.required = ACTOR_DAYS_NOT_NULL;
	fobs_audit_add_arg(&query, DATEOID, DateADTGetDatum(date_of(from)));
	fobs_audit_add_arg(&query, DATEOID, DateADTGetDatum(date_of(to)));
	fobs_audit_run_query(&query);
}

/* Adds what the rollups have of a period of whole days. */
void
fobs_counts_read(AuditCounts *counts, Oid log, TimestampTz from,
				 TimestampTz to, int64 *incomplete)
{
	CountReader reader = {.others = counts};

	read_rollups(&reader, log, from, to, incomplete);
}

/*---- comparing ----*/

static char *
describe(const Count *count)
{
	const CountKey *key = &count->key;
	StringInfoData what;

	initStringInfo(&what);
	appendStringInfoString(&what, sets[key->set].dimension);
	if (key->set != TOTAL_BY_QUARTER && key->null)
		appendStringInfoString(&what, " null");
	else if (key->set != TOTAL_BY_QUARTER)
		appendStringInfo(&what, " \"%s\"", text_to_cstring(key_of(count)));
	if (key->result_length > 0)
		appendStringInfo(&what, ", %s", text_to_cstring(result_of(count)));
	return what.data;
}

static void
report_difference(const Count *count, int64 in_rollup, int64 in_rows,
				  CountDifferenceCallback report, void *arg)
{
	CountDifference difference = {
		.what = describe(count),
		.bucket = count->key.bucket,
		.in_rollup = in_rollup,
		.in_rows = in_rows
	};

	report(&difference, arg);
}

/*
 * Reports what the rollups have otherwise than the rows of a period of whole
 * days, or not at all.  They are read into the counts of the rows; for what
 * these do not have, which is a difference, memory is taken.
 */
void
fobs_counts_compare(AuditCounts *rows, Oid log, TimestampTz from,
					TimestampTz to, int64 *incomplete,
					CountDifferenceCallback report, void *arg)
{
	CountReader reader = {.rows = rows,.others = fobs_counts_create()};
	int			n;
	Count	  **list;

	read_rollups(&reader, log, from, to, incomplete);
	list = list_counts(reader.others, &n);
	for (int i = 0; i < n; i++)
		report_difference(list[i], list[i]->n, 0, report, arg);
	pfree(list);
	fobs_counts_free(reader.others);
	list = list_counts(rows, &n);
	for (int i = 0; i < n; i++)
		if (list[i]->n != list[i]->rolled_n ||
			list[i]->failed != list[i]->rolled_failed ||
			list[i]->denied != list[i]->rolled_denied)
			report_difference(list[i], list[i]->rolled_n, list[i]->n, report,
							  arg);
	pfree(list);
}
