/*-------------------------------------------------------------------------
 *
 * audit_partition.c
 *	  The partition of the audit log that rows are appended to.
 *
 * A row goes right into the partition of its time, as a logical replication
 * worker puts it there (ExecSimpleRelationInsert() in execReplication.c): no
 * plan is executed and no tuple is routed, which would cost half of what the
 * heap and its indexes do.  Constraints are checked, row triggers fired and
 * indexes written as by an INSERT of the log's owner, whom the caller must
 * have become.  Triggers for statements are not fired, as there is none.
 *
 * All state is this process's: the partition last written to and where its
 * columns are, until it, the log or everything changes.  The log is locked as
 * by an INSERT before that is relied on, so that who detaches the partition
 * waits for us, or we have heard of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/readfuncs.h"
#include "optimizer/optimizer.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit_door.h"
#include "audit_extension.h"
#include "audit_partition.h"
#include "compat.h"

/* A partition, as this process knows it */
typedef struct Target
{
	bool		valid;
	Oid			log;
	Oid			partition;
	TimestampTz from;			/* of times from this to before the next */
	TimestampTz until;
	Oid			ids;			/* the sequence of the column id */

	/* attribute numbers in the partition */
	AttrNumber	id;
	AttrNumber	xact;
	AttrNumber	arguments[N_ARGUMENTS];
	bool		has_others;		/* has columns that are not the log's */

	/* its constraints, ready to be checked, and where they are kept */
	MemoryContext context;
	ExprState **checks;
	ExprState  *partition_check;
} Target;

/* That which was last written to */
static Target target = {0};

/*
 * The context of the constraints that are being checked, if any are.  A
 * trigger or a constraint may itself append to the log, and must leave them
 * alone.
 */
static MemoryContext in_use = NULL;

/* Forgets the partition when it, the log or everything changes. */
static void
forget_target(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == target.log ||
		relid == target.partition)
		target.valid = false;
}

/*
 * Forgets it when a function changes, which planning may have put in its place
 * in a constraint.  Which one, nobody has noted: that is rare.
 */
static void
forget_functions(Datum arg, int cacheid, uint32 hashvalue)
{
	target.valid = false;
}

/* Has this process hear of what changes. */
static void
hear_of_changes(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(forget_target, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, forget_functions, (Datum) 0);
	registered = true;
}

/* Keeps a partition in mind in place of the one before. */
static void
keep_target(const Target *found)
{
	if (target.context != NULL && target.context != in_use)
		MemoryContextDelete(target.context);
	target = *found;
}

/*
 * Looks which partition of the log is for a time, and for which times it is;
 * false if there is none, or only one that is being detached, if that is not
 * wanted.
 */
static bool
find_partition(Relation log, TimestampTz at, bool omit_detached,
			   Target *found)
{
	PartitionKey key = RelationGetPartitionKey(log);
	PartitionDesc partitions = RelationGetPartitionDesc(log, omit_detached);
	PartitionBoundInfo bounds = partitions->boundinfo;
	Datum		value = TimestampTzGetDatum(at);
	int			lower;
	int			index;
	bool		equal;

	if (key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1 ||
		key->parttypid[0] != TIMESTAMPTZOID)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("audit log \"%s\" is not partitioned by time",
						RelationGetRelationName(log))));
	if (partitions->nparts == 0)
		return false;
	lower = partition_range_datum_bsearch(key->partsupfunc,
										  key->partcollation, bounds, 1,
										  &value, &equal);
	index = bounds->indexes[lower + 1];
	if (index < 0)
		return false;

	/* what a partition is for has a bound at both ends, if maybe infinite */
	found->partition = partitions->oids[index];
	found->from = DT_NOBEGIN;
	found->until = DT_NOEND;
	if (bounds->kind[lower][0] == PARTITION_RANGE_DATUM_VALUE)
		found->from = DatumGetTimestampTz(bounds->datums[lower][0]);
	if (bounds->kind[lower + 1][0] == PARTITION_RANGE_DATUM_VALUE)
		found->until = DatumGetTimestampTz(bounds->datums[lower + 1][0]);
	return true;
}

