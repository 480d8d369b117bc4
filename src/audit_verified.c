/*-------------------------------------------------------------------------
 *
 * audit_verified.c
 *	  What a verification of the audit log has come to.
 *
 * Reports rely on the entries that say what verifications have found.  Who may
 * verify may have such an entry made, and must not choose what it says.  So
 * audit_verify() notes here, in the process, what it has found, and that is
 * what audit_verified() records: once, and in the same transaction, for later
 * the log may be another one.
 *
 * Metrics are told that nothing was wrong when such an entry about all of the
 * log is committed, and not before: what was mended for a verification alone
 * and is rolled back was never mended.  Nor does it count under an old
 * snapshot, which may be of a time before the log was changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "audit_databases.h"
#include "audit_guard.h"
#include "audit_log.h"
#include "audit_verified.h"
#include "compat.h"

/* The last verification of this transaction, until it is recorded */
static struct
{
	bool		valid;
	Oid			log;
	TimestampTz from;
	TimestampTz until;
	int64		seals;
	int64		anchor_size;	/* 0: there was no anchor */
	int64		violations;
	int64		gaps;
	int64		unchecked;
}			noted;

/* An entry that says of all of the log that nothing is wrong, until its end */
static struct
{
	bool		valid;
	SubTransactionId subid;
	bool		anchored;
}			clean;

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_verification);

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && clean.valid)
		fobs_audit_databases_note_verified(0, clean.anchored);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		noted.valid = clean.valid = false;
}

/* Subtransactions that have begun later than one that aborts are in it. */
static void
subtransaction_ended(SubXactEvent event, SubTransactionId subid,
					 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && clean.subid >= subid)
		clean.valid = false;
}

/* May the snapshot be older than the statement? */
static bool
has_old_snapshot(void)
{
	return IsolationUsesXactSnapshot() &&
		GetCurrentTransactionStartTimestamp() !=
		GetCurrentStatementStartTimestamp();
}

/* Is to be told to metrics, if the transaction commits, what was found? */
static void
note_clean(void)
{
	if (noted.violations != 0 || has_old_snapshot() ||
		!TIMESTAMP_NOT_FINITE(noted.from) ||
		!TIMESTAMP_NOT_FINITE(noted.until) ||
		!fobs_audit_guard_is_log(noted.log))
		return;
	fobs_audit_databases_enter_verified();
	clean.valid = true;
	clean.subid = GetCurrentSubTransactionId();
	clean.anchored = noted.anchor_size != 0;
}

/* Keeps what was found, for audit_verified() to record. */
void
fobs_audit_note_verification(const Verifier *verifier,
							 const Checkpoint *anchor)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(transaction_ended, NULL);
		RegisterSubXactCallback(subtransaction_ended, NULL);
	}
	registered = true;
	noted.valid = true;
	noted.log = verifier->log;
	noted.from = verifier->from;
	noted.until = verifier->until;
	noted.seals = verifier->n_seals;
	noted.anchor_size = anchor != NULL ? anchor->size : 0;
	noted.violations = verifier->n_violations;
	noted.gaps = verifier->n_gaps;
	noted.unchecked = verifier->n_unchecked;
}

/* Where the period begins or ends, unless it is the whole */
static void
append_time(StringInfo json, const char *key, TimestampTz time)
{
	char		text[MAXDATELEN + 1];

	if (TIMESTAMP_NOT_FINITE(time))
		return;
	JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID, NULL);
	appendStringInfo(json, ", \"%s\": \"%s\"", key, text);
}

/*
 * audit_verification() returns jsonb
 *
 * The details of the entry about the verification of this transaction that was
 * not recorded yet; NULL if there is none.
 */
Datum
fraiseql_obs_audit_verification(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	if (!noted.valid || noted.log != fobs_audit_log_table())
		PG_RETURN_NULL();
	noted.valid = false;
	note_clean();

	initStringInfo(&json);
	appendStringInfo(&json, "{\"seals\": " INT64_FORMAT
					 ", \"violations\": " INT64_FORMAT
					 ", \"gaps\": " INT64_FORMAT
					 ", \"unchecked\": " INT64_FORMAT,
					 noted.seals, noted.violations, noted.gaps,
					 noted.unchecked);
	append_time(&json, "since", noted.from);
	append_time(&json, "until", noted.until);
	if (noted.anchor_size != 0)
		appendStringInfo(&json, ", \"anchor_size\": " INT64_FORMAT,
						 noted.anchor_size);
	if (has_old_snapshot())
		appendStringInfoString(&json, ", \"old_snapshot\": true");
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
