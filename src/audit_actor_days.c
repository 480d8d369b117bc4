/*-------------------------------------------------------------------------
 *
 * audit_actor_days.c
 *	  The rollup of the audit log by user and UTC day.
 *
 * A batch that is sealed mostly has a row or two of each of its users, so that
 * adding these to the rollup is most of the work.  It is done without a
 * statement, as a logical replication worker applies changes (see
 * execReplication.c): a look into the unique index, and then an update, which
 * is HOT, or an insert.  Constraints are checked, row triggers fired and
 * indexes written as by statements of the table's owner, whom the caller must
 * have become.  Columns that are not ours stay as they are, and are null in
 * rows that are new.
 *
 * Where the row of a user's day was is remembered, because looking that up in
 * the index takes longer than all else.  That is a hint: what is there now is
 * asked whose it is, and the index is if it is another's or gone.  So nobody
 * has to have a hint forgotten, whatever becomes of the table.  Rows are
 * visited in the order of their places; those without a hint come last, in
 * about the order of the index.  Hints take 3 MB of each process that seals.
 *
 * Whoever changes the table has locked the state of the rollups before, and so
 * does who calls this: what is found is there still when it is updated.  If
 * somebody past all this has changed it, that is an error, and the batch is
 * sealed when it is next due.  The guard has been asked before, by the
 * statement that adds to the other rollup.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "audit_actor_days.h"
#include "compat.h"

typedef enum Column
{
	COLUMN_DAY,
	COLUMN_USER_ID,
	COLUMN_N,
	COLUMN_FAILED,
	COLUMN_DENIED,
	COLUMN_RANKED,
	N_COLUMNS
} Column;

static const struct
{
	const char *name;
	Oid			type;
}			columns[N_COLUMNS] =

{
	[COLUMN_DAY] = {"day", DATEOID},
	[COLUMN_USER_ID] = {"user_id", TEXTOID},
	[COLUMN_N] = {"n", INT8OID},
	[COLUMN_FAILED] = {"failed", INT8OID},
	[COLUMN_DENIED] = {"denied", INT8OID},
	[COLUMN_RANKED] = {"ranked", INT8OID},
};

/* The index is by these, in this order */
static const Column index_columns[] = {COLUMN_USER_ID, COLUMN_DAY};

/* Where the row of a user's day was: the place that indexes have of it */
typedef struct Hint
{
	uint32		hash;			/* of the user and the day */
	ItemPointerData place;		/* not valid: none */
} Hint;

/* By the bits of the hash, two places for each; NULL: there are none yet */
#define HINTS	(256 * 1024)

static Hint *hints = NULL;

/* The rollup while it is added to */
typedef struct ActorDays
{
	Relation	table;
	BlockNumber n_blocks;		/* that it had when it was opened */
	int			places[N_COLUMNS];	/* of columns, from 0 */
	DateADT		today;

	/* to look for a row */
	Relation	index;
	ScanKeyData keys[lengthof(index_columns)];
	IndexScanDesc scan;
	IndexFetchTableData *fetch; /* by places that are not the scan's */
	TupleTableSlot *found;

	/* to write one */
	EState	   *estate;
	EPQState	epq;
	ResultRelInfo *result;
	TupleTableSlot *slot;
} ActorDays;

/*---- the table and its index ----*/

static void
find_columns(ActorDays *days)
{
	TupleDesc	descriptor = RelationGetDescr(days->table);

	for (Column i = 0; i < N_COLUMNS; i++)
	{
		AttrNumber	number = get_attnum(RelationGetRelid(days->table),
										columns[i].name);

		if (number <= 0 ||
			TupleDescAttr(descriptor, number - 1)->atttypid != columns[i].type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("table \"%s\" of the audit log has no column \"%s\" of type %s",
							RelationGetRelationName(days->table),
							columns[i].name,
							format_type_be(columns[i].type))));
		days->places[i] = number - 1;
	}
}

/* Opens the table, if it is its owner's who we are. */
static void
open_table(ActorDays *days, Oid oid)
{
	days->table = table_open(oid, RowExclusiveLock);
	if (days->table->rd_rel->relkind != RELKIND_RELATION ||
		days->table->rd_rel->relowner != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is not a table of role \"%s\"",
						RelationGetRelationName(days->table),
						GetUserNameFromId(GetUserId(), false)),
				 errhint("Have it given to that role with create_audit_log().")));
	days->n_blocks = RelationGetNumberOfBlocks(days->table);
	find_columns(days);
}

