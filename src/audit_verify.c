/*-------------------------------------------------------------------------
 *
 * audit_verify.c
 *	  Verifying the audit log: that its rows are those that were sealed.
 *
 * Seals first (audit_chain.c), then the rows, partition by partition, in one
 * pass over each.  Which seal a row belongs to follows from its id and its
 * transaction: snapshots of an incarnation only ever see more, so it is the
 * first one by which the row is visible.  A seal whose rows make another tree
 * than it says had rows changed, removed or added.  A row of which all that is
 * visible by sealed snapshots, but in no seal's partition, was added later:
 * roots alone would not show it.
 *
 * Reads with the rights of the log's owner and past row security, by the
 * snapshot of the query that calls; changes nothing, so it works on a standby.
 * Findings name users and entities of whatever tenant, so it is not for those
 * from whom row security hides rows.
 * What it has in memory: the seals of one partition, leaves up to work_mem,
 * and counts up to hash_mem.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "audit_counts.h"
#include "audit_databases.h"
#include "audit_door.h"
#include "audit_guard.h"
#include "audit_leaves.h"
#include "audit_log.h"
#include "audit_query.h"
#include "audit_tables.h"
#include "audit_verified.h"
#include "audit_verify.h"
#include "compat.h"

/* Findings of a kind that are told one by one of a partition */
#define MAX_FINDINGS	20

/* Where a row that is in no seal of its partition is */
#define SEAL_UNSEALED	(-1)
#define SEAL_NONE		(-2)

/* A seal of the partition that is verified */
typedef struct PartSeal
{
	int64		seal_no;
	int			incarnation;	/* index; -1: unknown */
	bool		baseline;
	bool		has_root;
	TimestampTz sealed_at;
	TimestampTz since_at;
	const AuditSnapshot *since;
	const AuditSnapshot *snapshot;
	int64		n;
	MerkleHash	root;
} PartSeal;

/* What may be wrong often, and is told of at most so many times */
typedef enum RowFault
{
	FAULT_ROWS,
	FAULT_STRAY,
	FAULT_PERSONAL,
	FAULT_ERASED,
	FAULT_TIME,
	FAULT_XACT,
	FAULT_ROLLUP,
	N_FAULTS
} RowFault;

static const char *const fault_kinds[N_FAULTS] = {
	[FAULT_ROWS] = "rows",
	[FAULT_STRAY] = "stray",
	[FAULT_PERSONAL] = "personal",
	[FAULT_ERASED] = "erased",
	[FAULT_TIME] = "time",
	[FAULT_XACT] = "xact",
	[FAULT_ROLLUP] = "rollup",
};

/* The partition that is verified */
typedef struct Part
{
	Verifier   *verifier;
	const char *name;
	TimestampTz from;
	TimestampTz to;
	MemoryContext context;
	PartSeal   *seals;			/* in order, incarnation by incarnation */
	int			n_seals;
	int			last_found;		/* the next row is likely there */
	AuditLeaves *leaves;
	AuditCounts *counts;		/* NULL: there were too many */
	int64		n_rows;
	uint64		next_xact;
	int64		faults[N_FAULTS];
	Datum	   *erased;			/* ids of rows without their salt */
	int			n_erased;
} Part;

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_verify);

/*---- findings ----*/

void
fobs_report(Verifier *verifier, const Finding *finding, const char *format,...)
{
	Datum		values[7];
	bool		nulls[7] = {0};
	char		message[1024];
	va_list		args;
	int			length;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	length = pg_mbcliplen(message, strlen(message), sizeof(message) - 1);
	message[length] = '\0';

	values[0] = CStringGetTextDatum(finding->severity);
	values[1] = CStringGetTextDatum(finding->kind);
	values[2] = Int64GetDatum(finding->seal_no);
	nulls[2] = finding->seal_no == 0;
	nulls[3] = finding->partition == NULL;
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(finding->partition);
	values[4] = Int64GetDatum(finding->row_id);
	nulls[4] = !finding->has_row;
	values[5] = TimestampTzGetDatum(finding->at);
	nulls[5] = finding->at == 0;
	values[6] = CStringGetTextDatum(message);
	tuplestore_putvalues(verifier->result->setResult,
						 verifier->result->setDesc, values, nulls);
	if (strcmp(finding->severity, VIOLATION) == 0)
		verifier->n_violations++;
	else if (strcmp(finding->severity, GAP) == 0)
		verifier->n_gaps++;
	else
		verifier->n_unchecked++;
}

/* A table beside the log, for a query. */
char *
fobs_beside(Verifier *verifier, const char *name)
{
	char	   *schema = get_namespace_name(get_rel_namespace(verifier->log));

	return quote_qualified_identifier(schema, name);
}

