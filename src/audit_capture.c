/*-------------------------------------------------------------------------
 *
 * audit_capture.c
 *	  Triggers that put the changed rows of a table into the audit log.
 *
 * audit_table() puts statement triggers on a table; each is told with the rows
 * of its statement in transition tables, and appends an operation for each row
 * through the door (audit_log.c), in the user's transaction.  If that fails,
 * so does the statement: what cannot be recorded is not done.
 *
 * Of an UPDATE the transition tables have the old and the new rows in the same
 * order: trigger.c (AfterTriggerSaveEvent) and, where a row moves to another
 * partition, nodeModifyTable.c add one to each before the next row's turn.  So
 * rows are paired by place, also where their key changes.
 *
 * Rows become jsonb (audit_document.c), for which casts and output functions
 * may be called that users have made.  They run with the rights of who runs
 * the statement; only the append runs with those of the log's owner.  What
 * they make does not depend on the session: settings that output depends on
 * are pinned.  Columns whose values the log does not get are NULL before, so
 * that one that is huge can be excluded.  Columns whose values have no jsonb
 * are text, and details name them: {"_unstorable": ["column"]}.
 *
 * Works without shared_preload_libraries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "audit_document.h"
#include "audit_log.h"
#include "compat.h"

/* What stands for the value of a masked column */
#define MASK	"***"

/* Arguments of the trigger, which audit_table() sets */
typedef enum TriggerArgument
{
	TRIGGER_ENTITY_TYPE,
	TRIGGER_TENANT_COLUMN,		/* empty if there is none */
	TRIGGER_EXCLUDE,			/* arrays of names */
	TRIGGER_MASK,
	N_TRIGGER_ARGUMENTS
} TriggerArgument;

/* What the rows of a statement have in common */
typedef struct Capture
{
	TriggerData *trigger;
	TupleDesc	descriptor;
	char	  **arguments;
	List	   *key;			/* numbers of the primary key's columns */
	int			tenant;			/* number of the tenant's column, or 0 */
	bool	   *excluded;		/* by column */
	bool	   *masked;
	bool	   *unread;			/* excluded or masked, and not the tenant */
	Datum		hidden;			/* text[]: names of the excluded columns */
	Datum		mask;			/* jsonb: masked columns with MASK */
	FobsDocuments documents;
} Capture;

/* The rows of a transition table, read on their own */
typedef struct Rows
{
	Tuplestorestate *store;
	int			pointer;
	TupleTableSlot *slot;
} Rows;

/* What the text of a value depends on, as pg_dump has it, and in UTC */
static const struct
{
	const char *name;
	const char *value;
}			pinned[] = {
	{"TimeZone", "UTC"},
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
};

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_capture);

/*
 * The number of a column that audit_table() was told of.  One that is not
 * there may have been renamed: what is to be hidden would be shown, and what
 * is a tenant's be nobody's.
 */
static int
column_number(Capture *capture, const char *name, const char *purpose)
{
	Relation	table = capture->trigger->tg_relation;

	for (int i = 0; i < capture->descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(capture->descriptor, i);

		if (!attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of audited table \"%s\" does not exist",
					name, RelationGetRelationName(table)),
			 errdetail("It was to be %s.", purpose),
			 errhint("Name the columns anew with fraiseql_obs.audit_table().")));
	return 0;
}

/* Marks the columns that an array of names, as text, has. */
static void
mark_columns(Capture *capture, const char *array, bool *marks)
{
	Datum		names;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	names = OidFunctionCall3(F_ARRAY_IN, CStringGetDatum(array),
							 ObjectIdGetDatum(TEXTOID), Int32GetDatum(-1));
	deconstruct_array(DatumGetArrayTypeP(names), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int			column;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("trigger \"%s\" has null for the name of a column",
							capture->trigger->tg_trigger->tgname),
					 errhint("Name the columns anew with fraiseql_obs.audit_table().")));
		column = column_number(capture, TextDatumGetCString(elements[i]),
							   "left out of the audit log, or masked");
		marks[column - 1] = true;
	}
}

