/*-------------------------------------------------------------------------
 *
 * audit_log.c
 *	  The door of the audit log: what appends to it, and what refuses all else.
 *
 * The log is an ordinary table, made by create_audit_log().  log_operation()
 * appends a row with the rights of the table's owner, so that the callers need
 * no right on it, and sets what callers may not choose: time, transaction,
 * role, address and digest.  While it does, a door is open (audit_door.c); the
 * triggers of the log (audit_guard) refuse every other INSERT, each UPDATE but
 * that of an erasure, and each DELETE and TRUNCATE.
 *
 * All state is this process's: the plan of the INSERT, until the log or
 * something about its partitions changes, and the time up to which a partition
 * is known to exist.  Writers share nothing, so they do not wait for each
 * other, but for the lock that who makes a missing partition holds.
 *
 * Works without shared_preload_libraries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit_door.h"
#include "audit_encoding.h"
#include "audit_extension.h"
#include "audit_log.h"
#include "audit_ring.h"
#include "compat.h"
#include "context.h"
#include "label.h"
#include "trace.h"

#define SALT_SIZE		16

/* How the names of operations on the log itself begin */
#define RESERVED_PREFIX "audit."

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column columns[N_ARGUMENTS] = {
	[ARG_OPERATION] = {"operation", TEXTOID},
	[ARG_ENTITY_TYPE] = {"entity_type", TEXTOID},
	[ARG_ENTITY_ID] = {"entity_id", TEXTOID},
	[ARG_RESULT] = {"result", TEXTOID},
	[ARG_DETAILS] = {"details", JSONBOID},
	[ARG_USER_ID] = {"user_id", TEXTOID},
	[ARG_TENANT_ID] = {"tenant_id", TEXTOID},
	[ARG_OLD_DATA] = {"old_data", JSONBOID},
	[ARG_NEW_DATA] = {"new_data", JSONBOID},
	[ARG_CHANGED_FIELDS] = {"changed_fields", TEXTARRAYOID},
	[ARG_SQLSTATE] = {"sqlstate", TEXTOID},
	[ARG_ERROR_MESSAGE] = {"error_message", TEXTOID},
	[ARG_DURATION_MS] = {"duration_ms", FLOAT8OID},
	[ARG_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
	[ARG_REQUEST_ID] = {"request_id", TEXTOID},
	[ARG_TRACE_ID] = {"trace_id", TEXTOID},
	[ARG_SPAN_ID] = {"span_id", TEXTOID},
	[ARG_ACTOR_TYPE] = {"actor_type", TEXTOID},
	[ARG_ACTING_FOR] = {"acting_for", TEXTOID},
	[ARG_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[ARG_CLIENT_ADDR] = {"client_addr", INETOID},
	[ARG_DB_ROLE] = {"db_role", TEXTOID},
	[ARG_APPLICATION_NAME] = {"application_name", TEXTOID},
	[ARG_PERSONAL_SALT] = {"personal_salt", BYTEAOID},
	[ARG_PERSONAL_DIGEST] = {"personal_digest", BYTEAOID},
};

/* The arguments that are columns that may be erased */
static const struct
{
	AuditColumn column;
	Argument	argument;
}			personal[] = {
	{AUDIT_USER_ID, ARG_USER_ID},
	{AUDIT_DETAILS, ARG_DETAILS},
	{AUDIT_OLD_DATA, ARG_OLD_DATA},
	{AUDIT_NEW_DATA, ARG_NEW_DATA},
	{AUDIT_ERROR_MESSAGE, ARG_ERROR_MESSAGE},
	{AUDIT_CLIENT_ADDR, ARG_CLIENT_ADDR},
	{AUDIT_ACTING_FOR, ARG_ACTING_FOR},
};

const char *const fobs_audit_results[FOBS_N_RESULTS] = {
	[FOBS_RESULT_SUCCESS] = "success",
	[FOBS_RESULT_FAILURE] = "failure",
	[FOBS_RESULT_DENIED] = "denied",
	[FOBS_RESULT_TIMEOUT] = "timeout",
	[FOBS_RESULT_NOOP] = "noop",
};

/* The log as this process knows it */
static Oid	log_oid = InvalidOid;
static Oid	log_owner = InvalidOid;
static bool log_owner_checked = false;

/* The INSERT into a log, which plancache.c keeps valid */
static SPIPlanPtr insert_plan = NULL;
static Oid	insert_plan_log = InvalidOid;

/* There is a partition for times from the first to before the second */
static TimestampTz partition_from = 0;
static TimestampTz partition_until = 0;

PG_FUNCTION_INFO_V1(fraiseql_obs_log_operation);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_guard);

/* Forgets the log when it, its partitions or everything changes. */
static void
forget_log(Datum arg, Oid relid)
{
	/* once it is forgotten, nobody knows whether it is that again */
	if (relid == InvalidOid || relid == log_oid || !OidIsValid(log_oid))
	{
		log_oid = InvalidOid;
		log_owner_checked = false;
		partition_until = 0;
	}
}

/* Raises an error if not all of the log belongs to its owner. */
static void
check_owners(Oid log)
{
	static const Oid types[] = {REGCLASSOID};

	OidFunctionCall1(fobs_extension_function("audit_check_owners", 1, types),
					 ObjectIdGetDatum(log));
}

/* Finds the log; an error if there is none. */
static void
find_log(void)
{
	static bool registered = false;
	Relation	log;
	Oid			function;
	Oid			oid;

	if (OidIsValid(log_oid))
		return;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_log, (Datum) 0);
		registered = true;
	}
	function = fobs_extension_function("audit_log", 0, NULL);
	oid = DatumGetObjectId(OidFunctionCall0(function));
	log = table_open(oid, AccessShareLock);
	log_owner = log->rd_rel->relowner;
	table_close(log, NoLock);
	log_oid = oid;
}