/* Tells what is wrong with a row, unless that many were told of. */
static void
report_row(Part *part, RowFault fault, const AuditRow *row, int64 seal_no,
		   const char *message)
{
	Finding		finding = {
		VIOLATION, fault_kinds[fault], seal_no, part->name, true,
		DatumGetInt64(row->values[AUDIT_ID]),
		DatumGetTimestampTz(row->values[AUDIT_CREATED_AT])
	};

	if (part->faults[fault]++ < MAX_FINDINGS)
		fobs_report(part->verifier, &finding, "%s", message);
}

static void
report_more(Part *part)
{
	for (int i = 0; i < N_FAULTS; i++)
	{
		Finding		finding = {
			VIOLATION, fault_kinds[i],.partition = part->name
		};

		if (part->faults[i] > MAX_FINDINGS)
			fobs_report(part->verifier, &finding,
						INT64_FORMAT " more of these in the partition",
						part->faults[i] - MAX_FINDINGS);
	}
}

/*---- which seal a row belongs to ----*/

static const AuditSnapshot *
copy_snapshot(Datum value, bool isnull)
{
	const AuditSnapshot *snapshot;
	AuditSnapshot *copy;

	if (isnull)
		return NULL;
	snapshot = fobs_get_snapshot(value);
	copy = palloc(VARSIZE(snapshot));
	memcpy(copy, snapshot, VARSIZE(snapshot));
	return copy;
}

/* Columns of the query of read_part_seals() */
static void
add_part_seal(TupleTableSlot *slot, void *arg)
{
	Part	   *part = arg;
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;
	Verifier   *verifier = part->verifier;
	MemoryContext before;
	PartSeal   *seal;

	before = MemoryContextSwitchTo(part->context);
	if (part->n_seals == 0)
		part->seals = palloc(sizeof(PartSeal));
	else if ((part->n_seals & (part->n_seals - 1)) == 0)
		part->seals = repalloc_huge(part->seals, sizeof(PartSeal) *
									2 * (Size) part->n_seals);
	seal = &part->seals[part->n_seals++];
	seal->seal_no = DatumGetInt64(values[0]);
	seal->incarnation = verifier->n_incarnations - 1;
	while (seal->incarnation >= 0 &&
		   memcmp(&verifier->incarnations[seal->incarnation].id,
				  DatumGetUUIDP(values[1]), sizeof(pg_uuid_t)) != 0)
		seal->incarnation--;
	seal->baseline = strcmp(TextDatumGetCString(values[2]), "baseline") == 0;
	seal->sealed_at = DatumGetTimestampTz(values[3]);
	seal->since_at = nulls[4] ? DT_NOBEGIN : DatumGetTimestampTz(values[4]);
	seal->since = copy_snapshot(values[5], nulls[5]);
	seal->snapshot = copy_snapshot(values[6], nulls[6]);
	seal->n = DatumGetInt64(values[7]);
	seal->has_root = !nulls[8] &&
		VARSIZE_ANY_EXHDR(DatumGetByteaPP(values[8])) == MERKLE_HASH_SIZE;
	if (seal->has_root)
		memcpy(seal->root.bytes, VARDATA_ANY(DatumGetByteaPP(values[8])),
			   MERKLE_HASH_SIZE);
	MemoryContextSwitchTo(before);
}

static void
read_part_seals(Part *part)
{
	int64		incomplete = 0; /* told of by the chain */
	AuditQuery	query = {
		.row = add_part_seal,.arg = part,
		.required = FIRST_COLUMNS(4) | ONE_COLUMN(6) | ONE_COLUMN(7),
		.incomplete = &incomplete
	};

	query.text = psprintf("SELECT seal_no, incarnation, kind, sealed_at, since_at, since, snapshot, n, root "
						  "FROM %s WHERE range_from = $1 ORDER BY seal_no",
						  fobs_beside(part->verifier, "fraiseql_audit_seals"));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID,
					   TimestampTzGetDatum(part->from));
	fobs_audit_run_query(&query);
}

static inline bool
is_in(const PartSeal *seal, uint64 xact)
{
	return fobs_is_visible(seal->snapshot, xact) &&
		(seal->since == NULL || !fobs_is_visible(seal->since, xact));
}

/*
 * The first seal, of rows, of an incarnation by which the transaction is
 * visible, if it was not before.
 */
static int
find_by_snapshot(Part *part, int incarnation, uint64 xact)
{
	int			low = 0;
	int			high = part->n_seals;

	/* most rows are in the seal of the row before, or in the next one */
	for (int i = part->last_found;
		 i < part->n_seals && i <= part->last_found + 1; i++)
		if (part->seals[i].incarnation == incarnation &&
			!part->seals[i].baseline && is_in(&part->seals[i], xact))
			return part->last_found = i;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const PartSeal *seal = &part->seals[middle];

		if (seal->incarnation < incarnation ||
			(seal->incarnation == incarnation &&
			 (seal->baseline || !fobs_is_visible(seal->snapshot, xact))))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == part->n_seals ||
		part->seals[low].incarnation != incarnation ||
		!is_in(&part->seals[low], xact))
		return SEAL_NONE;
	return part->last_found = low;
}

