/*-------------------------------------------------------------------------
 *
 * audit_seal.c
 *	  Seals of the audit log: what they say of the rows, and their hashes.
 *
 * A seal has a batch's rows of one partition: those whose transactions had
 * ended by its snapshot and had not by the snapshot of the batch before.  So
 * every row is in one seal, however long its transaction took, and which one
 * can be told from the row for ever.  The leaves of these rows in order of
 * their ids make the seal's Merkle tree, the seals in order of their numbers
 * make that of the log, whose root is what checkpoints publish.
 *
 * audit_seal_rows() reads a partition's part of the batch once: leaves into a
 * sort, counts into the rollups.  What is written of it besides the rollups is
 * SQL's, see audit_seals.sql.
 *
 * The batch is found by the BRIN index on xact.  New pages are in such an
 * index only once it has summarized them, and VACUUM may be long in coming, so
 * whoever seals does that, range by range as they become full.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/brin.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit_counts.h"
#include "audit_encoding.h"
#include "audit_leaves.h"
#include "audit_query.h"
#include "audit_seal.h"
#include "compat.h"
#include "sha256.h"

/* The first bytes of a seal that is hashed: a leaf, and that it is a seal */
#define PREFIX_LEAF		0x00
#define ENC_SEAL		0x02

/* A partition's part of a batch while it is read */
typedef struct Batch
{
	/* who belongs to it, see audit_seal_rows() */
	int64		after_id;
	int64		until_id;
	int64		seen_id;
	bool		baseline;		/* what another cluster left unsealed */
	const AuditSnapshot *since; /* NULL: the first of its incarnation */
	const AuditSnapshot *snapshot;

	/* what it is */
	AuditColumnMap map;
	bool		mapped;
	AuditCounts *counts;
	AuditLeaves *leaves;
	int64		n;
	int64		min_id;
	int64		max_id;
	TimestampTz min_created_at;
	TimestampTz max_created_at;
} Batch;

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_seal_rows);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_seal_hash);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_rollup_root);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_tree_append);
PG_FUNCTION_INFO_V1(fraiseql_obs_audit_tree_root);

/*---- snapshots ----*/

/* A snapshot, aligned. */
const AuditSnapshot *
fobs_get_snapshot(Datum value)
{
	const AuditSnapshot *snapshot =
	(const AuditSnapshot *) PG_DETOAST_DATUM(value);

	if (VARSIZE(snapshot) < offsetof(AuditSnapshot, running) ||
		VARSIZE(snapshot) != offsetof(AuditSnapshot, running) +
		(Size) snapshot->n_running * sizeof(uint64))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("snapshot of the audit log is malformed")));
	return snapshot;
}

/* Is the transaction, which is before xmax, among those that ran? */
bool
fobs_was_running(const AuditSnapshot *snapshot, uint64 xact)
{
	uint32		low = 0;
	uint32		high = snapshot->n_running;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (snapshot->running[middle] < xact)
			low = middle + 1;
		else
			high = middle;
	}
	return low < snapshot->n_running && snapshot->running[low] == xact;
}

/*---- a batch ----*/

/* Does a row belong to the batch? */
static bool
is_member(const Batch *batch, int64 id, uint64 xact)
{
	if (id <= batch->after_id || id > batch->until_id)
		return false;
	if (batch->baseline)
		return id > batch->seen_id || batch->since == NULL ||
			!fobs_is_visible(batch->since, xact);
	return fobs_is_visible(batch->snapshot, xact) &&
		(batch->since == NULL || !fobs_is_visible(batch->since, xact));
}

static void
add_row(TupleTableSlot *slot, void *arg)
{
	Batch	   *batch = arg;
	AuditRow	row;
	int64		id;
	TimestampTz created_at;
	MerkleHash	leaf;

	if (!batch->mapped)
		fobs_audit_map_columns(slot->tts_tupleDescriptor, &batch->map);
	batch->mapped = true;
	fobs_audit_get_row(&batch->map, slot->tts_values, slot->tts_isnull, &row);
	if (!fobs_audit_is_complete(&row))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("cannot seal the audit log: a row has nulls where there must be none"),
				 errhint("Find out what was changed with: SELECT * FROM fraiseql_obs.verify_audit_log();")));
	id = DatumGetInt64(row.values[AUDIT_ID]);
	if (!is_member(batch, id, DatumGetInt64(row.values[AUDIT_XACT])))
		return;

	created_at = DatumGetTimestampTz(row.values[AUDIT_CREATED_AT]);
	if (batch->n == 0 || id < batch->min_id)
		batch->min_id = id;
	if (batch->n == 0 || id > batch->max_id)
		batch->max_id = id;
	if (batch->n == 0 || created_at < batch->min_created_at)
		batch->min_created_at = created_at;
	if (batch->n == 0 || created_at > batch->max_created_at)
		batch->max_created_at = created_at;
	batch->n++;
	fobs_counts_prepare(batch->counts, &row);
	fobs_audit_leaf(&row, &leaf);
	fobs_leaves_add(batch->leaves, 0, id, &leaf);
	fobs_counts_add(batch->counts, &row);
}

