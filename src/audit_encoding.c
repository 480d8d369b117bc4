/*-------------------------------------------------------------------------
 *
 * audit_encoding.c
 *	  The bytes that rows of the audit log are hashed as.
 *
 * They depend on what is stored, and on nothing else: not on the client's
 * encoding, TimeZone, DateStyle or extra_float_digits, the version or the
 * machine.  The README documents them byte by byte, bin/fraiseql-obs-verify
 * has them a second time.
 *
 * enc_v1 of a row is a byte 1 and, of each column that is not null, in order
 * of their tags, the tag as a byte, the length as a 32-bit big-endian number,
 * and the bytes of the value.  A column that is added later is null in the
 * rows that stand, so it does not change them.  Columns that may be erased are
 * left out; their digest stands for them.
 *
 * The buffer is this process's and is used again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "audit_encoding.h"
#include "bytes.h"
#include "compat.h"
#include "jsonb_text.h"
#include "sha256.h"

/* What is hashed begins with a byte that says what it is (RFC 6962) */
#define PREFIX_LEAF		0x00
#define PREFIX_NODE		0x01

#define ENC_V1			0x01
#define NO_UTF8			0xff	/* occurs nowhere in UTF-8 */
#define NULL_LENGTH		PG_UINT32_MAX

/* The buffer is not kept where it has become larger than this */
#define MAX_KEPT_BUFFER	(64 * 1024)

static const struct
{
	const char *name;
	Oid			type;
}			columns[AUDIT_N_COLUMNS + 1] =

{
	[AUDIT_ID] = {"id", INT8OID},
	[AUDIT_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[AUDIT_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
	[AUDIT_XACT] = {"xact", XID8OID},
	[AUDIT_TENANT_ID] = {"tenant_id", TEXTOID},
	[AUDIT_USER_ID] = {"user_id", TEXTOID},
	[AUDIT_OPERATION] = {"operation", TEXTOID},
	[AUDIT_ENTITY_TYPE] = {"entity_type", TEXTOID},
	[AUDIT_ENTITY_ID] = {"entity_id", TEXTOID},
	[AUDIT_RESULT] = {"result", TEXTOID},
	[AUDIT_DETAILS] = {"details", JSONBOID},
	[AUDIT_OLD_DATA] = {"old_data", JSONBOID},
	[AUDIT_NEW_DATA] = {"new_data", JSONBOID},
	[AUDIT_CHANGED_FIELDS] = {"changed_fields", TEXTARRAYOID},
	[AUDIT_SQLSTATE] = {"sqlstate", TEXTOID},
	[AUDIT_ERROR_MESSAGE] = {"error_message", TEXTOID},
	[AUDIT_DURATION_MS] = {"duration_ms", FLOAT8OID},
	[AUDIT_DB_ROLE] = {"db_role", TEXTOID},
	[AUDIT_CLIENT_ADDR] = {"client_addr", INETOID},
	[AUDIT_APPLICATION_NAME] = {"application_name", TEXTOID},
	[AUDIT_REQUEST_ID] = {"request_id", TEXTOID},
	[AUDIT_TRACE_ID] = {"trace_id", TEXTOID},
	[AUDIT_SPAN_ID] = {"span_id", TEXTOID},
	[AUDIT_PERSONAL_SALT] = {"personal_salt", BYTEAOID},
	[AUDIT_PERSONAL_DIGEST] = {"personal_digest", BYTEAOID},
	[AUDIT_ACTOR_TYPE] = {"actor_type", TEXTOID},
	[AUDIT_ACTING_FOR] = {"acting_for", TEXTOID},
};

/* What may be erased, in order */
static const uint8 personal_columns[] = {
	AUDIT_USER_ID, AUDIT_DETAILS, AUDIT_OLD_DATA, AUDIT_NEW_DATA,
	AUDIT_ERROR_MESSAGE, AUDIT_CLIENT_ADDR, AUDIT_ACTING_FOR
};

/* What a leaf has, in order: all others but the salt */
static const uint8 leaf_columns[] = {
	AUDIT_ID, AUDIT_CREATED_AT, AUDIT_OCCURRED_AT, AUDIT_XACT,
	AUDIT_TENANT_ID, AUDIT_OPERATION, AUDIT_ENTITY_TYPE, AUDIT_ENTITY_ID,
	AUDIT_RESULT, AUDIT_CHANGED_FIELDS, AUDIT_SQLSTATE, AUDIT_DURATION_MS,
	AUDIT_DB_ROLE, AUDIT_APPLICATION_NAME, AUDIT_REQUEST_ID, AUDIT_TRACE_ID,
	AUDIT_SPAN_ID, AUDIT_PERSONAL_DIGEST, AUDIT_ACTOR_TYPE
};

StaticAssertDecl(lengthof(personal_columns) + lengthof(leaf_columns) + 1 ==
				 AUDIT_N_COLUMNS, "each column is in one of the lists");

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_leaf_hash);

/*---- hashes ----*/

void
fobs_merkle_node(const MerkleHash *left, const MerkleHash *right,
				 MerkleHash *node)
{
	uint8		data[1 + 2 * MERKLE_HASH_SIZE];

	data[0] = PREFIX_NODE;
	memcpy(data + 1, left->bytes, MERKLE_HASH_SIZE);
	memcpy(data + 1 + MERKLE_HASH_SIZE, right->bytes, MERKLE_HASH_SIZE);
	fobs_sha256(data, sizeof(data), node);
}

/* The buffer, empty; what it had before is lost. */
static StringInfo
empty_buffer(void)
{
	static StringInfoData buffer = {0};

	/* there is none if there was no memory for one the last time */
	if (buffer.data != NULL && buffer.maxlen > MAX_KEPT_BUFFER)
	{
		pfree(buffer.data);
		buffer.data = NULL;
	}
	if (buffer.data == NULL)
	{
		MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&buffer);
		MemoryContextSwitchTo(before);
	}
	resetStringInfo(&buffer);
	return &buffer;
}

