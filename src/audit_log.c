/*-------------------------------------------------------------------------
 *
 * audit_log.c
 *	  The door of the audit log: what appends to it, and what refuses all else.
 *
 * The log is an ordinary table, made by create_audit_log().  log_operation()
 * appends a row with the rights of the table's owner, so that the callers need
 * no right on it, and sets what callers may not choose: time, transaction,
 * role, address and digest.  While it does, the door is open; the triggers of
 * the log (audit_guard) refuse every other INSERT, and each UPDATE, DELETE and
 * TRUNCATE.
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
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit_log.h"
#include "compat.h"
#include "context.h"

#define SALT_SIZE		16

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
	[ARG_PERSONAL_SALT] = {"personal_salt", BYTEAOID},
	[ARG_PERSONAL_DIGEST] = {"personal_digest", BYTEAOID},
};

/*
 * The erasable columns, with their tags.  A column's tag is its number in the
 * table and never changes, because digests are made of it.
 */
static const struct
{
	uint8		tag;
	Argument	argument;
}			personal[] = {
	{6, ARG_USER_ID},
	{11, ARG_DETAILS},
	{12, ARG_OLD_DATA},
	{13, ARG_NEW_DATA},
	{16, ARG_ERROR_MESSAGE},
	{19, ARG_CLIENT_ADDR},
	{27, ARG_ACTING_FOR},
};

/* The log as this process knows it */
static Oid	log_oid = InvalidOid;
static Oid	log_owner = InvalidOid;

/* The INSERT into a log, which plancache.c keeps valid */
static SPIPlanPtr insert_plan = NULL;
static Oid	insert_plan_log = InvalidOid;

/* There is a partition for times from the first to before the second */
static TimestampTz partition_from = 0;
static TimestampTz partition_until = 0;

/* The INSERT that runs is ours */
static bool door_open = false;

PG_FUNCTION_INFO_V1(fraiseql_obs_log_operation);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_guard);

/* Forgets the log when it, its partitions or everything changes. */
static void
forget_log(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == log_oid)
	{
		log_oid = InvalidOid;
		partition_until = 0;
	}
}

/* A function of the extension, whose schema is that of caller. */
static Oid
extension_function(Oid caller, const char *name, int nargs, const Oid *types)
{
	char	   *schema = get_namespace_name(get_func_namespace(caller));

	return LookupFuncName(list_make2(makeString(schema),
									 makeString(pstrdup(name))),
						  nargs, types, false);
}

/* Finds the log; an error if there is none. */
static void
find_log(Oid caller)
{
	static bool registered = false;
	Relation	log;
	Oid			oid;

	if (OidIsValid(log_oid))
		return;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_log, (Datum) 0);
		registered = true;
	}
	oid = DatumGetObjectId(OidFunctionCall0(extension_function(caller,
															   "audit_log",
															   0, NULL)));
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

static bool
is_document(Argument argument)
{
	return columns[argument].type == JSONBOID;
}

/*
 * What the request context says where the caller says nothing.  It is cut,
 * not refused, where it is too long: whoever set it may be far away.
 */
static void
default_text(Operation *operation, Argument argument, const char *value)
{
	int			length;

	if (!operation->nulls[argument] || value == NULL || value[0] == '\0')
		return;
	length = pg_mbcliplen(value, strlen(value), AUDIT_MAX_TEXT);
	fobs_set_value(operation, argument,
				   PointerGetDatum(cstring_to_text_with_len(value, length)));
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

/* Checks the result; what FraiseQL's Python calls "error" is a failure. */
static void
check_result(Operation *operation)
{
	static const char *const results[] = {
		"success", "failure", "denied", "timeout", "noop"
	};
	char	   *result = TextDatumGetCString(operation->values[ARG_RESULT]);

	if (strcmp(result, "error") == 0)
	{
		fobs_set_value(operation, ARG_RESULT, CStringGetTextDatum("failure"));
		return;
	}
	for (int i = 0; i < lengthof(results); i++)
		if (strcmp(result, results[i]) == 0)
			return;
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
	if (toast_raw_datum_size(operation->values[ARG_OPERATION]) == VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"operation\" of an audit log entry must not be empty"),
				 errhint("Name what was done, as \"update\".")));
	check_result(operation);
	check_numbers(operation);
}

static void
update(pg_cryptohash_ctx *hash, const void *data, size_t length)
{
	if (pg_cryptohash_update(hash, data, length) < 0)
		elog(ERROR, "could not compute SHA-256");
}

/* The bytes that a value is hashed as: UTF-8 text. */
static char *
canonical_text(Argument argument, Datum value)
{
	char	   *string;

	if (is_document(argument))
	{
		Jsonb	   *document = DatumGetJsonbP(value);

		string = JsonbToCString(NULL, &document->root, VARSIZE(document));
	}
	else if (columns[argument].type == INETOID)
		string = DatumGetCString(DirectFunctionCall1(inet_out, value));
	else
		string = TextDatumGetCString(value);
	return pg_server_to_any(string, strlen(string), PG_UTF8);
}

/*
 * Sets salt and digest: SHA-256 of the salt, a byte 1 for this encoding, and
 * of each erasable column that is not null its tag, its length as a 32-bit
 * big-endian number and its text.
 */
