/*-------------------------------------------------------------------------
 *
 * audit_guard.h
 *	  Keeps the audit log append-only, for everybody.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_GUARD_H
#define FRAISEQL_OBS_AUDIT_GUARD_H

#include "executor/execdesc.h"
#include "nodes/plannodes.h"

/* The setting "audit_guard" */
extern bool fobs_audit_guard;

extern void fobs_audit_guard_install(void);
extern void fobs_audit_guard_check_plan(const PlannedStmt *plan);
extern int	fobs_audit_guard_utility(Node *statement);
extern bool fobs_audit_guard_watch(void);
extern void fobs_audit_guard_unwatch(void);
extern bool fobs_audit_guard_log_is_active(void);
extern bool fobs_audit_guard_is_log(Oid relid);

/* Refuses a statement that writes what only we may write. */
static inline void
fobs_audit_guard_executor(const QueryDesc *queryDesc)
{
	if (unlikely(queryDesc->plannedstmt->resultRelations != NIL))
		fobs_audit_guard_check_plan(queryDesc->plannedstmt);
}

#endif							/* FRAISEQL_OBS_AUDIT_GUARD_H */
