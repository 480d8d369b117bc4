/*-------------------------------------------------------------------------
 *
 * server_slots.c
 *	  Replication slots: who uses them, and what they hold back.
 *
 * Slots are copied under their spinlocks first and written afterwards, so that
 * no lock is held while memory is allocated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "compat.h"
#include "server.h"

/* One slot, as copied out of shared memory */
typedef struct Slot
{
	char		name[NAMEDATALEN];
	bool		is_logical;
	bool		is_active;
	bool		is_lost;
	XLogRecPtr	restart_lsn;
	XLogRecPtr	confirmed_flush;
	TransactionId xmin;			/* the older of both that it holds */
} Slot;

static const FobsFamily active_family = {
	"fraiseql_obs_replication_slot_active", FOBS_GAUGE, NULL,
	"1 if a connection uses the replication slot, 0 if not."
};
static const FobsFamily lost_family = {
	"fraiseql_obs_replication_slot_lost", FOBS_GAUGE, NULL,
	"1 if the replication slot was invalidated, 0 if not."
};
static const FobsFamily retained_family = {
	"fraiseql_obs_replication_slot_retained_bytes", FOBS_GAUGE, "bytes",
	"Write-ahead log that the replication slot keeps from being removed."
};
static const FobsFamily lag_family = {
	"fraiseql_obs_replication_slot_lag_bytes", FOBS_GAUGE, "bytes",
	"Write-ahead log since the position that the receiver of a logical replication slot has confirmed."
};
static const FobsFamily xmin_family = {
	"fraiseql_obs_replication_slot_xmin_age_transactions", FOBS_GAUGE, NULL,
	"Transactions since the oldest one whose rows the replication slot keeps from being removed."
};

static TransactionId
older(TransactionId a, TransactionId b)
{
	if (!TransactionIdIsNormal(a) || !TransactionIdIsNormal(b))
		return TransactionIdIsNormal(a) ? a : b;
	return TransactionIdPrecedes(a, b) ? a : b;
}

/* Copies the slots in use into an array of max_replication_slots. */
static int
read_slots(Slot *slots)
{
	int			n = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *source = &ReplicationSlotCtl->replication_slots[i];
		Slot	   *slot = &slots[n];

		if (!source->in_use)
			continue;
		SpinLockAcquire(&source->mutex);
		strlcpy(slot->name, NameStr(source->data.name), NAMEDATALEN);
		slot->is_logical = source->data.database != InvalidOid;
		slot->is_active = source->active_pid != 0;
		slot->is_lost = SLOT_IS_INVALIDATED(source);
		slot->restart_lsn = source->data.restart_lsn;
		slot->confirmed_flush = source->data.confirmed_flush;
		slot->xmin = older(source->data.xmin, source->data.catalog_xmin);
		SpinLockRelease(&source->mutex);
		n++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return n;
}

/* Bytes since a position; negative if it is not known */
static double
bytes_since(XLogRecPtr position, XLogRecPtr here)
{
	if (XLogRecPtrIsInvalid(position))
		return -1;
	return here > position ? here - position : 0;
}

/* What a family says of a slot; negative or NaN where it is not known */
static double
sample_of(const FobsFamily *family, const Slot *slot, XLogRecPtr here,
		  const FobsServer *server)
{
	if (family == &active_family)
		return slot->is_active;
	if (family == &lost_family)
		return slot->is_lost;
	if (family == &retained_family)
		return bytes_since(slot->restart_lsn, here);
	if (family == &lag_family && slot->is_logical)
		return bytes_since(slot->confirmed_flush, here);
	if (family == &xmin_family)
		return fobs_horizons_age(&server->horizons, slot->xmin);
	return -1;
}

void
fobs_server_slots_write(FobsWriter *writer, const FobsServer *server)
{
	static const FobsFamily *const families[] = {
		&active_family, &lost_family, &retained_family, &lag_family,
		&xmin_family
	};
	Slot	   *slots = palloc(Max(max_replication_slots, 1) * sizeof(Slot));
	int			nslots = read_slots(slots);
	XLogRecPtr	here = server->in_recovery ? GetXLogReplayRecPtr(NULL) :
	GetXLogInsertRecPtr();

	for (int f = 0; f < lengthof(families); f++)
	{
		fobs_write_family(writer, families[f]);
		for (int i = 0; i < nslots; i++)
		{
			double		sample = sample_of(families[f], &slots[i], here,
										  server);

			if (sample >= 0)
				fobs_server_write_labelled(writer, "slot", slots[i].name,
										   sample);
		}
	}
	pfree(slots);
}