/*---- values ----*/

static inline void
append_number32(StringInfo buffer, uint32 number)
{
	number = pg_hton32(number);
	fobs_append(buffer, &number, sizeof(number));
}

static inline void
append_number64(StringInfo buffer, uint64 number)
{
	number = pg_hton64(number);
	fobs_append(buffer, &number, sizeof(number));
}

/* Is text of the encoding hashed as it is, whatever it has? */
static inline bool
is_kept(int encoding)
{
	return encoding == PG_UTF8 || encoding == PG_SQL_ASCII;
}

static bool
is_ascii(const char *string, int length)
{
	for (int i = 0; i < length; i++)
		if (IS_HIGHBIT_SET(string[i]))
			return false;
	return true;
}

/*
 * Text in UTF-8, and if it cannot be converted a byte that never begins UTF-8
 * and the text as it is: nobody may keep a row from being sealed.
 */
static void
append_text(StringInfo buffer, const char *string, int length)
{
	int			encoding = GetDatabaseEncoding();
	char	   *converted;
	Oid			procedure;

	if (is_kept(encoding) || is_ascii(string, length))
	{
		fobs_append(buffer, string, length);
		return;
	}
	procedure = FindDefaultConversionProc(encoding, PG_UTF8);
	converted = palloc((Size) length * MAX_CONVERSION_GROWTH + 1);
	if (OidIsValid(procedure) &&
		pg_do_encoding_conversion_buf(procedure, encoding, PG_UTF8,
									  (unsigned char *) string, length,
									  (unsigned char *) converted,
									  length * MAX_CONVERSION_GROWTH + 1,
									  true) == length)
		fobs_append(buffer, converted, strlen(converted));
	else
	{
		fobs_append_byte(buffer, NO_UTF8);
		fobs_append(buffer, string, length);
	}
	pfree(converted);
}

static void
append_string(StringInfo buffer, const char *string)
{
	append_text(buffer, string, strlen(string));
}

/* Every zero is one, and every NaN. */
static void
append_float8(StringInfo buffer, float8 number)
{
	uint64		bits;

	if (isnan(number))
		bits = UINT64CONST(0x7ff8000000000000);
	else if (number == 0)
		bits = 0;
	else
		memcpy(&bits, &number, sizeof(bits));
	append_number64(buffer, bits);
}

/* Dimensions, length and lower bound of each, then the elements. */
static void
append_text_array(StringInfo buffer, ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	append_number32(buffer, ARR_NDIM(array));
	for (int i = 0; i < ARR_NDIM(array); i++)
	{
		append_number32(buffer, ARR_DIMS(array)[i]);
		append_number32(buffer, ARR_LBOUND(array)[i]);
	}
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int			at = buffer->len;
		uint32		length = NULL_LENGTH;

		append_number32(buffer, length);
		if (nulls[i])
			continue;
		append_text(buffer, VARDATA_ANY(DatumGetPointer(elements[i])),
					VARSIZE_ANY_EXHDR(DatumGetPointer(elements[i])));
		length = pg_hton32(buffer->len - at - sizeof(length));
		memcpy(buffer->data + at, &length, sizeof(length));
	}
}

