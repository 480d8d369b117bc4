/*-------------------------------------------------------------------------
 *
 * audit_drain.c
 *	  From the ring of operations that were rolled back to rows of the log.
 *
 * audit_drain_ring() takes a batch of filled slots of its database, writes a
 * row for each through the door (audit_log.c), and declares what was lost.
 * All of it belongs to the caller's transaction: the slots are freed when that
 * commits, and wait for the next one if it fails.
 *
 * A row has what was logged, and besides: result, SQLSTATE and the condition's
 * name; no message, for messages hold personal data.  An operation that the
 * application logged as failed or denied keeps the result that it was given.
 * The document "_failed" in details tells where to look further: the id that
 * the row would have had, and the transaction and the process.
 *
 * If the log's table does not take a row, for a constraint that somebody has
 * added to it, the row is counted as lost, or nothing would ever be written
 * again.  Any other error ends the transaction, and everything stays as it
 * was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit_drain.h"
#include "audit_log.h"
#include "audit_payload.h"
#include "audit_ring.h"
#include "compat.h"
#include "conditions.h"
#include "counters.h"
#include "label.h"

/* Slots that are drained in one transaction */
#define BATCH_SIZE		200

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_drain_ring);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_forget_dropped_databases);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_claim_start);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_claim_stop);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_server_stopped);

/* How an operation ended that was rolled back */
static FobsResult
failed_result(const FobsRingSlot *slot)
{
	if (slot->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		ERRCODE_TO_CATEGORY(slot->sqlstate) ==
		ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
		return FOBS_RESULT_DENIED;
	switch (slot->sqlstate)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_IDLE_IN_TRANSACTION_SESSION_TIMEOUT:
			/* transaction_timeout */
		case MAKE_SQLSTATE('2', '5', 'P', '0', '4'):
			return FOBS_RESULT_TIMEOUT;
		case ERRCODE_QUERY_CANCELED:
			return slot->timed_out ? FOBS_RESULT_TIMEOUT : FOBS_RESULT_FAILURE;
		default:
			return FOBS_RESULT_FAILURE;
	}
}

static void
set_text(Operation *operation, Argument argument, const char *value)
{
	operation->nulls[argument] = value == NULL;
	if (value != NULL)
		fobs_set_value(operation, argument, CStringGetTextDatum(value));
}

static void
append_time(StringInfo json, const char *key, TimestampTz time)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID, NULL);
	appendStringInfo(json, ", \"%s\": \"%s\"", key, text);
}

