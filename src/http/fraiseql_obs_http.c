/*-------------------------------------------------------------------------
 *
 * fraiseql_obs_http.c
 *	  The HTTP endpoint, in a module of its own.
 *
 * The process of a background worker that has shared memory and nothing else:
 * no database, no transaction, no entry in pg_stat_activity.  What it answers
 * with is rendered from shared memory and from files, so no lock that a user
 * can hold is in its way.  It has one thread, which waits for everything at
 * once; see server.c for HTTP, connection.c for who may stay, listener.c for
 * where it listens.
 *
 * What cannot be done (a port is taken, a certificate cannot be read) is in
 * the server log once and is tried again, with pauses that grow to a minute.
 * Meanwhile what there was before is served on, but for tokens: see token.c.
 *
 * When it is told to end it does so with exit code 1, upon which the
 * postmaster starts it again unless the server is being shut down: with 0 it
 * would be forgotten for good.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "connection.h"
#include "endpoint.h"
#include "listener.h"
#include "names.h"
#include "request.h"
#include "server.h"
#include "token.h"

PG_MODULE_MAGIC_EXT(.name = "fraiseql_obs_http",.version = FRAISEQL_OBS_VERSION);

PGDLLEXPORT void fraiseql_obs_http_main(Datum arg);

/* libmicrohttpd has been seen to ask for no wake-up when it needed one. */
#define WAIT_MS			1000

/* Pauses before what failed is tried again */
#define RETRY_MIN_MS	1000
#define RETRY_MAX_MS	60000

/* How often to look whether a name server has answered */
#define NAMES_MS		50

/* The latch, the postmaster, libmicrohttpd, and the listeners */
#define MAX_EVENTS		(3 + FOBS_MAX_LISTENERS)

/* What of the settings has been done; once it has, it need not be again */
typedef enum Part
{
	PART_TOKENS,
	PART_SERVER,
	PART_LISTENERS,
	N_PARTS
} Part;

static FobsEndpoint *endpoint;
static bool done[N_PARTS];
static int	retry_ms;
static TimestampTz retry_at;

/* A name server was asked where to listen, and has not answered. */
static bool awaits_names = false;

/* The last error of a part, so that it is in the server log once */
static char *reported[N_PARTS];

static void
leave(int code, Datum arg)
{
	uint32		pid = MyProcPid;

	pg_atomic_write_u32(&endpoint->shared->listening, 0);
	pg_atomic_write_u32(&endpoint->shared->connections, 0);
	(void) pg_atomic_compare_exchange_u32(&endpoint->shared->pid, &pid, 0);
	fobs_listeners_close();
}

/*
 * Finds the extension that this worker belongs to.  If that is of another
 * release, it was replaced while the server ran, and no attempt will help.
 */
static void
find_endpoint(void)
{
	endpoint = *find_rendezvous_variable(FOBS_ENDPOINT_RENDEZVOUS);
	if (endpoint == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("fraiseql_obs must be loaded via \"shared_preload_libraries\"")));
	if (strcmp(endpoint->version, FRAISEQL_OBS_VERSION) != 0)
	{
		ereport(LOG,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" is of version %s, but fraiseql_obs that is loaded of version %s",
						FOBS_ENDPOINT_MODULE, FRAISEQL_OBS_VERSION,
						endpoint->version),
				 errhint("Restart the server.")));
		proc_exit(0);
	}
}

/* Becomes the worker; of two, the one that comes second leaves for good. */
static void
enter(void)
{
	uint32		nobody = 0;

	if (!pg_atomic_compare_exchange_u32(&endpoint->shared->pid, &nobody,
										MyProcPid))
		proc_exit(0);
	before_shmem_exit(leave, (Datum) 0);
	endpoint->shared->latch = MyLatch;
	pg_atomic_write_u32(&endpoint->shared->restart, 0);
}

static void
forget_failure(Part part)
{
	if (reported[part] != NULL)
		pfree(reported[part]);
	reported[part] = NULL;
}

/* An error has been raised by a part: writes it down, if it is another one. */
static void
report_failure(Part part)
{
	ErrorData  *error;

	MemoryContextSwitchTo(TopMemoryContext);
	error = CopyErrorData();
	FlushErrorState();
	AtEOXact_Files(false);
	if (reported[part] == NULL || strcmp(reported[part], error->message) != 0)
	{
		forget_failure(part);
		reported[part] = pstrdup(error->message);
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg_internal("%s", error->message),
				 part != PART_TOKENS ? 0 :
				 errdetail("Until that is mended, no token is valid."),
				 error->hint ? errhint("%s", error->hint) : 0,
				 errcontext("HTTP endpoint")));
	}
	FreeErrorData(error);
}

static bool
start_server(void)
{
	const FobsEndpointSettings *settings = endpoint->settings;

	if (!fobs_server_start(settings->tls_cert_file, settings->tls_key_file))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not start the HTTP server"),
				 settings->tls_cert_file[0] == '\0' ? 0 :
				 errhint("Are certificate file \"%s\" and private key file \"%s\" of PEM format, and do they belong together?",
						 settings->tls_cert_file, settings->tls_key_file)));
	return true;
}

