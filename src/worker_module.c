/*-------------------------------------------------------------------------
 *
 * worker_module.c
 *	  Background workers whose code is in a module of its own.
 *
 * A module that brings a library along is loaded by the process of its worker
 * alone, so that the library's code is never in the postmaster or in a user's
 * backend.  Such a worker has shared memory and no database.  It runs from the
 * moment that the postmaster does, through recovery, and on any standby.
 *
 * Only where the module's file is do we know: beside our own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"

#include "compat.h"
#include "worker_module.h"

#define RESTART_S		1

/* Sets the path of a module, without suffix; false: it is not installed */
static bool
find_module(const char *module, char *path)
{
	Dl_info		self;
	struct stat status;
	char		file[MAXPGPATH];

	/* anything of ours does */
	if (dladdr(fobs_worker_module_register, &self) == 0 ||
		self.dli_fname == NULL)
		return false;
	strlcpy(path, self.dli_fname, MAXPGPATH);
	get_parent_directory(path);
	join_path_components(path, path, module);
	snprintf(file, MAXPGPATH, "%s%s", path, DLSUFFIX);
	return stat(file, &status) == 0;
}

/* Fills in what is registered; false, with a warning, if there is no module */
static bool
describe(const FobsWorkerModule *what, BackgroundWorker *worker)
{
	char		path[MAXPGPATH];

	if (!find_module(what->module, path))
	{
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("there is no process \"%s\", because module \"%s\" is not installed",
						what->name, what->module),
				 errdetail("\"%s\" asks for it.", what->setting),
				 errhint("Install fraiseql_obs built where pkg-config finds %s.",
						 what->library)));
		return false;
	}
	memset(worker, 0, sizeof(BackgroundWorker));
	strlcpy(worker->bgw_name, what->name, BGW_MAXLEN);
	strlcpy(worker->bgw_type, what->name, BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker->bgw_start_time = BgWorkerStart_PostmasterStart;
	worker->bgw_restart_time = RESTART_S;
	strlcpy(worker->bgw_function_name, what->function, BGW_MAXLEN);

	/* a path that is too long may still be among dynamic_library_path */
	if (strlen(path) < sizeof(worker->bgw_library_name))
		strcpy(worker->bgw_library_name, path);
	else
		strlcpy(worker->bgw_library_name, what->module,
				sizeof(worker->bgw_library_name));
	return true;
}

/* Registers a worker with the postmaster, in which this must be called. */
void
fobs_worker_module_register(const FobsWorkerModule *what)
{
	BackgroundWorker worker;

	if (describe(what, &worker))
		RegisterBackgroundWorker(&worker);
}

/* Starts a worker from another process; false, with a warning, if not. */
bool
fobs_worker_module_start(const FobsWorkerModule *what)
{
	BackgroundWorker worker;

	if (!describe(what, &worker))
		return false;
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not start process \"%s\"", what->name),
			 errhint("Increase \"max_worker_processes\".")));
	return false;
}
