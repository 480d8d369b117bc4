/*-------------------------------------------------------------------------
 *
 * conditions.h
 *	  Condition names of SQLSTATEs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_CONDITIONS_H
#define FRAISEQL_OBS_CONDITIONS_H

extern const char *fobs_condition_name(const char *sqlstate);

#endif							/* FRAISEQL_OBS_CONDITIONS_H */