/* The transactions that ran, for the index to look for. */
static Datum
running_array(const AuditSnapshot *snapshot)
{
	Datum	   *values = palloc(sizeof(Datum) * (snapshot->n_running + 1));

	for (uint32 i = 0; i < snapshot->n_running; i++)
		values[i] = Int64GetDatum((int64) snapshot->running[i]);
	return PointerGetDatum(construct_array(values, snapshot->n_running,
										   INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Reads what may belong to the batch.  The conditions are those of the index,
 * to the letter; what they let through is looked at again.
 */
static void
read_rows(Batch *batch, Relation partition)
{
	AuditQuery	query = {.new_snapshot = true,.row = add_row,.arg = batch};
	char	   *schema = get_namespace_name(RelationGetNamespace(partition));
	char	   *relname = RelationGetRelationName(partition);
	const char *name = quote_qualified_identifier(schema, relname);

	if (batch->since == NULL || batch->baseline)
		query.text = psprintf("SELECT * FROM ONLY %s", name);
	else
	{
		query.text = psprintf("SELECT * FROM ONLY %s "
							  "WHERE (xact::text)::bigint >= $1 "
							  "OR (xact::text)::bigint = ANY ($2)", name);
		fobs_audit_add_arg(&query, INT8OID,
						   Int64GetDatum((int64) batch->since->xmax));
		fobs_audit_add_arg(&query, INT8ARRAYOID,
						   running_array(batch->since));
	}
	fobs_audit_run_query(&query);
}

/*
 * The same, if there can be any: most partitions that are not in the past have
 * been made ahead.
 */
static void
read_batch(Batch *batch, Oid oid)
{
	Relation	partition = try_relation_open(oid, AccessShareLock);

	/* somebody may have dropped it */
	if (partition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", oid)));
	if (partition->rd_rel->relkind != RELKIND_RELATION ||
		RelationGetNumberOfBlocks(partition) > 0)
		read_rows(batch, partition);
	relation_close(partition, NoLock);
}

/* The BRIN index of a partition that has an expression as its only column. */
static Oid
xact_index(Relation partition)
{
	List	   *indexes = RelationGetIndexList(partition);
	ListCell   *cell;
	Oid			result = InvalidOid;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BRIN_AM_OID &&
			index->rd_index->indnatts == 1 &&
			index->rd_index->indkey.values[0] == 0)
			result = lfirst_oid(cell);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return result;
}

/*
 * Has the index know the pages that have become full.  The range that is being
 * filled is left: each row would change its summary.  If the partition is
 * being vacuumed it is done there.
 */
static void
summarize(Oid partition_oid)
{
	static Oid	known_index = InvalidOid;
	static BlockNumber known = 0;	/* pages of it that are summarized */
	Relation	partition;
	Relation	index;
	Oid			index_oid;
	BlockNumber full;
	BlockNumber range;

	if (!ConditionalLockRelationOid(partition_oid, ShareUpdateExclusiveLock))
		return;
	partition = table_open(partition_oid, NoLock);
	index_oid = xact_index(partition);
	if (OidIsValid(index_oid))
	{
		index = index_open(index_oid, AccessShareLock);
		range = BrinGetPagesPerRange(index);
		index_close(index, AccessShareLock);
		full = RelationGetNumberOfBlocks(partition) / range * range;
		if (index_oid != known_index || full < known)
			known = 0;
		for (; known < full; known += range)
			DirectFunctionCall2(brin_summarize_range,
								ObjectIdGetDatum(index_oid),
								Int64GetDatum((int64) known));
		known_index = index_oid;
	}
	table_close(partition, NoLock);
	UnlockRelationOid(partition_oid, ShareUpdateExclusiveLock);
}

/* What there is to say of the batch, once it is read */
static Datum
describe_batch(Batch *batch, Oid log, TupleDesc tupdesc)
{
	Datum		values[8] = {0};
	bool		nulls[8] = {0};
	MerkleHash	root;
	MerkleHash	rollup_root;

	values[0] = Int64GetDatum(batch->n);
	if (batch->n == 0)
		memset(nulls + 1, true, sizeof(nulls) - 1);
	else
	{
		fobs_counts_complete(batch->counts);
		fobs_counts_write(batch->counts, log);
		fobs_counts_root(batch->counts, &rollup_root);
		fobs_leaves_complete(batch->leaves);
		fobs_leaves_root(batch->leaves, 0, &root);
		values[1] = JsonbPGetDatum(fobs_counts_results(batch->counts));
		values[2] = Int64GetDatum(batch->min_id);
		values[3] = Int64GetDatum(batch->max_id);
		values[4] = TimestampTzGetDatum(batch->min_created_at);
		values[5] = TimestampTzGetDatum(batch->max_created_at);
		values[6] = PointerGetDatum(fobs_hash_to_bytea(&root));
		values[7] = PointerGetDatum(fobs_hash_to_bytea(&rollup_root));
	}
	return HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls));
}

/*
 * audit_seal_rows(log, partition, baseline, after_id, until_id, seen_id,
 *				   since, snapshot)
 *
 * What a seal of a partition's rows says of them; adds them to the rollups.
 * Of ids after after_id (up to until_id) the rows are those that are visible
 * by snapshot and not by since; for a baseline those that are not visible by
 * since or have an id after seen_id, whatever their transaction.  What an old
 * snapshot has of the rollups must not be added to: audit_seal() refuses it,
 * and so do we, who may be called without it.
 */
Datum
fraiseql_obs_audit_seal_rows(PG_FUNCTION_ARGS)
{
	Batch		batch = {0};
	TupleDesc	tupdesc;
	Datum		result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		PG_ARGISNULL(3) || PG_ARGISNULL(7))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("which rows are to be sealed must not be null")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("sealing the audit log must run in a READ COMMITTED transaction"),
				 errhint("Begin it with: BEGIN ISOLATION LEVEL READ COMMITTED;")));
	batch.baseline = PG_GETARG_BOOL(2);
	batch.after_id = PG_GETARG_INT64(3);
	batch.until_id = PG_ARGISNULL(4) ? PG_INT64_MAX : PG_GETARG_INT64(4);
	batch.seen_id = PG_ARGISNULL(5) ? 0 : PG_GETARG_INT64(5);
	batch.since = PG_ARGISNULL(6) ? NULL :
		fobs_get_snapshot(PG_GETARG_DATUM(6));
	batch.snapshot = fobs_get_snapshot(PG_GETARG_DATUM(7));

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);

	batch.counts = fobs_counts_create();
	batch.leaves = fobs_leaves_create(1);
	read_batch(&batch, PG_GETARG_OID(1));
	result = describe_batch(&batch, PG_GETARG_OID(0), tupdesc);
	fobs_leaves_free(batch.leaves);
	fobs_counts_free(batch.counts);
	if (batch.n > 0)
		summarize(PG_GETARG_OID(1));
	PG_RETURN_DATUM(result);
}

