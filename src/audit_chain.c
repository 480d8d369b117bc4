/*-------------------------------------------------------------------------
 *
 * audit_chain.c
 *	  Verifying the audit log's seals: that none was changed, that none is
 *	  missing, and that they are those which were published.
 *
 * One pass over all seals that there are, in order.  It leaves to who verifies
 * rows what must be known of them: the incarnations, and the times that there
 * are seals for.
 *
 * The first seals may have been collapsed into the nodes of their tree, when
 * all of their rows had been removed; then the pass goes on from there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "audit_query.h"
#include "audit_tables.h"
#include "audit_verify.h"
#include "compat.h"

/* Where the pass is */
typedef struct Chain
{
	Verifier   *verifier;
	MerkleTree	tree;			/* of all seals so far */
	bool		whole;			/* none was missing */
	MerkleHash	hash;			/* of the last one */
	const AuditSnapshot *snapshot;	/* of the last batch */
	Checkpoint *checkpoints;	/* in order of their sizes */
	int			n_checkpoints;
	int			next_checkpoint;
} Chain;

static Datum
value_of(TupleTableSlot *slot, SealColumn column)
{
	return slot->tts_values[column - 1];
}

static bool
is_null(TupleTableSlot *slot, SealColumn column)
{
	return slot->tts_isnull[column - 1];
}

/* Copies a hash; false, and nothing is, if the value is none. */
static bool
copy_hash(Datum value, bool isnull, MerkleHash *hash)
{
	bytea	   *bytes = isnull ? NULL : DatumGetByteaPP(value);

	if (bytes == NULL || VARSIZE_ANY_EXHDR(bytes) != MERKLE_HASH_SIZE)
		return false;
	memcpy(hash->bytes, VARDATA_ANY(bytes), MERKLE_HASH_SIZE);
	return true;
}

/* A snapshot that outlives the row; NULL if it is null. */
static const AuditSnapshot *
keep_snapshot(Verifier *verifier, Datum value, bool isnull)
{
	const AuditSnapshot *snapshot;
	void	   *copy;

	if (isnull)
		return NULL;
	snapshot = fobs_get_snapshot(value);
	copy = MemoryContextAlloc(verifier->context, VARSIZE(snapshot));
	memcpy(copy, snapshot, VARSIZE(snapshot));
	return copy;
}

static bool
same_snapshot(const AuditSnapshot *one, const AuditSnapshot *other)
{
	return one == other ||
		(one && other && VARSIZE(one) == VARSIZE(other) &&
		 memcmp(one, other, VARSIZE(one)) == 0);
}

/* Is whatever is visible by one snapshot visible by the other? */
static bool
is_later(const AuditSnapshot *snapshot, const AuditSnapshot *before)
{
	if (snapshot->xmin < before->xmin || snapshot->xmax < before->xmax)
		return false;
	for (uint32 i = 0; i < snapshot->n_running; i++)
		if (fobs_is_visible(before, snapshot->running[i]))
			return false;
	return true;
}

/* A place more in an array that grows by doubling, of n elements so far. */
void *
fobs_enlarge(MemoryContext context, void *array, int n, Size size)
{
	if (n == 0)
		return MemoryContextAllocZero(context, size);
	if ((n & (n - 1)) == 0)
		return repalloc_huge(array, 2 * n * size);
	return array;
}

/*---- checkpoints ----*/

static void
compare_checkpoint(Chain *chain, Checkpoint *checkpoint)
{
	Finding		finding = {VIOLATION};
	MerkleHash	root;

	checkpoint->reached = true;
	if (!chain->whole)
		return;
	fobs_merkle_root(&chain->tree, &root);
	if (memcmp(&root, &checkpoint->root, sizeof(root)) == 0)
		return;
	finding.kind = checkpoint->is_anchor ? "anchor" : "checkpoint";
	finding.seal_no = checkpoint->size;
	fobs_report(chain->verifier, &finding,
				checkpoint->is_anchor ?
				"seals up to " INT64_FORMAT " are not those that the anchor was made of" :
				"seals up to " INT64_FORMAT " are not those that the checkpoint was made of",
				checkpoint->size);
}

/* Compares the checkpoints of the size that the tree has reached. */
static void
compare_checkpoints(Chain *chain)
{
	while (chain->next_checkpoint < chain->n_checkpoints)
	{
		Checkpoint *next = &chain->checkpoints[chain->next_checkpoint];

		if (next->size > chain->tree.size)
			break;
		if (next->size == chain->tree.size)
			compare_checkpoint(chain, next);
		chain->next_checkpoint++;
	}
}

