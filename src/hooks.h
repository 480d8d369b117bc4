/*-------------------------------------------------------------------------
 *
 * hooks.h
 *	  Planner, executor and utility hooks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HOOKS_H
#define FRAISEQL_OBS_HOOKS_H

extern void fobs_hooks_install(void);

#endif							/* FRAISEQL_OBS_HOOKS_H */
