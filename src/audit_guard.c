/*-------------------------------------------------------------------------
 *
 * audit_guard.c
 *	  Keeps the audit log append-only, for everybody.
 *
 * Where we are preloaded, statements that change the tables of an active audit
 * log are refused whoever sends them, superusers included, unless they pass
 * by one of our doors (audit_door.c).  What is guarded: the relations called
 * fraiseql_audit_* in the log's schema, and the registry that names it.
 *
 * - Executor: INSERT, UPDATE, DELETE and MERGE on them, partitions included.
 * - Utility statements: COPY FROM, ALTER TABLE, renaming, triggers, rules and
 *	 policies.  What serves the storage of a table (autovacuum's settings,
 *	 statistics, tablespace, owner) may be altered; rows stay what they are.
 * - Object access: DROP and TRUNCATE however they come about (CASCADE, DROP
 *	 OWNED, DROP SCHEMA), renaming the schema, and changing our own functions,
 *	 which pass by the doors.  DROP EXTENSION of ourselves passes, and leaves
 *	 the tables.
 * - No index on an expression, and no trigger: their code would run while a
 *	 door is open.
 *
 * A log is active in the database and cluster that the registry names:
 * create_audit_log() sets that, so that a dump can be restored.  A table that
 * is not the extension's is no registry (audit_extension.c).  Each process
 * reads the registry when it first needs it, and again after an invalidation
 * of it, which audit_announce() sends.  Which relations are not guarded it
 * remembers, up to KNOWN of them, until they are changed.
 *
 * Caveats: a superuser who can write files, load C code, change catalogs by
 * hand (allow_system_table_mods) or restart the server with another
 * configuration is not stopped.  That is what the seals are for: what cannot
 * be prevented can be told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
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
#include "utils/syscache.h"

#include "audit_door.h"
#include "audit_extension.h"
#include "audit_guard.h"
#include "audit_log.h"
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

static object_access_hook_type prev_object_access = NULL;

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
 * The schema of the log that the registry says is active here, or none.  What
 * is not ours is not even opened: its owner could have us wait for a lock.
 */
static Oid
read_registry(void)
{
	Relation	registry;
	Oid			result = InvalidOid;

	if (get_rel_relkind(registry_oid) != RELKIND_RELATION ||
		!fobs_extension_has(RelationRelationId, registry_oid))
		return InvalidOid;
	registry = table_open(registry_oid, AccessShareLock);
	if (has_registry_columns(RelationGetDescr(registry)))
	{
		SysScanDesc scan = systable_beginscan(registry, InvalidOid, false,
											  NULL, 0, NULL);
		HeapTuple	row = systable_getnext(scan);

		if (HeapTupleIsValid(row))
			result = registered_schema(row, RelationGetDescr(registry));
		systable_endscan(scan);
	}
	table_close(registry, AccessShareLock);
	return result;
}

/* Is there an active log in this database?  Finds out if that is unknown. */
static bool
guard_is_active(void)
{
	Oid			schema;

	if (likely(guard_state != GUARD_UNKNOWN))
		return guard_state == GUARD_ACTIVE;

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
	log_namespace = read_registry();
	guard_state = OidIsValid(log_namespace) ? GUARD_ACTIVE : GUARD_INACTIVE;
	return guard_state == GUARD_ACTIVE;
}

static bool
has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
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
	if (relid == registry_oid ||
		(class->relnamespace == log_namespace &&
		 (class->relkind == RELKIND_RELATION ||
		  class->relkind == RELKIND_PARTITIONED_TABLE) &&
		 has_prefix(NameStr(class->relname), TABLE_PREFIX)))
		name = pstrdup(NameStr(class->relname));
	else
		not_guarded[relid % KNOWN] = relid;
	ReleaseSysCache(tuple);
	return name;
}

/* Whether there is anything to refuse, and to whom */
static inline bool
guards(int door)
{
	return fobs_audit_guard && (fobs_audit_doors & door) == 0 &&
		!IsBinaryUpgrade && OidIsValid(MyDatabaseId) &&
		IsTransactionState() && guard_is_active();
}

