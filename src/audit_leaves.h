/*-------------------------------------------------------------------------
 *
 * audit_leaves.h
 *	  Leaves of seals' trees, that come in any order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_LEAVES_H
#define FOBS_AUDIT_LEAVES_H

#include "merkle.h"

typedef struct AuditLeaves AuditLeaves;

#define LEAVES_MAX_TREES	(1 << 24)
#define LEAVES_UNKNOWN		(-1)	/* how many a tree should have */

extern AuditLeaves *fobs_leaves_create(int n_trees);
extern void fobs_leaves_expect(AuditLeaves *leaves, int tree, int64 n);
extern void fobs_leaves_add(AuditLeaves *leaves, int tree, int64 id,
							const MerkleHash *hash);
extern void fobs_leaves_complete(AuditLeaves *leaves);
extern int64 fobs_leaves_root(AuditLeaves *leaves, int tree, MerkleHash *root);
extern void fobs_leaves_free(AuditLeaves *leaves);

#endif							/* FOBS_AUDIT_LEAVES_H */
