/*-------------------------------------------------------------------------
 *
 * audit_guard.c
 *	  Keeps the audit log append-only, for everybody.
 *
 * Where we are preloaded, statements that change the tables of an active audit
 * log are refused whoever sends them, superusers included, unless they pass
 * by one of our doors (audit_door.c).  What is guarded: the tables and
 * sequences called fraiseql_audit_* in the log's schema, the registry that
 * names it, and our row type and functions.
 *
 * - Executor: INSERT, UPDATE, DELETE and MERGE on them, partitions included.
 * - Utility statements: COPY FROM, ALTER TABLE and ALTER SEQUENCE, renaming,
 *	 triggers, rules and policies, and what belongs to the extension.  What
 *	 serves the storage of a table (autovacuum's settings, statistics,
 *	 tablespace, owner) may be altered; rows stay what they are.
 * - Object access: DROP and TRUNCATE however they come about (CASCADE, DROP
 *	 OWNED, DROP SCHEMA), renaming the schema, and changing our own functions,
 *	 which pass by the doors, or adding others beside them.  DROP EXTENSION of
 *	 ourselves passes, and leaves the tables.
 * - Object access also finds what makes a guarded table depend on another one:
 *	 inheritance, by which a child's rows are the parent's; foreign keys and
 *	 other triggers, policies and rules; a table that takes the name of one of
 *	 ours; a subscription, whose rows pass by the executor's hooks.
 * - No index on an expression or with operators of others, and no trigger:
 *	 their code would run while a door is open.  Nor a unique index, which
 *	 would refuse what we write.
 * - Code of others that runs nevertheless while a door is open, as that of
 *	 event triggers, finds it closed.
 *
 * While the guard is off, what would be refused is done, and is an entry of
 * the log whatever becomes of the transaction (audit_ring.c).
 *
 * A log is active in the database and cluster that the registry names:
 * create_audit_log() sets that, so that a dump can be restored.  A table that
 * is not the extension's is no registry (audit_extension.c).  Each process
 * reads the registry when it first needs it, and again after an invalidation
 * of it, which audit_announce() sends.  Which relations are not guarded it
 * remembers, up to KNOWN of them, until they are changed.
 *
 * Caveats: a superuser who can write files, load C code, change or add to
 * pg_catalog, or restart the server with another configuration is not stopped,
 * nor is setval(), GRANT or DROP DATABASE.  That is what the seals are for:
 * what cannot be prevented can be told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_subscription.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "audit_door.h"
#include "audit_extension.h"
#include "audit_guard.h"
#include "audit_log.h"
#include "audit_ring.h"
#include "compat.h"

#define REGISTRY_NAME	"audit_registry"
#define TABLE_PREFIX	"fraiseql_audit_"
#define LOG_NAME		"fraiseql_audit_log"
#define ROWS_PREFIX		LOG_NAME	/* partitions, too */

/* Columns of the registry, see audit_log.sql */
#define REGISTRY_SCHEMA_NAME		1
#define REGISTRY_SYSTEM_IDENTIFIER	2
#define REGISTRY_DATABASE_OID		3
#define REGISTRY_COLUMNS			3

/* How often it is told that a session changes a table with the guard off */
#define NOTICE_S		60

/* Relations that are remembered as not guarded; a power of two */
#define KNOWN			64

bool		fobs_audit_guard = true;

/* What this process knows of the log of its database */
static enum
{
	GUARD_UNKNOWN,
	GUARD_INACTIVE,
	GUARD_ACTIVE
}			guard_state = GUARD_UNKNOWN;
static Oid	registry_oid = InvalidOid;
static Oid	log_namespace = InvalidOid; /* where it is active */
static Oid	not_guarded[KNOWN];

/* What is remembered while a function runs: for us, and for the next hook */
typedef struct DoorsBefore
{
	int			doors;
	Datum		private;
} DoorsBefore;

static object_access_hook_type prev_object_access = NULL;
static bool watching = false;	/* our hook is in front of that */
static needs_fmgr_hook_type prev_needs_fmgr_hook = NULL;
static fmgr_hook_type prev_fmgr_hook = NULL;