/* {"_failed": {...}}, with the SQLSTATE if the row has another one */
static Datum
failure_document(const FobsRingSlot *slot, bool with_sqlstate)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"_failed\": {\"pid\": %d", slot->pid);
	if (FullTransactionIdIsValid(slot->xact))
		appendStringInfo(&json, ", \"xact\": \"" UINT64_FORMAT "\"",
						 U64FromFullTransactionId(slot->xact));
	append_time(&json, "backend_start", slot->backend_start);
	if (slot->id != 0)
		appendStringInfo(&json, ", \"id\": " INT64_FORMAT, slot->id);
	if (with_sqlstate && slot->sqlstate != 0)
		appendStringInfo(&json, ", \"sqlstate\": \"%s\"",
						 unpack_sql_state(slot->sqlstate));
	if (slot->cut)
		appendStringInfoString(&json, ", \"truncated\": true");
	appendStringInfoString(&json, "}}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* A name that the application has given, unless it is one of ours */
static void
complete_name(Operation *operation)
{
	char	   *name;

	if (operation->nulls[ARG_OPERATION])
		return;
	name = TextDatumGetCString(operation->values[ARG_OPERATION]);
	if (fobs_audit_is_reserved(name))
		set_text(operation, ARG_OPERATION, psprintf("application.%s", name));
}

/* Makes what was written without looking anything up what it should be. */
static void
complete_statement(Operation *operation, const FobsRingSlot *slot)
{
	const char *role = GetUserNameFromId(slot->role, true);

	for (int i = 0; i < N_ARGUMENTS; i++)
	{
		Datum	   *value = &operation->values[i];

		if (operation->nulls[i])
			continue;
		if (i == ARG_OPERATION || i == ARG_USER_ID || i == ARG_TENANT_ID ||
			i == ARG_REQUEST_ID || i == ARG_APPLICATION_NAME)
			*value = fobs_label_datum(TextDatumGetCString(*value));
	}
	if (!slot->is_notice)
		complete_name(operation);
	set_text(operation, ARG_DB_ROLE, role != NULL ? role :
			 psprintf("unknown (OID=%u)", slot->role));
	if (operation->nulls[ARG_APPLICATION_NAME])
		set_text(operation, ARG_APPLICATION_NAME, "");
	if (slot->queryid != 0)
	{
		char	   *json = psprintf("{\"queryid\": " INT64_FORMAT "}",
									slot->queryid);

		fobs_set_value(operation, ARG_DETAILS,
					   DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	}
}

/* Adds a document to the details, which may be no object. */
static void
add_details(Operation *operation, Datum document)
{
	if (!operation->nulls[ARG_DETAILS])
	{
		Jsonb	   *details = DatumGetJsonbP(operation->values[ARG_DETAILS]);
		Datum		object = JsonbPGetDatum(details);

		if (!JB_ROOT_IS_OBJECT(details))
		{
			char	   *text = JsonbToCString(NULL, &details->root,
											  VARSIZE(details));

			text = psprintf("{\"details\": %s}", text);
			object = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
		}
		document = DirectFunctionCall2(jsonb_concat, object, document);
	}
	fobs_set_value(operation, ARG_DETAILS, document);
}

static void
write_slot(const FobsRingSlot *slot)
{
	Operation	operation;
	FobsResult	result = slot->result;
	bool		succeeded = result == FOBS_RESULT_SUCCESS ||
	result == FOBS_RESULT_NOOP;

	fobs_payload_read(&slot->payload, &operation);
	if (slot->is_statement)
		complete_statement(&operation, slot);
	if (slot->is_notice)
	{
		set_text(&operation, ARG_RESULT, fobs_audit_results[result]);
		fobs_audit_append_late(&operation);
		return;
	}
	if (succeeded)
	{
		char	   *sqlstate = slot->sqlstate == 0 ? NULL :
		pstrdup(unpack_sql_state(slot->sqlstate));

		result = failed_result(slot);
		set_text(&operation, ARG_SQLSTATE, sqlstate);
		set_text(&operation, ARG_ERROR_MESSAGE, sqlstate == NULL ?
				 "rolled back" : fobs_condition_name(sqlstate));
	}
	set_text(&operation, ARG_RESULT, fobs_audit_results[result]);
	add_details(&operation, failure_document(slot, !succeeded));
	fobs_audit_append_late(&operation);
}

/* Is it the row itself that an error is about? */
static bool
is_rejection(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_WITH_CHECK_OPTION_VIOLATION:
		case ERRCODE_PLPGSQL_ERROR:
			return true;
		default:
			return false;
	}
}

/*
 * Writes some slots, all or none; returns false if the table does not take one
 * of them.
 */
static bool
write_slots(FobsRingSlot **slots, int n)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool written = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		for (int i = 0; i < n; i++)
			write_slot(slots[i]);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!is_rejection(error->sqlerrcode))
		{
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
			ReThrowError(error);
		}
		written = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return written;
}