/* The seal of what the incarnation before had left unsealed. */
static int
find_baseline(Part *part, int incarnation)
{
	for (int i = 0; i < part->n_seals; i++)
		if (part->seals[i].incarnation == incarnation &&
			part->seals[i].baseline)
			return i;
	return SEAL_NONE;
}

static int
find_seal(Part *part, int64 id, uint64 xact)
{
	const Verifier *verifier = part->verifier;
	const Incarnation *incarnations = verifier->incarnations;
	int			i = verifier->n_incarnations - 1;

	while (i >= 0 && id <= incarnations[i].after_id)
		i--;
	if (i < 0)
		return verifier->n_incarnations == 0 ? SEAL_UNSEALED :
			id > incarnations[0].baseline_after_id ?
			find_baseline(part, 0) : SEAL_NONE;
	if (fobs_is_visible(incarnations[i].last, xact) &&
		(i == verifier->n_incarnations - 1 ||
		 id <= incarnations[i + 1].baseline_seen_id))
		return find_by_snapshot(part, i, xact);
	if (i == verifier->n_incarnations - 1)
		return SEAL_UNSEALED;
	return find_baseline(part, i + 1);
}

/*---- rows ----*/

/*
 * The time before which a row cannot have been created, because its
 * transaction had not begun: that of a seal that had been made.
 */
static TimestampTz
earliest_time(Part *part, int found, uint64 xact)
{
	const PartSeal *seal = &part->seals[found];
	int			low = 0;
	int			high = found;

	if (seal->since == NULL)
		return DT_NOBEGIN;
	if (seal->since->xmax <= xact)
		return seal->since_at;
	/* it ran when that was made: the last one before of this partition */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const PartSeal *before = &part->seals[middle];

		if (before->incarnation < seal->incarnation || before->baseline ||
			before->snapshot->xmax <= xact)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || part->seals[low - 1].baseline ||
		part->seals[low - 1].incarnation < seal->incarnation)
		return DT_NOBEGIN;
	return part->seals[low - 1].sealed_at;
}

/*
 * Had the clock been set back between the row's transaction and its seal?  Of
 * rows that are not sealed, seal_no is the highest number.
 */
static bool
clock_was_set_back(const Verifier *verifier, int64 seal_no, uint64 xact)
{
	for (int i = 0; i < verifier->n_steps; i++)
		if (verifier->steps[i].seal_no <= seal_no &&
			xact < verifier->steps[i].xmax)
			return true;
	return false;
}

/* Is the clock behind the last seal, so that the next one will tell of it? */
static bool
clock_is_behind(const Incarnation *incarnation)
{
	return GetCurrentTimestamp() < incarnation->last_at - CLOCK_TOLERANCE;
}

static void
check_time(Part *part, const AuditRow *row, int found)
{
	const Verifier *verifier = part->verifier;
	TimestampTz at = DatumGetTimestampTz(row->values[AUDIT_CREATED_AT]);
	uint64		xact = (uint64) DatumGetInt64(row->values[AUDIT_XACT]);
	TimestampTz earliest = DT_NOBEGIN;

	if (at < part->from || at >= part->to)
		report_row(part, FAULT_TIME, row,
				   found >= 0 ? part->seals[found].seal_no : 0,
				   "row has a time that its partition is not for");
	if (clock_was_set_back(verifier, found >= 0 ? part->seals[found].seal_no :
						   PG_INT64_MAX, xact))
		return;
	if (found >= 0)
	{
		const PartSeal *seal = &part->seals[found];

		if (at - CLOCK_TOLERANCE > seal->sealed_at)
			report_row(part, FAULT_TIME, row, seal->seal_no,
					   "row has a later time than its seal");
		if (!seal->baseline)
			earliest = earliest_time(part, found, xact);
	}
	else if (found == SEAL_UNSEALED && verifier->n_incarnations > 0)
	{
		const Incarnation *last =
		&verifier->incarnations[verifier->n_incarnations - 1];

		if (last->last->xmax <= xact && !clock_is_behind(last))
			earliest = last->last_at;
	}
	if (!TIMESTAMP_IS_NOBEGIN(earliest) && at < earliest - CLOCK_TOLERANCE)
		report_row(part, FAULT_TIME, row,
				   found >= 0 ? part->seals[found].seal_no : 0,
				   "row has an earlier time than its transaction can have had");
}

/* Appends a value to an array that grows by doubling. */
static void
append_datum(MemoryContext context, Datum **array, int *n, Datum value)
{
	*array = fobs_enlarge(context, *array, *n, sizeof(Datum));
	(*array)[(*n)++] = value;
}