/* A relation has changed, or (InvalidOid) any may have. */
static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == registry_oid)
	{
		guard_state = GUARD_UNKNOWN;
		memset(not_guarded, 0, sizeof(not_guarded));
	}
	else if (not_guarded[relid % KNOWN] == relid)
		not_guarded[relid % KNOWN] = InvalidOid;
}

/* A schema has come, gone or changed its name. */
static void
namespace_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed((Datum) 0, InvalidOid);
}

/* Are the columns of the registry those that we read? */
static bool
has_registry_columns(TupleDesc descriptor)
{
	static const Oid types[REGISTRY_COLUMNS] = {
		[REGISTRY_SCHEMA_NAME - 1] = NAMEOID,
		[REGISTRY_SYSTEM_IDENTIFIER - 1] = INT8OID,
		[REGISTRY_DATABASE_OID - 1] = OIDOID
	};

	if (descriptor->natts < REGISTRY_COLUMNS)
		return false;
	for (int i = 0; i < REGISTRY_COLUMNS; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped || attribute->atttypid != types[i])
			return false;
	}
	return true;
}

/* The schema of the log that a row says is active here, or none. */
static Oid
registered_schema(HeapTuple row, TupleDesc descriptor)
{
	Datum		values[REGISTRY_COLUMNS];
	Name		schema;

	for (int i = 0; i < REGISTRY_COLUMNS; i++)
	{
		bool		isnull;

		values[i] = heap_getattr(row, i + 1, descriptor, &isnull);
		if (isnull)
			return InvalidOid;
	}
	if ((uint64) DatumGetInt64(values[REGISTRY_SYSTEM_IDENTIFIER - 1]) !=
		GetSystemIdentifier() ||
		DatumGetObjectId(values[REGISTRY_DATABASE_OID - 1]) != MyDatabaseId)
		return InvalidOid;
	schema = DatumGetName(values[REGISTRY_SCHEMA_NAME - 1]);
	return get_namespace_oid(NameStr(*schema), true);
}

/*
 * Finds the schema of the log that the registry says is active here, or none.
 * What is not ours is not even opened: we might wait for a lock of its owner.
 * Returns false if the registry has been dropped while we waited for it.
 */
static bool
read_registry(Oid *schema)
{
	Relation	registry;

	*schema = InvalidOid;
	if (get_rel_relkind(registry_oid) != RELKIND_RELATION ||
		!fobs_extension_has(RelationRelationId, registry_oid))
		return true;
	registry = try_relation_open(registry_oid, AccessShareLock);
	if (registry == NULL)
		return false;
	if (has_registry_columns(RelationGetDescr(registry)))
	{
		SysScanDesc scan = systable_beginscan(registry, InvalidOid, false,
											  NULL, 0, NULL);
		HeapTuple	row = systable_getnext(scan);

		if (HeapTupleIsValid(row))
			*schema = registered_schema(row, RelationGetDescr(registry));
		systable_endscan(scan);
	}
	relation_close(registry, AccessShareLock);
	return true;
}

/* Is there an active log in this database?  Finds out if that is unknown. */
static bool
guard_is_active(void)
{
	Oid			schema;

	if (likely(guard_state != GUARD_UNKNOWN))
		return guard_state == GUARD_ACTIVE;

	do
	{
		schema = get_namespace_oid(EXTENSION_SCHEMA, true);
		registry_oid = OidIsValid(schema) ?
			get_relname_relid(REGISTRY_NAME, schema) : InvalidOid;
		if (!OidIsValid(registry_oid))
		{
			/* while the extension is being created, it may come any moment */
			if (!OidIsValid(schema))
				guard_state = GUARD_INACTIVE;
			return false;
		}
	} while (!read_registry(&log_namespace));
	guard_state = OidIsValid(log_namespace) ? GUARD_ACTIVE : GUARD_INACTIVE;
	return guard_state == GUARD_ACTIVE;
}

static bool
has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Our own schema, while there is a registry */
static Oid
extension_namespace(void)
{
	return get_rel_namespace(registry_oid);
}