/* Is it the index that has each user's day once? */
static bool
is_key(ActorDays *days, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisunique ||
		!form->indimmediate || !form->indisvalid ||
		form->indnkeyatts != lengthof(index_columns) ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < lengthof(index_columns); i++)
		if (form->indkey.values[i] != days->places[index_columns[i]] + 1)
			return false;
	return true;
}

static void
open_index(ActorDays *days)
{
	List	   *indexes = RelationGetIndexList(days->table);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		days->index = index_open(lfirst_oid(cell), RowExclusiveLock);
		if (is_key(days, days->index))
			break;
		index_close(days->index, NoLock);
		days->index = NULL;
	}
	list_free(indexes);
	if (days->index == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" of the audit log has no unique index on user_id and day",
						RelationGetRelationName(days->table))));
}

static void
begin_scan(ActorDays *days)
{
	Relation	index = days->index;

	for (int i = 0; i < lengthof(index_columns); i++)
	{
		Oid			type = index->rd_opcintype[i];
		Oid			operator = get_opfamily_member(index->rd_opfamily[i],
												   type, type,
												   BTEqualStrategyNumber);

		ScanKeyEntryInitialize(&days->keys[i], 0, i + 1,
							   BTEqualStrategyNumber, type,
							   index->rd_indcollation[i],
							   get_opcode(operator), (Datum) 0);
	}
	days->scan = index_beginscan(days->table, index, GetActiveSnapshot(),
								 lengthof(index_columns), 0);
	days->fetch = table_index_fetch_begin(days->table);
	days->found = table_slot_create(days->table, NULL);
}

/*
 * Tells the executor which columns change, or it would not fire triggers that
 * are for some.
 */
static void
name_changed_columns(ActorDays *days)
{
	static const Column changed[] = {
		COLUMN_N, COLUMN_FAILED, COLUMN_DENIED, COLUMN_RANKED
	};
	MemoryContext before = MemoryContextSwitchTo(days->estate->es_query_cxt);
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	Bitmapset  *set = NULL;

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(days->table);
	entry->relkind = days->table->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
	for (int i = 0; i < lengthof(changed); i++)
		set = bms_add_member(set, days->places[changed[i]] + 1 -
							 FirstLowInvalidHeapAttributeNumber);
	fobs_init_range_table(days->estate, entry, set);
	MemoryContextSwitchTo(before);
}

static void
begin_writing(ActorDays *days)
{
	days->estate = CreateExecutorState();
	name_changed_columns(days);
	days->estate->es_snapshot = GetActiveSnapshot();
	days->estate->es_output_cid = GetCurrentCommandId(true);
	EvalPlanQualInit(&days->epq, days->estate, NULL, NIL, -1, NIL);
	days->result = makeNode(ResultRelInfo);
	InitResultRelInfo(days->result, days->table, 1, NULL, 0);
	ExecOpenIndices(days->result, false);
	days->slot = ExecInitExtraTupleSlot(days->estate,
										RelationGetDescr(days->table),
										&TTSOpsVirtual);
	AfterTriggerBeginQuery();
}

/* Ends what was begun. */
static void
end(ActorDays *days)
{
	AfterTriggerEndQuery(days->estate);
	EvalPlanQualEnd(&days->epq);
	ExecCloseIndices(days->result);
	/* those that were opened for triggers */
	ExecCloseResultRelations(days->estate);
	ExecResetTupleTable(days->estate->es_tupleTable, false);
	FreeExecutorState(days->estate);
	table_index_fetch_end(days->fetch);
	index_endscan(days->scan);
	ExecDropSingleTupleTableSlot(days->found);
	index_close(days->index, NoLock);
	table_close(days->table, NoLock);
}

/*---- rows ----*/

static void
set_value(ActorDays *days, Column column, Datum value, bool null)
{
	days->slot->tts_values[days->places[column]] = value;
	days->slot->tts_isnull[days->places[column]] = null;
}

