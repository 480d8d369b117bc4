/*-------------------------------------------------------------------------
 *
 * audit_document.c
 *	  Rows of users' tables as documents.
 *
 * A row becomes jsonb by to_jsonb(), which may call casts and output
 * functions that users have made.  Not every value has a jsonb: of type json
 * there are strings with \u0000 and numbers of a million digits, also within
 * rows and arrays; what is very large has none either; and a cast may fail.
 * A statement that was well without us must be well with us, so such a value
 * is kept as its text, and the column is named to the caller.  If that fails,
 * too, it is null.
 *
 * So rows are converted in a subtransaction, unless the types of their columns
 * and their size say that it cannot fail.  It writes nothing, unless a cast
 * does, and gets no transaction id.  Where it fails, each column is tried by
 * itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

#include "audit_document.h"
#include "audit_log.h"
#include "compat.h"

/* A row on its way */
typedef struct Row
{
	FobsDocuments *documents;
	const Datum *values;
	bool	   *nulls;
} Row;

typedef Datum (*Conversion) (Row *row, int column);

/*
 * Has each value of a type a jsonb?  Of types that are not built in,
 * to_jsonb() takes a cast to json if there is one, and their output function
 * if not.
 */
static bool
type_is_plain(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);
	Oid			function;

	if (OidIsValid(element))
		return type_is_plain(element);
	switch (get_typtype(base))
	{
		case TYPTYPE_BASE:
			return base < FirstNormalObjectId && base != JSONOID;
		case TYPTYPE_ENUM:
			return find_coercion_pathway(JSONOID, base, COERCION_EXPLICIT,
										 &function) != COERCION_PATH_FUNC;
		default:
			return false;
	}
}

/* Prepares to_jsonb() for rows of a type, with NULL in columns not read. */
void
fobs_document_prepare(FobsDocuments *documents, Oid row_type,
					  TupleDesc descriptor, const bool *unread)
{
	Const	   *row = makeNullConst(row_type, -1, InvalidOid);

	documents->descriptor = descriptor;
	fmgr_info(F_TO_JSONB, &documents->to_jsonb);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(row), InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   &documents->to_jsonb);
	documents->plain = true;
	for (int i = 0; i < descriptor->natts; i++)
		if (!unread[i] && !TupleDescAttr(descriptor, i)->attisdropped)
			documents->plain &=
				type_is_plain(TupleDescAttr(descriptor, i)->atttypid);
}

/* Is a row surely none that is too large for jsonb? */
static bool
is_small(const Row *row)
{
	TupleDesc	descriptor = row->documents->descriptor;
	Size		size = 0;

	for (int i = 0; i < descriptor->natts; i++)
		if (!row->nulls[i] && TupleDescAttr(descriptor, i)->attlen == -1)
			size += toast_raw_datum_size(row->values[i]);
	return size <= AUDIT_MAX_DOCUMENT;
}

/* to_jsonb(row); a Conversion of all columns */
static Datum
row_to_jsonb(Row *row, int column)
{
	TupleDesc	descriptor = row->documents->descriptor;
	HeapTuple	tuple;

	tuple = heap_form_tuple(descriptor, (Datum *) row->values, row->nulls);
	return FunctionCall1(&row->documents->to_jsonb,
						 heap_copy_tuple_as_datum(tuple, descriptor));
}

/* A Conversion of a column alone, with no more than a document may have */
static Datum
column_to_jsonb(Row *row, int column)
{
	int			columns = row->documents->descriptor->natts;
	Row			alone = *row;
	Datum		document;

	alone.nulls = palloc(columns * sizeof(bool));
	memset(alone.nulls, true, columns * sizeof(bool));
	alone.nulls[column] = false;
	document = row_to_jsonb(&alone, column);
	if (toast_raw_datum_size(document) > AUDIT_MAX_DOCUMENT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too large for the audit log")));
	return document;
}

/* A Conversion of a column to text, cut if it is longer than a document */
static Datum
column_to_text(Row *row, int column)
{
	Oid			type = TupleDescAttr(row->documents->descriptor,
									 column)->atttypid;
	Oid			output;
	bool		is_varlena;
	char	   *string;
	int			length;

	getTypeOutputInfo(type, &output, &is_varlena);
	string = OidOutputFunctionCall(output, row->values[column]);
	length = strlen(string);
	if (length > AUDIT_MAX_DOCUMENT)
		length = pg_mbcliplen(string, length, AUDIT_MAX_DOCUMENT);
	return PointerGetDatum(cstring_to_text_with_len(string, length));
}

/*
 * Is an error one of the value, and not of the server or the transaction,
 * which would be the statement's without us?
 */
static bool
is_about_value(int code)
{
	switch (ERRCODE_TO_CATEGORY(code))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return code != ERRCODE_DATA_CORRUPTED &&
				code != ERRCODE_INDEX_CORRUPTED;
	}
}

/* Converts in a subtransaction.  Returns false if the value cannot be. */
static bool
try_conversion(Conversion conversion, Row *row, int column, Datum *result)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*result = conversion(row, column);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!is_about_value(error->sqlerrcode))
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/* {"column": "text of its value"} */
static Datum
text_field(const char *name, Datum value)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	escape_json(&json, name);
	appendStringInfoChar(&json, ':');
	escape_json(&json, TextDatumGetCString(value));
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/*
 * Converts a row that has columns which cannot be converted, and marks them.
 */
static Datum
mixed_document(Row *row, bool *unstorable)
{
	TupleDesc	descriptor = row->documents->descriptor;
	Row			rest = *row;
	Datum		document;
	Datum		value;

	rest.nulls = palloc(descriptor->natts * sizeof(bool));
	for (int i = 0; i < descriptor->natts; i++)
	{
		rest.nulls[i] = row->nulls[i] ||
			!try_conversion(column_to_jsonb, row, i, &value);
		if (rest.nulls[i] && !row->nulls[i])
			unstorable[i] = true;
	}
	document = row_to_jsonb(&rest, 0);
	for (int i = 0; i < descriptor->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(descriptor, i)->attname);

		if (rest.nulls[i] && !row->nulls[i] &&
			try_conversion(column_to_text, row, i, &value))
			document = DirectFunctionCall2(jsonb_concat, document,
										   text_field(name, value));
	}
	return document;
}

/*
 * A row as jsonb, with nulls as its caller says.  Marks the columns that have
 * no jsonb, whose text is there instead.
 */
Datum
fobs_row_document(FobsDocuments *documents, const Datum *values,
				  const bool *nulls, bool *unstorable)
{
	Row			row = {documents, values, (bool *) nulls};
	Datum		document;

	if (documents->plain && is_small(&row))
		return row_to_jsonb(&row, 0);
	if (try_conversion(row_to_jsonb, &row, 0, &document))
		return document;
	return mixed_document(&row, unstorable);
}
