/*-------------------------------------------------------------------------
 *
 * audit_seal.h
 *	  What sealing the audit log and verifying it have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_SEAL_H
#define FOBS_AUDIT_SEAL_H

#include "audit_encoding.h"

/* How a pg_snapshot is stored, which xid8funcs.c keeps to itself */
typedef struct AuditSnapshot
{
	int32		vl_len_;
	uint32		n_running;
	uint64		xmin;			/* all before it have ended */
	uint64		xmax;			/* none from it on has begun */
	uint64		running[FLEXIBLE_ARRAY_MEMBER]; /* in between, in order */
} AuditSnapshot;

extern const AuditSnapshot *fobs_get_snapshot(Datum value);
extern bool fobs_was_running(const AuditSnapshot *snapshot, uint64 xact);

extern void fobs_seal_hash(TupleDesc tupdesc, const Datum *values,
						   const bool *nulls, MerkleHash *hash);
extern void fobs_get_hash(Datum value, bool isnull, MerkleHash *hash);
extern bytea *fobs_hash_to_bytea(const MerkleHash *hash);
extern bool fobs_is_hash(Datum value, bool isnull, const MerkleHash *hash);

/* Had the transaction ended, so that its rows are visible by the snapshot? */
static inline bool
fobs_is_visible(const AuditSnapshot *snapshot, uint64 xact)
{
	return xact < snapshot->xmin ||
		(xact < snapshot->xmax && !fobs_was_running(snapshot, xact));
}

#endif							/* FOBS_AUDIT_SEAL_H */