/*---- hashes ----*/

bytea *
fobs_hash_to_bytea(const MerkleHash *hash)
{
	bytea	   *result = palloc(VARHDRSZ + MERKLE_HASH_SIZE);

	SET_VARSIZE(result, VARHDRSZ + MERKLE_HASH_SIZE);
	memcpy(VARDATA(result), hash->bytes, MERKLE_HASH_SIZE);
	return result;
}

/* Is a bytea this hash? */
bool
fobs_is_hash(Datum value, bool isnull, const MerkleHash *hash)
{
	bytea	   *bytes;

	if (isnull)
		return false;
	bytes = DatumGetByteaPP(value);
	return VARSIZE_ANY_EXHDR(bytes) == MERKLE_HASH_SIZE &&
		memcmp(VARDATA_ANY(bytes), hash->bytes, MERKLE_HASH_SIZE) == 0;
}

/* A hash that somebody gave. */
void
fobs_get_hash(Datum value, bool isnull, MerkleHash *hash)
{
	bytea	   *bytes;

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("hash must not be null")));
	bytes = DatumGetByteaPP(value);
	if (VARSIZE_ANY_EXHDR(bytes) != MERKLE_HASH_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("hash must have %d bytes, and not %d",
						MERKLE_HASH_SIZE, (int) VARSIZE_ANY_EXHDR(bytes))));
	memcpy(hash->bytes, VARDATA_ANY(bytes), MERKLE_HASH_SIZE);
}