/* Writes an entry about what was lost, if anything was. */
static void
declare_losses(void)
{
	FobsLosses	losses;
	Operation	operation;
	StringInfoData json;

	if (!fobs_audit_ring_declare(&losses))
		return;
	initStringInfo(&json);
	appendStringInfo(&json, "{\"lost\": {");
	for (int i = 0, n = 0; i < FOBS_N_LOSSES; i++)
		if (losses.n[i] > 0)
			appendStringInfo(&json, "%s\"%s\": " UINT64_FORMAT,
							 n++ > 0 ? ", " : "", fobs_audit_losses[i],
							 losses.n[i]);
	appendStringInfoChar(&json, '}');
	append_time(&json, "since", losses.since);
	appendStringInfoChar(&json, '}');

	memset(operation.nulls, true, sizeof(operation.nulls));
	set_text(&operation, ARG_OPERATION, "audit.lost");
	set_text(&operation, ARG_RESULT, fobs_audit_results[FOBS_RESULT_FAILURE]);
	fobs_set_value(&operation, ARG_DETAILS,
				   DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
	fobs_audit_append(&operation);
}

/*
 * audit_drain_ring() returns bigint
 *
 * Writes entries of operations that were rolled back, at most BATCH_SIZE, and
 * one about those that were lost; returns how many of the former.
 */
Datum
fraiseql_obs_audit_drain_ring(PG_FUNCTION_ARGS)
{
	FobsRingSlot *slots[BATCH_SIZE];
	int			n;
	int64		written = 0;

	fobs_counters_require();
	PreventCommandDuringRecovery("audit_drain_ring()");
	n = fobs_audit_ring_take(slots, BATCH_SIZE);
	if (n > 0 && write_slots(slots, n))
		written = n;
	else
	{
		for (int i = 0; i < n; i++)
			if (write_slots(&slots[i], 1))
				written++;
			else
				fobs_audit_ring_reject();
	}
	declare_losses();
	PG_RETURN_INT64(written);
}

/* The databases that there are, as of now */
static List *
list_databases(void)
{
	Relation	relation = table_open(DatabaseRelationId, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	HeapTuple	tuple;
	List	   *databases = NIL;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		databases = lappend_oid(databases,
								((Form_pg_database) GETSTRUCT(tuple))->oid);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return databases;
}

/*
 * Frees the slots of databases that have been dropped, which nobody can drain;
 * within a transaction, in any database.  Returns how many there were.
 */
int
fobs_audit_forget_dropped_databases(void)
{
	/* in this order: what is reserved later may be a new database's */
	uint64		mark = fobs_audit_ring_mark();

	return fobs_audit_ring_keep_databases(mark, list_databases());
}

/*
 * audit_forget_dropped_databases() returns bigint
 */
Datum
fraiseql_obs_audit_forget_dropped_databases(PG_FUNCTION_ARGS)
{
	fobs_counters_require();
	PG_RETURN_INT64(fobs_audit_forget_dropped_databases());
}

/*
 * audit_claim_start() returns timestamptz
 *
 * Since when this server logs in this database (-infinity: its start has been
 * told before, and nothing is missing since), if it is on this transaction to
 * write an entry about its start, else NULL.
 */
Datum
fraiseql_obs_audit_claim_start(PG_FUNCTION_ARGS)
{
	TimestampTz began_at;

	fobs_counters_require();
	PreventCommandDuringRecovery("audit_announce_start()");
	if (!fobs_audit_ring_announce_start(&began_at))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(began_at);
}

/*
 * audit_claim_stop() returns jsonb
 *
 * The transaction writes the entry that the audit has stopped.  Returns its
 * details: how many operations have no entry yet, and if it is the worker that
 * says so, which does when it ends.
 */
Datum
fraiseql_obs_audit_claim_stop(PG_FUNCTION_ARGS)
{
	bool		is_worker;
	char	   *json;

	fobs_counters_require();
	PreventCommandDuringRecovery("audit_announce_stop()");
	is_worker = fobs_audit_ring_announce_stop();
	json = psprintf("{\"unsettled\": %d, \"worker\": %s}",
					fobs_audit_ring_unsettled(),
					is_worker ? "true" : "false");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/*
 * audit_server_stopped() returns boolean
 *
 * Whether the server before this one was shut down in order; NULL if that was
 * another one, of which this was a standby.
 */
Datum
fraiseql_obs_audit_server_stopped(PG_FUNCTION_ARGS)
{
	FobsServerEnd end;

	fobs_counters_require();
	end = fobs_audit_ring_server_before();
	if (end == FOBS_SERVER_ELSEWHERE)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(end == FOBS_SERVER_STOPPED);
}
