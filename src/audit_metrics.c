/*-------------------------------------------------------------------------
 *
 * audit_metrics.c
 *	  Metrics of audit logs.
 *
 * Those about entries and what may become one are of the server and come from
 * the ring (audit_ring.c).  Those about a log are by database and come from
 * audit_databases.c, where they were noted by whoever found them out; nothing
 * is looked up here, so an export needs no database and waits for nobody.
 *
 * Size and root of the checkpoint make whoever keeps the metrics a witness:
 * who changes what was sealed, or seals it anew, would have to change what is
 * kept there, too.  A sample is a double, so it is the first 48 bits of the
 * root, which audit_checkpoint_number() computes of the seals.  As labels, the
 * roots would make a new series of each.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "audit_databases.h"
#include "audit_metrics.h"
#include "audit_ring.h"

static const FobsFamily events_family = {
	"fraiseql_obs_audit_events_total", FOBS_COUNTER, NULL,
	"Entries of audit logs that were committed, by result."
};
static const FobsFamily slots_family = {
	"fraiseql_obs_audit_ring_slots", FOBS_GAUGE, NULL,
	"Slots for operations whose entry is not written yet, by state."
};
static const FobsFamily lost_family = {
	"fraiseql_obs_audit_lost_total", FOBS_COUNTER, NULL,
	"Operations that failed and have no entry in the audit log, by cause."
};
static const FobsFamily worker_family = {
	"fraiseql_obs_audit_worker_up", FOBS_GAUGE, NULL,
	"1 if the worker of a database's audit log runs, 0 if not."
};
static const FobsFamily lag_family = {
	"fraiseql_obs_audit_seal_lag_seconds", FOBS_GAUGE, "seconds",
	"Time since the worker last sealed what was new in the audit log, or found that nothing was."
};
static const FobsFamily size_family = {
	"fraiseql_obs_audit_checkpoint_size", FOBS_GAUGE, NULL,
	"Seals of the audit log, which is the size of its checkpoint."
};
static const FobsFamily root_family = {
	"fraiseql_obs_audit_checkpoint_root", FOBS_GAUGE, NULL,
	"First 48 bits of the root of that checkpoint as a number, see audit_checkpoint_number()."
};
static const FobsFamily signed_family = {
	"fraiseql_obs_audit_checkpoint_signed", FOBS_GAUGE, NULL,
	"1 if that checkpoint is signed, 0 if it could not be."
};
static const FobsFamily verified_family = {
	"fraiseql_obs_audit_verified_timestamp_seconds", FOBS_GAUGE, "seconds",
	"When all of the audit log was last verified without a violation, in Unix time."
};
static const FobsFamily violations_family = {
	"fraiseql_obs_audit_violations", FOBS_GAUGE, NULL,
	"Violations that the last verification of the audit log found which was of all of it, or found any."
};
static const FobsFamily partitions_family = {
	"fraiseql_obs_audit_partitions_ahead", FOBS_GAUGE, NULL,
	"Partitions of the audit log that are made for times to come."
};

static void
write_labelled(FobsWriter *writer, const char *name, const char *value,
			   double sample)
{
	FobsLabel	label = {name, value};

	fobs_write_sample(writer, &label, 1, sample);
}

static void
write_ring(FobsWriter *writer)
{
	FobsRingSnapshot ring;

	fobs_audit_ring_snapshot(&ring);
	if (!ring.in_use)
		return;
	fobs_write_family(writer, &events_family);
	for (int i = 0; i < FOBS_N_RESULTS; i++)
		write_labelled(writer, "result", fobs_audit_results[i], ring.rows[i]);
	fobs_write_family(writer, &slots_family);
	write_labelled(writer, "state", "free", ring.slots[FOBS_SLOT_FREE]);
	write_labelled(writer, "state", "reserved",
				   ring.slots[FOBS_SLOT_RESERVED]);
	write_labelled(writer, "state", "filled",
				   ring.slots[FOBS_SLOT_FILLED] + ring.slots[FOBS_SLOT_TAKEN]);
	write_labelled(writer, "state", "prepared",
				   ring.slots[FOBS_SLOT_PREPARED]);
	fobs_write_family(writer, &lost_family);
	for (int i = 0; i < FOBS_N_LOSSES; i++)
		write_labelled(writer, "cause", fobs_audit_losses[i], ring.lost[i]);
}

/* What a family says of a database; negative where it is not known */
static double
sample_of(const FobsFamily *family, const FobsAuditDatabase *database,
		  TimestampTz now)
{
	const FobsAuditStatus *status = &database->status;

	if (family == &worker_family)
		return database->worker_pid != 0;
	if (family == &lag_family && status->sealed_at != 0)
		return Max(now - status->sealed_at, 0) / (double) USECS_PER_SEC;
	if (family == &size_family)
		return status->seals;
	if (family == &root_family)
		return status->root;
	if (family == &signed_family)
		return status->is_signed;
	if (family == &verified_family && status->verified_at != 0)
		return fobs_unix_time(status->verified_at);
	if (family == &violations_family)
		return fobs_audit_violations(status);
	if (family == &partitions_family)
		return status->partitions_ahead;
	return -1;
}

static void
write_databases(FobsWriter *writer)
{
	static const FobsFamily *const families[] = {
		&worker_family, &lag_family, &size_family, &root_family,
		&signed_family, &verified_family, &violations_family,
		&partitions_family
	};
	FobsAuditDatabase *databases =
	palloc(FOBS_MAX_AUDIT_DATABASES * sizeof(FobsAuditDatabase));
	int			n = fobs_audit_databases_snapshot(databases);
	TimestampTz now = GetCurrentTimestamp();

	for (int f = 0; f < lengthof(families); f++)
	{
		fobs_write_family(writer, families[f]);
		for (int i = 0; i < n; i++)
		{
			double		sample = sample_of(families[f], &databases[i], now);

			if (databases[i].name[0] != '\0' && sample >= 0)
				write_labelled(writer, "datname", databases[i].name, sample);
		}
	}
	pfree(databases);
}

/* Writes the families about audit logs, once there is one. */
void
fobs_audit_metrics_write(FobsWriter *writer)
{
	write_ring(writer);
	write_databases(writer);
}
