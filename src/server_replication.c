/*-------------------------------------------------------------------------
 *
 * server_replication.c
 *	  What a standby has replayed, and how far receivers are behind.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "miscadmin.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "label.h"
#include "server.h"
#include "server_backends.h"

/* How far a standby has come; the order of stage_names */
#define STAGES			4

static const char *const stage_names[STAGES] = {
	"sent", "written", "flushed", "replayed"
};

/* Indexed by WalSndState */
#define SENDER_STATES	(WALSNDSTATE_STOPPING + 1)

static const char *const sender_state_names[SENDER_STATES] = {
	"startup", "backup", "catchup", "streaming", "stopping"
};

/* The standbys that connect under one name, the slowest of them */
typedef struct Standby
{
	char		name[NAMEDATALEN * 3];	/* UTF-8 */
	bool		known[STAGES];
	uint64		lag[STAGES];	/* bytes */
} Standby;

/* The processes that send, by the application_name of who receives */
typedef struct SenderName
{
	int			pid;
	char		name[NAMEDATALEN * 3];	/* UTF-8 */
} SenderName;

typedef struct SenderNames
{
	int			nsenders;
	SenderName *senders;		/* max_wal_senders of them */
} SenderNames;

static const FobsFamily in_recovery_family = {
	"fraiseql_obs_in_recovery", FOBS_GAUGE, NULL,
	"1 on a standby and during recovery, 0 on a primary."
};
static const FobsFamily streaming_family = {
	"fraiseql_obs_replication_streaming", FOBS_GAUGE, NULL,
	"1 if this standby receives a stream of changes, 0 if not."
};
static const FobsFamily replay_delay_family = {
	"fraiseql_obs_replication_replay_delay_seconds", FOBS_GAUGE, "seconds",
	"Age of the last transaction that this standby replayed, 0 if it has replayed all that the stream brought."
};
static const FobsFamily replay_lag_family = {
	"fraiseql_obs_replication_replay_lag_bytes", FOBS_GAUGE, "bytes",
	"What this standby has received and not replayed."
};
static const FobsFamily senders_family = {
	"fraiseql_obs_replication_senders", FOBS_GAUGE, NULL,
	"Connections that this server sends changes to, by state."
};
static const FobsFamily standby_lag_family = {
	"fraiseql_obs_replication_lag_bytes", FOBS_GAUGE, "bytes",
	"How far the slowest receiver of an application_name is behind this server, by stage."
};

/* Most servers have none, and need not look for their names. */
static bool
has_senders(void)
{
	for (int i = 0; i < max_wal_senders; i++)
	{
		if (WalSndCtl->walsnds[i].pid != 0)
			return true;
	}
	return false;
}

static void
note_sender(const PgBackendStatus *backend, void *arg)
{
	SenderNames *names = arg;
	const char *name = backend->st_appname;
	SenderName *sender = &names->senders[names->nsenders];

	if (backend->st_backendType != B_WAL_SENDER ||
		names->nsenders == max_wal_senders)
		return;
	/* an empty label would be none */
	if (name[0] == '\0')
		name = "unknown";
	sender->pid = backend->st_procpid;
	fobs_label_copy(sender->name, sizeof(sender->name), name, strlen(name));
	fobs_label_clear_controls(sender->name);
	names->nsenders++;
}

/*
 * What a standby knows of itself.  On an idle primary the last transaction
 * grows old without anything being late, so positions decide: who streams and
 * has replayed all that was received is not behind.
 */
static void
write_standby(FobsWriter *writer)
{
	XLogRecPtr	replayed = GetXLogReplayRecPtr(NULL);
	XLogRecPtr	received = Max(GetWalRcvFlushRecPtr(NULL, NULL), replayed);
	TimestampTz last_xact = GetLatestXTime();
	bool		streaming;
	double		delay;

	SpinLockAcquire(&WalRcv->mutex);
	streaming = WalRcv->walRcvState == WALRCV_STREAMING;
	SpinLockRelease(&WalRcv->mutex);

	fobs_server_write_single(writer, &streaming_family, streaming);
	fobs_server_write_single(writer, &replay_lag_family, received - replayed);
	fobs_write_family(writer, &replay_delay_family);
	if (streaming && received == replayed)
		fobs_write_sample(writer, NULL, 0, 0);
	else if (last_xact != 0)
	{
		delay = (GetCurrentTimestamp() - last_xact) / (double) USECS_PER_SEC;
		fobs_write_sample(writer, NULL, 0, Max(delay, 0));
	}
}