/* Checks the columns that the leaf does not have but by their digest. */
static void
check_personal(Part *part, const AuditRow *row, int64 seal_no)
{
	MerkleHash	digest;

	if (row->nulls[AUDIT_PERSONAL_DIGEST])
		report_row(part, FAULT_PERSONAL, row, seal_no,
				   "row has no digest of its personal columns: log_operation() did not write it");
	else if (row->nulls[AUDIT_PERSONAL_SALT])
	{
		append_datum(part->context, &part->erased, &part->n_erased,
					 row->values[AUDIT_ID]);
		part->verifier->unproven += fobs_audit_has_personal(row);
	}
	else
	{
		fobs_audit_personal_digest(row, &digest);
		if (!fobs_is_hash(row->values[AUDIT_PERSONAL_DIGEST], false, &digest))
			report_row(part, FAULT_PERSONAL, row, seal_no,
					   "personal columns of the row were changed: they do not have their digest");
	}
}

/* Gives up counting where it takes too much memory. */
static void
check_memory(Part *part)
{
	Finding		finding = {UNCHECKED, "rollup",.partition = part->name};

	if (part->counts == NULL ||
		fobs_counts_memory(part->counts) < get_hash_memory_limit())
		return;
	fobs_counts_free(part->counts);
	part->counts = NULL;
	fobs_report(part->verifier, &finding,
				"rollups of the partition were not compared with its rows, which takes more memory than \"work_mem\" and \"hash_mem_multiplier\" allow");
}

static bool
is_operation(const AuditRow *row, const char *operation)
{
	struct varlena *bytes =
	PG_DETOAST_DATUM_PACKED(row->values[AUDIT_OPERATION]);

	return VARSIZE_ANY_EXHDR(bytes) == strlen(operation) &&
		memcmp(VARDATA_ANY(bytes), operation, strlen(operation)) == 0;
}

/* Keeps where an entry is that says what was removed, erased or kept. */
static void
collect_entry(Verifier *verifier, const AuditRow *row)
{
	struct varlena *operation =
	PG_DETOAST_DATUM_PACKED(row->values[AUDIT_OPERATION]);

	if (!fobs_audit_is_record(VARDATA_ANY(operation),
							  VARSIZE_ANY_EXHDR(operation)))
		return;
	append_datum(verifier->context, &verifier->entry_times,
				 &verifier->n_entry_times, row->values[AUDIT_CREATED_AT]);
	append_datum(verifier->context, &verifier->entry_ids,
				 &verifier->n_entry_ids, row->values[AUDIT_ID]);
}

/* Does a start say that there was none before, with the library? */
static bool
is_first_start(const AuditRow *row)
{
	static const char reason[] = "for the library was not loaded";

	return !row->nulls[AUDIT_ERROR_MESSAGE] &&
		strstr(TextDatumGetCString(row->values[AUDIT_ERROR_MESSAGE]),
			   reason) != NULL;
}

/* Entries by which the log itself says that others are not there */
static void
check_gap(Part *part, const AuditRow *row, int64 seal_no)
{
	Finding		finding = {
		GAP, "lost", seal_no, part->name, true,
		DatumGetInt64(row->values[AUDIT_ID]),
		DatumGetTimestampTz(row->values[AUDIT_CREATED_AT])
	};

	if (is_operation(row, "audit.lost"))
		fobs_report(part->verifier, &finding,
					"operations that were rolled back were lost, see the row's details");
	else if (!is_operation(row, "audit.start") ||
			 strcmp(TextDatumGetCString(row->values[AUDIT_RESULT]),
					"success") == 0)
		return;
	else if (is_first_start(row))
	{
		finding.kind = "not_loaded";
		fobs_report(part->verifier, &finding,
					"the library had not been loaded: operations that were rolled back before are not in the log");
	}
	else
	{
		finding.kind = "unclean";
		fobs_report(part->verifier, &finding,
					"the server had not been stopped cleanly: operations that were rolled back before may be missing");
	}
}

/* Tells of a row that is not one of a log. */
static void
report_incomplete_row(Part *part, const AuditRow *row)
{
	Finding		finding = {
		VIOLATION, fault_kinds[FAULT_ROWS],.partition = part->name,
		.has_row = !row->nulls[AUDIT_ID],
		.row_id = DatumGetInt64(row->values[AUDIT_ID])
	};

	if (part->faults[FAULT_ROWS]++ < MAX_FINDINGS)
		fobs_report(part->verifier, &finding,
					"row was changed: it has nulls where there must be none");
}