/* Makes the partition for a time. */
static void
make_partition(TimestampTz at)
{
	static const Oid types[] = {TIMESTAMPTZOID};
	int			doors_before = fobs_audit_doors;
	Oid			function;

	function = fobs_extension_function("audit_ensure_partition", 1, types);
	fobs_audit_doors |= FOBS_DOOR_KEEP;
	(void) OidFunctionCall1(function, TimestampTzGetDatum(at));
	fobs_audit_doors = doors_before;
}

/* The number of a column; what is put there must be of its type. */
static AttrNumber
find_column(Relation partition, const char *name, Oid type)
{
	AttrNumber	number = get_attnum(RelationGetRelid(partition), name);
	Form_pg_attribute attribute;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of partition \"%s\" of the audit log does not exist",
						name, RelationGetRelationName(partition))));
	attribute = TupleDescAttr(RelationGetDescr(partition), number - 1);
	if (attribute->atttypid != type || attribute->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of partition \"%s\" of the audit log must be of type %s, and not generated",
						name, RelationGetRelationName(partition),
						format_type_be(type))));
	return number;
}

/* Looks where the columns of a partition are. */
static void
find_columns(Relation partition, Target *found)
{
	TupleDesc	descriptor = RelationGetDescr(partition);
	int			n_columns = 0;

	if (partition->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("partition \"%s\" of the audit log is not a table",
						RelationGetRelationName(partition))));
	found->id = find_column(partition, "id", INT8OID);
	found->xact = find_column(partition, "xact", XID8OID);
	for (int i = 0; i < N_ARGUMENTS; i++)
		found->arguments[i] = find_column(partition,
										  fobs_audit_columns[i].name,
										  fobs_audit_columns[i].type);
	for (int i = 0; i < descriptor->natts; i++)
		if (!TupleDescAttr(descriptor, i)->attisdropped)
			n_columns++;
	found->has_others = n_columns > N_ARGUMENTS + 2;
}

/* Locks and opens a partition, if it is the log's owner's, who we are. */
static Relation
open_own(Oid oid)
{
	Relation	partition = table_open(oid, RowExclusiveLock);
	Oid			owner = partition->rd_rel->relowner;

	/* whoever else has it could have code run with the owner's rights */
	if (owner != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("audit log does not wholly belong to its owner, role \"%s\"",
						GetUserNameFromId(GetUserId(), false)),
				 errdetail("Partition \"%s\" belongs to role \"%s\".",
						   RelationGetRelationName(partition),
						   GetUserNameFromId(owner, false)),
				 errhint("Have it given to that role with create_audit_log().")));
	return partition;
}

/* A constraint ready to be checked; NULL if it is not enforced */
static ExprState *
prepare_check(Relation partition, const ConstrCheck *check)
{
	Node	   *expression;

	if (!fobs_check_is_enforced(check))
		return NULL;
	expression = stringToNode(check->ccbin);
	expression = expand_generated_columns_in_expr(expression, partition, 1);
	return ExecInitExpr(expression_planner((Expr *) expression), NULL);
}

