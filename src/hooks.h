/*-------------------------------------------------------------------------
 *
 * hooks.h
 *	  Planner, executor and utility hooks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HOOKS_H
#define FRAISEQL_OBS_HOOKS_H

#include "context.h"

extern void fobs_hooks_install(void);
extern const FobsContext *fobs_hooks_context(void);

#endif							/* FRAISEQL_OBS_HOOKS_H */
