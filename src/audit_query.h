/*-------------------------------------------------------------------------
 *
 * audit_query.h
 *	  A query whose rows are looked at one by one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_QUERY_H
#define FOBS_AUDIT_QUERY_H

#include "executor/tuptable.h"

#define AUDIT_QUERY_MAX_ARGS	6

/* What a query asks, and who looks at its rows */
typedef struct AuditQuery
{
	const char *text;
	int			n_args;
	Oid			types[AUDIT_QUERY_MAX_ARGS];
	Datum		args[AUDIT_QUERY_MAX_ARGS];
	bool		new_snapshot;	/* else the caller's */
	uint32		required;		/* columns that must not be null, as bits */
	int64	   *incomplete;		/* counts rows without; NULL: an error */
	void		(*row) (TupleTableSlot *slot, void *arg);
	void	   *arg;
} AuditQuery;

extern void fobs_audit_add_arg(AuditQuery *query, Oid type, Datum value);
extern void fobs_audit_run_query(const AuditQuery *query);

#endif							/* FOBS_AUDIT_QUERY_H */