static pg_noinline void
refuse_rows(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("audit log is append-only"),
			 errdetail("Rows of its tables cannot be changed, removed or added by hand."),
			 errhint("Append to it with fraiseql_obs.log_operation().")));
}

static pg_noinline void
refuse_change(const char *name)
{
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
			refuse_rows();
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
			case AT_ReplicaIdentity:
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
		refuse_rows();
}

/*
 * CREATE INDEX, of columns alone: an expression is code of the owner, which
 * would run while our own functions write.
 */
static void
check_index(const IndexStmt *statement)
{
	ListCell   *cell;
	bool		has_code = statement->whereClause != NULL;

	foreach(cell, statement->indexParams)
		has_code |= lfirst_node(IndexElem, cell)->expr != NULL;
	if (has_code)
		refuse_change_of(statement->relation);
}

/* ALTER EXTENSION ... ADD TABLE: it would be dropped with the extension */
static void
check_membership(const AlterExtensionContentsStmt *statement)
{
	List	   *name;

	if (statement->objtype != OBJECT_TABLE)
		return;
	name = castNode(List, statement->object);
	refuse_change_of(makeRangeVarFromNameList(name));
}

/* Does a statement drop or update the extension itself? */
static bool
is_about_extension(Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, AlterExtensionStmt))
		return strcmp(((AlterExtensionStmt *) statement)->extname,
					  EXTENSION_NAME) == 0;
	if (!IsA(statement, DropStmt) ||
		((DropStmt *) statement)->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, ((DropStmt *) statement)->objects)
	{
		if (strcmp(strVal(lfirst(cell)), EXTENSION_NAME) == 0)
			return true;
	}
	return false;
}

/* That the extension is dropped or updated is itself an entry of the log. */
static void
record_switch(Node *statement)
{
	Operation	operation;

	if (!guards(0))
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
		case T_RenameStmt:
			refuse_change_of(((RenameStmt *) statement)->relation);
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

/* The relation that a trigger or a policy belongs to */
static Oid
owning_relation(Oid catalog, Oid object)
{
	bool		trigger = catalog == TriggerRelationId;
	Relation	relation = table_open(catalog, AccessShareLock);
	Oid			result = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, trigger ? Anum_pg_trigger_oid : Anum_pg_policy_oid,
				BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(relation,
							  trigger ? TriggerOidIndexId : PolicyOidIndexId,
							  true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = trigger ?
			((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid :
			((Form_pg_policy) GETSTRUCT(tuple))->polrelid;
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return result;
}

/* Refuses to drop, truncate or move away what is guarded. */
static void
check_object(ObjectAccessType access, Oid class, Oid object)
{
	Oid			relid = object;
	char	   *name;

	if (class == NamespaceRelationId)
	{
		if (access == OAT_POST_ALTER && object == log_namespace)
			refuse_change(get_namespace_name(object));
		return;
	}
	if (class == ProcedureRelationId)
	{
		/* one that is new is not to be seen yet */
		if (get_func_namespace(object) == get_rel_namespace(registry_oid))
			refuse_change(get_func_name(object));
		return;
	}
	if (access != OAT_DROP && access != OAT_TRUNCATE)
		return;
	if (class == TriggerRelationId || class == PolicyRelationId)
		relid = owning_relation(class, object);
	else if (class != RelationRelationId)
		return;
	name = guarded_name(relid);
	if (name == NULL)
		return;
	if (access == OAT_TRUNCATE)
		refuse_rows();
	refuse_change(name);
}

static void
fobs_object_access(ObjectAccessType access, Oid class, Oid object, int part,
				   void *arg)
{
	if (access != OAT_FUNCTION_EXECUTE && access != OAT_NAMESPACE_SEARCH &&
		(access != OAT_POST_CREATE || class == ProcedureRelationId) &&
		guards(FOBS_DOOR_KEEP))
		check_object(access, class, object);
	if (prev_object_access)
		prev_object_access(access, class, object, part, arg);
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

/* Puts the guard's hook in front of those that are there. */
void
fobs_audit_guard_install(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
	prev_object_access = object_access_hook;
	object_access_hook = fobs_object_access;
}
