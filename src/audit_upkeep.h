/*-------------------------------------------------------------------------
 *
 * audit_upkeep.h
 *	  The process that makes and removes partitions of an audit log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_UPKEEP_H
#define FRAISEQL_OBS_AUDIT_UPKEEP_H

/* for the worker of a database, which starts it */
extern void fobs_audit_upkeep_start(Oid database, const char *name);
extern bool fobs_audit_upkeep_is_running(void);
extern void fobs_audit_upkeep_end(void);

extern PGDLLEXPORT void fraiseql_obs_audit_upkeep_main(Datum database);

#endif							/* FRAISEQL_OBS_AUDIT_UPKEEP_H */
