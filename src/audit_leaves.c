/*-------------------------------------------------------------------------
 *
 * audit_leaves.c
 *	  Leaves of seals' trees, that come in any order.
 *
 * A tree has its leaves in order of their ids, but a table has its rows in the
 * order in which they were written, with those of the seals around in between.
 * So the leaves of a tree are held until there are as many as it should have;
 * then they are sorted, which they nearly are, and make its root.  In a log
 * that is as it was sealed only those of a few seals are held at a time.
 *
 * Where more than work_mem would be held, because trees are large or never
 * become complete, the oldest ones are put into a sort that may use the disk,
 * and made at the end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "audit_leaves.h"
#include "compat.h"

/* Bits of what sorts first that are for the id; the tree has the others */
#define ID_BITS			40

typedef struct Leaf
{
	int64		id;
	MerkleHash	hash;
} Leaf;

typedef struct LeafTree
{
	int64		expected;
	int64		n;
	bool		made;			/* the root of the first n leaves */
	bool		spilled;		/* all leaves are in the sort */
	bool		unordered;
	Leaf	   *leaves;			/* that are held */
	int64		n_held;
	int64		room;
	MerkleHash	root;
} LeafTree;

struct AuditLeaves
{
	MemoryContext context;
	LeafTree   *trees;
	int			n_trees;
	int			first_held;		/* trees before it hold no leaves */
	int64		room;			/* for leaves in all trees */
	Leaf	   *spare;			/* what a tree had and the next one may use */
	int64		spare_room;
	Tuplesortstate *sort;		/* NULL: not needed so far */
	int64		first_id;		/* that was put there */
};

/* What is sorted: bytes that compare as tree and id do, and the leaf itself */
typedef struct SortedLeaf
{
	char		vl_len_[VARHDRSZ];
	char		place[8];		/* tree, and roughly where its id is */
	char		id[8];
	MerkleHash	hash;
} SortedLeaf;

AuditLeaves *
fobs_leaves_create(int n_trees)
{
	AuditLeaves *leaves = palloc0(sizeof(AuditLeaves));

	if (n_trees > LEAVES_MAX_TREES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("partition of the audit log has too many seals")));
	leaves->context = AllocSetContextCreate(CurrentMemoryContext,
											"audit log leaves",
											ALLOCSET_DEFAULT_SIZES);
	leaves->n_trees = n_trees;
	leaves->trees = MemoryContextAllocHuge(leaves->context,
										   sizeof(LeafTree) *
										   Max((Size) n_trees, 1));
	memset(leaves->trees, 0, sizeof(LeafTree) * (Size) n_trees);
	for (int i = 0; i < n_trees; i++)
		leaves->trees[i].expected = LEAVES_UNKNOWN;
	return leaves;
}

void
fobs_leaves_free(AuditLeaves *leaves)
{
	if (leaves->sort)
		tuplesort_end(leaves->sort);
	MemoryContextDelete(leaves->context);
	pfree(leaves);
}

void
fobs_leaves_expect(AuditLeaves *leaves, int tree, int64 n)
{
	leaves->trees[tree].expected = n;
}

/*---- leaves on the disk ----*/

/* Where an id is, as seen from the first one: exact unless it is far away. */
static uint64
rough_place(int64 id, int64 first)
{
	const uint64 middle = UINT64CONST(1) << (ID_BITS - 1);

	if (id < first)
	{
		uint64		distance = (uint64) first - (uint64) id;

		return distance > middle ? 0 : middle - distance;
	}
	return middle + Min((uint64) id - (uint64) first, middle - 1);
}

static void
begin_sort(AuditLeaves *leaves, int64 first_id)
{
	MemoryContext before = MemoryContextSwitchTo(leaves->context);
	Oid			less = lookup_type_cache(BYTEAOID,
										 TYPECACHE_LT_OPR)->lt_opr;

	leaves->sort = tuplesort_begin_datum(BYTEAOID, less, InvalidOid, false,
										 work_mem, NULL, TUPLESORT_NONE);
	leaves->first_id = first_id;
	MemoryContextSwitchTo(before);
}

static void
sort_leaf(AuditLeaves *leaves, int tree, const Leaf *leaf)
{
	SortedLeaf	sorted;
	uint64		place;
	uint64		id = pg_hton64((uint64) leaf->id ^ (UINT64CONST(1) << 63));

	if (leaves->sort == NULL)
		begin_sort(leaves, leaf->id);
	place = pg_hton64(((uint64) tree << ID_BITS) |
					  rough_place(leaf->id, leaves->first_id));
	SET_VARSIZE(&sorted, sizeof(sorted));
	memcpy(sorted.place, &place, sizeof(place));
	memcpy(sorted.id, &id, sizeof(id));
	sorted.hash = leaf->hash;
	tuplesort_putdatum(leaves->sort, PointerGetDatum(&sorted), false);
}