/* Is a relation, as it stands in pg_class, one that is guarded? */
static bool
is_guarded(Oid relid, Form_pg_class class)
{
	if (relid == registry_oid)
		return true;
	switch (class->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_SEQUENCE:
			return class->relnamespace == log_namespace &&
				has_prefix(NameStr(class->relname), TABLE_PREFIX);
		case RELKIND_COMPOSITE_TYPE:
			return class->relnamespace == extension_namespace();
		default:
			return false;
	}
}

/*
 * The name of a relation if it is guarded, or NULL.  Indexes are not: they
 * hold no rows of their own.
 */
static char *
guarded_name(Oid relid)
{
	HeapTuple	tuple;
	Form_pg_class class;
	char	   *name = NULL;

	if (not_guarded[relid % KNOWN] == relid)
		return NULL;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (is_guarded(relid, class))
		name = pstrdup(NameStr(class->relname));
	else
		not_guarded[relid % KNOWN] = relid;
	ReleaseSysCache(tuple);
	return name;
}

/* Whether there is anything to refuse, or to note */
static inline bool
guards(int door)
{
	return (fobs_audit_doors & door) == 0 &&
		!IsBinaryUpgrade && OidIsValid(MyDatabaseId) &&
		IsTransactionState() && guard_is_active();
}

/*
 * While the guard is off all of it passes, but not without a trace: whatever
 * becomes of the transaction, it is an entry.  Once in a transaction, and for
 * the same table once in NOTICE_S, lest who loads rows by hand fills the ring.
 * What is done may be to drop the table, so nothing is written here.
 */
static bool
passes(const char *name)
{
	static TimestampTz passed_at = 0;
	static TimestampTz noted_at = 0;
	static NameData noted;
	TimestampTz at = GetCurrentTransactionStartTimestamp();

	if (fobs_audit_guard)
		return false;
	if (at == passed_at || RecoveryInProgress())
		return true;
	passed_at = at;
	if (strcmp(NameStr(noted), name) == 0 &&
		at < noted_at + NOTICE_S * USECS_PER_SEC)
		return true;
	noted_at = at;
	namestrcpy(&noted, name);
	fobs_audit_ring_add_notice("audit.guard_off", "audit_table", name);
	return true;
}

static pg_noinline void
refuse_rows(const char *name)
{
	if (passes(name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("audit log is append-only"),
			 errdetail("Rows of its tables cannot be changed, removed or added by hand."),
			 errhint("Append to it with fraiseql_obs.log_operation().")));
}

static pg_noinline void
refuse_change(const char *name)
{
	if (passes(name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot change \"%s\"", name),
			 errdetail("It belongs to the audit log, which is append-only.")));
}

/* The door by which rows of a relation may be written so. */
static int
door_for_rows(const char *name, CmdType command)
{
	if (!has_prefix(name, ROWS_PREFIX))
		return FOBS_DOOR_KEEP;
	switch (command)
	{
		case CMD_INSERT:
			return FOBS_DOOR_APPEND;
		case CMD_UPDATE:
			return FOBS_DOOR_ERASE;
		default:
			return 0;
	}
}

/* Refuses a plan that writes what only we may write. */
void
fobs_audit_guard_check_plan(const PlannedStmt *plan)
{
	ListCell   *cell;

	/* what log_operation() does */
	if (plan->commandType == CMD_INSERT &&
		(fobs_audit_doors & FOBS_DOOR_APPEND))
		return;
	if (!guards(0))
		return;
	foreach(cell, plan->resultRelations)
	{
		Oid			relid = rt_fetch(lfirst_int(cell), plan->rtable)->relid;
		char	   *name = guarded_name(relid);

		if (name != NULL &&
			!(fobs_audit_doors & door_for_rows(name, plan->commandType)))
			refuse_rows(name);
	}
}

/* The name of a relation that a statement is to change, if it is guarded */
static char *
guarded_range(const RangeVar *range)
{
	Oid			relid;

	if (range == NULL || !guards(FOBS_DOOR_KEEP))
		return NULL;
	relid = RangeVarGetRelid(range, NoLock, true);
	return OidIsValid(relid) ? guarded_name(relid) : NULL;
}

static void
refuse_change_of(const RangeVar *range)
{
	char	   *name = guarded_range(range);

	if (name != NULL)
		refuse_change(name);
}

