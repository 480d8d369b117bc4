/*-------------------------------------------------------------------------
 *
 * audit_log.h
 *	  Appending to the audit log from C.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_LOG_H
#define FOBS_AUDIT_LOG_H

/* Bytes of a text that is no message, and of each document, at most */
#define AUDIT_MAX_TEXT		1024
#define AUDIT_MAX_MESSAGE	8192
#define AUDIT_MAX_DOCUMENT (1024 * 1024)

/* Arguments of log_operation(), in the order of its declaration */
typedef enum Argument
{
	ARG_OPERATION,
	ARG_ENTITY_TYPE,
	ARG_ENTITY_ID,
	ARG_RESULT,
	ARG_DETAILS,
	ARG_USER_ID,
	ARG_TENANT_ID,
	ARG_OLD_DATA,
	ARG_NEW_DATA,
	ARG_CHANGED_FIELDS,
	ARG_SQLSTATE,
	ARG_ERROR_MESSAGE,
	ARG_DURATION_MS,
	ARG_OCCURRED_AT,
	ARG_REQUEST_ID,
	ARG_TRACE_ID,
	ARG_SPAN_ID,
	ARG_ACTOR_TYPE,
	ARG_ACTING_FOR,
	/* those after it are the door's */
	ARG_CREATED_AT,
	ARG_CLIENT_ADDR,
	ARG_DB_ROLE,
	ARG_APPLICATION_NAME,
	ARG_PERSONAL_SALT,
	ARG_PERSONAL_DIGEST,
	N_ARGUMENTS
} Argument;

#define N_CALLER_ARGUMENTS	ARG_CREATED_AT

/* The columns of the log that they are */
typedef struct FobsAuditColumn
{
	const char *name;
	Oid			type;
} FobsAuditColumn;

extern const FobsAuditColumn fobs_audit_columns[N_ARGUMENTS];

/* An operation on its way into the log; the types are those of its columns */
typedef struct Operation
{
	Datum		values[N_ARGUMENTS];
	bool		nulls[N_ARGUMENTS];
} Operation;

/* What an entry may say of how its operation ended */
typedef enum FobsResult
{
	FOBS_RESULT_SUCCESS,
	FOBS_RESULT_FAILURE,
	FOBS_RESULT_DENIED,
	FOBS_RESULT_TIMEOUT,
	FOBS_RESULT_NOOP,
	FOBS_N_RESULTS
} FobsResult;

extern const char *const fobs_audit_results[FOBS_N_RESULTS];

static inline void
fobs_set_value(Operation *operation, Argument argument, Datum value)
{
	operation->values[argument] = value;
	operation->nulls[argument] = false;
}

extern bool fobs_audit_is_reserved(const char *operation);
extern Oid	fobs_audit_log_table(void);
extern Oid	fobs_audit_log_owner(void);
extern int64 fobs_audit_append(Operation *operation);
extern int64 fobs_audit_append_late(Operation *operation);
extern bool fobs_audit_is_record(const char *operation, size_t length);
extern FobsResult fobs_audit_result(const Operation *operation);
extern Datum fobs_audit_truncated(size_t size);

#endif							/* FOBS_AUDIT_LOG_H */
