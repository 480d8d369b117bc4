/*-------------------------------------------------------------------------
 *
 * audit_process.h
 *	  What the background workers in a database with an audit log share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_PROCESS_H
#define FRAISEQL_OBS_AUDIT_PROCESS_H

#include "postmaster/bgworker.h"

#define FOBS_LIBRARY_NAME	"fraiseql_obs"

/* What is done in a transaction, with a snapshot */
typedef void (*FobsWork) (void *arg);

extern BackgroundWorkerHandle *fobs_audit_process_launch(const char *type,
														 const char *function,
														 Oid database,
														 const char *name);
extern void fobs_audit_process_start(Oid database);
extern bool fobs_audit_process_has_log(void);
extern bool fobs_audit_transaction(const char *activity,
								   FobsWork work, void *arg);
extern void fobs_audit_process_leave(void);
extern int64 fobs_audit_execute(const char *query);

#endif							/* FRAISEQL_OBS_AUDIT_PROCESS_H */
