/*-------------------------------------------------------------------------
 *
 * audit_worker.h
 *	  The processes that keep audit logs: a launcher, and a worker each.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_WORKER_H
#define FRAISEQL_OBS_AUDIT_WORKER_H

/* The settings "audit_worker" and "audit_seal_interval", in seconds */
extern bool fobs_audit_worker;
extern int	fobs_audit_seal_interval_s;

/* The setting "audit_signing_key_file" */
extern char *fobs_audit_signing_key_file;

/* audit_launcher.c */
extern void fobs_audit_launcher_register(void);
extern PGDLLEXPORT void fraiseql_obs_audit_launcher_main(Datum arg);

/* audit_worker.c */
extern PGDLLEXPORT void fraiseql_obs_audit_worker_main(Datum database);

#endif							/* FRAISEQL_OBS_AUDIT_WORKER_H */