static void
check_complete_row(Part *part, const AuditRow *row)
{
	Verifier   *verifier = part->verifier;
	int64		id = DatumGetInt64(row->values[AUDIT_ID]);
	uint64		xact = (uint64) DatumGetInt64(row->values[AUDIT_XACT]);
	int			found = find_seal(part, id, xact);
	int64		seal_no = found >= 0 ? part->seals[found].seal_no : 0;
	TimestampTz at = DatumGetTimestampTz(row->values[AUDIT_CREATED_AT]);
	MerkleHash	leaf;

	if (part->n_rows++ % 4096 == 0)
		check_memory(part);
	if (found >= 0 && part->counts != NULL)
		fobs_counts_prepare(part->counts, row);
	check_personal(part, row, seal_no);
	check_time(part, row, found);
	check_gap(part, row, seal_no);
	collect_entry(verifier, row);
	if (found >= 0)
	{
		fobs_audit_leaf(row, &leaf);
		fobs_leaves_add(part->leaves, found, id, &leaf);
		if (part->counts != NULL)
			fobs_counts_add(part->counts, row);
	}
	else if (found == SEAL_NONE)
		report_row(part, FAULT_STRAY, row, 0,
				   "row is in no seal, and its transaction had ended before seals were made: it was added later");
	else if (verifier->native && xact >= part->next_xact)
		report_row(part, FAULT_XACT, row, 0,
				   "row is of a transaction that has not begun");
	else
	{
		if (verifier->unsealed == 0 || at < verifier->unsealed_since)
			verifier->unsealed_since = at;
		verifier->unsealed++;
	}
}

static void
check_row(Part *part, const AuditRow *row)
{
	if (fobs_audit_is_complete(row))
		check_complete_row(part, row);
	else
		report_incomplete_row(part, row);
}

static void
scan_rows(Part *part, Relation partition)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "audit log row",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = CurrentMemoryContext;
	TupleTableSlot *slot = table_slot_create(partition, NULL);
	TableScanDesc scan = table_beginscan(partition, GetActiveSnapshot(), 0,
										 NULL);
	AuditColumnMap map;
	AuditRow	row;

	fobs_audit_map_columns(RelationGetDescr(partition), &map);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, map.n_attributes);
		fobs_audit_get_row(&map, slot->tts_values, slot->tts_isnull, &row);
		MemoryContextSwitchTo(context);
		check_row(part, &row);
		MemoryContextSwitchTo(before);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(context);
}

/*---- what rows make ----*/

/* Tells that the rows of a seal are not those that it says. */
static void
report_seal(Part *part, const PartSeal *seal, int64 n)
{
	Finding		finding = {
		VIOLATION, fault_kinds[FAULT_ROWS], seal->seal_no, part->name,
		.at = seal->sealed_at
	};

	if (part->faults[FAULT_ROWS]++ >= MAX_FINDINGS)
		return;
	if (n != seal->n)
		fobs_report(part->verifier, &finding,
					"seal " INT64_FORMAT " has " INT64_FORMAT " rows, and there are " INT64_FORMAT ": rows were %s",
					seal->seal_no, seal->n, n,
					n < seal->n ? "removed" : "added");
	else
		fobs_report(part->verifier, &finding,
					"rows of seal " INT64_FORMAT " were changed: they do not make its root",
					seal->seal_no);
}

/* Compares the tree of each seal with what it says. */
static void
compare_seals(Part *part)
{
	fobs_leaves_complete(part->leaves);
	for (int i = 0; i < part->n_seals; i++)
	{
		const PartSeal *seal = &part->seals[i];
		MerkleHash	root;
		int64		n = fobs_leaves_root(part->leaves, i, &root);

		if (n != seal->n || !seal->has_root ||
			memcmp(&root, &seal->root, sizeof(root)) != 0)
			report_seal(part, seal, n);
	}
}

static void
report_count(const CountDifference *difference, void *arg)
{
	Part	   *part = arg;
	Finding		finding = {
		VIOLATION, fault_kinds[FAULT_ROLLUP],.partition = part->name,
		.at = difference->bucket
	};

	if (part->faults[FAULT_ROLLUP]++ < MAX_FINDINGS)
		fobs_report(part->verifier, &finding,
					"rollup of %s has " INT64_FORMAT ", rows are " INT64_FORMAT,
					difference->what, difference->in_rollup,
					difference->in_rows);
}

static void
compare_rollups(Part *part)
{
	int64		incomplete = 0;

	if (part->counts == NULL)
		return;
	fobs_counts_complete(part->counts);
	fobs_counts_compare(part->counts, part->verifier->log, part->from,
						part->to, &incomplete, report_count, part);
	fobs_report_incomplete(part->verifier, "fraiseql_audit_counts",
						   incomplete);
}

