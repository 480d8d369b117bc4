/*-------------------------------------------------------------------------
 *
 * worker_module.h
 *	  Background workers whose code is in a module of its own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_WORKER_MODULE_H
#define FRAISEQL_OBS_WORKER_MODULE_H

#include "postmaster/bgworker.h"

/* What such a worker is */
typedef struct FobsWorkerModule
{
	const char *name;			/* of the process */
	const char *module;
	const char *function;
	const char *setting;		/* that asks for it */
	const char *library;		/* that the module needs */
} FobsWorkerModule;

extern void fobs_worker_module_register(const FobsWorkerModule *what);
extern bool fobs_worker_module_start(const FobsWorkerModule *what);

#endif							/* FRAISEQL_OBS_WORKER_MODULE_H */