/* ALTER TABLE that says how rows are stored, not what they are */
static bool
is_about_storage(const AlterTableStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		switch (lfirst_node(AlterTableCmd, cell)->subtype)
		{
			case AT_SetRelOptions:
			case AT_ResetRelOptions:
			case AT_SetStatistics:
			case AT_SetTableSpace:
			case AT_ClusterOn:
			case AT_DropCluster:
			case AT_ChangeOwner:
				break;
			default:
				return false;
		}
	}
	return true;
}

/* CREATE TABLE ... PARTITION OF, or INHERITS */
static void
check_parents(const CreateStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->inhRelations)
		refuse_change_of(lfirst_node(RangeVar, cell));
}

static void
check_copy(const CopyStmt *statement)
{
	char	   *name = statement->is_from ?
	guarded_range(statement->relation) : NULL;

	if (name != NULL)
		refuse_rows(name);
}

/* An operator class that the server came with, or the default */
static bool
is_own_opclass(const IndexStmt *statement, const IndexElem *column)
{
	Oid			method;

	if (column->opclass == NIL)
		return true;
	method = get_index_am_oid(statement->accessMethod, true);
	return OidIsValid(method) &&
		get_opclass_oid(method, column->opclass, false) < FirstNormalObjectId;
}

/*
 * CREATE INDEX, of columns alone: an expression is code of the owner, which
 * would run while our own functions write, and so are operators.
 */
static void
check_index(const IndexStmt *statement)
{
	ListCell   *cell;
	bool		refused = statement->whereClause != NULL || statement->unique;

	foreach(cell, statement->indexParams)
	{
		IndexElem  *column = lfirst_node(IndexElem, cell);

		refused |= column->expr != NULL || !is_own_opclass(statement, column);
	}
	if (refused)
		refuse_change_of(statement->relation);
}

/* ALTER SCHEMA ... RENAME, of the one by whose name we find the registry */
static void
check_renaming(const RenameStmt *statement)
{
	refuse_change_of(statement->relation);
	if (statement->renameType == OBJECT_SCHEMA &&
		strcmp(statement->subname, EXTENSION_SCHEMA) == 0 &&
		guards(FOBS_DOOR_KEEP))
		refuse_change(statement->subname);
}

/*
 * ALTER EXTENSION ... ADD and DROP: what is added is dropped with the
 * extension, and what is taken out of ours is not.
 */
static void
check_membership(const AlterExtensionContentsStmt *statement)
{
	List	   *name;
	char	   *schema;

	if (strcmp(statement->extname, EXTENSION_NAME) == 0)
	{
		if (guards(FOBS_DOOR_KEEP))
			refuse_change(statement->extname);
		return;
	}
	switch (statement->objtype)
	{
		case OBJECT_TABLE:
		case OBJECT_SEQUENCE:
			name = castNode(List, statement->object);
			refuse_change_of(makeRangeVarFromNameList(name));
			break;
		case OBJECT_SCHEMA:
			schema = strVal(statement->object);
			if (guards(FOBS_DOOR_KEEP) &&
				get_namespace_oid(schema, true) == log_namespace)
				refuse_change(schema);
			break;
		default:
			break;
	}
}

/*
 * Does a statement drop or update the extension itself?  What is dropped with
 * it would pass by our door as well, so nothing else may be.
 */
static bool
is_about_extension(Node *statement)
{
	DropStmt   *drop;
	ListCell   *cell;

	if (IsA(statement, AlterExtensionStmt))
		return strcmp(((AlterExtensionStmt *) statement)->extname,
					  EXTENSION_NAME) == 0;
	drop = castNode(DropStmt, statement);
	if (drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, drop->objects)
	{
		if (strcmp(strVal(lfirst(cell)), EXTENSION_NAME) != 0)
			continue;
		if (list_length(drop->objects) > 1 && guards(FOBS_DOOR_KEEP) &&
			!passes(EXTENSION_NAME))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("cannot drop extension \"%s\" together with others",
							EXTENSION_NAME),
					 errhint("Drop it alone.")));
		return true;
	}
	return false;
}

/*
 * That the extension is dropped or updated is itself an entry of the log, if
 * nobody has dropped that while the guard was off.
 */
