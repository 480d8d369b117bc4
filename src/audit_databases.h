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

#include "counters.h"

/* Databases with an audit log that is kept, at most */
#define FOBS_MAX_AUDIT_DATABASES 64

/* What is known of the log of a database; -1 and 0 where it is not */
typedef struct FobsAuditStatus
{
	TimestampTz sealed_at;		/* when the worker last looked what to seal */
	int64		seals;			/* how many there were then */
	int64		root;			/* of their tree, the first 48 bits */
	int64		is_signed;		/* 1 or 0: its checkpoint, if it is to be */
	int64		partitions_ahead;	/* made for times to come */
	TimestampTz verified_at;	/* as a whole, and nothing was wrong */
	int64		violations;		/* that the last such verification found */
	int64		anchor_violations;	/* the same of the last with an anchor */
	bool		recalled;		/* from the log, what was found before */
} FobsAuditStatus;

/* One database, as copied out of shared memory */
typedef struct FobsAuditDatabase
{
	Oid			database;
	char		name[FOBS_DATNAME_SIZE];	/* UTF-8; empty: not known */
	int			worker_pid;		/* 0: none runs */
	FobsAuditStatus status;
} FobsAuditDatabase;

extern void fobs_audit_databases_shmem_request(void);
extern void fobs_audit_databases_shmem_startup(void);

/* for utility statements */
extern Oid	fobs_audit_databases_vacate(Node *statement);
extern void fobs_audit_databases_readmit(Oid database);

/* for the worker of a database */
extern bool fobs_audit_databases_enter(const char *name);
extern void fobs_audit_databases_leave(bool for_good);

/* for who keeps or verifies the log of his database */
extern void fobs_audit_databases_note_seals(int64 seals, int64 root,
											int64 is_signed);
extern void fobs_audit_databases_note_partitions(int64 ahead);
extern void fobs_audit_databases_enter_verified(void);
extern void fobs_audit_databases_note_verified(int64 violations,
											   bool anchored);
extern bool fobs_audit_databases_recalled(void);
extern void fobs_audit_databases_recall(int64 violations,
										int64 anchor_violations,
										TimestampTz verified_at);

/* for the launcher */
extern void fobs_audit_databases_set_launcher(Latch *latch);
extern int	fobs_audit_databases_vacant(Oid *databases);
extern void fobs_audit_databases_forget(Oid database);

/* for metrics and health */
extern int64 fobs_audit_violations(const FobsAuditStatus *status);
extern int	fobs_audit_databases_snapshot(FobsAuditDatabase *databases);

#endif							/* FRAISEQL_OBS_AUDIT_DATABASES_H */
