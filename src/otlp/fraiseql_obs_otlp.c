/*-------------------------------------------------------------------------
 *
 * fraiseql_obs_otlp.c
 *	  The sender of spans, in a module of its own.
 *
 * The process of a background worker that has shared memory and nothing else:
 * no database, no transaction, no lock that anybody waits for.  It sends what
 * backends have written into the ring of spans to an endpoint of the
 * OpenTelemetry protocol, by HTTP and in JSON.  See sending.c for what is sent
 * when, answer.c for what answers mean, transport.c for HTTP.
 *
 * When it is told to end it does so with exit code 1, upon which the
 * postmaster starts it again unless the server is being shut down: with 0 it
 * would be forgotten for good.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/procsignal.h"
#include "utils/guc.h"

#include "compat.h"
#include "otlp_sender.h"
#include "sending.h"

PG_MODULE_MAGIC_EXT(.name = "fraiseql_obs_otlp",.version = FRAISEQL_OBS_VERSION);

PGDLLEXPORT void fraiseql_obs_otlp_main(Datum arg);

static FobsOtlpSender *sender;

/*
 * Finds the extension that this worker belongs to.  If that is of another
 * release, it was replaced while the server ran, and no attempt will help.
 */
static void
find_sender(void)
{
	sender = *find_rendezvous_variable(FOBS_OTLP_RENDEZVOUS);
	if (sender == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("fraiseql_obs must be loaded via \"shared_preload_libraries\"")));
	if (strcmp(sender->version, FRAISEQL_OBS_VERSION) != 0)
	{
		ereport(LOG,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" is of version %s, but fraiseql_obs that is loaded of version %s",
						FOBS_OTLP_MODULE, FRAISEQL_OBS_VERSION,
						sender->version),
				 errhint("Restart the server.")));
		proc_exit(0);
	}
}

static void
leave(int code, Datum arg)
{
	uint32		pid = MyProcPid;

	(void) pg_atomic_compare_exchange_u32(&sender->shared->pid, &pid, 0);
}

/* Becomes the worker; of two, the one that comes second leaves for good. */
static void
enter(void)
{
	uint32		nobody = 0;

	if (!pg_atomic_compare_exchange_u32(&sender->shared->pid, &nobody,
										MyProcPid))
		proc_exit(0);
	before_shmem_exit(leave, (Datum) 0);
}

/* The worker's process */
void
fraiseql_obs_otlp_main(Datum arg)
{
	find_sender();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();

	/* what is sent and what is answered is UTF-8 */
	SetDatabaseEncoding(PG_UTF8);
	enter();
	fobs_sending_init(sender);
	fobs_sending_configure();
	while (!ShutdownRequestPending)
	{
		fobs_sending_go_on();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			fobs_sending_configure();
		}
	}
	proc_exit(1);
}