/* The hint for a hash, or else that which is to give way to it */
static Hint *
hint_of(uint32 hash)
{
	Hint	   *pair = &hints[(hash % HINTS) & ~1];

	if (pair[0].hash == hash)
		return &pair[0];
	if (pair[1].hash == hash || !ItemPointerIsValid(&pair[1].place))
		return &pair[1];
	return &pair[hash / HINTS % 2];
}

/* Remembers where the row of a user's day is. */
static void
give_hint(const ActorDay *more, ItemPointer place)
{
	Hint	   *hint = hint_of(more->hash);

	hint->hash = more->hash;
	hint->place = *place;
}

/* Says where the row of a user's day was, if that is known. */
static void
take_hint(ActorDay *more)
{
	Hint	   *hint;

	more->hash = hash_combine(hash_bytes((const unsigned char *) more->user,
										 more->length),
							  murmurhash32((uint32) more->day));
	hint = hint_of(more->hash);
	if (hint->hash == more->hash)
		more->place = hint->place;
	else
		ItemPointerSetInvalid(&more->place);
}

/* Is the row that was found that of a user's day? */
static bool
is_found(ActorDays *days, const ActorDay *more)
{
	Datum		value;
	bool		null;
	text	   *user;

	value = slot_getattr(days->found, days->places[COLUMN_DAY] + 1, &null);
	if (null || DatumGetDateADT(value) != more->day)
		return false;
	value = slot_getattr(days->found, days->places[COLUMN_USER_ID] + 1, &null);
	if (null || more->null)
		return null && more->null;
	user = DatumGetTextPP(value);
	return VARSIZE_ANY_EXHDR(user) == more->length &&
		memcmp(VARDATA_ANY(user), more->user, more->length) == 0;
}

/* Looks for the row of a user's day where it was. */
static bool
find_by_hint(ActorDays *days, const ActorDay *more)
{
	ItemPointerData place = more->place;
	bool		again = false;

	return ItemPointerIsValid(&place) &&
		ItemPointerGetBlockNumber(&place) < days->n_blocks &&
		table_index_fetch_tuple(days->fetch, &place, days->scan->xs_snapshot,
								days->found, &again, NULL) &&
		is_found(days, more);
}

/* Looks for it by the index. */
static bool
find_by_index(ActorDays *days, const ActorDay *more, Datum user)
{
	ScanKey		keys = days->keys;
	ItemPointer next;

	keys[0].sk_flags = more->null ? SK_ISNULL | SK_SEARCHNULL : 0;
	keys[0].sk_argument = user;
	keys[1].sk_argument = DateADTGetDatum(more->day);
	index_rescan(days->scan, keys, lengthof(index_columns), NULL, 0);
	while ((next = index_getnext_tid(days->scan,
									 ForwardScanDirection)) != NULL)
	{
		/* that of the version which is seen may be another one */
		ItemPointerData place = *next;

		if (!index_fetch_heap(days->scan, days->found))
			continue;
		give_hint(more, &place);
		return true;
	}
	return false;
}

/* A count of the row that was found; none is null. */
static int64
count_of(ActorDays *days, Column column)
{
	return DatumGetInt64(days->found->tts_values[days->places[column]]);
}

static void
set_counts(ActorDays *days, DateADT day, int64 n, int64 failed, int64 denied)
{
	set_value(days, COLUMN_N, Int64GetDatum(n), false);
	set_value(days, COLUMN_FAILED, Int64GetDatum(failed), false);
	set_value(days, COLUMN_DENIED, Int64GetDatum(denied), false);
	/* of a day that is over; see audit_rank_actors() for today's */
	set_value(days, COLUMN_RANKED, Int64GetDatum(n), day >= days->today);
	ExecStoreVirtualTuple(days->slot);
}

/*
 * Locks the row that was found for a trigger that is fired before it changes,
 * which otherwise would look for the newest version by a plan that is not.
 */
static void
lock_row(ActorDays *days)
{
	ItemPointerData place = days->found->tts_tid;
	TM_FailureData failure;

	if (table_tuple_lock(days->table, &place, days->estate->es_snapshot,
						 days->found, GetCurrentCommandId(false),
						 LockTupleNoKeyExclusive, LockWaitBlock, 0,
						 &failure) != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" of the audit log was changed while it was added to",
						RelationGetRelationName(days->table))));
}