static void
append_jsonb(StringInfo buffer, Jsonb *document)
{
	StringInfoData text;

	if (GetDatabaseEncoding() == PG_UTF8)
	{
		fobs_jsonb_append(buffer, document);
		return;
	}
	initStringInfo(&text);
	fobs_jsonb_append(&text, document);
	append_text(buffer, text.data, text.len);
	pfree(text.data);
}

/* The bytes of values that take some making */
static void
append_bytes(StringInfo buffer, Oid type, Datum value)
{
	struct varlena *bytes;

	switch (type)
	{
		case FLOAT8OID:
			append_float8(buffer, DatumGetFloat8(value));
			break;
		case TEXTOID:
			bytes = fobs_unpacked(value);
			append_text(buffer, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case JSONBOID:
			append_jsonb(buffer, DatumGetJsonbP(value));
			break;
		case TEXTARRAYOID:
			append_text_array(buffer, DatumGetArrayTypeP(value));
			break;
		case UUIDOID:
			appendBinaryStringInfo(buffer,
								   (char *) DatumGetUUIDP(value)->data,
								   UUID_LEN);
			break;
		case INETOID:
			append_string(buffer,
						  DatumGetCString(DirectFunctionCall1(inet_out,
															  value)));
			break;
		case PG_SNAPSHOTOID:
			append_string(buffer,
						  DatumGetCString(DirectFunctionCall1(pg_snapshot_out,
															  value)));
			break;
		default:
			elog(ERROR, "type %u has no encoding", type);
	}
}

/* Tag and length, and room for that many bytes */
static inline char *
append_head(StringInfo buffer, uint8 tag, uint32 length)
{
	char	   *head = fobs_reserve(buffer, 1 + sizeof(length) + length);

	*head = tag;
	buffer->len += 1 + sizeof(length) + length;
	length = pg_hton32(length);
	memcpy(head + 1, &length, sizeof(length));
	return head + 1 + sizeof(length);
}

static inline void
append_value(StringInfo buffer, uint8 tag, Oid type, Datum value)
{
	struct varlena *bytes;
	uint64		number;
	int			at;
	uint32		length;

	/* what most are */
	if (type == INT8OID || type == TIMESTAMPTZOID || type == XID8OID)
	{
		number = pg_hton64((uint64) DatumGetInt64(value));
		memcpy(append_head(buffer, tag, sizeof(number)), &number,
			   sizeof(number));
		return;
	}
	if (type == BYTEAOID ||
		(type == TEXTOID && is_kept(GetDatabaseEncoding())))
	{
		bytes = fobs_unpacked(value);
		length = VARSIZE_ANY_EXHDR(bytes);
		memcpy(append_head(buffer, tag, length), VARDATA_ANY(bytes), length);
		return;
	}
	append_head(buffer, tag, 0);
	at = buffer->len;
	append_bytes(buffer, type, value);
	length = pg_hton32(buffer->len - at);
	memcpy(buffer->data + at - sizeof(length), &length, sizeof(length));
}

/* Tag, length and bytes of a value. */
void
fobs_audit_append_value(StringInfo buffer, uint8 tag, Oid type, Datum value)
{
	append_value(buffer, tag, type, value);
}

/*---- rows ----*/

/* Finds the columns of the log in a table of its shape. */
void
fobs_audit_map_columns(TupleDesc tupdesc, AuditColumnMap *map)
{
	memset(map, 0, sizeof(*map));
	map->in_order = true;
	for (int tag = 1; tag <= AUDIT_N_COLUMNS; tag++)
	{
		for (int i = 0; i < tupdesc->natts; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

			if (!attribute->attisdropped &&
				strcmp(NameStr(attribute->attname), columns[tag].name) == 0 &&
				attribute->atttypid == columns[tag].type)
				map->place[tag] = i + 1;
		}
		if (map->place[tag] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("audit log has no column \"%s\" of type %s",
							columns[tag].name,
							format_type_be(columns[tag].type))));
		map->n_attributes = Max(map->n_attributes, map->place[tag]);
		map->in_order &= map->place[tag] == tag;
	}
}

