/*-------------------------------------------------------------------------
 *
 * merkle.h
 *	  Merkle trees as RFC 6962 has them, by the roots of their full subtrees.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_MERKLE_H
#define FOBS_MERKLE_H

#define MERKLE_HASH_SIZE	32
#define MERKLE_MAX_NODES	64

typedef struct MerkleHash
{
	uint8_t		bytes[MERKLE_HASH_SIZE];
} MerkleHash;

/* A tree, or what must be kept of it to go on: a node for each bit of size */
typedef struct MerkleTree
{
	uint64_t	size;			/* leaves */
	int			n_nodes;
	MerkleHash	nodes[MERKLE_MAX_NODES];	/* of the largest subtree first */
} MerkleTree;

extern void fobs_merkle_init(MerkleTree *tree);
extern int	fobs_merkle_count_nodes(uint64_t size);
extern void fobs_merkle_append(MerkleTree *tree, const MerkleHash *leaf);
extern void fobs_merkle_root(const MerkleTree *tree, MerkleHash *root);

/* SHA-256(0x01 || left || right), which who links with merkle.c brings */
extern void fobs_merkle_node(const MerkleHash *left, const MerkleHash *right,
							 MerkleHash *node);

#endif							/* FOBS_MERKLE_H */
