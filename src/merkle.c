/*-------------------------------------------------------------------------
 *
 * merkle.c
 *	  Merkle trees as RFC 6962 has them, by the roots of their full subtrees.
 *
 * A tree of n leaves is made of full subtrees, one for each bit that is set in
 * n, largest first: of 7 leaves those of 4, 2 and 1.  Their roots are all that
 * it takes to append leaves (two subtrees of a size make one of twice the
 * size, as in adding 1 to n) and to tell the root of the tree.  So a tree is
 * built in one pass and in 2 kB, and can be put aside at any size and gone on
 * with later, as the first leaves' seals are when they are removed.
 *
 * Pure arithmetic: the leaves are hashes already, and the hash of nodes is the
 * linker's to bring.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "merkle.h"

/* The root of a tree without leaves, SHA-256 of nothing */
static const MerkleHash empty_root = {{
		0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14,
		0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
		0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c,
		0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55
}};

void
fobs_merkle_init(MerkleTree *tree)
{
	tree->size = 0;
	tree->n_nodes = 0;
}

/* How many nodes a tree of a size has: its bits. */
int
fobs_merkle_count_nodes(uint64_t size)
{
	int			n = 0;

	for (; size != 0; size &= size - 1)
		n++;
	return n;
}

void
fobs_merkle_append(MerkleTree *tree, const MerkleHash *leaf)
{
	tree->nodes[tree->n_nodes++] = *leaf;
	for (uint64_t size = tree->size; size & 1; size >>= 1)
	{
		MerkleHash *left = &tree->nodes[tree->n_nodes - 2];

		fobs_merkle_node(left, left + 1, left);
		tree->n_nodes--;
	}
	tree->size++;
}

void
fobs_merkle_root(const MerkleTree *tree, MerkleHash *root)
{
	if (tree->n_nodes == 0)
	{
		*root = empty_root;
		return;
	}
	*root = tree->nodes[tree->n_nodes - 1];
	for (int i = tree->n_nodes - 2; i >= 0; i--)
		fobs_merkle_node(&tree->nodes[i], root, root);
}