static void
add_checkpoint(Chain *chain, const Checkpoint *checkpoint)
{
	int			n = chain->n_checkpoints++;

	chain->checkpoints = fobs_enlarge(chain->verifier->context,
									  chain->checkpoints, n,
									  sizeof(Checkpoint));
	for (; n > 0 && chain->checkpoints[n - 1].size > checkpoint->size; n--)
		chain->checkpoints[n] = chain->checkpoints[n - 1];
	chain->checkpoints[n] = *checkpoint;
}

static void
read_checkpoint(TupleTableSlot *slot, void *arg)
{
	Chain	   *chain = arg;
	Checkpoint	checkpoint = {.size = DatumGetInt64(slot->tts_values[0])};
	Finding		finding = {VIOLATION, "checkpoint"};

	if (checkpoint.size <= 0 ||
		!copy_hash(slot->tts_values[1], slot->tts_isnull[1],
				   &checkpoint.root))
	{
		fobs_report(chain->verifier, &finding,
					"a checkpoint was changed: it is not one of seals");
		return;
	}
	add_checkpoint(chain, &checkpoint);
}

/* Says of checkpoints that no seal has reached what that means. */
static void
report_unreached(Chain *chain)
{
	for (int i = 0; i < chain->n_checkpoints; i++)
	{
		const Checkpoint *checkpoint = &chain->checkpoints[i];
		Finding		finding = {VIOLATION, "anchor"};

		if (checkpoint->reached)
			continue;
		if (checkpoint->size > chain->verifier->n_seals)
		{
			finding.kind = checkpoint->is_anchor ? "anchor" : "checkpoint";
			finding.seal_no = chain->verifier->n_seals + 1;
			fobs_report(chain->verifier, &finding,
						"there are " INT64_FORMAT " seals, and were " INT64_FORMAT " when the %s was made: the last ones were removed, or the database is older than it",
						chain->verifier->n_seals, checkpoint->size,
						finding.kind);
		}
		else if (checkpoint->is_anchor)
		{
			finding.severity = UNCHECKED;
			fobs_report(chain->verifier, &finding,
						"anchor of " INT64_FORMAT " seals cannot be checked: seals that follow it have been collapsed with the partitions they were for",
						checkpoint->size);
		}
	}
}

/*---- seals ----*/

SealedRange *
fobs_find_range(Verifier *verifier, TimestampTz from)
{
	for (int i = verifier->n_ranges - 1; i >= 0; i--)
		if (verifier->ranges[i].from == from)
			return &verifier->ranges[i];
	return NULL;
}

static void
add_to_range(Verifier *verifier, TupleTableSlot *slot, const MerkleHash *hash)
{
	TimestampTz from;
	SealedRange *range;

	if (is_null(slot, SEAL_RANGE_FROM))
		return;
	from = DatumGetTimestampTz(value_of(slot, SEAL_RANGE_FROM));
	range = fobs_find_range(verifier, from);
	if (range == NULL)
	{
		verifier->ranges = fobs_enlarge(verifier->context,
										verifier->ranges,
										verifier->n_ranges,
										sizeof(SealedRange));
		range = &verifier->ranges[verifier->n_ranges++];
		range->from = from;
		range->to = is_null(slot, SEAL_RANGE_TO) ? from :
			DatumGetTimestampTz(value_of(slot, SEAL_RANGE_TO));
		range->n = 0;
		range->first_seal = DatumGetInt64(value_of(slot, SEAL_NO));
		range->stands = false;
		fobs_merkle_init(&range->seals);
	}
	range->n += DatumGetInt64(value_of(slot, SEAL_N));
	range->last_seal = DatumGetInt64(value_of(slot, SEAL_NO));
	fobs_merkle_append(&range->seals, hash);
}

static bool
is_baseline(TupleTableSlot *slot)
{
	struct varlena *kind = PG_DETOAST_DATUM_PACKED(value_of(slot, SEAL_KIND));

	return VARSIZE_ANY_EXHDR(kind) == strlen("baseline") &&
		memcmp(VARDATA_ANY(kind), "baseline", strlen("baseline")) == 0;
}