/* Makes the constraints of a partition ready to be checked. */
static void
prepare_constraints(Relation partition, Target *found)
{
	TupleConstr *constraints = RelationGetDescr(partition)->constr;
	MemoryContext before;
	List	   *bounds;

	found->context = AllocSetContextCreate(CurrentMemoryContext,
										   "constraints of the audit log",
										   ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(found->context);
	if (constraints != NULL && constraints->num_check > 0)
		found->checks = palloc(sizeof(ExprState *) * constraints->num_check);
	for (int i = 0; found->checks != NULL && i < constraints->num_check; i++)
		found->checks[i] = prepare_check(partition, &constraints->check[i]);
	bounds = RelationGetPartitionQual(partition);
	bounds = (List *) expression_planner((Expr *) bounds);
	found->partition_check = ExecInitCheck(bounds, NULL);
	MemoryContextSwitchTo(before);
}

/* Finds the partition for a time, and the sequence of the log. */
static bool
look_up(Oid log, TimestampTz at, Target *found)
{
	Relation	relation = table_open(log, NoLock);
	bool		exists = find_partition(relation, at, true, found);

	found->ids = getIdentitySequence(relation, get_attnum(log, "id"), false);
	table_close(relation, NoLock);
	return exists;
}

/* Is the partition for a time being detached? */
static bool
is_being_detached(Oid log, TimestampTz at)
{
	Relation	relation = table_open(log, NoLock);
	Target		unused;
	bool		exists = find_partition(relation, at, false, &unused);

	table_close(relation, NoLock);
	return exists;
}

/*
 * Has the partition for a time be there.  Somebody else may have made it, and
 * be about to end: then it can be seen, but what tells the caches of it may be
 * sent later, before the lock is released that he has on the log.
 */
static bool
ensure_partition(Oid log, TimestampTz at, Target *found)
{
	make_partition(at);
	if (look_up(log, at, found))
		return true;
	if (is_being_detached(log, at))
		return false;
	LockRelationOid(log, ShareUpdateExclusiveLock);
	return look_up(log, at, found);
}

/*
 * Finds the partition for a time, or makes it, and opens it.  The log is
 * locked, and then the partition is, so that what is heard of meanwhile does
 * not matter for this row, but for the next.
 */
static Relation
find_target(Oid log, TimestampTz at)
{
	/* for no time at all yet, but what changes from now on is heard of */
	Target		found = {.valid = true,.log = log};
	Relation	partition;

	hear_of_changes();
	keep_target(&found);
	if (!look_up(log, at, &found) && !ensure_partition(log, at, &found))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("audit log has no partition for %s",
						timestamptz_to_str(at)),
				 errdetail("The one there was is being detached.")));
	target.partition = found.partition;
	partition = open_own(found.partition);
	find_columns(partition, &found);
	prepare_constraints(partition, &found);
	MemoryContextSetParent(found.context, CacheMemoryContext);
	found.valid = target.valid;
	keep_target(&found);
	return partition;
}

/* Opens the partition for a time; the log is locked as by an INSERT. */
static Relation
open_partition(Oid log, TimestampTz at)
{
	Relation	partition;

	if (target.valid && target.log == log &&
		at >= target.from && at < target.until)
	{
		partition = open_own(target.partition);
		/* it may have changed before it was locked */
		if (target.valid)
			return partition;
		table_close(partition, NoLock);
	}
	return find_target(log, at);
}

/* Is it one of the log's columns? */
static bool
is_ours(const Target *found, AttrNumber number)
{
	for (int i = 0; i < N_ARGUMENTS; i++)
		if (found->arguments[i] == number)
			return true;
	return number == found->id || number == found->xact;
}

/*
 * Sets columns that somebody has added to their default, which may itself
 * append to the log, and find another partition.
 */
static void
set_others(TupleTableSlot *slot, Relation partition, EState *estate)
{
	ExprContext *context = GetPerTupleExprContext(estate);
	Target		found = target;

	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		Form_pg_attribute attribute =
		TupleDescAttr(slot->tts_tupleDescriptor, i);
		Expr	   *value;

		if (attribute->attisdropped || attribute->attgenerated != '\0' ||
			is_ours(&found, attribute->attnum))
			continue;
		value = (Expr *) build_column_default(partition, attribute->attnum);
		if (value != NULL)
			slot->tts_values[i] =
				ExecEvalExpr(ExecPrepareExpr(value, estate), context,
							 &slot->tts_isnull[i]);
	}
}