void
fobs_audit_get_row(const AuditColumnMap *map, const Datum *values,
				   const bool *nulls, AuditRow *row)
{
	if (map->in_order)
	{
		memcpy(row->values + 1, values, AUDIT_N_COLUMNS * sizeof(Datum));
		memcpy(row->nulls + 1, nulls, AUDIT_N_COLUMNS * sizeof(bool));
		return;
	}
	for (int tag = 1; tag <= AUDIT_N_COLUMNS; tag++)
	{
		row->values[tag] = values[map->place[tag] - 1];
		row->nulls[tag] = nulls[map->place[tag] - 1];
	}
}

/* Has the row all that no row is without, whatever its table allows? */
bool
fobs_audit_is_complete(const AuditRow *row)
{
	return !row->nulls[AUDIT_ID] && !row->nulls[AUDIT_CREATED_AT] &&
		!row->nulls[AUDIT_OCCURRED_AT] && !row->nulls[AUDIT_XACT] &&
		!row->nulls[AUDIT_OPERATION] && !row->nulls[AUDIT_RESULT];
}

static void
append_columns(StringInfo buffer, const AuditRow *row, const uint8 *tags,
			   int n)
{
	for (int i = 0; i < n; i++)
		if (!row->nulls[tags[i]])
			append_value(buffer, tags[i], columns[tags[i]].type,
						 row->values[tags[i]]);
}

/* SHA-256(0x00 || enc_v1(row)) */
void
fobs_audit_leaf(const AuditRow *row, MerkleHash *leaf)
{
	StringInfo	buffer = empty_buffer();

	fobs_append_byte(buffer, PREFIX_LEAF);
	fobs_append_byte(buffer, ENC_V1);
	append_columns(buffer, row, leaf_columns, lengthof(leaf_columns));
	fobs_sha256(buffer->data, buffer->len, leaf);
}

/*
 * SHA-256(salt || enc_v1(personal columns)); of the row only these and the
 * salt, which must not be null, are looked at.
 */
void
fobs_audit_personal_digest(const AuditRow *row, MerkleHash *digest)
{
	StringInfo	buffer = empty_buffer();
	struct varlena *salt = fobs_unpacked(row->values[AUDIT_PERSONAL_SALT]);

	fobs_append(buffer, VARDATA_ANY(salt), VARSIZE_ANY_EXHDR(salt));
	fobs_append_byte(buffer, ENC_V1);
	append_columns(buffer, row, personal_columns, lengthof(personal_columns));
	fobs_sha256(buffer->data, buffer->len, digest);
}

/* Has a row any of the columns that may be erased? */
bool
fobs_audit_has_personal(const AuditRow *row)
{
	for (int i = 0; i < lengthof(personal_columns); i++)
		if (!row->nulls[personal_columns[i]])
			return true;
	return false;
}

/*
 * The values of a record.  Returns its descriptor, which the caller releases.
 */
TupleDesc
fobs_audit_deform(HeapTupleHeader record, Datum **values, bool **nulls)
{
	TupleDesc	tupdesc =
	lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(record),
						   HeapTupleHeaderGetTypMod(record));
	HeapTupleData tuple = {
		.t_len = HeapTupleHeaderGetDatumLength(record),.t_data = record
	};

	*values = palloc(tupdesc->natts * sizeof(Datum));
	*nulls = palloc(tupdesc->natts * sizeof(bool));
	heap_deform_tuple(&tuple, tupdesc, *values, *nulls);
	return tupdesc;
}

/*
 * audit_leaf_hash(audit_event) returns bytea
 *
 * The leaf of a row in its seal's tree.
 */
Datum
fraiseql_obs_audit_leaf_hash(PG_FUNCTION_ARGS)
{
	Datum	   *values;
	bool	   *nulls;
	TupleDesc	tupdesc = fobs_audit_deform(PG_GETARG_HEAPTUPLEHEADER(0),
											&values, &nulls);
	bytea	   *hash = palloc(VARHDRSZ + MERKLE_HASH_SIZE);
	AuditColumnMap map;
	AuditRow	row;
	MerkleHash	leaf;

	fobs_audit_map_columns(tupdesc, &map);
	ReleaseTupleDesc(tupdesc);
	fobs_audit_get_row(&map, values, nulls, &row);
	fobs_audit_leaf(&row, &leaf);
	SET_VARSIZE(hash, VARHDRSZ + MERKLE_HASH_SIZE);
	memcpy(VARDATA(hash), leaf.bytes, MERKLE_HASH_SIZE);
	PG_RETURN_BYTEA_P(hash);
}