static void
record_switch(Node *statement)
{
	Operation	operation;

	if (!guards(0) || !OidIsValid(get_relname_relid(LOG_NAME, log_namespace)))
		return;
	memset(operation.nulls, true, sizeof(operation.nulls));
	fobs_set_value(&operation, ARG_OPERATION,
				   CStringGetTextDatum(IsA(statement, DropStmt) ?
									   "audit.extension_dropped" :
									   "audit.extension_updated"));
	fobs_set_value(&operation, ARG_RESULT, CStringGetTextDatum("success"));
	fobs_audit_append(&operation);
}

/*
 * Refuses a utility statement that changes what only we may change.  Returns
 * the doors to be open while it is executed.
 */
int
fobs_audit_guard_utility(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CopyStmt:
			check_copy((CopyStmt *) statement);
			break;
		case T_AlterTableStmt:
			if (!is_about_storage((AlterTableStmt *) statement))
				refuse_change_of(((AlterTableStmt *) statement)->relation);
			break;
		case T_AlterSeqStmt:
			refuse_change_of(((AlterSeqStmt *) statement)->sequence);
			break;
		case T_RenameStmt:
			check_renaming((RenameStmt *) statement);
			break;
		case T_AlterObjectSchemaStmt:
			refuse_change_of(((AlterObjectSchemaStmt *) statement)->relation);
			break;
		case T_CreateStmt:
			check_parents((CreateStmt *) statement);
			break;
		case T_IndexStmt:
			check_index((IndexStmt *) statement);
			break;
		case T_CreateTrigStmt:
			refuse_change_of(((CreateTrigStmt *) statement)->relation);
			break;
		case T_RuleStmt:
			refuse_change_of(((RuleStmt *) statement)->relation);
			break;
		case T_CreatePolicyStmt:
			refuse_change_of(((CreatePolicyStmt *) statement)->table);
			break;
		case T_AlterPolicyStmt:
			refuse_change_of(((AlterPolicyStmt *) statement)->table);
			break;
		case T_AlterExtensionContentsStmt:
			check_membership((AlterExtensionContentsStmt *) statement);
			break;
		case T_DropStmt:
		case T_AlterExtensionStmt:
			if (!is_about_extension(statement))
				break;
			record_switch(statement);
			return fobs_audit_doors | FOBS_DOOR_KEEP;
		default:
			break;
	}
	return fobs_audit_doors;
}

/* What stands in a catalog for an object, also if it has just come */
static HeapTuple
catalog_tuple(Oid catalog, AttrNumber oid_column, Oid index, Oid object)
{
	Relation	relation = table_open(catalog, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, oid_column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object));
	scan = systable_beginscan(relation, index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return tuple;
}