/* The incarnation of a seal, which is the last one or begins with it. */
static Incarnation *
incarnation_of(Verifier *verifier, TupleTableSlot *slot)
{
	pg_uuid_t  *id = DatumGetUUIDP(value_of(slot, SEAL_INCARNATION));
	Incarnation *incarnation;

	if (verifier->n_incarnations > 0)
	{
		incarnation = &verifier->incarnations[verifier->n_incarnations - 1];
		if (memcmp(&incarnation->id, id, sizeof(*id)) == 0)
			return incarnation;
	}
	verifier->incarnations = fobs_enlarge(verifier->context,
										  verifier->incarnations,
										  verifier->n_incarnations,
										  sizeof(Incarnation));
	incarnation = &verifier->incarnations[verifier->n_incarnations++];
	memset(incarnation, 0, sizeof(*incarnation));
	incarnation->id = *id;
	incarnation->has_baseline = is_baseline(slot);
	if (!incarnation->has_baseline)
	{
		incarnation->after_id = DatumGetInt64(value_of(slot, SEAL_AFTER_ID));
		return incarnation;
	}
	incarnation->after_id = DatumGetInt64(value_of(slot, SEAL_UNTIL_ID));
	incarnation->baseline_after_id =
		DatumGetInt64(value_of(slot, SEAL_AFTER_ID));
	incarnation->baseline_seen_id =
		DatumGetInt64(value_of(slot, SEAL_SEEN_ID));
	incarnation->baseline_since = keep_snapshot(verifier,
												value_of(slot, SEAL_SINCE),
												is_null(slot, SEAL_SINCE));
	return incarnation;
}

/* Is the seal of the batch that follows the last one, or of that? */
static bool
follows(Chain *chain, const Incarnation *incarnation,
		const AuditSnapshot *since, const AuditSnapshot *snapshot,
		TupleTableSlot *slot)
{
	bool		baseline = is_baseline(slot);

	if (incarnation->last == NULL && chain->whole && chain->snapshot != NULL)
	{
		/* it begins here, or, after those that were collapsed, goes on */
		bool		goes_on = chain->verifier->n_incarnations == 1;

		return ((baseline || goes_on) &&
				same_snapshot(since, chain->snapshot)) ||
			(goes_on && same_snapshot(snapshot, chain->snapshot));
	}
	if (incarnation->last == NULL)
		return true;
	if (same_snapshot(snapshot, incarnation->last))
		return true;
	return !baseline && same_snapshot(since, incarnation->last) &&
		is_later(snapshot, incarnation->last);
}

/*
 * Notes that the clock was set back since the batch before: of rows that were
 * written around that, seals do not say when they can have been.
 */
static void
check_clock(Verifier *verifier, TupleTableSlot *slot,
			const AuditSnapshot *snapshot)
{
	TimestampTz at = DatumGetTimestampTz(value_of(slot, SEAL_SEALED_AT));
	Finding		finding = {
		GAP, "clock", DatumGetInt64(value_of(slot, SEAL_NO)),.at = at
	};

	if (is_baseline(slot) || is_null(slot, SEAL_SINCE_AT) ||
		at >= DatumGetTimestampTz(value_of(slot, SEAL_SINCE_AT)) -
		CLOCK_TOLERANCE)
		return;
	verifier->steps = fobs_enlarge(verifier->context,
								   verifier->steps,
								   verifier->n_steps,
								   sizeof(ClockStep));
	verifier->steps[verifier->n_steps].seal_no = finding.seal_no;
	verifier->steps[verifier->n_steps++].xmax = snapshot->xmax;
	fobs_report(verifier, &finding,
				"the clock of the server was set back: of rows from around then nothing proves the time");
}

static void
check_batch(Chain *chain, TupleTableSlot *slot, const Finding *finding)
{
	Verifier   *verifier = chain->verifier;
	Incarnation *incarnation = incarnation_of(verifier, slot);
	const AuditSnapshot *since = is_null(slot, SEAL_SINCE) ? NULL :
	fobs_get_snapshot(value_of(slot, SEAL_SINCE));
	const AuditSnapshot *snapshot =
	fobs_get_snapshot(value_of(slot, SEAL_SNAPSHOT));

	if (!follows(chain, incarnation, since, snapshot, slot))
		fobs_report(verifier, finding,
					"seal " INT64_FORMAT " does not begin where the one before ends",
					finding->seal_no);
	if (!same_snapshot(snapshot, incarnation->last))
		check_clock(verifier, slot, snapshot);
	if (!same_snapshot(snapshot, incarnation->last))
		incarnation->last = keep_snapshot(verifier,
										  value_of(slot, SEAL_SNAPSHOT),
										  false);
	incarnation->last_at = DatumGetTimestampTz(value_of(slot,
														SEAL_SEALED_AT));
	chain->snapshot = incarnation->last;
}

static void
report_missing(Chain *chain, int64 from, int64 to)
{
	Finding		finding = {VIOLATION, "seal_missing",.seal_no = from};

	if (from == to)
		fobs_report(chain->verifier, &finding,
					"seal " INT64_FORMAT " is missing", from);
	else
		fobs_report(chain->verifier, &finding,
					"seals " INT64_FORMAT " to " INT64_FORMAT " are missing",
					from, to);
	chain->whole = false;
}