/* The names of the columns that are marked, as text[] */
static Datum
marked_names(Capture *capture, const bool *marks)
{
	Datum	   *names = palloc(capture->descriptor->natts * sizeof(Datum));
	int			n = 0;

	for (int i = 0; i < capture->descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(capture->descriptor, i);

		if (marks[i])
			names[n++] = CStringGetTextDatum(NameStr(attribute->attname));
	}
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* {"column": "***"} of the masked columns */
static Datum
make_mask(Capture *capture)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int column = 0; column < capture->descriptor->natts; column++)
		if (capture->masked[column])
		{
			if (json.len > 1)
				appendStringInfoChar(&json, ',');
			escape_json(&json, NameStr(TupleDescAttr(capture->descriptor,
													 column)->attname));
			appendStringInfoString(&json, ":\"" MASK "\"");
		}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/*
 * The columns of the primary key, in its order, which is the same for a table
 * and its partitions; none if there is no key.
 */
static List *
key_columns(Relation relation)
{
	List	   *columns = NIL;
	Bitmapset  *key;
	Relation	index;

	key = RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	if (bms_is_empty(key))
		return NIL;
	index = index_open(relation->rd_pkindex, AccessShareLock);
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
		columns = lappend_int(columns, index->rd_index->indkey.values[i]);
	index_close(index, AccessShareLock);
	return columns;
}

/* Finds the key, without which no entry of a row could be found. */
static void
prepare_key(Capture *capture)
{
	Relation	table = capture->trigger->tg_relation;
	ListCell   *cell;

	capture->key = key_columns(table);
	if (capture->key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("audited table \"%s\" has lost its primary key",
						RelationGetRelationName(table)),
				 errhint("Add a primary key, or end the audit with fraiseql_obs.unaudit_table().")));
	foreach(cell, capture->key)
	{
		int			column = lfirst_int(cell) - 1;
		Form_pg_attribute attribute = TupleDescAttr(capture->descriptor,
													column);

		if (capture->excluded[column] || capture->masked[column])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("column \"%s\" of audited table \"%s\" is in its primary key, and left out of the audit log or masked",
							NameStr(attribute->attname),
							RelationGetRelationName(table)),
					 errdetail("Entries are found by the primary key of their row."),
					 errhint("Name the columns anew with fraiseql_obs.audit_table().")));
	}
}

static void
prepare_columns(Capture *capture)
{
	const char *tenant_column = capture->arguments[TRIGGER_TENANT_COLUMN];
	int			columns = capture->descriptor->natts;

	capture->excluded = palloc0(columns * sizeof(bool));
	capture->masked = palloc0(columns * sizeof(bool));
	capture->unread = palloc0(columns * sizeof(bool));
	mark_columns(capture, capture->arguments[TRIGGER_EXCLUDE],
				 capture->excluded);
	mark_columns(capture, capture->arguments[TRIGGER_MASK], capture->masked);
	/* columns that are computed when read are not there in triggers */
	for (int i = 0; i < columns; i++)
		if (TupleDescAttr(capture->descriptor, i)->attgenerated == 'v')
			capture->excluded[i] = true;
	if (tenant_column[0] != '\0')
		capture->tenant = column_number(capture, tenant_column,
										"the tenant");
	for (int i = 0; i < columns; i++)
		capture->unread[i] = i + 1 != capture->tenant &&
			(capture->excluded[i] || capture->masked[i]);
}

static void
prepare_capture(Capture *capture, FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	capture->trigger = trigger;
	capture->descriptor = trigger->tg_relation->rd_att;
	capture->arguments = trigger->tg_trigger->tgargs;
	if (trigger->tg_trigger->tgnargs != N_TRIGGER_ARGUMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" has not the arguments that %s gives it",
						trigger->tg_trigger->tgname, "audit_table()")));
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		return;

	prepare_columns(capture);
	prepare_key(capture);
	capture->hidden = marked_names(capture, capture->excluded);
	capture->mask = make_mask(capture);
	fobs_document_prepare(&capture->documents,
						  trigger->tg_relation->rd_rel->reltype,
						  capture->descriptor, capture->unread);
}

