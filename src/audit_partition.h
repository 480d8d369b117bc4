/*-------------------------------------------------------------------------
 *
 * audit_partition.h
 *	  The partition of the audit log that rows are appended to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_AUDIT_PARTITION_H
#define FRAISEQL_OBS_AUDIT_PARTITION_H

#include "audit_log.h"

extern int64 fobs_audit_partition_append(Oid log, const Operation *operation);

#endif							/* FRAISEQL_OBS_AUDIT_PARTITION_H */
