/*-------------------------------------------------------------------------
 *
 * audit_door.c
 *	  The doors through which the audit log's tables are written.
 *
 * The guard (the triggers of audit_log.c, and audit_guard.c where we are
 * preloaded) refuses whoever writes to the audit log's tables or changes them.
 * What we do to them ourselves passes by a door: a variable of this process
 * that says what is being done, which only C sets.  So nobody can open one
 * from SQL but by calling a function that needs it, and that function decides
 * what is done.
 *
 * A function that does its work in SQL and needs a door is declared in C as
 * audit_keep, audit_erase or audit_set_up, and its work, with the same
 * arguments, is the function of its name after "audit_do_", for which the door
 * is opened.  Called by itself the latter finds the door closed.
 *
 * Tables can have code of their owner attached (triggers, expressions of
 * indexes), which runs when they are written.  So whatever writes the log's
 * tables does so with the rights of their owner and as a security-restricted
 * operation, as maintenance commands do, in a level of settings of its own:
 * that code can do nothing that its owner could not do.  Who sets up a log has
 * his own rights for what is new; the tables of one that stands are completed
 * as their owner (audit_furnish()).
 *
 * Reading them can run code of their owner, too: of what he has put into their
 * place or attached to them (views, expressions of indexes, casts).  So a
 * function that reads them for who may see all of the log is declared in C as
 * audit_read, and its work, the function after "audit_do_", is done in the same
 * way, without a door.  Whom row security hides rows from reads with his own
 * rights, as his policies are to hold.
 *
 * Whatever opens a door puts it back as it was, also after an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "audit_door.h"
#include "audit_extension.h"
#include "audit_log.h"
#include "compat.h"

int			fobs_audit_doors = 0;

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_keep);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_erase);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_set_up);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_read);

/*
 * Takes the rights of the log's owner, until fobs_audit_become_self() or the
 * end of the (sub)transaction.
 */
void
fobs_audit_become_owner(Oid owner, FobsSavedUser *saved)
{
	saved->guc_nest_level = NewGUCNestLevel();
	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	SetUserIdAndSecContext(owner, saved->security_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
}

/* Gives them back, and undoes what was set meanwhile. */
void
fobs_audit_become_self(const FobsSavedUser *saved)
{
	AtEOXact_GUC(false, saved->guc_nest_level);
	SetUserIdAndSecContext(saved->user, saved->security_context);
}

/* The function that does the work of another one. */
static Oid
worker_function(Oid function)
{
	char	   *name = psprintf("audit_do_%s", get_func_name(function));
	Oid		   *types;
	int			nargs;

	get_func_signature(function, &types, &nargs);
	return fobs_extension_function(name, nargs, types);
}

/* Has a function's work done with doors open, besides those that are. */
static Datum
work_with_doors(FunctionCallInfo fcinfo, int doors)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	int			doors_before = fobs_audit_doors;
	FmgrInfo	function;
	Datum		result;

	fmgr_info(worker_function(fcinfo->flinfo->fn_oid), &function);
	InitFunctionCallInfoData(*call, &function, fcinfo->nargs,
							 fcinfo->fncollation, NULL, fcinfo->resultinfo);
	memcpy(call->args, fcinfo->args, fcinfo->nargs * sizeof(NullableDatum));

	fobs_audit_doors |= doors;
	PG_TRY();
	{
		result = FunctionCallInvoke(call);
	}
	PG_FINALLY();
	{
		fobs_audit_doors = doors_before;
	}
	PG_END_TRY();
	fcinfo->isnull = call->isnull;
	return result;
}

static Datum
work_as_owner(FunctionCallInfo fcinfo, int doors)
{
	FobsSavedUser saved;
	Datum		result;

	fobs_audit_become_owner(fobs_audit_log_owner(), &saved);
	result = work_with_doors(fcinfo, doors);
	fobs_audit_become_self(&saved);
	return result;
}

/*
 * Is the log to be read as its owner?  Not if he is a superuser, whose code
 * needs no precaution, and whose rights adopted tables should not get.
 */
static bool
reads_as_owner(Oid log, Oid owner)
{
	static const Oid types[] = {REGCLASSOID};

	if (superuser_arg(owner))
		return false;
	return superuser() ||
		DatumGetBool(OidFunctionCall1(fobs_extension_function("audit_sees_all",
															  1, types),
									  ObjectIdGetDatum(log)));
}

/*
 * name(...)
 *
 * Does what audit_do_name(...) does, which may write the tables beside the
 * audit log, and make and remove partitions.
 */
Datum
fraiseql_obs_audit_keep(PG_FUNCTION_ARGS)
{
	return work_as_owner(fcinfo, FOBS_DOOR_KEEP);
}

/*
 * name(...)
 *
 * Does what audit_do_name(...) does, which may erase personal columns as well.
 */
Datum
fraiseql_obs_audit_erase(PG_FUNCTION_ARGS)
{
	return work_as_owner(fcinfo, FOBS_DOOR_KEEP | FOBS_DOOR_ERASE);
}

/*
 * name(...)
 *
 * Does what audit_do_name(...) does with the caller's rights: makes a log.
 */
Datum
fraiseql_obs_audit_set_up(PG_FUNCTION_ARGS)
{
	return work_with_doors(fcinfo, FOBS_DOOR_KEEP);
}

/*
 * name(...)
 *
 * Does what audit_do_name(...) does, which only reads.
 */
Datum
fraiseql_obs_audit_read(PG_FUNCTION_ARGS)
{
	Oid			log = fobs_audit_log_table();
	Oid			owner = fobs_audit_log_owner();

	if (!reads_as_owner(log, owner))
		return work_with_doors(fcinfo, 0);
	if (check_enable_rls(log, owner, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security hides rows of the audit log from its owner"),
				 errhint("ALTER TABLE ... NO FORCE ROW LEVEL SECURITY shows them.")));
	return work_as_owner(fcinfo, 0);
}
