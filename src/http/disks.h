/*-------------------------------------------------------------------------
 *
 * disks.h
 *	  Whether the server's file systems answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HTTP_DISKS_H
#define FRAISEQL_OBS_HTTP_DISKS_H

extern double fobs_disks_unanswered_s(int timeout_ms);

#endif							/* FRAISEQL_OBS_HTTP_DISKS_H */