/* Opens a transition table, with a place in it of our own. */
static Rows *
open_rows(Capture *capture, Tuplestorestate *store)
{
	Rows	   *rows;

	if (store == NULL)
		return NULL;
	rows = palloc(sizeof(Rows));
	rows->store = store;
	rows->pointer = tuplestore_alloc_read_pointer(store, EXEC_FLAG_REWIND);
	tuplestore_select_read_pointer(store, rows->pointer);
	tuplestore_rescan(store);
	rows->slot = MakeSingleTupleTableSlot(capture->descriptor,
										  &TTSOpsMinimalTuple);
	return rows;
}

/* The next row, or NULL; other triggers may read the table meanwhile. */
static TupleTableSlot *
next_row(Rows *rows)
{
	if (rows == NULL)
		return NULL;
	tuplestore_select_read_pointer(rows->store, rows->pointer);
	if (!tuplestore_gettupleslot(rows->store, true, false, rows->slot))
		return NULL;
	return rows->slot;
}

static void
close_rows(Rows *rows)
{
	if (rows != NULL)
		ExecDropSingleTupleTableSlot(rows->slot);
}

/*
 * A row as jsonb, with NULL in the columns we do not need.  Marks those that
 * have no jsonb.
 */
static Datum
row_document(Capture *capture, TupleTableSlot *row, bool *unstorable)
{
	int			columns = capture->descriptor->natts;
	bool	   *nulls = palloc(columns * sizeof(bool));

	slot_getallattrs(row);
	for (int i = 0; i < columns; i++)
		nulls[i] = row->tts_isnull[i] || capture->unread[i];
	return fobs_row_document(&capture->documents, row->tts_values, nulls,
							 unstorable);
}

/*
 * A text that fits the log: one that is too long keeps its beginning and gets
 * its SHA-256, so that equal ones stay equal.
 */
static Datum
bounded_text(const char *string)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	size_t		length = strlen(string);
	pg_cryptohash_ctx *hash;
	StringInfoData bounded;

	if (length <= AUDIT_MAX_TEXT)
		return CStringGetTextDatum(string);

	hash = pg_cryptohash_create(PG_SHA256);
	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) string, length) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(hash);

	initStringInfo(&bounded);
	appendBinaryStringInfo(&bounded, string,
						   pg_mbcliplen(string, length, AUDIT_MAX_TEXT -
										2 * PG_SHA256_DIGEST_LENGTH - 1));
	appendStringInfoChar(&bounded, '#');
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		appendStringInfo(&bounded, "%02x", digest[i]);
	return CStringGetTextDatum(bounded.data);
}

/* A field of a document as text, or NULL */
static char *
field_text(Datum document, const char *name)
{
	LOCAL_FCINFO(call, 2);
	Datum		value;

	InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
	call->args[0].value = document;
	call->args[0].isnull = false;
	call->args[1].value = CStringGetTextDatum(name);
	call->args[1].isnull = false;
	value = jsonb_object_field_text(call);
	return call->isnull ? NULL : TextDatumGetCString(value);
}

/*
 * What identifies a row: the value of its primary key as text, or a JSON array
 * of such texts where it has several columns.
 */
static Datum
entity_id(Capture *capture, Datum document)
{
	StringInfoData id;
	ListCell   *cell;

	initStringInfo(&id);
	foreach(cell, capture->key)
	{
		Form_pg_attribute attribute = TupleDescAttr(capture->descriptor,
													lfirst_int(cell) - 1);
		char	   *value = field_text(document, NameStr(attribute->attname));

		/* no key is NULL, but a JSON null is one */
		if (value == NULL)
			value = "null";
		if (list_length(capture->key) == 1)
			return bounded_text(value);
		appendStringInfoString(&id, id.len == 0 ? "[" : ", ");
		escape_json(&id, value);
	}
	appendStringInfoChar(&id, ']');
	return bounded_text(id.data);
}

