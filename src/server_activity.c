/*-------------------------------------------------------------------------
 *
 * server_activity.c
 *	  What the processes of the server are doing.
 *
 * Connections are told apart by what their entries say, as pg_stat_activity
 * has it.  What an active one waits for is in its process slot, which has the
 * same process identifier: entries and slots are read one after the other, so
 * of who comes or goes in between, it counts as waiting for nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "server.h"
#include "server_backends.h"

/* States of a connection; the order of state_names */
typedef enum ConnectionState
{
	CONNECTION_STARTING,
	CONNECTION_ACTIVE,
	CONNECTION_IDLE,
	CONNECTION_IDLE_IN_TRANSACTION,
	CONNECTION_IDLE_IN_TRANSACTION_ABORTED,
	CONNECTION_FASTPATH,
	CONNECTION_DISABLED,
	CONNECTION_STATES
} ConnectionState;

/* Those of pg_stat_activity, with underscores */
static const char *const state_names[CONNECTION_STATES] = {
	"starting", "active", "idle", "idle_in_transaction",
	"idle_in_transaction_aborted", "fastpath_function_call", "disabled"
};

/* The class of a wait event is its first byte; 0 waits for nothing */
#define WAIT_CLASSES	16
#define WAIT_CLASS(event)	((event) >> 24)

/* What the process of a slot waits for */
typedef struct Wait
{
	int			pid;
	uint32		event;
} Wait;

/* What was seen */
typedef struct Activity
{
	const FobsServer *server;
	int			nwaits;
	Wait	   *waits;			/* of clients, by pid */
	int			connections[FOBS_MAX_DATABASES][CONNECTION_STATES];
	int			waiting[WAIT_CLASSES];
	int			processes[BACKEND_TYPES];
	TimestampTz oldest_xact;	/* 0: nobody is in a transaction */
} Activity;

static const FobsFamily connections_family = {
	"fraiseql_obs_db_connections", FOBS_GAUGE, NULL,
	"Client connections by database and state."
};
static const FobsFamily connections_max_family = {
	"fraiseql_obs_db_connections_max", FOBS_GAUGE, NULL,
	"Client connections that the server allows (max_connections)."
};
static const FobsFamily waiting_family = {
	"fraiseql_obs_active_connections", FOBS_GAUGE, NULL,
	"Client connections that execute a statement, by the type of event they wait for, or none."
};
static const FobsFamily processes_family = {
	"fraiseql_obs_processes", FOBS_GAUGE, NULL,
	"Processes of the server by type."
};
static const FobsFamily oldest_transaction_family = {
	"fraiseql_obs_oldest_transaction_age_seconds", FOBS_GAUGE, "seconds",
	"Age of the oldest open transaction of a client or background worker, 0 if there is none."
};

static ConnectionState
connection_state(BackendState state)
{
	switch (state)
	{
		case STATE_RUNNING:
			return CONNECTION_ACTIVE;
		case STATE_IDLE:
			return CONNECTION_IDLE;
		case STATE_IDLEINTRANSACTION:
			return CONNECTION_IDLE_IN_TRANSACTION;
		case STATE_IDLEINTRANSACTION_ABORTED:
			return CONNECTION_IDLE_IN_TRANSACTION_ABORTED;
		case STATE_FASTPATH:
			return CONNECTION_FASTPATH;
		case STATE_DISABLED:
			return CONNECTION_DISABLED;
		default:
			/* has not said anything yet */
			return CONNECTION_STARTING;
	}
}

static int
compare_waits(const void *a, const void *b)
{
	int			left = ((const Wait *) a)->pid;
	int			right = ((const Wait *) b)->pid;

	return left < right ? -1 : left > right;
}

/* Notes what clients wait for; theirs are the first max_connections slots. */
static void
read_waits(Activity *activity)
{
	activity->waits = palloc(MaxConnections * sizeof(Wait));
	for (int i = 0; i < MaxConnections; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];
		Wait	   *wait = &activity->waits[activity->nwaits];

		wait->pid = proc->pid;
		wait->event = proc->wait_event_info;
		if (wait->pid != 0)
			activity->nwaits++;
	}
	qsort(activity->waits, activity->nwaits, sizeof(Wait), compare_waits);
}

