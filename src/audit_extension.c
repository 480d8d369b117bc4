/*-------------------------------------------------------------------------
 *
 * audit_extension.c
 *	  What belongs to the extension, and what only has its name.
 *
 * Whoever owns a database can make a schema "fraiseql_obs" in it, with a table
 * or a view "audit_registry" and functions that are called as ours are.  The
 * audit worker, a superuser, looks into every database, and so does the guard
 * in every process.  What they find by name they believe only if it is a
 * member of the extension, which only superusers can create, or make something
 * a member of.
 *
 * The registry (audit_guard.c) is a table, read as the heap that it is: no
 * rule, policy or index of it has a part in that.  Functions are found by
 * their exact signature, so that none that somebody else has put beside ours
 * is taken because it suits the call better.
 *
 * That alone is not enough where SQL calls SQL: so the extension is not
 * installed into a schema in which somebody else could make functions
 * (header.sql), and the workers do all that they do in a database with the
 * rights of the log's owner (audit_process.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "audit_extension.h"
#include "compat.h"

/* Is an object a member of the extension? */
bool
fobs_extension_has(Oid catalog, Oid object)
{
	Oid			extension = getExtensionOfObject(catalog, object);

	return OidIsValid(extension) &&
		extension == get_extension_oid(EXTENSION_NAME, true);
}

/*
 * A function of the extension; an error if there is none.  It is looked up for
 * us and not for the user, who writes a captured table and needs no right on
 * our schema for that.
 */
Oid
fobs_extension_function(const char *name, int nargs, const Oid *types)
{
	Oid			schema = get_namespace_oid(EXTENSION_SCHEMA, true);
	oidvector  *signature = buildoidvector(types, nargs);
	Oid			function;

	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							   CStringGetDatum(name),
							   PointerGetDatum(signature),
							   ObjectIdGetDatum(schema));
	if (!OidIsValid(function))
	{
		List	   *full_name = list_make2(makeString(EXTENSION_SCHEMA),
										   makeString(pstrdup(name)));

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s does not exist",
						func_signature_string(full_name, nargs, NIL, types))));
	}
	if (!fobs_extension_has(ProcedureRelationId, function))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s is not one of extension \"%s\"",
						format_procedure(function), EXTENSION_NAME)));
	return function;
}