/*
 * What of a row goes into the log: no excluded columns, no values of masked
 * ones, and no more than a document may have.  A row is never too large for a
 * statement that was well without us.
 */
static Datum
logged_document(Capture *capture, Datum document)
{
	Size		size;

	document = DirectFunctionCall2(jsonb_delete_array, document,
								   capture->hidden);
	document = DirectFunctionCall2(jsonb_concat, document, capture->mask);
	size = toast_raw_datum_size(document) - VARHDRSZ;
	if (size <= AUDIT_MAX_DOCUMENT)
		return document;
	return fobs_audit_truncated(size);
}

/*
 * The names of the columns that an UPDATE changed, as text[]; none if only
 * excluded ones have changed.
 */
static bool
changed_columns(Capture *capture, TupleTableSlot *before,
				TupleTableSlot *after, Datum *names)
{
	int			columns = capture->descriptor->natts;
	bool	   *changed = palloc0(columns * sizeof(bool));
	bool		any = false;

	slot_getallattrs(before);
	slot_getallattrs(after);
	for (int i = 0; i < columns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(capture->descriptor, i);

		if (attribute->attisdropped || capture->excluded[i])
			continue;
		if (before->tts_isnull[i] != after->tts_isnull[i] ||
			(!before->tts_isnull[i] &&
			 !datum_image_eq(before->tts_values[i], after->tts_values[i],
							 attribute->attbyval, attribute->attlen)))
			any = changed[i] = true;
	}
	if (any)
		*names = marked_names(capture, changed);
	return any;
}

/*
 * Says in details which columns are there as text because they have no jsonb.
 */
static void
set_unstorable(Capture *capture, Operation *operation, const bool *unstorable)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < capture->descriptor->natts; i++)
		if (unstorable[i] && !capture->excluded[i] && !capture->masked[i])
		{
			appendStringInfoString(&json, json.len == 0 ?
								   "{\"_unstorable\": [" : ", ");
			escape_json(&json,
						NameStr(TupleDescAttr(capture->descriptor,
											  i)->attname));
		}
	if (json.len == 0)
		return;
	appendStringInfoString(&json, "]}");
	fobs_set_value(operation, ARG_DETAILS,
				   DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

static void
begin_operation(Capture *capture, Operation *operation, const char *name)
{
	memset(operation->nulls, true, sizeof(operation->nulls));
	fobs_set_value(operation, ARG_OPERATION, CStringGetTextDatum(name));
	fobs_set_value(operation, ARG_RESULT, CStringGetTextDatum("success"));
	fobs_set_value(operation, ARG_ENTITY_TYPE,
				   bounded_text(capture->arguments[TRIGGER_ENTITY_TYPE]));
}

/* Appends the operation on a row; before or after may be NULL. */
static void
capture_row(Capture *capture, const char *name, TupleTableSlot *before,
			TupleTableSlot *after)
{
	Operation	operation;
	Datum		changed;
	Datum		old_document = (Datum) 0;
	Datum		new_document = (Datum) 0;
	Datum		subject;
	bool	   *unstorable;

	begin_operation(capture, &operation, name);
	if (before != NULL && after != NULL)
	{
		if (!changed_columns(capture, before, after, &changed))
			return;
		fobs_set_value(&operation, ARG_CHANGED_FIELDS, changed);
	}
	unstorable = palloc0(capture->descriptor->natts * sizeof(bool));
	if (before != NULL)
		old_document = row_document(capture, before, unstorable);
	if (after != NULL)
		new_document = row_document(capture, after, unstorable);
	set_unstorable(capture, &operation, unstorable);

	/* whose key changes is known by the old one */
	subject = before != NULL ? old_document : new_document;
	fobs_set_value(&operation, ARG_ENTITY_ID, entity_id(capture, subject));
	if (capture->tenant != 0)
	{
		char	   *tenant;

		tenant = field_text(subject,
							capture->arguments[TRIGGER_TENANT_COLUMN]);

		if (tenant != NULL)
			fobs_set_value(&operation, ARG_TENANT_ID,
						   bounded_text(tenant));
	}
	if (before != NULL)
		fobs_set_value(&operation, ARG_OLD_DATA,
					   logged_document(capture, old_document));
	if (after != NULL)
		fobs_set_value(&operation, ARG_NEW_DATA,
					   logged_document(capture, new_document));
	fobs_audit_append(&operation);
}

/*
 * Rows are paired by place, which needs as many new rows as old ones.  There
 * are fewer where a row that was to move to another partition was taken out of
 * its own, and a trigger has kept it from the other.
 */
static void
check_pairs(Capture *capture)
{
	TriggerData *trigger = capture->trigger;
	int64		n_old;
	int64		n_new;

	if (trigger->tg_oldtable == NULL || trigger->tg_newtable == NULL)
		return;
	n_old = tuplestore_tuple_count(trigger->tg_oldtable);
	n_new = tuplestore_tuple_count(trigger->tg_newtable);
	if (n_old != n_new)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot tell which rows of audited table \"%s\" were updated",
						RelationGetRelationName(trigger->tg_relation)),
				 errdetail("The statement has %lld old rows and %lld new ones: a trigger has kept rows from the partition that they were to move to.",
						   (long long) n_old, (long long) n_new),
				 errhint("Let the BEFORE INSERT trigger of the partition return the row, or delete such rows in a statement of their own.")));
}