/* Makes the row of an operation, and returns its id. */
static int64
fill_slot(TupleTableSlot *slot, Relation partition, EState *estate,
		  const Operation *operation)
{
	int64		id = nextval_internal(target.ids, false);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true,
		   sizeof(bool) * slot->tts_tupleDescriptor->natts);
	memset(slot->tts_values, 0,
		   sizeof(Datum) * slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < N_ARGUMENTS; i++)
	{
		slot->tts_values[target.arguments[i] - 1] = operation->values[i];
		slot->tts_isnull[target.arguments[i] - 1] = operation->nulls[i];
	}
	slot->tts_values[target.id - 1] = Int64GetDatum(id);
	slot->tts_isnull[target.id - 1] = false;
	slot->tts_values[target.xact - 1] =
		FullTransactionIdGetDatum(GetTopFullTransactionId());
	slot->tts_isnull[target.xact - 1] = false;
	if (target.has_others)
		set_others(slot, partition, estate);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(partition);
	return id;
}

/* Inserts the row of an operation, and returns its id. */
static int64
insert(Relation partition, EState *estate, const Operation *operation)
{
	ResultRelInfo *relation = makeNode(ResultRelInfo);
	TupleTableSlot *slot;
	int64		id;

	estate->es_output_cid = GetCurrentCommandId(true);
	/* in no range table: there is no query */
	InitResultRelInfo(relation, partition, 0, NULL, 0);
	if (in_use == NULL)
	{
		in_use = target.context;
		relation->ri_CheckConstraintExprs = target.checks;
		relation->ri_PartitionCheckExpr = target.partition_check;
	}
	slot = ExecInitExtraTupleSlot(estate, RelationGetDescr(partition),
								  &TTSOpsVirtual);
	id = fill_slot(slot, partition, estate, operation);

	AfterTriggerBeginQuery();
	ExecOpenIndices(relation, false);
	ItemPointerSetInvalid(&slot->tts_tid);
	ExecSimpleRelationInsert(relation, estate, slot);
	if (!ItemPointerIsValid(&slot->tts_tid))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a trigger keeps a row out of the audit log")));
	ExecCloseIndices(relation);
	AfterTriggerEndQuery(estate);
	/* those that were opened for triggers */
	ExecCloseResultRelations(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	return id;
}

/* Inserts an operation's row into the partition of its time. */
static void
append(Oid log, const Operation *operation, int64 *id)
{
	TimestampTz at = DatumGetTimestampTz(operation->values[ARG_CREATED_AT]);
	Relation	parent;
	Relation	partition;
	EState	   *estate;

	PreventCommandIfReadOnly("INSERT");
	LockRelationOid(log, RowExclusiveLock);
	partition = open_partition(log, at);
	/* so that no trigger takes the partition from under the row */
	parent = table_open(log, NoLock);
	estate = CreateExecutorState();
	fobs_audit_doors |= FOBS_DOOR_APPEND;
	*id = insert(partition, estate, operation);
	FreeExecutorState(estate);
	table_close(partition, NoLock);
	table_close(parent, NoLock);
}

/* Closes the doors, and leaves what was used unless it was before. */
static void
leave(int doors_before, bool nested)
{
	fobs_audit_doors = doors_before;
	if (nested || in_use == NULL)
		return;
	/* what was appended meanwhile may have found another partition */
	if (in_use != target.context)
		MemoryContextDelete(in_use);
	in_use = NULL;
}

/*
 * Appends a complete operation to the log, as its owner, and returns its id.
 * Its partition is made where it is missing.
 */
int64
fobs_audit_partition_append(Oid log, const Operation *operation)
{
	int			doors_before = fobs_audit_doors;
	bool		nested = in_use != NULL;
	int64		id;

	PG_TRY();
	{
		append(log, operation, &id);
	}
	PG_CATCH();
	{
		leave(doors_before, nested);
		PG_RE_THROW();
	}
	PG_END_TRY();
	leave(doors_before, nested);
	/* who asks next sees it */
	CommandCounterIncrement();
	return id;
}