static Datum
make_array(Datum *values, int n, Oid type)
{
	return PointerGetDatum(construct_array(values, n, type, sizeof(int64),
										   FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* A query of a function of ours, whose first argument is the log */
static void
query_function(AuditQuery *query, Verifier *verifier, const char *name,
			   const char *rest)
{
	query->text = psprintf("SELECT * FROM %s%s",
						   quote_qualified_identifier(verifier->functions,
													  name), rest);
	fobs_audit_add_arg(query, REGCLASSOID, ObjectIdGetDatum(verifier->log));
}

static void
report_erased(TupleTableSlot *slot, void *arg)
{
	Part	   *part = arg;
	Finding		finding = {
		VIOLATION, fault_kinds[FAULT_ERASED],.partition = part->name,
		.has_row = true,.row_id = DatumGetInt64(slot->tts_values[0])
	};

	if (part->faults[FAULT_ERASED]++ < MAX_FINDINGS)
		fobs_report(part->verifier, &finding, "%s",
					TextDatumGetCString(slot->tts_values[1]));
}

/* Were the rows without their salt erased on record? */
static void
compare_erased(Part *part)
{
	AuditQuery	query = {
		.row = report_erased,.arg = part,.required = FIRST_COLUMNS(2)
	};

	if (part->n_erased == 0)
		return;
	query_function(&query, part->verifier, "audit_check_erasures",
				   "($1, $2, $3, $4)");
	fobs_audit_add_arg(&query, INT8ARRAYOID,
					   make_array(part->erased, part->n_erased, INT8OID));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID,
					   TimestampTzGetDatum(part->from));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID, TimestampTzGetDatum(part->to));
	fobs_audit_run_query(&query);
}

/*---- partitions ----*/

static void
verify_partition(Part *part, Relation partition)
{
	MemoryContext before = MemoryContextSwitchTo(part->context);

	read_part_seals(part);
	part->counts = fobs_counts_create();
	part->next_xact = U64FromFullTransactionId(ReadNextFullTransactionId());
	part->leaves = fobs_leaves_create(part->n_seals);
	for (int i = 0; i < part->n_seals; i++)
		fobs_leaves_expect(part->leaves, i, part->seals[i].n);
	scan_rows(part, partition);
	compare_seals(part);
	fobs_leaves_free(part->leaves);
	compare_erased(part);
	compare_rollups(part);
	report_more(part);
	MemoryContextSwitchTo(before);
}

/* Is the table one that a partition of ours may be? */
static bool
check_shape(Part *part, Relation partition, bool bounded)
{
	Finding		finding = {VIOLATION, "table",.partition = part->name};

	if (partition->rd_rel->relkind == RELKIND_RELATION && bounded)
		return true;
	fobs_report(part->verifier, &finding,
				"partition is not one of an audit log: it is not an ordinary table for a period");
	return false;
}

static void
visit_open_partition(Part *part, Relation partition, bool bounded)
{
	part->name = pstrdup(RelationGetRelationName(partition));
	if (!check_shape(part, partition, bounded))
		return;
	part->context = AllocSetContextCreate(CurrentMemoryContext,
										  "audit log partition",
										  ALLOCSET_DEFAULT_SIZES);
	verify_partition(part, partition);
	MemoryContextDelete(part->context);
}

/* A partition of audit_partitions() */
static void
visit_partition(TupleTableSlot *slot, void *arg)
{
	Verifier   *verifier = arg;
	Part		part = {.verifier = verifier};
	bool		bounded = !slot->tts_isnull[1] && !slot->tts_isnull[2];
	Relation	partition;

	if (bounded)
	{
		SealedRange *range;

		part.from = DatumGetTimestampTz(slot->tts_values[1]);
		part.to = DatumGetTimestampTz(slot->tts_values[2]);
		range = fobs_find_range(verifier, part.from);
		if (range != NULL && range->to == part.to)
			range->stands = true;
		if (part.to <= verifier->from || part.from >= verifier->until)
			return;
	}
	partition = try_relation_open(DatumGetObjectId(slot->tts_values[0]),
								  AccessShareLock);
	if (partition == NULL)
	{
		Finding		finding = {UNCHECKED, "removed",.at = part.from};

		/* without bounds nobody knows what it was for */
		verifier->vanished |= !bounded;
		fobs_report(verifier, &finding,
					"a partition was removed meanwhile, and not verified");
		return;
	}
	visit_open_partition(&part, partition, bounded);
	relation_close(partition, NoLock);
}

static void
verify_partitions(Verifier *verifier)
{
	AuditQuery	query = {
		.row = visit_partition,.arg = verifier,.required = ONE_COLUMN(0)
	};

	query_function(&query, verifier, "audit_partitions",
				   "($1) ORDER BY range_from");
	fobs_audit_run_query(&query);
	/* tables that are closed and detached, and not yet dropped */
	query.text = psprintf("SELECT partition, range_from, range_to FROM %s($1) "
						  "ORDER BY range_from",
						  quote_qualified_identifier(verifier->functions,
													 "audit_detached_partitions"));
	fobs_audit_run_query(&query);
}

/* Have the rollups what they had of a partition when it was removed? */
static void
check_removed_counts(Verifier *verifier, TupleTableSlot *slot)
{
	AuditCounts *counts = fobs_counts_create();
	Finding		finding = {
		VIOLATION, "tombstone",.at = DatumGetTimestampTz(slot->tts_values[0])
	};
	int64		incomplete = 0;
	MerkleHash	root;

	fobs_counts_read(counts, verifier->log,
					 DatumGetTimestampTz(slot->tts_values[0]),
					 DatumGetTimestampTz(slot->tts_values[1]), &incomplete);
	fobs_counts_root(counts, &root);
	fobs_counts_free(counts);
	fobs_report_incomplete(verifier, "fraiseql_audit_counts", incomplete);
	if (!fobs_is_hash(slot->tts_values[9], slot->tts_isnull[9], &root))
		fobs_report(verifier, &finding,
					"rollups do not have of a partition what they had when it was removed");
}

/*
 * What was recorded of a partition that was removed.  Between that and its
 * removal it still stands.
 */
static void
check_tombstone(TupleTableSlot *slot, void *arg)
{
	Verifier   *verifier = arg;
	TimestampTz from = DatumGetTimestampTz(slot->tts_values[0]);
	TimestampTz to = DatumGetTimestampTz(slot->tts_values[1]);
	int64		n = DatumGetInt64(slot->tts_values[2]);
	SealedRange *range = fobs_find_range(verifier, from);
	Finding		finding = {VIOLATION, "tombstone",.at = from};
	MerkleHash	root;

	if (to > verifier->from && from < verifier->until)
		check_removed_counts(verifier, slot);
	if (range != NULL && range->stands)
		return;
	if (to > verifier->from && from < verifier->until)
	{
		verifier->n_removed++;
		verifier->removed += n;
	}
	if (range == NULL)			/* its seals have been collapsed */
		return;
	range->stands = true;
	finding.seal_no = range->last_seal;
	fobs_merkle_root(&range->seals, &root);
	if (n != range->n ||
		!fobs_is_hash(slot->tts_values[3], slot->tts_isnull[3], &root))
		fobs_report(verifier, &finding,
					"what was recorded of a partition when it was removed is not what its seals say");
}

/* What is wrong with it besides */
static void
report_tombstone(TupleTableSlot *slot, void *arg)
{
	Finding		finding = {
		VIOLATION, "tombstone",.at = slot->tts_isnull[0] ? 0 :
		DatumGetTimestampTz(slot->tts_values[0])
	};

	fobs_report(arg, &finding, "%s",
				TextDatumGetCString(slot->tts_values[1]));
}

static void
check_tombstones(Verifier *verifier)
{
	AuditQuery	query = {.row = report_tombstone,.arg = verifier};

	query_function(&query, verifier, "audit_check_tombstones",
				   "($1, $2, $3) ORDER BY range_from");
	fobs_audit_add_arg(&query, TIMESTAMPTZOID,
					   TimestampTzGetDatum(verifier->from));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID,
					   TimestampTzGetDatum(verifier->until));
	fobs_audit_run_query(&query);
}

