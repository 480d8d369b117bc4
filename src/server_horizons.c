/*-------------------------------------------------------------------------
 *
 * server_horizons.c
 *	  How far back transactions and multixacts reach.
 *
 * The locks that protect the limits are held, too, while a page of the
 * transaction status is made room for, which may mean to write one.  Where the
 * disk hangs, who waited for them would hang with it, and probes must not: so
 * we try for a moment, and what we do not get to see is not known.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/float.h"

#include "compat.h"
#include "server.h"

/* How often to try to get a lock, a millisecond apart */
#define LOCK_ATTEMPTS	50

static const FobsFamily oldest_xmin_family = {
	"fraiseql_obs_oldest_xmin_age_transactions", FOBS_GAUGE, NULL,
	"Transactions since the oldest one whose rows VACUUM must keep, for open and prepared transactions and replication slots."
};
static const FobsFamily oldest_unfrozen_family = {
	"fraiseql_obs_oldest_unfrozen_age_transactions", FOBS_GAUGE, NULL,
	"Transactions since the oldest one that is not frozen; short of 2^31 the server refuses to write."
};
static const FobsFamily oldest_multixact_family = {
	"fraiseql_obs_oldest_unfrozen_age_multixacts", FOBS_GAUGE, NULL,
	"Multixacts since the oldest one that is not frozen; short of 2^31 the server refuses to make more."
};

/* Takes a lock if that is to be had. */
static bool
lock_briefly(LWLock *lock)
{
	for (int i = 0; i < LOCK_ATTEMPTS; i++)
	{
		if (LWLockConditionalAcquire(lock, LW_SHARED))
			return true;
		pg_usleep(1000L);
	}
	return false;
}

/* How long ago a transaction identifier was the next one; NaN if unknown */
double
fobs_horizons_age(const FobsHorizons *horizons, TransactionId xid)
{
	if (!TransactionIdIsNormal(xid) || !TransactionIdIsNormal(horizons->next))
		return get_float8_nan();
	return Max((int32) (horizons->next - xid), 0);
}

static void
read_xids(FobsHorizons *horizons)
{
	TransactionId oldest;
	TransactionId stop;

	if (!lock_briefly(XidGenLock))
		return;
	horizons->next = XidFromFullTransactionId(TransamVariables->nextXid);
	oldest = TransamVariables->oldestXid;
	stop = TransamVariables->xidStopLimit;
	LWLockRelease(XidGenLock);

	horizons->oldest_unfrozen = fobs_horizons_age(horizons, oldest);
	if (!RecoveryInProgress() && TransactionIdIsNormal(stop))
		horizons->left = (int32) (stop - horizons->next);

	/* before that, no horizon is kept */
	if (!RecoveryInProgress() || HotStandbyActive())
		horizons->oldest_xmin =
			fobs_horizons_age(horizons,
							  GetOldestNonRemovableTransactionId(NULL));
}

/* Core takes the lock itself, which it gets as we have it shared already. */
static void
read_multixacts(FobsHorizons *horizons)
{
	MultiXactId oldest;
	MultiXactId next;

	if (!lock_briefly(MultiXactGenLock))
		return;
	ReadMultiXactIdRange(&oldest, &next);
	LWLockRelease(MultiXactGenLock);
	if (MultiXactIdIsValid(oldest))
		horizons->oldest_multixact = Max((int32) (next - oldest), 0);
}

void
fobs_horizons_read(FobsHorizons *horizons)
{
	horizons->next = InvalidTransactionId;
	horizons->oldest_unfrozen = get_float8_nan();
	horizons->oldest_xmin = get_float8_nan();
	horizons->oldest_multixact = get_float8_nan();
	horizons->left = get_float8_nan();
	read_xids(horizons);
	read_multixacts(horizons);
}

static void
write_age(FobsWriter *writer, const FobsFamily *family, double age)
{
	if (!isnan(age))
		fobs_server_write_single(writer, family, age);
}

void
fobs_server_horizons_write(FobsWriter *writer, const FobsServer *server)
{
	const FobsHorizons *horizons = &server->horizons;

	write_age(writer, &oldest_xmin_family, horizons->oldest_xmin);
	write_age(writer, &oldest_unfrozen_family, horizons->oldest_unfrozen);
	write_age(writer, &oldest_multixact_family, horizons->oldest_multixact);
}