static void
set_digest(Operation *operation)
{
	const uint8 version = 1;
	bytea	   *salt = palloc(VARHDRSZ + SALT_SIZE);
	bytea	   *digest = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_cryptohash_ctx *hash;

	SET_VARSIZE(salt, VARHDRSZ + SALT_SIZE);
	SET_VARSIZE(digest, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (!pg_strong_random(VARDATA(salt), SALT_SIZE))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random salt")));

	hash = pg_cryptohash_create(PG_SHA256);
	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not compute SHA-256");
	update(hash, VARDATA(salt), SALT_SIZE);
	update(hash, &version, sizeof(version));
	for (int i = 0; i < lengthof(personal); i++)
	{
		Argument	argument = personal[i].argument;
		char	   *string;
		uint32		length;

		if (operation->nulls[argument])
			continue;
		string = canonical_text(argument, operation->values[argument]);
		length = pg_hton32((uint32) strlen(string));
		update(hash, &personal[i].tag, sizeof(personal[i].tag));
		update(hash, &length, sizeof(length));
		update(hash, string, strlen(string));
	}
	if (pg_cryptohash_final(hash, (uint8 *) VARDATA(digest),
							PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(hash);

	fobs_set_value(operation, ARG_PERSONAL_SALT, PointerGetDatum(salt));
	fobs_set_value(operation, ARG_PERSONAL_DIGEST, PointerGetDatum(digest));
}

/* Sets what is not the caller's to choose, and defaults. */
static void
complete_operation(Operation *operation)
{
	TimestampTz now;

	LOCAL_FCINFO(address, 0);
	Datum		value;

	/* the rollups rely on it that a transaction is older than its rows */
	(void) GetTopTransactionId();
	now = GetCurrentTimestamp();
	fobs_set_value(operation, ARG_CREATED_AT, TimestampTzGetDatum(now));
	if (operation->nulls[ARG_OCCURRED_AT])
		fobs_set_value(operation, ARG_OCCURRED_AT, TimestampTzGetDatum(now));

	InitFunctionCallInfoData(*address, NULL, 0, InvalidOid, NULL, NULL);
	value = inet_client_addr(address);
	operation->nulls[ARG_CLIENT_ADDR] = true;
	if (!address->isnull)
		fobs_set_value(operation, ARG_CLIENT_ADDR, value);

	default_text(operation, ARG_USER_ID,
				 fobs_context_setting(FOBS_SOURCE_USER));
	default_text(operation, ARG_TENANT_ID,
				 fobs_context_setting(FOBS_SOURCE_TENANT));
	default_text(operation, ARG_REQUEST_ID,
				 GetConfigOption("fraiseql_obs.request_id", true, false));
	set_digest(operation);
}

/* Makes sure that there is a partition for now, as the owner, in SPI. */
static void
ensure_partition(Oid caller, TimestampTz now)
{
	static const Oid types[] = {TIMESTAMPTZOID};
	Oid			function;
	Datum		until;

	if (now >= partition_from && now < partition_until)
		return;
	function = extension_function(caller, "audit_ensure_partition", 1, types);
	until = OidFunctionCall1(function, TimestampTzGetDatum(now));
	partition_until = DatumGetTimestampTz(until);
	partition_from = now;
}

/* Appends a row, as the log's owner, and returns its id. */
static int64
append(Oid caller, Operation *operation)
{
	char		nulls[N_ARGUMENTS];
	bool		was_open = door_open;
	bool		isnull;
	int64		id;

	SPI_connect();
	ensure_partition(caller,
					 DatumGetTimestampTz(operation->values[ARG_CREATED_AT]));
	/* making a partition makes us forget the log */
	find_log(caller);
	prepare_insert();
	for (int i = 0; i < N_ARGUMENTS; i++)
		nulls[i] = operation->nulls[i] ? 'n' : ' ';
	door_open = true;
	if (SPI_execute_plan(insert_plan, operation->values, nulls, false, 0) !=
		SPI_OK_INSERT_RETURNING || SPI_processed != 1)
		elog(ERROR, "could not append to the audit log");
	door_open = was_open;
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return id;
}

/*
 * Appends an operation to the log and returns its id.  What the operation has
 * must be within bounds.  caller is the function of ours that was called.
 */
int64
fobs_audit_append(Oid caller, Operation *operation)
{
	bool		was_open = door_open;
	Oid			save_userid;
	int			save_sec_context;
	int64		id;

	find_log(caller);
	complete_operation(operation);

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(log_owner, save_sec_context |
						   SECURITY_LOCAL_USERID_CHANGE);
	PG_TRY();
	{
		id = append(caller, operation);
	}
	PG_FINALLY();
	{
		door_open = was_open;
	}
	PG_END_TRY();
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return id;
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
	find_log(fcinfo->flinfo->fn_oid);
	check_operation(&operation);
	PG_RETURN_INT64(fobs_audit_append(fcinfo->flinfo->fn_oid, &operation));
}

/*
 * audit_guard() returns trigger
 *
 * Lets pass what log_operation() inserts, and raises insufficient_privilege
 * for everything else.
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
	if (insert && door_open)
		PG_RETURN_POINTER(trigger->tg_trigtuple);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("audit log is append-only"),
			 insert ? errhint("Append to it with fraiseql_obs.log_operation().") :
			 errdetail("Rows cannot be changed or removed.")));
	PG_RETURN_NULL();
}