static int
wait_class(const Activity *activity, int pid)
{
	Wait		key = {pid, 0};
	Wait	   *wait = bsearch(&key, activity->waits, activity->nwaits,
							   sizeof(Wait), compare_waits);

	return wait == NULL ? 0 : WAIT_CLASS(wait->event) % WAIT_CLASSES;
}

static void
read_backend(const PgBackendStatus *backend, void *arg)
{
	Activity   *activity = arg;
	TimestampTz xact_start = backend->st_xact_start_timestamp;

	if (backend->st_backendType < BACKEND_TYPES)
		activity->processes[backend->st_backendType]++;
	if (fobs_backends_in_transaction(backend) &&
		(activity->oldest_xact == 0 || xact_start < activity->oldest_xact))
		activity->oldest_xact = xact_start;

	if (backend->st_backendType == B_BACKEND)
	{
		int			database = fobs_server_database(activity->server,
													backend->st_databaseid);
		ConnectionState state = connection_state(backend->st_state);

		activity->connections[database][state]++;
		if (state == CONNECTION_ACTIVE || state == CONNECTION_FASTPATH)
			activity->waiting[wait_class(activity, backend->st_procpid)]++;
	}
}

static void
write_connections(FobsWriter *writer, const Activity *activity)
{
	const FobsServer *server = activity->server;

	fobs_write_family(writer, &connections_family);
	for (int i = 0; i < server->ndatabases; i++)
	{
		for (int s = 0; s < CONNECTION_STATES; s++)
		{
			FobsLabel	labels[] = {
				{"datname", server->names[i]},
				{"state", state_names[s]}
			};

			fobs_write_sample(writer, labels, lengthof(labels),
							  activity->connections[i][s]);
		}
	}
	fobs_server_write_single(writer, &connections_max_family, MaxConnections);
}

/* The types of wait events are core's; it names those that there are. */
static void
write_waiting(FobsWriter *writer, const Activity *activity)
{
	fobs_write_family(writer, &waiting_family);
	fobs_server_write_labelled(writer, "wait_event_type", "none",
							   activity->waiting[0]);
	for (uint32 class = 1; class < WAIT_CLASSES; class++)
	{
		const char *name = pgstat_get_wait_event_type(class << 24);

		if (name != NULL && strcmp(name, "???") != 0)
			fobs_server_write_labelled(writer, "wait_event_type", name,
									   activity->waiting[class]);
	}
}

/* The name of a type of processes, with underscores */
static void
copy_type(char *name, size_t size, BackendType type)
{
	strlcpy(name, GetBackendTypeDesc(type), size);
	for (char *c = name; *c != '\0'; c++)
	{
		if (*c == ' ')
			*c = '_';
	}
}

/* Those that there are, and autovacuum workers, which come and go */
static void
write_processes(FobsWriter *writer, const Activity *activity)
{
	fobs_write_family(writer, &processes_family);
	for (int type = 0; type < BACKEND_TYPES; type++)
	{
		char		name[64];

		if (type == B_INVALID ||
			(activity->processes[type] == 0 && type != B_AUTOVAC_WORKER))
			continue;
		copy_type(name, sizeof(name), type);
		fobs_server_write_labelled(writer, "type", name,
								   activity->processes[type]);
	}
}

void
fobs_server_activity_write(FobsWriter *writer, const FobsServer *server)
{
	Activity   *activity = palloc0(sizeof(Activity));
	double		age = 0;

	activity->server = server;
	read_waits(activity);
	fobs_backends_visit(read_backend, activity);

	write_connections(writer, activity);
	write_waiting(writer, activity);
	write_processes(writer, activity);
	if (activity->oldest_xact != 0)
		age = (GetCurrentTimestamp() - activity->oldest_xact) /
			(double) USECS_PER_SEC;
	fobs_server_write_single(writer, &oldest_transaction_family, Max(age, 0));
	pfree(activity->waits);
	pfree(activity);
}
