/*-------------------------------------------------------------------------
 *
 * server_horizons.c
 *	  How far back transactions and multixacts reach.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"

#include "compat.h"
#include "server.h"

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

/* How long ago a transaction identifier was the next one */
static double
xid_age(TransactionId xid, TransactionId next)
{
	return Max((int32) (next - xid), 0);
}

void
fobs_server_horizons_write(FobsWriter *writer, const FobsServer *server)
{
	TransactionId oldest_xmin = InvalidTransactionId;
	TransactionId next = ReadNextTransactionId();
	TransactionId oldest_unfrozen;
	MultiXactId oldest_multi;
	MultiXactId next_multi;

	if (server->has_horizons)
		oldest_xmin = GetOldestNonRemovableTransactionId(NULL);
	if (TransactionIdIsNormal(oldest_xmin))
		fobs_server_write_single(writer, &oldest_xmin_family,
								 xid_age(oldest_xmin, next));

	LWLockAcquire(XidGenLock, LW_SHARED);
	oldest_unfrozen = TransamVariables->oldestXid;
	LWLockRelease(XidGenLock);
	if (TransactionIdIsNormal(oldest_unfrozen))
		fobs_server_write_single(writer, &oldest_unfrozen_family,
								 xid_age(oldest_unfrozen, next));

	ReadMultiXactIdRange(&oldest_multi, &next_multi);
	if (MultiXactIdIsValid(oldest_multi))
		fobs_server_write_single(writer, &oldest_multixact_family,
								 Max((int32) (next_multi - oldest_multi), 0));
}