/* Makes the trees whose leaves are in the sort. */
static void
make_sorted(AuditLeaves *leaves)
{
	MerkleTree	merkle;
	int			current = -1;
	Datum		value;
	bool		isnull;

	tuplesort_performsort(leaves->sort);
	while (tuplesort_getdatum(leaves->sort, true, false, &value, &isnull,
							  NULL))
	{
		SortedLeaf *sorted = (SortedLeaf *) DatumGetPointer(value);
		uint64		place;
		int			tree;

		CHECK_FOR_INTERRUPTS();
		memcpy(&place, sorted->place, sizeof(place));
		tree = (int) (pg_ntoh64(place) >> ID_BITS);
		if (tree != current)
		{
			if (current >= 0)
				fobs_merkle_root(&merkle, &leaves->trees[current].root);
			fobs_merkle_init(&merkle);
			current = tree;
		}
		fobs_merkle_append(&merkle, &sorted->hash);
		tuplesort_free_datum(value);
	}
	if (current >= 0)
		fobs_merkle_root(&merkle, &leaves->trees[current].root);
}

/*---- leaves in memory ----*/

static int
compare_leaves(const void *a, const void *b)
{
	const Leaf *one = a;
	const Leaf *other = b;

	return one->id < other->id ? -1 : one->id > other->id;
}

/* Takes away the room of a tree, whose leaves are needed no more. */
static void
release(AuditLeaves *leaves, LeafTree *tree)
{
	leaves->room -= tree->room;
	if (leaves->spare == NULL || leaves->spare_room < tree->room)
	{
		Leaf	   *larger = tree->leaves;

		if (leaves->spare != NULL)
			pfree(leaves->spare);
		leaves->spare = larger;
		leaves->spare_room = tree->room;
	}
	else
		pfree(tree->leaves);
	tree->leaves = NULL;
	tree->n_held = 0;
	tree->room = 0;
}

static void
make_root(AuditLeaves *leaves, LeafTree *tree)
{
	MerkleTree	merkle;

	if (tree->unordered)
		qsort(tree->leaves, tree->n_held, sizeof(Leaf), compare_leaves);
	fobs_merkle_init(&merkle);
	for (int64 i = 0; i < tree->n_held; i++)
		fobs_merkle_append(&merkle, &tree->leaves[i].hash);
	fobs_merkle_root(&merkle, &tree->root);
	tree->made = true;
	if (tree->leaves != NULL)
		release(leaves, tree);
}

/* Puts what the oldest trees hold into the sort. */
static void
spill(AuditLeaves *leaves)
{
	while (leaves->first_held < leaves->n_trees &&
		   leaves->room * sizeof(Leaf) > work_mem * (Size) 512)
	{
		LeafTree   *tree = &leaves->trees[leaves->first_held];

		for (int64 i = 0; i < tree->n_held; i++)
			sort_leaf(leaves, leaves->first_held, &tree->leaves[i]);
		if (tree->leaves != NULL)
		{
			tree->spilled = true;
			release(leaves, tree);
		}
		leaves->first_held++;
	}
}

static void
enlarge(AuditLeaves *leaves, LeafTree *tree)
{
	leaves->room -= tree->room;
	if (tree->leaves == NULL && leaves->spare != NULL)
	{
		tree->leaves = leaves->spare;
		tree->room = leaves->spare_room;
		leaves->spare = NULL;
	}
	else if (tree->leaves == NULL)
	{
		tree->room = 64;
		tree->leaves = MemoryContextAlloc(leaves->context,
										  tree->room * sizeof(Leaf));
	}
	else
	{
		tree->room *= 2;
		tree->leaves = repalloc_huge(tree->leaves,
									 tree->room * sizeof(Leaf));
	}
	leaves->room += tree->room;
}

/* Adds a leaf to a tree, wherever its id belongs. */
void
fobs_leaves_add(AuditLeaves *leaves, int number, int64 id,
				const MerkleHash *hash)
{
	LeafTree   *tree = &leaves->trees[number];
	Leaf		leaf = {id, *hash};

	tree->n++;
	if (tree->made)				/* one too many, which is enough to know */
		return;
	if (tree->spilled)
	{
		sort_leaf(leaves, number, &leaf);
		return;
	}
	if (tree->n_held == tree->room)
		enlarge(leaves, tree);
	if (tree->n_held > 0 && tree->leaves[tree->n_held - 1].id > id)
		tree->unordered = true;
	tree->leaves[tree->n_held++] = leaf;
	leaves->first_held = Min(leaves->first_held, number);
	if (tree->n_held == tree->expected)
		make_root(leaves, tree);
	else if (leaves->room * sizeof(Leaf) > work_mem * (Size) 1024)
		spill(leaves);
}

/* Makes the trees that are left, when all leaves have been added. */
void
fobs_leaves_complete(AuditLeaves *leaves)
{
	for (int i = 0; i < leaves->n_trees; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!leaves->trees[i].made && !leaves->trees[i].spilled)
			make_root(leaves, &leaves->trees[i]);
	}
	if (leaves->sort != NULL)
		make_sorted(leaves);
}

/* How many leaves a tree has, and its root, once it is complete. */
int64
fobs_leaves_root(AuditLeaves *leaves, int tree, MerkleHash *root)
{
	*root = leaves->trees[tree].root;
	return leaves->trees[tree].n;
}