/* Appends an operation for each row of the statement. */
static void
capture_rows(Capture *capture, const char *name)
{
	Rows	   *old_rows;
	Rows	   *new_rows;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "audit capture row",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = CurrentMemoryContext;

	check_pairs(capture);
	old_rows = open_rows(capture, capture->trigger->tg_oldtable);
	new_rows = open_rows(capture, capture->trigger->tg_newtable);
	for (;;)
	{
		TupleTableSlot *before = next_row(old_rows);
		TupleTableSlot *after = next_row(new_rows);

		CHECK_FOR_INTERRUPTS();
		if (before == NULL && after == NULL)
			break;
		MemoryContextSwitchTo(row_context);
		capture_row(capture, name, before, after);
		MemoryContextSwitchTo(outer);
		MemoryContextReset(row_context);
	}
	MemoryContextDelete(row_context);
	close_rows(old_rows);
	close_rows(new_rows);
}

/* TRUNCATE has no rows to tell: only that all have gone. */
static void
capture_truncate(Capture *capture)
{
	Operation	operation;

	begin_operation(capture, &operation, "truncate");
	fobs_audit_append(&operation);
}

/* Pins what output depends on, until the nest level that is returned ends. */
static int
pin_settings(void)
{
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(pinned); i++)
		if (strcmp(GetConfigOption(pinned[i].name, false, false),
				   pinned[i].value) != 0)
			(void) set_config_option(pinned[i].name, pinned[i].value,
									 PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * audit_capture() returns trigger
 *
 * Appends what a statement did to a table to the audit log.
 */
Datum
fraiseql_obs_audit_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Capture		capture = {0};
	int			level;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not fired after a statement",
						"audit_capture"),
				 errhint("Use fraiseql_obs.audit_table().")));
	prepare_capture(&capture, fcinfo);
	level = pin_settings();
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		capture_truncate(&capture);
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		capture_rows(&capture, "create");
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		capture_rows(&capture, "update");
	else
		capture_rows(&capture, "delete");
	AtEOXact_GUC(true, level);
	return PointerGetDatum(NULL);
}
