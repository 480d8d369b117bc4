/*-------------------------------------------------------------------------
 *
 * query_texts.c
 *	  The normalised texts of queries, which pg_stat_statements keeps.
 *
 * It keeps each in the encoding of the database that it was sent to, and shows
 * all in that of the database it is asked in.  One character that this lacks,
 * of anybody's query, and it shows none.  It looks at the encoding of the
 * database only to convert the texts, and SQL_ASCII wants nothing converted.
 * So we have it be that while it is called, and recode the texts ourselves, as
 * labels are (label.c): what cannot be shown is escaped, and nothing fails.
 *
 * It is called as the function that it is, without a query, so that nothing
 * else runs meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "compat.h"
#include "counters.h"
#include "label.h"

#define TEXTS_EXTENSION	"pg_stat_statements"

PG_FUNCTION_INFO_V1(fraiseql_obs_query_texts);

/* Our columns, which are called as those of pg_stat_statements */
typedef enum TextColumn
{
	TEXT_USERID,
	TEXT_DBID,
	TEXT_TOPLEVEL,				/* not before its version 1.9 */
	TEXT_QUERYID,
	TEXT_QUERY,
	TEXT_COLUMNS
} TextColumn;

/* Is it pg_stat_statements(showtext boolean)? */
static bool
is_texts_function(HeapTuple tuple, Oid extension)
{
	Form_pg_proc function = (Form_pg_proc) GETSTRUCT(tuple);

	return function->pronargs == 1 &&
		function->proargtypes.values[0] == BOOLOID &&
		getExtensionOfObject(ProcedureRelationId, function->oid) == extension;
}

/* The function that shows texts; InvalidOid if there is none here */
static Oid
find_texts_function(void)
{
	Oid			extension = get_extension_oid(TEXTS_EXTENSION, true);
	CatCList   *functions;
	Oid			result = InvalidOid;

	/* it has settings where it is preloaded, without which it shows none */
	if (!OidIsValid(extension) ||
		GetConfigOption("pg_stat_statements.max", true, false) == NULL)
		return InvalidOid;
	functions = SearchSysCacheList1(PROCNAMEARGSNSP,
									CStringGetDatum(TEXTS_EXTENSION));
	for (int i = 0; i < functions->n_members; i++)
	{
		HeapTuple	tuple = &functions->members[i]->tuple;

		if (is_texts_function(tuple, extension))
			result = ((Form_pg_proc) GETSTRUCT(tuple))->oid;
	}
	ReleaseCatCacheList(functions);
	return result;
}

/* Calls it, with the caller's rights; its rows are in "result". */
static void
call_texts_function(Oid oid, ReturnSetInfo *result)
{
	LOCAL_FCINFO(call, 1);
	FmgrInfo	function;
	int			encoding = GetDatabaseEncoding();

	if (object_aclcheck(ProcedureRelationId, oid, GetUserId(),
						ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, TEXTS_EXTENSION);
	fmgr_info(oid, &function);
	InitFunctionCallInfoData(*call, &function, 1, InvalidOid, NULL,
							 (Node *) result);
	call->args[0].value = BoolGetDatum(true);
	call->args[0].isnull = false;
	PG_TRY();
	{
		SetDatabaseEncoding(PG_SQL_ASCII);
		(void) FunctionCallInvoke(call);
	}
	PG_FINALLY();
	{
		SetDatabaseEncoding(encoding);
	}
	PG_END_TRY();
}

/* The encoding of a database's texts; nobody knows that of one dropped. */
static int
encoding_of(Oid dbid)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dbid));
	int			encoding = PG_SQL_ASCII;

	if (!HeapTupleIsValid(tuple))
		return encoding;
	encoding = ((Form_pg_database) GETSTRUCT(tuple))->encoding;
	ReleaseSysCache(tuple);
	return encoding;
}

/* Where columns of this name are, 0 if there is none */
static AttrNumber
find_column(TupleDesc descriptor, const char *name)
{
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (!attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), name) == 0)
			return attribute->attnum;
	}
	return 0;
}

/* Copies one of its rows, and recodes the text. */
static void
put_text(ReturnSetInfo *rsinfo, TupleTableSlot *slot,
		 const AttrNumber *numbers)
{
	Datum		values[TEXT_COLUMNS] = {0};
	bool		nulls[TEXT_COLUMNS];

	for (int i = 0; i < TEXT_COLUMNS; i++)
	{
		nulls[i] = numbers[i] == 0;
		if (!nulls[i])
			values[i] = slot_getattr(slot, numbers[i], &nulls[i]);
	}
	if (!nulls[TEXT_QUERY] && !nulls[TEXT_DBID])
	{
		char	   *query = TextDatumGetCString(values[TEXT_QUERY]);
		Oid			dbid = DatumGetObjectId(values[TEXT_DBID]);

		values[TEXT_QUERY] = fobs_label_recoded_datum(query,
													  encoding_of(dbid));
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_texts(ReturnSetInfo *rsinfo, const ReturnSetInfo *texts)
{
	AttrNumber	numbers[TEXT_COLUMNS];
	TupleTableSlot *slot = MakeSingleTupleTableSlot(texts->setDesc,
													&TTSOpsMinimalTuple);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "text of a query",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = CurrentMemoryContext;

	for (int i = 0; i < TEXT_COLUMNS; i++)
		numbers[i] = find_column(texts->setDesc,
								 NameStr(TupleDescAttr(rsinfo->setDesc,
													   i)->attname));

	/* a row that was read from a file is the slot's until the next one */
	while (tuplestore_gettupleslot(texts->setResult, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		put_text(rsinfo, slot, numbers);
		MemoryContextSwitchTo(before);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(texts->setResult);
}

/*
 * query_texts(): userid, dbid, toplevel, queryid, query, as they are in
 * pg_stat_statements; no rows where that is not preloaded, or not created in
 * this database.
 */
Datum
fraiseql_obs_query_texts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ReturnSetInfo texts = {.type = T_ReturnSetInfo};
	Oid			function;

	fobs_counters_require();
	InitMaterializedSRF(fcinfo, 0);
	function = find_texts_function();
	if (!OidIsValid(function))
		return (Datum) 0;
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	texts.econtext = rsinfo->econtext;
	texts.allowedModes = SFRM_Materialize;
	call_texts_function(function, &texts);
	put_texts(rsinfo, &texts);
	return (Datum) 0;
}
