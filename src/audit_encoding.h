/*-------------------------------------------------------------------------
 *
 * audit_encoding.h
 *	  The bytes that rows of the audit log are hashed as.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_ENCODING_H
#define FOBS_AUDIT_ENCODING_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "lib/stringinfo.h"

#include "merkle.h"

/*
 * Columns of the log.  A column's tag is its number in the table and never
 * changes, because digests are made of it.
 */
typedef enum AuditColumn
{
	AUDIT_ID = 1,
	AUDIT_CREATED_AT,
	AUDIT_OCCURRED_AT,
	AUDIT_XACT,
	AUDIT_TENANT_ID,
	AUDIT_USER_ID,
	AUDIT_OPERATION,
	AUDIT_ENTITY_TYPE,
	AUDIT_ENTITY_ID,
	AUDIT_RESULT,
	AUDIT_DETAILS,
	AUDIT_OLD_DATA,
	AUDIT_NEW_DATA,
	AUDIT_CHANGED_FIELDS,
	AUDIT_SQLSTATE,
	AUDIT_ERROR_MESSAGE,
	AUDIT_DURATION_MS,
	AUDIT_DB_ROLE,
	AUDIT_CLIENT_ADDR,
	AUDIT_APPLICATION_NAME,
	AUDIT_REQUEST_ID,
	AUDIT_TRACE_ID,
	AUDIT_SPAN_ID,
	AUDIT_PERSONAL_SALT,
	AUDIT_PERSONAL_DIGEST,
	AUDIT_ACTOR_TYPE,
	AUDIT_ACTING_FOR
} AuditColumn;

#define AUDIT_N_COLUMNS		AUDIT_ACTING_FOR

/* A row of the log; the value of a column stands at its tag */
typedef struct AuditRow
{
	Datum		values[AUDIT_N_COLUMNS + 1];
	bool		nulls[AUDIT_N_COLUMNS + 1];
} AuditRow;

/* Where the columns of the log are in a table; 0 where the tag is none */
typedef struct AuditColumnMap
{
	int			place[AUDIT_N_COLUMNS + 1];
	int			n_attributes;	/* that must be read of a tuple */
	bool		in_order;		/* each at its tag, as it mostly is */
} AuditColumnMap;

extern TupleDesc fobs_audit_deform(HeapTupleHeader record, Datum **values,
								   bool **nulls);
extern void fobs_audit_map_columns(TupleDesc tupdesc, AuditColumnMap *map);
extern void fobs_audit_get_row(const AuditColumnMap *map, const Datum *values,
							   const bool *nulls, AuditRow *row);
extern bool fobs_audit_is_complete(const AuditRow *row);

extern void fobs_audit_append_value(StringInfo buffer, uint8 tag, Oid type,
									Datum value);
extern void fobs_audit_leaf(const AuditRow *row, MerkleHash *leaf);
extern bool fobs_audit_has_personal(const AuditRow *row);
extern void fobs_audit_personal_digest(const AuditRow *row,
									   MerkleHash *digest);

#endif							/* FOBS_AUDIT_ENCODING_H */
