/*-------------------------------------------------------------------------
 *
 * audit_tables.c
 *	  Verifying that the tables beside the audit log are what they were made
 *	  as.
 *
 * Whoever verifies reads them in C, which believes the types of columns.  But
 * a superuser can have dropped a table, changed the type of a column, or put a
 * view in its place.  So this is looked at first, and nothing else if it is
 * not so.  The locks stay until the transaction ends: it remains so.
 *
 * Of what may not be null the queries themselves see to it, see audit_query.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit_tables.h"
#include "compat.h"

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

/* A table, and what of it is read to verify; the last one has no name */
typedef struct Table
{
	const char *name;
	Column		columns[24];
} Table;

static const Table tables[] = {
	{"fraiseql_audit_seals", {
			{"seal_no", INT8OID}, {"incarnation", UUIDOID}, {"kind", TEXTOID},
			{"sealed_at", TIMESTAMPTZOID}, {"since_at", TIMESTAMPTZOID},
			{"since", PG_SNAPSHOTOID}, {"snapshot", PG_SNAPSHOTOID},
			{"after_id", INT8OID}, {"until_id", INT8OID}, {"seen_id", INT8OID},
			{"range_from", TIMESTAMPTZOID}, {"range_to", TIMESTAMPTZOID},
			{"n", INT8OID}, {"results", JSONBOID}, {"min_id", INT8OID},
			{"max_id", INT8OID}, {"min_created_at", TIMESTAMPTZOID},
			{"max_created_at", TIMESTAMPTZOID}, {"root", BYTEAOID},
			{"rollup_root", BYTEAOID}, {"previous", BYTEAOID},
			{"hash", BYTEAOID}
	}},
	{"fraiseql_audit_checkpoints", {
			{"size", INT8OID}, {"root", BYTEAOID}
	}},
	{"fraiseql_audit_rollup_state", {
			{"seals", INT8OID}, {"last_hash", BYTEAOID}, {"origin", UUIDOID},
			{"system_identifier", INT8OID}, {"database_oid", OIDOID},
			{"tree", BYTEAARRAYOID}
	}},
	{"fraiseql_audit_collapsed", {
			{"seal_count", INT8OID}, {"nodes", BYTEAARRAYOID},
			{"last_hash", BYTEAOID}, {"last_snapshot", PG_SNAPSHOTOID}
	}},
	{"fraiseql_audit_partitions", {
			{"range_from", TIMESTAMPTZOID}, {"range_to", TIMESTAMPTZOID},
			{"name", NAMEOID}, {"n", INT8OID}, {"results", JSONBOID},
			{"root", BYTEAOID}, {"first_seal", INT8OID},
			{"last_seal", INT8OID}, {"removed_at", TIMESTAMPTZOID},
			{"reason", TEXTOID}, {"event_id", INT8OID},
			{"rollup_root", BYTEAOID}, {"rollup_event_id", INT8OID},
			{"rollup_event_at", TIMESTAMPTZOID}
	}},
	{"fraiseql_audit_erasures", {
			{"row_id", INT8OID}, {"event_id", INT8OID},
			{"erased_at", TIMESTAMPTZOID}
	}},
	{"fraiseql_audit_counts", {
			{"dimension", TEXTOID}, {"grain", TEXTOID},
			{"bucket", TIMESTAMPTZOID}, {"key", TEXTOID}, {"result", TEXTOID},
			{"n", INT8OID}
	}},
	{"fraiseql_audit_actor_days", {
			{"day", DATEOID}, {"user_id", TEXTOID}, {"n", INT8OID},
			{"failed", INT8OID}, {"denied", INT8OID}, {"ranked", INT8OID}
	}},
};

/* What is wrong with a column; NULL if nothing is */
static const char *
check_column(TupleDesc tupdesc, const Column *column)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (attribute->attisdropped ||
			strcmp(NameStr(attribute->attname), column->name) != 0)
			continue;
		return attribute->atttypid == column->type ? NULL :
			psprintf("column \"%s\" is of type %s", column->name,
					 format_type_be(attribute->atttypid));
	}
	return psprintf("column \"%s\" is missing", column->name);
}

static const char *
check_relation(Relation relation, const Column *columns)
{
	const char *wrong = NULL;

	if (relation->rd_rel->relkind != RELKIND_RELATION)
		return "it is not an ordinary table";
	if (relation->rd_rel->relforcerowsecurity)
		return "row security hides rows of it from its owner";
	for (int i = 0; columns[i].name != NULL && wrong == NULL; i++)
		wrong = check_column(RelationGetDescr(relation), &columns[i]);
	return wrong;
}

static const char *
check_table(Verifier *verifier, const Table *table)
{
	Oid			oid = get_relname_relid(table->name,
										get_rel_namespace(verifier->log));
	Relation	relation = OidIsValid(oid) ?
	try_relation_open(oid, AccessShareLock) : NULL;
	const char *wrong;

	if (relation == NULL)
		return "it is missing";
	wrong = check_relation(relation, table->columns);
	relation_close(relation, NoLock);
	return wrong;
}

/*
 * Are the tables beside the log what they were made as?  Reports those that
 * are not.
 */
bool
fobs_verify_tables(Verifier *verifier)
{
	Finding		finding = {VIOLATION, "table"};
	bool		result = true;

	for (int i = 0; i < lengthof(tables); i++)
	{
		const char *wrong = check_table(verifier, &tables[i]);

		if (wrong == NULL)
			continue;
		fobs_report(verifier, &finding,
					"table \"%s\" is not what it was made as, so nothing else was verified: %s",
					tables[i].name, wrong);
		result = false;
	}
	return result;
}

/*
 * Runs a query on a table beside the log, and reports that rows of it have
 * nulls where there must be none.  columns: those that must not be null, as
 * bits.
 */
void
fobs_verify_query(Verifier *verifier, AuditQuery *query, const char *table,
				  uint32 columns)
{
	int64		incomplete = 0;

	query->required = columns;
	query->incomplete = &incomplete;
	fobs_audit_run_query(query);
	fobs_report_incomplete(verifier, table, incomplete);
}

void
fobs_report_incomplete(Verifier *verifier, const char *table, int64 n)
{
	Finding		finding = {VIOLATION, "table"};

	if (n > 0)
		fobs_report(verifier, &finding,
					"table \"%s\" has rows with nulls where there must be none: " INT64_FORMAT,
					table, n);
}
