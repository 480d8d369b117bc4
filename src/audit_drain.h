/*-------------------------------------------------------------------------
 *
 * audit_drain.h
 *	  From the ring of operations that were rolled back to rows of the log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_DRAIN_H
#define FOBS_AUDIT_DRAIN_H

extern int	fobs_audit_forget_dropped_databases(void);

#endif							/* FOBS_AUDIT_DRAIN_H */