static void
update_row(ActorDays *days, const ActorDay *more)
{
	TupleTableSlot *slot = ExecClearTuple(days->slot);
	TriggerDesc *triggers = days->result->ri_TrigDesc;
	int			n_columns = slot->tts_tupleDescriptor->natts;

	if (triggers != NULL && triggers->trig_update_before_row)
		lock_row(days);
	slot_getallattrs(days->found);
	memcpy(slot->tts_values, days->found->tts_values,
		   sizeof(Datum) * n_columns);
	memcpy(slot->tts_isnull, days->found->tts_isnull,
		   sizeof(bool) * n_columns);
	set_counts(days, more->day, count_of(days, COLUMN_N) + more->n,
			   count_of(days, COLUMN_FAILED) + more->failed,
			   count_of(days, COLUMN_DENIED) + more->denied);
	ExecSimpleRelationUpdate(days->result, days->estate, &days->epq,
							 days->found, slot);
}

static void
insert_row(ActorDays *days, const ActorDay *more, Datum user)
{
	TupleTableSlot *slot = ExecClearTuple(days->slot);

	memset(slot->tts_isnull, true,
		   sizeof(bool) * slot->tts_tupleDescriptor->natts);
	set_value(days, COLUMN_DAY, DateADTGetDatum(more->day), false);
	set_value(days, COLUMN_USER_ID, user, more->null);
	set_counts(days, more->day, more->n, more->failed, more->denied);
	ItemPointerSetInvalid(&slot->tts_tid);
	ExecSimpleRelationInsert(days->result, days->estate, slot);
	if (ItemPointerIsValid(&slot->tts_tid))
		give_hint(more, &slot->tts_tid);
}

/* The user, as long as the row is worked on */
static Datum
user_of(ActorDays *days, const ActorDay *more)
{
	text	   *user;

	if (more->null)
		return (Datum) 0;
	user = MemoryContextAlloc(GetPerTupleMemoryContext(days->estate),
							  VARHDRSZ + more->length);
	SET_VARSIZE(user, VARHDRSZ + more->length);
	memcpy(VARDATA(user), more->user, more->length);
	return PointerGetDatum(user);
}

static void
add(ActorDays *days, const ActorDay *more)
{
	Datum		user = user_of(days, more);
	bool		exists = find_by_hint(days, more) ||
	find_by_index(days, more, user);
	MemoryContext before;

	/* what is looked up for triggers is kept there */
	before = MemoryContextSwitchTo(days->estate->es_query_cxt);
	if (exists)
		update_row(days, more);
	else
		insert_row(days, more, user);
	ExecClearTuple(days->slot);
	MemoryContextSwitchTo(before);
	ResetPerTupleExprContext(days->estate);
}

/* By place; without one they are last, by user. */
static int
compare_places(const void *one, const void *other)
{
	ActorDay   *a = unconstify(void *, one);
	ActorDay   *b = unconstify(void *, other);
	int			order;

	if (ItemPointerIsValid(&a->place) && ItemPointerIsValid(&b->place))
		return ItemPointerCompare(&a->place, &b->place);
	if (ItemPointerIsValid(&a->place) != ItemPointerIsValid(&b->place))
		return ItemPointerIsValid(&a->place) ? -1 : 1;
	order = memcmp(a->user, b->user, Min(a->length, b->length));
	return order != 0 ? order : a->length - b->length;
}

/*
 * Adds to the rollup what users have done on days, each of which is in the
 * list once.  It is ordered anew.
 */
void
fobs_actor_days_add(Oid table, DateADT today, ActorDay *list, int n)
{
	ActorDays	days = {.today = today};

	if (hints == NULL)
		hints = MemoryContextAllocZero(TopMemoryContext, sizeof(Hint) * HINTS);
	for (int i = 0; i < n; i++)
		take_hint(&list[i]);
	qsort(list, n, sizeof(ActorDay), compare_places);

	open_table(&days, table);
	open_index(&days);
	PushActiveSnapshot(GetTransactionSnapshot());
	begin_scan(&days);
	begin_writing(&days);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add(&days, &list[i]);
	}
	end(&days);
	PopActiveSnapshot();
	/* who asks next sees it */
	CommandCounterIncrement();
}