/* Has it all that no seal is without, whatever the table allows? */
static bool
is_complete(TupleTableSlot *slot)
{
	return !is_null(slot, SEAL_NO) && !is_null(slot, SEAL_INCARNATION) &&
		!is_null(slot, SEAL_KIND) && !is_null(slot, SEAL_SEALED_AT) &&
		!is_null(slot, SEAL_SNAPSHOT) && !is_null(slot, SEAL_AFTER_ID) &&
		!is_null(slot, SEAL_N) &&
		(!is_baseline(slot) || (!is_null(slot, SEAL_UNTIL_ID) &&
								!is_null(slot, SEAL_SEEN_ID)));
}

static void
check_seal(TupleTableSlot *slot, void *arg)
{
	Chain	   *chain = arg;
	Verifier   *verifier = chain->verifier;
	int64		seal_no = DatumGetInt64(value_of(slot, SEAL_NO));
	Finding		finding = {
		VIOLATION, "seal",.seal_no = seal_no,
		.at = DatumGetTimestampTz(value_of(slot, SEAL_SEALED_AT))
	};
	MerkleHash	hash;

	CHECK_FOR_INTERRUPTS();
	if (!is_complete(slot))
	{
		fobs_report(verifier, &finding,
					"seal " INT64_FORMAT " was changed: it is not complete",
					seal_no);
		return;
	}
	if (seal_no <= verifier->n_seals)
	{
		fobs_report(verifier, &finding,
					"seal " INT64_FORMAT " is there more than once, or has been collapsed",
					seal_no);
		return;
	}
	if (seal_no != verifier->n_seals + 1)
		report_missing(chain, verifier->n_seals + 1, seal_no - 1);

	fobs_seal_hash(slot->tts_tupleDescriptor, slot->tts_values,
				   slot->tts_isnull, &hash);
	if (!fobs_is_hash(value_of(slot, SEAL_HASH), is_null(slot, SEAL_HASH),
					  &hash))
		fobs_report(verifier, &finding,
					"seal " INT64_FORMAT " was changed: it does not have its hash",
					seal_no);
	if (seal_no == verifier->n_seals + 1 &&
		!fobs_is_hash(value_of(slot, SEAL_PREVIOUS),
					  is_null(slot, SEAL_PREVIOUS), &chain->hash))
		fobs_report(verifier, &finding,
					"seal " INT64_FORMAT " does not have the hash of the one before",
					seal_no);
	check_batch(chain, slot, &finding);

	/* what it says it is, so that one changed seal is one finding */
	copy_hash(value_of(slot, SEAL_HASH), is_null(slot, SEAL_HASH), &hash);
	chain->hash = hash;
	fobs_merkle_append(&chain->tree, &hash);
	verifier->n_seals = seal_no;
	add_to_range(verifier, slot, &hash);
	compare_checkpoints(chain);
}

/*---- the state ----*/

/* Are these the nodes of the tree? */
static bool
is_tree(const MerkleTree *tree, Datum array, bool isnull)
{
	Datum	   *nodes;
	bool	   *nulls;
	int			n;

	if (isnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(array), BYTEAOID, -1, false,
					  TYPALIGN_INT, &nodes, &nulls, &n);
	for (int i = 0; i < Min(n, tree->n_nodes); i++)
		if (!fobs_is_hash(nodes[i], nulls[i], &tree->nodes[i]))
			return false;
	return n == tree->n_nodes;
}

static void
check_state(TupleTableSlot *slot, void *arg)
{
	Chain	   *chain = arg;
	Verifier   *verifier = chain->verifier;
	Finding		finding = {VIOLATION, "state"};
	int64		seals = DatumGetInt64(slot->tts_values[0]);

	if (verifier->n_states++ > 0)	/* told of at the end */
		return;
	verifier->has_origin = !slot->tts_isnull[2];
	if (verifier->has_origin)
		verifier->origin = *DatumGetUUIDP(slot->tts_values[2]);
	verifier->native = !slot->tts_isnull[3] && !slot->tts_isnull[4] &&
		(uint64) DatumGetInt64(slot->tts_values[3]) == GetSystemIdentifier() &&
		DatumGetObjectId(slot->tts_values[4]) == MyDatabaseId;

	if (seals > verifier->n_seals)
		report_missing(chain, verifier->n_seals + 1, seals);
	else if (chain->whole &&
			 !is_tree(&chain->tree, slot->tts_values[5], slot->tts_isnull[5]))
		fobs_report(verifier, &finding,
					"tree that checkpoints are made of is not that of the seals");
	else if (seals < verifier->n_seals ||
			 (seals > 0 && !fobs_is_hash(slot->tts_values[1],
										 slot->tts_isnull[1], &chain->hash)))
	{
		finding.seal_no = verifier->n_seals;
		fobs_report(verifier, &finding,
					"seal " INT64_FORMAT " is not the one that was made last",
					verifier->n_seals);
	}
}