/* The relation that a trigger, a policy or a rule belongs to, or none */
static Oid
owning_relation(Oid catalog, Oid object)
{
	HeapTuple	tuple;

	switch (catalog)
	{
		case TriggerRelationId:
			tuple = catalog_tuple(catalog, Anum_pg_trigger_oid,
								  TriggerOidIndexId, object);
			return HeapTupleIsValid(tuple) ?
				((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid : InvalidOid;
		case PolicyRelationId:
			tuple = catalog_tuple(catalog, Anum_pg_policy_oid,
								  PolicyOidIndexId, object);
			return HeapTupleIsValid(tuple) ?
				((Form_pg_policy) GETSTRUCT(tuple))->polrelid : InvalidOid;
		case RewriteRelationId:
			tuple = catalog_tuple(catalog, Anum_pg_rewrite_oid,
								  RewriteOidIndexId, object);
			return HeapTupleIsValid(tuple) ?
				((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class : InvalidOid;
		default:
			return InvalidOid;
	}
}

static void
refuse_change_of_relation(Oid relid)
{
	char	   *name = OidIsValid(relid) ? guarded_name(relid) : NULL;

	if (name != NULL)
		refuse_change(name);
}

/* Is it not yet known by its name, or by another one? */
static bool
has_new_name(Oid relid, Form_pg_class class)
{
	char	   *known = get_rel_name(relid);

	return known == NULL || strcmp(known, NameStr(class->relname)) != 0 ||
		get_rel_namespace(relid) != class->relnamespace;
}

/* A relation that has got a name that only ours have, or another schema */
static void
check_new_name(Oid relid)
{
	HeapTuple	tuple = catalog_tuple(RelationRelationId, Anum_pg_class_oid,
									  ClassOidIndexId, relid);
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		return;
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (class->relnamespace == log_namespace &&
		class->relkind != RELKIND_INDEX &&
		class->relkind != RELKIND_PARTITIONED_INDEX &&
		has_prefix(NameStr(class->relname), TABLE_PREFIX) &&
		has_new_name(relid, class) && guarded_name(relid) == NULL &&
		!passes(NameStr(class->relname)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot make \"%s\"", NameStr(class->relname)),
				 errdetail("Names in this schema that begin with \"%s\" are those of the audit log.",
						   TABLE_PREFIX)));
}

static void
check_relation(ObjectAccessType access, Oid relid, int column)
{
	char	   *name;

	switch (access)
	{
		case OAT_DROP:
			refuse_change_of_relation(relid);
			break;
		case OAT_TRUNCATE:
			name = guarded_name(relid);
			if (name != NULL)
				refuse_rows(name);
			break;
		case OAT_POST_CREATE:
			if (column == 0)
				check_new_name(relid);
			break;
		case OAT_POST_ALTER:
			check_new_name(relid);
			/* its storage is nothing that could be altered */
			if (get_rel_relkind(relid) == RELKIND_COMPOSITE_TYPE)
				refuse_change_of_relation(relid);
			break;
		default:
			break;
	}
}

/* CREATE EXTENSION finds a log that stands before it has made everything. */
static bool
is_creating_extension(void)
{
	char	   *name;

	if (!creating_extension)
		return false;
	name = get_extension_name(CurrentExtensionObject);
	return name != NULL && strcmp(name, EXTENSION_NAME) == 0;
}

/*
 * One of our functions is changed or dropped, or one comes beside them, which
 * might be called instead.
 */
static void
check_function(Oid function)
{
	Oid			namespace = extension_namespace();
	HeapTuple	tuple;
	Form_pg_proc proc;

	if (get_func_namespace(function) == namespace)
		refuse_change(get_func_name(function));
	tuple = catalog_tuple(ProcedureRelationId, Anum_pg_proc_oid,
						  ProcedureOidIndexId, function);
	if (!HeapTupleIsValid(tuple))
		return;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->pronamespace == namespace && !is_creating_extension() &&
		!passes(NameStr(proc->proname)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot make function \"%s\" in schema \"%s\"",
						NameStr(proc->proname), EXTENSION_SCHEMA),
				 errdetail("It might be called instead of one that keeps the audit log."),
				 errhint("Make it in another schema.")));
}

/*
 * Rows that a subscription receives are written without any hook.  Which
 * tables it has is known when it has been made or altered.
 */
static void
check_subscription(Oid subscription)
{
	Relation	relation = table_open(SubscriptionRelRelationId,
									  AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srsubid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(subscription));
	scan = systable_beginscan(relation, InvalidOid, false, SnapshotSelf, 1,
							  &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_subscription_rel row;
		char	   *name;

		row = (Form_pg_subscription_rel) GETSTRUCT(tuple);
		name = guarded_name(row->srrelid);
		if (name != NULL)
			refuse_rows(name);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/* The log's schema may be given to another role, and keeps its name. */
static void
check_namespace(Oid namespace)
{
	HeapTuple	tuple = catalog_tuple(NamespaceRelationId,
									  Anum_pg_namespace_oid,
									  NamespaceOidIndexId, namespace);
	char	   *name = get_namespace_name(namespace);
	Form_pg_namespace row;

	if (!HeapTupleIsValid(tuple))
		return;
	row = (Form_pg_namespace) GETSTRUCT(tuple);
	if (strcmp(NameStr(row->nspname), name) != 0)
		refuse_change(name);
}

/* Refuses what drops, truncates, moves away or adds to what is guarded. */
static void
check_object(ObjectAccessType access, Oid class, Oid object, int column,
			 void *arg)
{
	Oid			parent;

	switch (class)
	{
		case NamespaceRelationId:
			if (access == OAT_POST_ALTER && object == log_namespace)
				check_namespace(object);
			break;
		case RelationRelationId:
			check_relation(access, object, column);
			break;
		case InheritsRelationId:
			/* of a child, with its parent */
			refuse_change_of_relation(object);
			if (access == OAT_POST_ALTER)
			{
				parent = ((ObjectAccessPostAlter *) arg)->auxiliary_id;
				refuse_change_of_relation(parent);
			}
			break;
		case TriggerRelationId:
		case PolicyRelationId:
		case RewriteRelationId:
			refuse_change_of_relation(owning_relation(class, object));
			break;
		case ProcedureRelationId:
			check_function(object);
			break;
		case SubscriptionRelationId:
			if (access != OAT_DROP)
				check_subscription(object);
			break;
		default:
			break;
	}
}

static void
fobs_object_access(ObjectAccessType access, Oid class, Oid object, int part,
				   void *arg)
{
	if (access != OAT_FUNCTION_EXECUTE && access != OAT_NAMESPACE_SEARCH &&
		guards(FOBS_DOOR_KEEP))
		check_object(access, class, object, part, arg);
	if (prev_object_access)
		prev_object_access(access, class, object, part, arg);
}

/*
 * Is a function neither the server's nor ours?  It may be called while a door
 * is open: by an event trigger, a cast, an operator.
 */
static bool
is_foreign_function(Oid function)
{
	return function >= FirstNormalObjectId &&
		get_func_namespace(function) != get_namespace_oid(EXTENSION_SCHEMA,
														  true);
}

static bool
fobs_needs_fmgr_hook(Oid function)
{
	return (fobs_audit_doors != 0 && is_foreign_function(function)) ||
		(prev_needs_fmgr_hook && prev_needs_fmgr_hook(function));
}

/* Closes the doors while a function of others runs. */
static void
fobs_fmgr_hook(FmgrHookEventType event, FmgrInfo *function, Datum *private)
{
	DoorsBefore *before = (DoorsBefore *) DatumGetPointer(*private);

	if (before == NULL)
	{
		/* it is called for all functions that have settings or an owner */
		if (fobs_audit_doors == 0 && prev_fmgr_hook == NULL)
			return;
		before = MemoryContextAllocZero(function->fn_mcxt, sizeof(*before));
		*private = PointerGetDatum(before);
	}
	if (event != FHET_START)
		fobs_audit_doors |= before->doors;
	before->doors = 0;
	if (event == FHET_START && fobs_audit_doors != 0 &&
		is_foreign_function(function->fn_oid))
	{
		before->doors = fobs_audit_doors;
		fobs_audit_doors = 0;
	}
	if (prev_fmgr_hook)
		prev_fmgr_hook(event, function, &before->private);
}

/* Is there an active log in this database?  Inside of a transaction. */
bool
fobs_audit_guard_log_is_active(void)
{
	return guard_is_active();
}

/* Is a relation the active log of this database? */
bool
fobs_audit_guard_is_log(Oid relid)
{
	return guard_is_active() &&
		get_relname_relid(LOG_NAME, log_namespace) == relid;
}

/*
 * Has object access looked at while a utility statement is executed, which all
 * that changes objects is.  At other times the hook would only be told which
 * functions are called, by each statement.  Returns whether it is the caller
 * who has to end that; after an error it ends with the transaction.
 */
bool
fobs_audit_guard_watch(void)
{
	if (watching)
		return false;
	prev_object_access = object_access_hook;
	object_access_hook = fobs_object_access;
	watching = true;
	return true;
}

/* Ends it, unless somebody has put another hook in front of ours. */
void
fobs_audit_guard_unwatch(void)
{
	if (!watching || object_access_hook != fobs_object_access)
		return;
	object_access_hook = prev_object_access;
	watching = false;
}

/* Puts the guard's hooks in front of those that are there. */
void
fobs_audit_guard_install(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
	prev_needs_fmgr_hook = needs_fmgr_hook;
	needs_fmgr_hook = fobs_needs_fmgr_hook;
	prev_fmgr_hook = fmgr_hook;
	fmgr_hook = fobs_fmgr_hook;
}