/* Is what is recorded what entries say, if we have seen all of them? */
static void
check_entries(Verifier *verifier)
{
	AuditQuery	query = {.row = report_tombstone,.arg = verifier};

	if (!TIMESTAMP_IS_NOBEGIN(verifier->from) ||
		!TIMESTAMP_IS_NOEND(verifier->until))
		return;
	query_function(&query, verifier, "audit_check_entries",
				   "($1, $2, $3)");
	fobs_audit_add_arg(&query, INT8ARRAYOID,
					   make_array(verifier->entry_ids, verifier->n_entry_ids,
								  INT8OID));
	fobs_audit_add_arg(&query, TIMESTAMPTZARRAYOID,
					   make_array(verifier->entry_times,
								  verifier->n_entry_times, TIMESTAMPTZOID));
	fobs_audit_run_query(&query);
}

static void
check_removed(Verifier *verifier)
{
	AuditQuery	query = {.row = check_tombstone,.arg = verifier};

	query.text = psprintf("SELECT range_from, range_to, n, root, name, results, "
						  "removed_at, reason, event_id, rollup_root, rollup_event_id, rollup_event_at "
						  "FROM %s ORDER BY range_from",
						  fobs_beside(verifier, "fraiseql_audit_partitions"));
	fobs_verify_query(verifier, &query, "fraiseql_audit_partitions",
					  FIRST_COLUMNS(12));
	check_tombstones(verifier);
	check_entries(verifier);
	for (int i = 0; i < verifier->n_ranges; i++)
	{
		const SealedRange *range = &verifier->ranges[i];
		Finding		finding = {
			VIOLATION, "partition", range->first_seal,.at = range->from
		};

		if (verifier->vanished)
			finding.severity = UNCHECKED;
		if (!range->stands)
			fobs_report(verifier, &finding,
						"partition of seals " INT64_FORMAT " to " INT64_FORMAT " with " INT64_FORMAT " rows is missing, and no record says why",
						range->first_seal, range->last_seal, range->n);
	}
}