/* The nodes of the tree of the seals that were collapsed; false: none are */
static bool
read_nodes(Chain *chain, int64 size, Datum array)
{
	Datum	   *nodes;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), BYTEAOID, -1, false,
					  TYPALIGN_INT, &nodes, &nulls, &n);
	if (size < 0 || n != fobs_merkle_count_nodes(size))
		return false;
	for (int i = 0; i < n; i++)
		if (!copy_hash(nodes[i], nulls[i], &chain->tree.nodes[i]))
			return false;
	chain->tree.size = size;
	chain->tree.n_nodes = n;
	return true;
}

/* The seals that were collapsed: how many, nodes of their tree, the last. */
static void
read_collapsed(TupleTableSlot *slot, void *arg)
{
	Chain	   *chain = arg;
	Verifier   *verifier = chain->verifier;
	int64		size = DatumGetInt64(slot->tts_values[0]);
	Finding		finding = {VIOLATION, "state"};

	if (verifier->n_collapsed++ > 0 || size == 0)
		return;
	if (!read_nodes(chain, size, slot->tts_values[1]) ||
		!copy_hash(slot->tts_values[2], slot->tts_isnull[2], &chain->hash) ||
		slot->tts_isnull[3])
	{
		chain->whole = false;
		fobs_report(verifier, &finding,
					"what is left of the seals that were collapsed is not the tree of " INT64_FORMAT " seals",
					size);
	}
	else
		chain->snapshot = keep_snapshot(verifier, slot->tts_values[3], false);
	verifier->n_seals = Max(size, 0);
	compare_checkpoints(chain);
}

/* Tables of one row that have none, or more */
static void
check_singleton(Verifier *verifier, const char *table, int n)
{
	Finding		finding = {VIOLATION, "state"};

	if (n != 1)
		fobs_report(verifier, &finding, "table \"%s\" has %d rows, and not 1",
					table, n);
}

/* Reads columns of a table, of which so many must not be null. */
static void
run(Chain *chain, const char *columns, const char *table, const char *order,
	uint32 required, void (*row) (TupleTableSlot *slot, void *arg))
{
	AuditQuery	query = {.row = row,.arg = chain};

	query.text = psprintf("SELECT %s FROM %s%s", columns,
						  fobs_beside(chain->verifier, table), order);
	fobs_verify_query(chain->verifier, &query, table, required);
}

/*
 * Verifies the seals, and compares them with the anchor if there is one.
 */
void
fobs_verify_chain(Verifier *verifier, const pg_uuid_t *origin,
				  const Checkpoint *anchor)
{
	Chain		chain = {.verifier = verifier,.whole = true};
	Finding		finding = {VIOLATION, "anchor"};

	fobs_merkle_init(&chain.tree);
	run(&chain, "size, root", "fraiseql_audit_checkpoints", " ORDER BY size",
		FIRST_COLUMNS(2), read_checkpoint);
	if (anchor != NULL)
		add_checkpoint(&chain, anchor);
	run(&chain, "seal_count, nodes, last_hash, last_snapshot",
		"fraiseql_audit_collapsed", "", FIRST_COLUMNS(2), read_collapsed);
	check_singleton(verifier, "fraiseql_audit_collapsed",
					verifier->n_collapsed);
	run(&chain, SEAL_COLUMNS, "fraiseql_audit_seals", " ORDER BY seal_no",
		ONE_COLUMN(SEAL_NO - 1), check_seal);
	run(&chain, "seals, last_hash, origin, system_identifier, database_oid, tree",
		"fraiseql_audit_rollup_state", "", ONE_COLUMN(0) | ONE_COLUMN(5),
		check_state);
	check_singleton(verifier, "fraiseql_audit_rollup_state",
					verifier->n_states);

	if (origin != NULL &&
		(!verifier->has_origin ||
		 memcmp(origin, &verifier->origin, sizeof(*origin)) != 0))
		fobs_report(verifier, &finding,
					"anchor is of another audit log, or the seals were all made anew");
	else
		report_unreached(&chain);
}