/* Makes the plan of the INSERT into the log, inside of SPI. */
static void
prepare_insert(void)
{
	StringInfoData names;
	StringInfoData numbers;
	Oid			types[N_ARGUMENTS];
	SPIPlanPtr	plan;
	Oid			log = log_oid;	/* may be forgotten meanwhile */
	char	   *schema;
	char	   *table;

	if (insert_plan != NULL && insert_plan_log == log)
		return;

	schema = get_namespace_name(get_rel_namespace(log));
	table = get_rel_name(log);
	initStringInfo(&names);
	initStringInfo(&numbers);
	for (int i = 0; i < N_ARGUMENTS; i++)
	{
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", columns[i].name);
		appendStringInfo(&numbers, "%s$%d", i > 0 ? ", " : "", i + 1);
		types[i] = columns[i].type;
	}
	plan = SPI_prepare(psprintf("INSERT INTO %s (%s) VALUES (%s) RETURNING id",
								quote_qualified_identifier(schema, table),
								names.data, numbers.data),
					   N_ARGUMENTS, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	if (insert_plan != NULL)
	{
		SPI_freeplan(insert_plan);
		insert_plan = NULL;
	}
	SPI_keepplan(plan);
	insert_plan = plan;
	insert_plan_log = log;
}

/*
 * Text that was never checked for the database's encoding, as that of settings
 * which came with the connection and of roles' names, as it can be stored: of
 * what is not valid U+FFFD, or what stands for it, is left.  It is cut, not
 * refused, where it is too long: whoever set it may be far away.
 */
static Datum
valid_text(const char *value)
{
	char		label[AUDIT_MAX_TEXT + 1];
	int			length = strlen(value);

	if (!pg_verify_mbstr(GetDatabaseEncoding(), value, length, true))
	{
		fobs_label_prepare();
		(void) fobs_label_copy(label, sizeof(label), value, length);
		value = fobs_label_to_server(label);
		length = strlen(value);
	}
	length = pg_mbcliplen(value, length, AUDIT_MAX_TEXT);
	return PointerGetDatum(cstring_to_text_with_len(value, length));
}

/* What the request context says where the caller says nothing. */
static void
default_text(Operation *operation, Argument argument, const char *value)
{
	if (!operation->nulls[argument] || value == NULL || value[0] == '\0')
		return;
	fobs_set_value(operation, argument, valid_text(value));
}

static void
check_length(Argument argument, size_t length, size_t limit)
{
	if (length > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("\"%s\" of an audit log entry is too large",
						columns[argument].name),
				 errdetail("It has %zu bytes, and may have %zu.",
						   length, limit),
				 errhint("Keep large values elsewhere, and log a reference.")));
}

/* Bounds what the caller gave. */
static void
check_sizes(const Operation *operation)
{
	for (int i = 0; i < N_CALLER_ARGUMENTS; i++)
	{
		Oid			type = columns[i].type;
		size_t		limit = AUDIT_MAX_DOCUMENT;

		if (operation->nulls[i] || type == FLOAT8OID || type == TIMESTAMPTZOID)
			continue;
		if (i == ARG_ERROR_MESSAGE)
			limit = AUDIT_MAX_MESSAGE;
		else if (type == TEXTOID)
			limit = AUDIT_MAX_TEXT;
		check_length(i, toast_raw_datum_size(operation->values[i]) - VARHDRSZ,
					 limit);
	}
}

