/*-------------------------------------------------------------------------
 *
 * audit_tables.h
 *	  The tables beside the audit log, as who verifies reads them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_TABLES_H
#define FOBS_AUDIT_TABLES_H

#include "audit_query.h"
#include "audit_verify.h"

/* All of the first n columns of a query */
#define FIRST_COLUMNS(n)	(((uint32) 1 << (n)) - 1)

/* One column of a query, the first being 0 */
#define ONE_COLUMN(n)		((uint32) 1 << (n))

extern bool fobs_verify_tables(Verifier *verifier);
extern void fobs_verify_query(Verifier *verifier, AuditQuery *query,
							  const char *table, uint32 columns);
extern void fobs_report_incomplete(Verifier *verifier, const char *table,
								   int64 n);

#endif							/* FOBS_AUDIT_TABLES_H */