/*
 * The hash of a seal, which is its leaf in the tree of seals: of each column
 * that is not null the number, the length and the bytes, the hash itself left
 * out.
 */
void
fobs_seal_hash(TupleDesc tupdesc, const Datum *values, const bool *nulls,
			   MerkleHash *hash)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoChar(&buffer, PREFIX_LEAF);
	appendStringInfoChar(&buffer, ENC_SEAL);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!nulls[i] && !attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), "hash") != 0)
			fobs_audit_append_value(&buffer, i + 1, attribute->atttypid,
									values[i]);
	}
	fobs_sha256(buffer.data, buffer.len, hash);
	pfree(buffer.data);
}

/*
 * audit_seal_hash(record) returns bytea
 */
Datum
fraiseql_obs_audit_seal_hash(PG_FUNCTION_ARGS)
{
	Datum	   *values;
	bool	   *nulls;
	TupleDesc	tupdesc = fobs_audit_deform(PG_GETARG_HEAPTUPLEHEADER(0),
											&values, &nulls);
	MerkleHash	hash;

	fobs_seal_hash(tupdesc, values, nulls, &hash);
	ReleaseTupleDesc(tupdesc);
	PG_RETURN_BYTEA_P(fobs_hash_to_bytea(&hash));
}

/*
 * audit_rollup_root(log regclass, range_from, range_to) returns bytea
 *
 * The hash of what the rollups have of a partition's time.
 */
Datum
fraiseql_obs_audit_rollup_root(PG_FUNCTION_ARGS)
{
	AuditCounts *counts = fobs_counts_create();
	MerkleHash	root;

	fobs_counts_read(counts, PG_GETARG_OID(0), PG_GETARG_TIMESTAMPTZ(1),
					 PG_GETARG_TIMESTAMPTZ(2), NULL);
	fobs_counts_root(counts, &root);
	fobs_counts_free(counts);
	PG_RETURN_BYTEA_P(fobs_hash_to_bytea(&root));
}

/*---- trees of seals ----*/

/* The tree that the nodes of an array are, largest first. */
static void
get_tree(ArrayType *array, int64 size, MerkleTree *tree)
{
	Datum	   *nodes;
	bool	   *nulls;

	deconstruct_array(array, BYTEAOID, -1, false, TYPALIGN_INT, &nodes,
					  &nulls, &tree->n_nodes);
	if (size < 0 || tree->n_nodes != fobs_merkle_count_nodes(size))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tree of " INT64_FORMAT " leaves has %d nodes, and not %d",
						size, fobs_merkle_count_nodes(size), tree->n_nodes)));
	tree->size = size;
	for (int i = 0; i < tree->n_nodes; i++)
		fobs_get_hash(nodes[i], nulls[i], &tree->nodes[i]);
}

/*
 * audit_tree_append(tree bytea[], size bigint, leaves bytea[]) returns bytea[]
 *
 * The nodes of a tree of size leaves to which others are appended.
 */
Datum
fraiseql_obs_audit_tree_append(PG_FUNCTION_ARGS)
{
	MerkleTree	tree;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	get_tree(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_INT64(1), &tree);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), BYTEAOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		MerkleHash	leaf;

		fobs_get_hash(values[i], nulls[i], &leaf);
		fobs_merkle_append(&tree, &leaf);
	}
	values = palloc(sizeof(Datum) * MERKLE_MAX_NODES);
	for (int i = 0; i < tree.n_nodes; i++)
		values[i] = PointerGetDatum(fobs_hash_to_bytea(&tree.nodes[i]));
	PG_RETURN_ARRAYTYPE_P(construct_array(values, tree.n_nodes, BYTEAOID, -1,
										  false, TYPALIGN_INT));
}

/*
 * audit_tree_root(tree bytea[], size bigint) returns bytea
 */
Datum
fraiseql_obs_audit_tree_root(PG_FUNCTION_ARGS)
{
	MerkleTree	tree;
	MerkleHash	root;

	get_tree(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_INT64(1), &tree);
	fobs_merkle_root(&tree, &root);
	PG_RETURN_BYTEA_P(fobs_hash_to_bytea(&root));
}