/* The result of an operation; FOBS_N_RESULTS if it is not valid */
FobsResult
fobs_audit_result(const Operation *operation)
{
	char	   *result = TextDatumGetCString(operation->values[ARG_RESULT]);
	int			i = 0;

	while (i < FOBS_N_RESULTS && strcmp(result, fobs_audit_results[i]) != 0)
		i++;
	pfree(result);
	return (FobsResult) i;
}

/* Checks the result; what FraiseQL's Python calls "error" is a failure. */
static void
check_result(Operation *operation)
{
	char	   *result = TextDatumGetCString(operation->values[ARG_RESULT]);

	if (strcmp(result, "error") == 0)
		fobs_set_value(operation, ARG_RESULT, CStringGetTextDatum("failure"));
	else if (fobs_audit_result(operation) == FOBS_N_RESULTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid result \"%s\" of an audit log entry", result),
				 errhint("Valid results are \"success\", \"failure\", \"denied\", \"timeout\" and \"noop\".")));
}

/* What no clock shows would make statistics of nothing. */
static void
check_numbers(const Operation *operation)
{
	TimestampTz occurred_at;

	if (!operation->nulls[ARG_DURATION_MS] &&
		!(DatumGetFloat8(operation->values[ARG_DURATION_MS]) >= 0 &&
		  !isinf(DatumGetFloat8(operation->values[ARG_DURATION_MS]))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"duration_ms\" of an audit log entry must be a number of milliseconds"),
				 errhint("Leave it out where nothing was measured.")));
	occurred_at = DatumGetTimestampTz(operation->values[ARG_OCCURRED_AT]);
	if (!operation->nulls[ARG_OCCURRED_AT] &&
		TIMESTAMP_NOT_FINITE(occurred_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"occurred_at\" of an audit log entry must not be infinite"),
				 errhint("Leave it out where it is now.")));
}

/*
 * Is it an operation by whose entries verification knows what was removed,
 * kept and erased?
 */
bool
fobs_audit_is_record(const char *operation, size_t length)
{
	static const char *const records[] = {
		"audit.partition_removed", "audit.partition_kept",
		"audit.seals_collapsed", "audit.erased", "audit.hold_placed",
		"audit.hold_released", "audit.retention_changed"
	};

	/* most are none: this is asked of every row that is verified */
	if (length < strlen(RESERVED_PREFIX) ||
		memcmp(operation, RESERVED_PREFIX, strlen(RESERVED_PREFIX)) != 0)
		return false;
	for (int i = 0; i < lengthof(records); i++)
		if (strlen(records[i]) == length &&
			memcmp(records[i], operation, length) == 0)
			return true;
	return false;
}

/* Does an operation have a name of ours? */
bool
fobs_audit_is_reserved(const char *operation)
{
	return strncmp(operation, RESERVED_PREFIX, strlen(RESERVED_PREFIX)) == 0;
}

/* What happened to the log itself only our own functions say. */
static void
check_name(const Operation *operation)
{
	char	   *name = TextDatumGetCString(operation->values[ARG_OPERATION]);

	if (name[strspn(name, " \t\n\r\f\v")] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"operation\" of an audit log entry must not be empty"),
				 errhint("Name what was done, as \"update\".")));
	if (fobs_audit_is_reserved(name) && !(fobs_audit_doors & FOBS_DOOR_KEEP))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("operation \"%s\" of an audit log entry is reserved",
						name),
				 errdetail("Names that begin with \"%s\" are those of operations on the audit log itself.",
						   RESERVED_PREFIX),
				 errhint("Choose another name.")));
	pfree(name);
}

/* Checks what the caller gave. */
static void
check_operation(Operation *operation)
{
	if (operation->nulls[ARG_OPERATION] || operation->nulls[ARG_RESULT])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" of an audit log entry must not be null",
						operation->nulls[ARG_OPERATION] ? "operation" : "result"),
				 errhint("Name what was done, as \"update\", and leave out a result that is success.")));
	check_sizes(operation);
	check_name(operation);
	check_result(operation);
	check_numbers(operation);
}