static void
report_stray_count(TupleTableSlot *slot, void *arg)
{
	Finding		finding = {
		VIOLATION, fault_kinds[FAULT_ROLLUP],
		.at = DatumGetTimestampTz(slot->tts_values[0])
	};

	fobs_report(arg, &finding,
				"rollups have counts of a time of which there is no partition, and none that was removed");
}

/* Have rollups counts of times of which there has been no partition? */
static void
check_stray_counts(Verifier *verifier)
{
	AuditQuery	query = {
		.row = report_stray_count,.arg = verifier,.required = FIRST_COLUMNS(1)
	};

	query_function(&query, verifier, "audit_check_stray_counts",
				   "($1, $2, $3)");
	fobs_audit_add_arg(&query, TIMESTAMPTZOID,
					   TimestampTzGetDatum(verifier->from));
	fobs_audit_add_arg(&query, TIMESTAMPTZOID,
					   TimestampTzGetDatum(verifier->until));
	fobs_audit_run_query(&query);
}

/* What cannot be said of rows */
static void
report_unchecked(Verifier *verifier)
{
	Finding		unsealed = {
		UNCHECKED, "unsealed",.at = verifier->unsealed_since
	};
	Finding		removed = {UNCHECKED, "removed"};
	Finding		erased = {UNCHECKED, "erased"};

	if (verifier->unsealed > 0)
		fobs_report(verifier, &unsealed,
					"rows that are not sealed yet: " INT64_FORMAT,
					verifier->unsealed);
	if (verifier->unproven > 0)
		fobs_report(verifier, &erased,
					"rows of which some personal columns were erased, so that nothing proves the others: " INT64_FORMAT,
					verifier->unproven);
	if (verifier->n_removed > 0)
		fobs_report(verifier, &removed,
					"rows of partitions that were removed on record: " INT64_FORMAT " of %d, of which only the record was verified",
					verifier->removed, verifier->n_removed);
}

/* Refuses to tell of rows that the caller is not to see. */
static void
check_row_security(Relation log)
{
	if (check_enable_rls(RelationGetRelid(log), InvalidOid, true) ==
		RLS_ENABLED &&
		!has_privs_of_role(GetUserId(), log->rd_rel->relowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot verify an audit log of which row security hides rows"),
				 errhint("Have it verified by a member of its owner, or by a reader with BYPASSRLS.")));
}

static void
verify(Verifier *verifier, const pg_uuid_t *origin, const Checkpoint *anchor)
{
	Relation	log = table_open(verifier->log, AccessShareLock);
	FobsSavedUser saved;

	check_row_security(log);
	fobs_audit_become_owner(log->rd_rel->relowner, &saved);
	if (fobs_verify_tables(verifier))
	{
		fobs_verify_chain(verifier, origin, anchor);
		verify_partitions(verifier);
		check_removed(verifier);
		if (!verifier->vanished)
			check_stray_counts(verifier);
		report_unchecked(verifier);
	}
	fobs_audit_become_self(&saved);
	table_close(log, NoLock);
}

/*
 * audit_verify(from, until, origin uuid, size bigint, root bytea)
 *
 * Findings of the seals and of the partitions of a time; the last three are an
 * anchor's, or null.  Which table is the log is not the caller's to say, who
 * could have others read with the rights of their owners.
 */
Datum
fraiseql_obs_audit_verify(PG_FUNCTION_ARGS)
{
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	Verifier	verifier = {
		.result = (ReturnSetInfo *) fcinfo->resultinfo,
		.functions = get_namespace_name(schema),
		.log = fobs_audit_log_table(),
		.from = PG_ARGISNULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0),
		.until = PG_ARGISNULL(1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(1)
	};
	Checkpoint	anchor = {.is_anchor = true};
	bool		has_anchor = !PG_ARGISNULL(2) && !PG_ARGISNULL(3) &&
	!PG_ARGISNULL(4);

	InitMaterializedSRF(fcinfo, 0);
	verifier.context = AllocSetContextCreate(CurrentMemoryContext,
											 "audit log verification",
											 ALLOCSET_DEFAULT_SIZES);
	if (!has_anchor)
		verify(&verifier, NULL, NULL);
	else
	{
		anchor.size = PG_GETARG_INT64(3);
		fobs_get_hash(PG_GETARG_DATUM(4), false, &anchor.root);
		verify(&verifier, PG_GETARG_UUID_P(2), &anchor);
	}
	/* that nothing is wrong metrics are told when that is recorded */
	if (verifier.n_violations > 0 && fobs_audit_guard_is_log(verifier.log))
	{
		fobs_audit_databases_enter_verified();
		fobs_audit_databases_note_verified(verifier.n_violations, has_anchor);
	}
	fobs_audit_note_verification(&verifier, has_anchor ? &anchor : NULL);
	return (Datum) 0;
}
