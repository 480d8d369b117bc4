/*-------------------------------------------------------------------------
 *
 * merkle_fuzz.c
 *	  libFuzzer harness of merkle.c.
 *
 *		clang -g -O1 -fsanitize=fuzzer,address,undefined -Itest/fuzz -Isrc \
 *			test/fuzz/merkle_fuzz.c src/merkle.c
 *
 * Each byte of the input is a leaf.  At every size the root must be what the
 * recursive definition of RFC 6962, section 2.1, makes of the leaves, the
 * nodes must be one for each bit of the size, and a copy that was put aside
 * half-way and gone on with must be the same tree.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "merkle.h"

#define MAX_LEAVES 200
#define HOLDS(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "does not hold: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A hash that tells left from right and is otherwise good enough (FNV). */
void
fobs_merkle_node(const MerkleHash *left, const MerkleHash *right,
				 MerkleHash *node)
{
	MerkleHash	result;
	uint64_t	state = UINT64_C(0xcbf29ce484222325);

	for (int round = 0; round < MERKLE_HASH_SIZE; round++)
	{
		for (int i = 0; i < MERKLE_HASH_SIZE; i++)
			state = (state ^ left->bytes[i]) * UINT64_C(0x100000001b3);
		for (int i = 0; i < MERKLE_HASH_SIZE; i++)
			state = (state ^ right->bytes[i]) * UINT64_C(0x100000001b3);
		result.bytes[round] = state >> 56;
	}
	*node = result;
}

/* MTH(D[n]) of RFC 6962, of leaves that are hashed already */
static MerkleHash
defined_root(const MerkleHash *leaves, int n)
{
	MerkleHash	left;
	MerkleHash	right;
	int			k = 1;

	if (n == 1)
		return leaves[0];
	while (k * 2 < n)
		k *= 2;
	left = defined_root(leaves, k);
	right = defined_root(leaves + k, n - k);
	fobs_merkle_node(&left, &right, &left);
	return left;
}

static bool
same(const MerkleHash *one, const MerkleHash *other)
{
	return memcmp(one, other, sizeof(*one)) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static MerkleHash leaves[MAX_LEAVES];
	int			n = size < MAX_LEAVES ? size : MAX_LEAVES;
	MerkleTree	tree;
	MerkleTree	aside;
	MerkleHash	root;
	MerkleHash	other;

	fobs_merkle_init(&tree);
	aside = tree;
	for (int i = 0; i < n; i++)
	{
		memset(&leaves[i], data[i], sizeof(leaves[i]));
		leaves[i].bytes[0] = i;
		fobs_merkle_append(&tree, &leaves[i]);
		HOLDS(tree.size == i + 1);
		HOLDS(tree.n_nodes == fobs_merkle_count_nodes(tree.size));
		fobs_merkle_root(&tree, &root);
		other = defined_root(leaves, i + 1);
		HOLDS(same(&root, &other));
		if (i == n / 2)
			aside = tree;
	}
	for (int i = aside.size; i < n; i++)
		fobs_merkle_append(&aside, &leaves[i]);
	fobs_merkle_root(&tree, &root);
	fobs_merkle_root(&aside, &other);
	HOLDS(aside.size == tree.size && same(&root, &other));
	return 0;
}