/* Sets a salt, and the digest of the columns that may be erased. */
static void
set_digest(Operation *operation)
{
	bytea	   *salt = palloc(VARHDRSZ + SALT_SIZE);
	bytea	   *digest = palloc(VARHDRSZ + MERKLE_HASH_SIZE);
	AuditRow	row;
	MerkleHash	hash;

	SET_VARSIZE(salt, VARHDRSZ + SALT_SIZE);
	SET_VARSIZE(digest, VARHDRSZ + MERKLE_HASH_SIZE);
	if (!pg_strong_random(VARDATA(salt), SALT_SIZE))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random salt")));

	for (int i = 0; i < lengthof(personal); i++)
	{
		Argument	argument = personal[i].argument;

		row.values[personal[i].column] = operation->values[argument];
		row.nulls[personal[i].column] = operation->nulls[argument];
	}
	row.values[AUDIT_PERSONAL_SALT] = PointerGetDatum(salt);
	fobs_audit_personal_digest(&row, &hash);
	memcpy(VARDATA(digest), hash.bytes, MERKLE_HASH_SIZE);

	fobs_set_value(operation, ARG_PERSONAL_SALT, PointerGetDatum(salt));
	fobs_set_value(operation, ARG_PERSONAL_DIGEST, PointerGetDatum(digest));
}

/* Sets when the row is written, by a transaction that has an identifier. */
static void
stamp_operation(Operation *operation)
{
	PreventCommandDuringRecovery("log_operation()");
	/* the rollups rely on it that a transaction is older than its rows */
	(void) GetTopTransactionId();
	fobs_audit_ring_attach();
	fobs_set_value(operation, ARG_CREATED_AT,
				   TimestampTzGetDatum(GetCurrentTimestamp()));
}

/* Sets the trace that the caller has not given, and its span with it. */
static void
default_trace(Operation *operation)
{
	char		tracestate[FOBS_TRACESTATE_SIZE];
	char		trace_id[FOBS_TRACE_ID_SIZE];
	char		span_id[FOBS_SPAN_ID_SIZE];
	FobsTrace	trace;

	if (!fobs_trace_now(&trace, tracestate))
		return;
	fobs_trace_format_id(trace.trace_id, FOBS_TRACE_ID_BYTES, trace_id);
	fobs_trace_format_id(trace.parent_id, FOBS_SPAN_ID_BYTES, span_id);
	default_text(operation, ARG_TRACE_ID, trace_id);
	default_text(operation, ARG_SPAN_ID, span_id);
}

/* Sets what is not the caller's to choose, and defaults. */
static void
complete_operation(Operation *operation)
{
	LOCAL_FCINFO(address, 0);
	const char *db_role = GetUserNameFromId(GetSessionUserId(), false);
	Datum		value;

	stamp_operation(operation);
	if (operation->nulls[ARG_OCCURRED_AT])
		fobs_set_value(operation, ARG_OCCURRED_AT,
					   operation->values[ARG_CREATED_AT]);

	InitFunctionCallInfoData(*address, NULL, 0, InvalidOid, NULL, NULL);
	value = inet_client_addr(address);
	operation->nulls[ARG_CLIENT_ADDR] = true;
	if (!address->isnull)
		fobs_set_value(operation, ARG_CLIENT_ADDR, value);
	fobs_set_value(operation, ARG_DB_ROLE, valid_text(db_role));
	fobs_set_value(operation, ARG_APPLICATION_NAME,
				   CStringGetTextDatum(application_name));

	default_text(operation, ARG_USER_ID,
				 fobs_context_setting(FOBS_SOURCE_USER));
	default_text(operation, ARG_TENANT_ID,
				 fobs_context_setting(FOBS_SOURCE_TENANT));
	default_text(operation, ARG_REQUEST_ID,
				 GetConfigOption("fraiseql_obs.request_id", true, false));
	if (operation->nulls[ARG_TRACE_ID])
		default_trace(operation);
}

/* Makes sure that there is a partition for now, as the owner, in SPI. */
static void
ensure_partition(TimestampTz now)
{
	static const Oid types[] = {TIMESTAMPTZOID};
	Oid			function;
	Datum		until;

	if (now >= partition_from && now < partition_until)
		return;
	function = fobs_extension_function("audit_ensure_partition", 1, types);
	fobs_audit_doors |= FOBS_DOOR_KEEP;
	until = OidFunctionCall1(function, TimestampTzGetDatum(now));
	partition_until = DatumGetTimestampTz(until);
	partition_from = now;
}

