/*-------------------------------------------------------------------------
 *
 * audit_databases.h
 *	  The databases whose audit log is kept, in shared memory.
 *
 * See audit_databases.c for the design.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_DATABASES_H
#define FRAISEQL_OBS_AUDIT_DATABASES_H

#include "datatype/timestamp.h"
#include "nodes/nodes.h"
#include "storage/latch.h"

/* Databases with an audit log that is kept, at most */
#define FOBS_MAX_AUDIT_DATABASES 64

/* What the worker of a database says of its log; -1 and 0 where unknown */
typedef struct FobsAuditStatus
{
	TimestampTz sealed_at;		/* when it last looked for rows to seal */
	TimestampTz verified_at;
	int64		seals;
	int			partitions_ahead;	/* made for times to come */
} FobsAuditStatus;

/* One database, as copied out of shared memory */
typedef struct FobsAuditDatabase
{
	Oid			database;
	int			worker_pid;		/* 0: none runs */
	FobsAuditStatus status;
} FobsAuditDatabase;

extern void fobs_audit_databases_shmem_request(void);
extern void fobs_audit_databases_shmem_startup(void);

/* for who makes an audit log, and for utility statements */
extern void fobs_audit_databases_want(Oid database);
extern Oid	fobs_audit_databases_vacate(Node *statement);
extern void fobs_audit_databases_readmit(Oid database);

/* for the worker of a database */
extern bool fobs_audit_databases_enter(Oid database);
extern void fobs_audit_databases_leave(bool for_good);
extern void fobs_audit_databases_report(const FobsAuditStatus *status);

/* for the launcher */
extern void fobs_audit_databases_set_launcher(Latch *latch);
extern int	fobs_audit_databases_vacant(Oid *databases);
extern void fobs_audit_databases_forget(Oid database);

/* for metrics */
extern int	fobs_audit_databases_snapshot(FobsAuditDatabase *databases);

#endif							/* FRAISEQL_OBS_AUDIT_DATABASES_H */