/* What is open to others should ask for a token. */
static void
warn_if_public(void)
{
	if (!fobs_listeners_are_private() && !fobs_tokens_are_asked())
		ereport(LOG,
				(errmsg("HTTP endpoint tells everybody who can connect about this server"),
				 errhint("Set \"fraiseql_obs.http_token_file\".")));
}

/* No place is opened before what is served there is as it is to be. */
static bool
open_listeners(void)
{
	const FobsEndpointSettings *settings = endpoint->settings;
	FobsListening listening = FOBS_LISTENS_NOT;

	awaits_names = false;
	if (settings->port == 0)
		fobs_listeners_close();
	else if (done[PART_SERVER])
		listening = fobs_listeners_open(settings->listen_addresses,
										settings->port);
	awaits_names = listening == FOBS_LISTENS_SOON;
	pg_atomic_write_u32(&endpoint->shared->listening,
						listening == FOBS_LISTENS);
	if (listening == FOBS_LISTENS)
		warn_if_public();
	return listening == FOBS_LISTENS || settings->port == 0;
}

static bool
do_part(Part part)
{
	switch (part)
	{
		case PART_TOKENS:
			fobs_tokens_load(endpoint->settings->token_file);
			return true;
		case PART_SERVER:
			return start_server();
		default:
			return open_listeners();
	}
}

/* Does it, unless that raises an error. */
static void
try_part(Part part)
{
	PG_TRY();
	{
		done[part] = do_part(part);
		if (done[part])
			forget_failure(part);
	}
	PG_CATCH();
	{
		report_failure(part);
	}
	PG_END_TRY();
}

static bool
is_all_done(void)
{
	for (int part = 0; part < N_PARTS; part++)
	{
		if (!done[part])
			return false;
	}
	return true;
}

/* Does what the settings say and is not done yet. */
static void
configure(void)
{
	for (int part = 0; part < N_PARTS; part++)
	{
		if (!done[part])
			try_part(part);
	}
	if (is_all_done())
		return;
	if (awaits_names)
	{
		retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   NAMES_MS);
		return;
	}
	retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), retry_ms);
	retry_ms = Min(retry_ms * 2, RETRY_MAX_MS);
}

/* Begins anew with all that the settings say. */
static void
reconfigure(void)
{
	for (int part = 0; part < N_PARTS; part++)
	{
		done[part] = false;
		forget_failure(part);
	}
	fobs_listeners_forget_complaint();
	fobs_names_forget();
	retry_ms = RETRY_MIN_MS;
	configure();
}

/* Puts together what is waited for; the listeners are behind the others. */
static WaitEventSet *
make_event_set(void)
{
	WaitEventSet *set = CreateWaitEventSet(NULL, MAX_EVENTS);
	pgsocket	sockets[FOBS_MAX_LISTENERS];
	int			n = fobs_listeners_sockets(sockets);

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	if (fobs_server_is_running())
		AddWaitEventToSet(set, WL_SOCKET_READABLE, fobs_server_socket(), NULL,
						  NULL);
	for (int i = 0; i < n; i++)
		AddWaitEventToSet(set, WL_SOCKET_READABLE, sockets[i], NULL, set);
	return set;
}

/* How long to wait at most */
static int
timeout_ms(void)
{
	int			timeout =
	fobs_connections_next_deadline_ms(awaits_names ? NAMES_MS : WAIT_MS);

	if (fobs_server_is_running())
		timeout = fobs_server_timeout_ms(timeout);
	return timeout;
}

/* Waits for something to happen, and accepts who is there. */
static void
wait_and_accept(WaitEventSet *set)
{
	static uint32 wait_event = 0;
	WaitEvent	events[MAX_EVENTS];
	int			n;

	if (wait_event == 0)
		wait_event = WaitEventExtensionNew("FraiseqlObsHttp");
	n = WaitEventSetWait(set, timeout_ms(), events, lengthof(events),
						 wait_event);
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else if (events[i].user_data == set &&
				 (events[i].events & WL_SOCKET_READABLE))
			fobs_server_accept(events[i].fd);
	}
}

/* Does what the configuration says now, if it is new or was not done. */
static bool
look_after_configuration(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		reconfigure();
		return true;
	}
	if (!is_all_done() && GetCurrentTimestamp() >= retry_at)
	{
		configure();
		return true;
	}
	return false;
}

/* The worker's process */
void
fraiseql_obs_http_main(Datum arg)
{
	WaitEventSet *set;

	find_endpoint();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();

	/* the server's cryptography notes its contexts in one */
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "fraiseql_obs HTTP endpoint");

	enter();
	fobs_connections_init(endpoint->shared);
	fobs_requests_init(endpoint);
	reconfigure();
	set = make_event_set();
	while (!ShutdownRequestPending &&
		   pg_atomic_read_u32(&endpoint->shared->restart) == 0)
	{
		wait_and_accept(set);
		CHECK_FOR_INTERRUPTS();
		if (fobs_server_is_running())
			fobs_server_run();
		if (look_after_configuration())
		{
			FreeWaitEventSet(set);
			set = make_event_set();
		}
	}
	proc_exit(1);
}