/* Appends a row, as the log's owner, and returns its id. */
static int64
append(Operation *operation)
{
	char		nulls[N_ARGUMENTS];
	int			doors_before = fobs_audit_doors;
	bool		isnull;
	int64		id;

	SPI_connect();
	ensure_partition(DatumGetTimestampTz(operation->values[ARG_CREATED_AT]));
	/* making a partition makes us forget the log */
	find_log();
	prepare_insert();
	for (int i = 0; i < N_ARGUMENTS; i++)
		nulls[i] = operation->nulls[i] ? 'n' : ' ';
	fobs_audit_doors = doors_before | FOBS_DOOR_APPEND;
	if (SPI_execute_plan(insert_plan, operation->values, nulls, false, 0) !=
		SPI_OK_INSERT_RETURNING || SPI_processed != 1)
		elog(ERROR, "could not append to the audit log");
	fobs_audit_doors = doors_before;
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return id;
}

/* The table that is the log; an error if there is none. */
Oid
fobs_audit_log_table(void)
{
	find_log();
	return log_oid;
}

/*
 * The role that the log belongs to; an error if there is no log, or it is not
 * all of it that does.
 */
Oid
fobs_audit_log_owner(void)
{
	find_log();
	check_owners(log_oid);
	return log_owner;
}

/* Appends a complete operation, and returns its id. */
static int64
append_as_owner(Operation *operation)
{
	int			doors_before = fobs_audit_doors;
	FobsSavedUser saved;
	int64		id;

	if (!log_owner_checked)
		check_owners(log_oid);
	log_owner_checked = true;
	set_digest(operation);
	fobs_audit_ring_count(fobs_audit_result(operation));

	fobs_audit_become_owner(log_owner, &saved);
	PG_TRY();
	{
		id = append(operation);
	}
	PG_FINALLY();
	{
		fobs_audit_doors = doors_before;
	}
	PG_END_TRY();
	fobs_audit_become_self(&saved);
	return id;
}

/*
 * Appends an operation to the log and returns its id.  What the operation has
 * must be within bounds.
 */
int64
fobs_audit_append(Operation *operation)
{
	find_log();
	complete_operation(operation);
	return append_as_owner(operation);
}

/*
 * The same for an operation that was completed before, maybe by another
 * process: who it was stays.
 */
int64
fobs_audit_append_late(Operation *operation)
{
	find_log();
	stamp_operation(operation);
	return append_as_owner(operation);
}

/*
 * The same for one that leaves an entry also if it is rolled back: a place for
 * it is reserved before anything is done; see audit_ring.c.
 */
static int64
append_covered(Operation *operation)
{
	FobsRingSlot *slot;
	int64		id;

	find_log();
	complete_operation(operation);
	slot = fobs_audit_ring_reserve(operation);
	id = append_as_owner(operation);
	if (slot != NULL)
		slot->id = id;
	return id;
}

/* The document that stands for one of this size, which is too large */
Datum
fobs_audit_truncated(size_t size)
{
	char	   *json = psprintf("{\"_truncated\": true, \"bytes\": %zu}", size);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/*
 * log_operation(...) returns bigint
 *
 * Appends one row to the audit log and returns its id.  Arguments that are
 * NULL take the request context's value where there is one.
 */
Datum
fraiseql_obs_log_operation(PG_FUNCTION_ARGS)
{
	Operation	operation;

	for (int i = 0; i < N_CALLER_ARGUMENTS; i++)
	{
		operation.nulls[i] = PG_ARGISNULL(i);
		operation.values[i] = operation.nulls[i] ? (Datum) 0 :
			PG_GETARG_DATUM(i);
	}
	/* that there is no log is said before what is wrong with the call */
	find_log();
	check_operation(&operation);
	PG_RETURN_INT64(append_covered(&operation));
}

/*
 * audit_guard() returns trigger
 *
 * Lets pass what comes by a door, and raises insufficient_privilege for
 * everything else.
 */
Datum
fraiseql_obs_audit_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		insert;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"audit_guard")));
	insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	if (insert && (fobs_audit_doors & FOBS_DOOR_APPEND))
		PG_RETURN_POINTER(trigger->tg_trigtuple);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		(fobs_audit_doors & FOBS_DOOR_ERASE))
		PG_RETURN_POINTER(NULL);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("audit log is append-only"),
			 insert ? errhint("Append to it with fraiseql_obs.log_operation().") :
			 errdetail("Rows cannot be changed or removed.")));
	PG_RETURN_NULL();
}
