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

#include "audit_counts.h"
#include "audit_query.h"
#include "compat.h"

#define USECS_PER_QUARTER	(15 * USECS_PER_MINUTE)

/* The first byte of an encoding; nothing else that is hashed begins so */
#define ENC_COUNT		0x03
#define ENC_ACTOR_DAY	0x04

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
	CountKey	key;
	uint32		hash;
	char		status;
	int64		n;
	int64		failed;			/* these two of actors alone */
	int64		denied;
} Count;

static uint32 hash_key(const CountKey *key);
static bool same_key(const CountKey *one, const CountKey *other);

#define SH_PREFIX counts
#define SH_ELEMENT_TYPE Count
#define SH_KEY_TYPE CountKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_key(&(key))
#define SH_EQUAL(tb, a, b) same_key(&(a), &(b))
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct AuditCounts
{
	MemoryContext context;
	counts_hash *hash;
	StringInfoData scratch;		/* bytes of the key that is looked up */
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
	AuditCounts *counts = palloc(sizeof(AuditCounts));

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

/* The count of a key, 0 if it is new; the key's bytes are copied then. */
static Count *
find_count(AuditCounts *counts, const CountKey *key)
{
	bool		found;
	Count	   *count = counts_insert(counts->hash, *key, &found);

	if (!found)
	{
		char	   *bytes = MemoryContextAlloc(counts->context,
											   Max(key->length, 1));

		memcpy(bytes, key->bytes, key->length);
		count->key.bytes = bytes;
		count->n = 0;
		count->failed = 0;
		count->denied = 0;
	}
	return count;
}

static void
append_text_bytes(StringInfo buffer, Datum text)
{
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(text);

	appendBinaryStringInfo(buffer, VARDATA_ANY(bytes),
						   VARSIZE_ANY_EXHDR(bytes));
}

/* The count of a set, a bucket, a result (0: none) and a key. */
static Count *
find_text_count(AuditCounts *counts, CountSet set, TimestampTz bucket,
				Datum result, Datum text, bool null)
{
	CountKey	key = {.bucket = bucket,.set = set,.null = null};

	resetStringInfo(&counts->scratch);
	if (result != 0)
		append_text_bytes(&counts->scratch, result);
	key.result_length = counts->scratch.len;
	if (!null)
		append_text_bytes(&counts->scratch, text);
	key.bytes = counts->scratch.data;
	key.length = counts->scratch.len;
	return find_count(counts, &key);
}

static bool
is_text(Datum text, const char *string)
{
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(text);

	return VARSIZE_ANY_EXHDR(bytes) == strlen(string) &&
		memcmp(VARDATA_ANY(bytes), string, strlen(string)) == 0;
}

/* Counts a row. */
void
fobs_counts_add(AuditCounts *counts, const AuditRow *row)
{
	static const struct
	{
		CountSet	set;
		AuditColumn column;
	}			by_column[] = {
		{OPERATION_BY_QUARTER, AUDIT_OPERATION},
		{ENTITY_TYPE_BY_DAY, AUDIT_ENTITY_TYPE},
		{TENANT_BY_DAY, AUDIT_TENANT_ID},
	};
	TimestampTz created_at =
	DatumGetTimestampTz(row->values[AUDIT_CREATED_AT]);
	TimestampTz quarter = start_of(created_at, USECS_PER_QUARTER);
	TimestampTz day = start_of(created_at, USECS_PER_DAY);
	Datum		result = row->values[AUDIT_RESULT];
	Count	   *count;

	for (int i = 0; i < lengthof(by_column); i++)
	{
		AuditColumn column = by_column[i].column;

		count = find_text_count(counts, by_column[i].set,
								i == 0 ? quarter : day,
								result, row->values[column],
								row->nulls[column]);
		count->n++;
	}
	count = find_text_count(counts, ACTOR_BY_DAY, day, (Datum) 0,
							row->values[AUDIT_USER_ID],
							row->nulls[AUDIT_USER_ID]);
	count->n++;
	if (is_text(result, "success"))
		return;
	if (is_text(result, "denied"))
		count->denied++;
	else if (is_text(result, "failure") || is_text(result, "error") ||
			 is_text(result, "timeout"))
		count->failed++;
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

/* All counts, in no order; good until one is added. */
static Count **
list_counts(AuditCounts *counts, int *n)
{
	Count	  **list = palloc_extended(sizeof(Count *) *
									   (Size) (counts->hash->members + 1),
									   MCXT_ALLOC_HUGE);
	counts_iterator iterator;
	Count	   *count;

	*n = 0;
	counts_start_iterate(counts->hash, &iterator);
	while ((count = counts_iterate(counts->hash, &iterator)) != NULL)
		list[(*n)++] = count;
	return list;
}

/* Makes the sums, once all rows are counted. */
void
fobs_counts_complete(AuditCounts *counts)
{
	int			n;
	Count	  **list = list_counts(counts, &n);
	Count	   *copies = palloc_extended(sizeof(Count) * ((Size) n + 1),
										 MCXT_ALLOC_HUGE);
	int			n_copies = 0;

	/* adding a count may move the others */
	for (int i = 0; i < n; i++)
		if (list[i]->key.set == OPERATION_BY_QUARTER)
			copies[n_copies++] = *list[i];
	for (int i = 0; i < n_copies; i++)
	{
		CountKey	key = copies[i].key;

		key.set = OPERATION_BY_DAY;
		key.bucket = start_of(key.bucket, USECS_PER_DAY);
		find_count(counts, &key)->n += copies[i].n;
		key = copies[i].key;
		key.set = TOTAL_BY_QUARTER;
		key.length = key.result_length;
		key.null = true;
		find_count(counts, &key)->n += copies[i].n;
	}
	pfree(copies);
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

	for (int i = 0; i < n; i++)
	{
		StringInfoData buffer;

		initStringInfo(&buffer);
		encode_count(&buffer, list[i]);
		encoded[i].bytes = buffer.data;
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
date_of(TimestampTz bucket)
{
	return (DateADT) (bucket / USECS_PER_DAY);
}

static void
write_actor_days(Count **list, int n, Oid log)
{
	static const Oid types[] = {DATEOID, TEXTOID, INT8OID, INT8OID, INT8OID};
	ColumnArray arrays[lengthof(types)];

	begin_arrays(arrays, types, lengthof(types), n);
	for (int i = 0; i < n; i++)
	{
		const CountKey *key = &list[i]->key;

		if (key->set != ACTOR_BY_DAY)
			continue;
		put_value(&arrays[0], DateADTGetDatum(date_of(key->bucket)), false);
		put_value(&arrays[1], PointerGetDatum(key_of(list[i])), key->null);
		put_value(&arrays[2], Int64GetDatum(list[i]->n), false);
		put_value(&arrays[3], Int64GetDatum(list[i]->failed), false);
		put_value(&arrays[4], Int64GetDatum(list[i]->denied), false);
	}
	execute_with_arrays(psprintf(
								 "INSERT INTO %s AS a (day, user_id, n, failed, denied) "
								 "SELECT * FROM unnest($1, $2, $3, $4, $5) "
								 "ON CONFLICT (user_id, day) "
								 "DO UPDATE SET n = a.n + excluded.n, "
								 "failed = a.failed + excluded.failed, "
								 "denied = a.denied + excluded.denied",
								 table_name(log, "fraiseql_audit_actor_days")),
						arrays, lengthof(types));
}

/* Adds the counts to the rollups, inside of SPI. */
void
fobs_counts_write(AuditCounts *counts, Oid log)
{
	int			n;
	Count	  **list = list_counts(counts, &n);

	write_counts(list, n, log);
	write_actor_days(list, n, log);
	pfree(list);
}

static void
read_count(TupleTableSlot *slot, void *arg)
{
	AuditCounts *counts = arg;
	const char *dimension = TextDatumGetCString(slot->tts_values[0]);
	const char *grain = TextDatumGetCString(slot->tts_values[1]);

	for (int set = 0; set < ACTOR_BY_DAY; set++)
		if (strcmp(sets[set].dimension, dimension) == 0 &&
			strcmp(sets[set].grain, grain) == 0)
			find_text_count(counts, set,
							DatumGetTimestampTz(slot->tts_values[2]),
							slot->tts_values[4], slot->tts_values[3],
							slot->tts_isnull[3])->n +=
				DatumGetInt64(slot->tts_values[5]);
}

static void
read_actor_day(TupleTableSlot *slot, void *arg)
{
	TimestampTz bucket = DatumGetDateADT(slot->tts_values[0]) * USECS_PER_DAY;
	Count	   *count = find_text_count(arg, ACTOR_BY_DAY, bucket, (Datum) 0,
										slot->tts_values[1],
										slot->tts_isnull[1]);

	count->n += DatumGetInt64(slot->tts_values[2]);
	count->failed += DatumGetInt64(slot->tts_values[3]);
	count->denied += DatumGetInt64(slot->tts_values[4]);
}

/*
 * Adds what the rollups have of a period of whole days, inside of SPI.  The
 * lists of dimensions and grains are there for the table's index.
 */
void
fobs_counts_read(AuditCounts *counts, Oid log, TimestampTz from,
				 TimestampTz to)
{
	AuditQuery	query = {.row = read_count,.arg = counts};

	query.text = psprintf("SELECT dimension, grain, bucket, key, result, n FROM %s "
						  "WHERE dimension IN ('total', 'operation', 'entity_type', 'tenant') "
						  "AND grain IN ('quarter', 'day') "
						  "AND bucket >= $1 AND bucket < $2",
						  table_name(log, "fraiseql_audit_counts"));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID, TimestampTzGetDatum(from));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID, TimestampTzGetDatum(to));
	fobs_audit_run_query(&query);

	query.text = psprintf("SELECT day, user_id, n, failed, denied FROM %s "
						  "WHERE day >= $1 AND day < $2",
						  table_name(log, "fraiseql_audit_actor_days"));
	query.n_args = 0;
	query.row = read_actor_day;
	fobs_audit_add_arg(&query, DATEOID, DateADTGetDatum(date_of(from)));
	fobs_audit_add_arg(&query, DATEOID, DateADTGetDatum(date_of(to)));
	fobs_audit_run_query(&query);
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
report_difference(const Count *rollup, const Count *rows,
				  CountDifferenceCallback report, void *arg)
{
	const Count *either = rollup ? rollup : rows;
	CountDifference difference = {
		.what = describe(either),
		.bucket = either->key.bucket,
		.in_rollup = rollup ? rollup->n : 0,
		.in_rows = rows ? rows->n : 0
	};

	report(&difference, arg);
}

/* Reports what rollups have otherwise than the rows, or not at all. */
void
fobs_counts_compare(AuditCounts *rows, AuditCounts *rollups,
					CountDifferenceCallback report, void *arg)
{
	int			n;
	Count	  **list = list_counts(rollups, &n);

	for (int i = 0; i < n; i++)
	{
		Count	   *count = counts_lookup(rows->hash, list[i]->key);

		if (count == NULL || count->n != list[i]->n ||
			count->failed != list[i]->failed ||
			count->denied != list[i]->denied)
			report_difference(list[i], count, report, arg);
	}
	pfree(list);
	list = list_counts(rows, &n);
	for (int i = 0; i < n; i++)
		if (counts_lookup(rollups->hash, list[i]->key) == NULL)
			report_difference(NULL, list[i], report, arg);
	pfree(list);
}