/* Finds or adds a standby by its name, so that no series appears twice. */
static Standby *
find_standby(Standby *standbys, int *nstandbys, const char *name)
{
	for (int i = 0; i < *nstandbys; i++)
	{
		if (strcmp(standbys[i].name, name) == 0)
			return &standbys[i];
	}
	strlcpy(standbys[*nstandbys].name, name, sizeof(standbys->name));
	return &standbys[(*nstandbys)++];
}

/* Notes how far one receiver is behind; positions may not be known yet. */
static void
note_standby(Standby *standby, XLogRecPtr here,
			 const XLogRecPtr positions[STAGES])
{
	for (int stage = 0; stage < STAGES; stage++)
	{
		uint64		lag;

		if (XLogRecPtrIsInvalid(positions[stage]))
			continue;
		lag = here > positions[stage] ? here - positions[stage] : 0;
		standby->lag[stage] = Max(standby->lag[stage], lag);
		standby->known[stage] = true;
	}
}

/* How far those are that this server sends changes to. */
static void
write_senders(FobsWriter *writer, bool in_recovery)
{
	XLogRecPtr	here;
	Standby    *standbys = palloc0(Max(max_wal_senders, 1) * sizeof(Standby));
	int			nstandbys = 0;
	int			senders[SENDER_STATES] = {0};
	SenderNames names = {0};

	names.senders = palloc(Max(max_wal_senders, 1) * sizeof(SenderName));
	if (has_senders())
		fobs_backends_visit(note_sender, &names);

	if (in_recovery)
		here = Max(GetWalRcvFlushRecPtr(NULL, NULL),
				   GetXLogReplayRecPtr(NULL));
	else
		here = GetFlushRecPtr(NULL);

	for (int i = 0; i < max_wal_senders; i++)
	{
		WalSnd	   *walsnd = &WalSndCtl->walsnds[i];
		XLogRecPtr	positions[STAGES];
		WalSndState sender_state;
		int			pid;

		SpinLockAcquire(&walsnd->mutex);
		pid = walsnd->pid;
		sender_state = walsnd->state;
		positions[0] = walsnd->sentPtr;
		positions[1] = walsnd->write;
		positions[2] = walsnd->flush;
		positions[3] = walsnd->apply;
		SpinLockRelease(&walsnd->mutex);

		if (pid == 0)
			continue;
		senders[sender_state]++;
		for (int j = 0; j < names.nsenders; j++)
		{
			if (names.senders[j].pid == pid)
				note_standby(find_standby(standbys, &nstandbys,
										  names.senders[j].name),
							 here, positions);
		}
	}

	fobs_write_family(writer, &senders_family);
	for (int i = 0; i < SENDER_STATES; i++)
	{
		FobsLabel	label = {"state", sender_state_names[i]};

		fobs_write_sample(writer, &label, 1, senders[i]);
	}

	fobs_write_family(writer, &standby_lag_family);
	for (int i = 0; i < nstandbys; i++)
	{
		for (int stage = 0; stage < STAGES; stage++)
		{
			FobsLabel	labels[] = {
				{"application_name", standbys[i].name},
				{"stage", stage_names[stage]}
			};

			if (standbys[i].known[stage])
				fobs_write_sample(writer, labels, lengthof(labels),
								  standbys[i].lag[stage]);
		}
	}
	pfree(names.senders);
	pfree(standbys);
}

void
fobs_server_replication_write(FobsWriter *writer, const FobsServer *server)
{
	fobs_server_write_single(writer, &in_recovery_family,
							 server->in_recovery);
	if (server->in_recovery)
		write_standby(writer);
	write_senders(writer, server->in_recovery);
}
