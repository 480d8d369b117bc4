/*-------------------------------------------------------------------------
 *
 * audit_counts.h
 *	  Counts of rows of the audit log, as its rollups have them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_COUNTS_H
#define FOBS_AUDIT_COUNTS_H

#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "audit_encoding.h"

typedef struct AuditCounts AuditCounts;

/* A row of the rollups that is not what the rows are */
typedef struct CountDifference
{
	const char *what;			/* such as: operation "update", success */
	TimestampTz bucket;
	int64		in_rollup;
	int64		in_rows;
} CountDifference;

typedef void (*CountDifferenceCallback) (const CountDifference *difference,
										 void *arg);

extern AuditCounts *fobs_counts_create(void);
extern void fobs_counts_free(AuditCounts *counts);
extern Size fobs_counts_memory(AuditCounts *counts);
extern void fobs_counts_prepare(AuditCounts *counts, const AuditRow *row);
extern void fobs_counts_add(AuditCounts *counts, const AuditRow *row);
extern void fobs_counts_complete(AuditCounts *counts);
extern Jsonb *fobs_counts_results(AuditCounts *counts);
extern void fobs_counts_root(AuditCounts *counts, MerkleHash *root);
extern void fobs_counts_write(AuditCounts *counts, Oid log);
extern void fobs_counts_read(AuditCounts *counts, Oid log, TimestampTz from,
							 TimestampTz to, int64 *incomplete);
extern void fobs_counts_compare(AuditCounts *rows, Oid log, TimestampTz from,
								TimestampTz to, int64 *incomplete,
								CountDifferenceCallback report, void *arg);

#endif							/* FOBS_AUDIT_COUNTS_H */
