/*-------------------------------------------------------------------------
 *
 * audit_verify.h
 *	  What the checks of seals and those of rows have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_VERIFY_H
#define FOBS_AUDIT_VERIFY_H

#include "funcapi.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit_seal.h"

/* Columns of seals, in the order of their tags */
#define SEAL_COLUMNS \
	"seal_no, incarnation, kind, sealed_at, since_at, since, snapshot, " \
	"after_id, until_id, seen_id, range_from, range_to, n, results, " \
	"min_id, max_id, min_created_at, max_created_at, root, rollup_root, " \
	"previous, hash"

typedef enum SealColumn
{
	SEAL_NO = 1,
	SEAL_INCARNATION,
	SEAL_KIND,
	SEAL_SEALED_AT,
	SEAL_SINCE_AT,
	SEAL_SINCE,
	SEAL_SNAPSHOT,
	SEAL_AFTER_ID,
	SEAL_UNTIL_ID,
	SEAL_SEEN_ID,
	SEAL_RANGE_FROM,
	SEAL_RANGE_TO,
	SEAL_N,
	SEAL_RESULTS,
	SEAL_MIN_ID,
	SEAL_MAX_ID,
	SEAL_MIN_CREATED_AT,
	SEAL_MAX_CREATED_AT,
	SEAL_ROOT,
	SEAL_ROLLUP_ROOT,
	SEAL_PREVIOUS,
	SEAL_HASH
} SealColumn;

/* A run of seals whose snapshots can be compared; NULL where there is none */
typedef struct Incarnation
{
	pg_uuid_t	id;
	int64		after_id;		/* its rows have later ids */
	const AuditSnapshot *last;	/* of its last batch */
	TimestampTz last_at;
	bool		has_baseline;	/* the rest is of its first seal */
	int64		baseline_after_id;
	int64		baseline_seen_id;
	const AuditSnapshot *baseline_since;
} Incarnation;

/* A seal that was made at an earlier time than the one before */
typedef struct ClockStep
{
	int64		seal_no;
	uint64		xmax;			/* transactions before it had begun then */
} ClockStep;

/* The seals of the time of a partition */
typedef struct SealedRange
{
	TimestampTz from;
	TimestampTz to;
	int64		n;
	int64		first_seal;
	int64		last_seal;
	MerkleTree	seals;
	bool		stands;			/* there is such a partition */
} SealedRange;

/* A checkpoint that the tree of seals must agree with */
typedef struct Checkpoint
{
	int64		size;
	MerkleHash	root;
	bool		is_anchor;		/* the caller's, else one that is stored */
	bool		reached;
} Checkpoint;

typedef struct Verifier
{
	ReturnSetInfo *result;
	const char *functions;		/* the schema of ours */
	Oid			log;
	TimestampTz from;
	TimestampTz until;
	MemoryContext context;		/* for what lasts until the end */

	/* what the seals say */
	int64		n_seals;
	Incarnation *incarnations;
	int			n_incarnations;
	SealedRange *ranges;
	int			n_ranges;
	ClockStep  *steps;
	int			n_steps;

	/* what the state says */
	int			n_states;		/* there is one */
	int			n_collapsed;
	bool		native;			/* transactions are this cluster's */
	bool		has_origin;
	pg_uuid_t	origin;

	/* where entries are that say what was removed, erased and kept */
	Datum	   *entry_ids;
	int			n_entry_ids;
	Datum	   *entry_times;
	int			n_entry_times;

	/* what was left */
	int64		unproven;		/* rows of which a part was erased */
	int64		unsealed;
	TimestampTz unsealed_since;
	int64		removed;
	int			n_removed;		/* partitions */
	bool		vanished;		/* a partition, while we looked */
	int64		n_violations;	/* reported */
	int64		n_gaps;
	int64		n_unchecked;
} Verifier;

/* A finding; what is not given is null */
typedef struct Finding
{
	const char *severity;
	const char *kind;
	int64		seal_no;		/* 0: none */
	const char *partition;
	bool		has_row;
	int64		row_id;
	TimestampTz at;				/* 0: none */
} Finding;

/* By how much the clocks of a primary and its successor may differ */
#define CLOCK_TOLERANCE	USECS_PER_MINUTE

#define VIOLATION	"violation"
#define GAP			"gap"
#define UNCHECKED	"unchecked"

extern void fobs_report(Verifier *verifier, const Finding *finding,
						const char *format,...) pg_attribute_printf(3, 4);
extern char *fobs_beside(Verifier *verifier, const char *name);
extern void *fobs_enlarge(MemoryContext context, void *array, int n,
						  Size size);
extern SealedRange *fobs_find_range(Verifier *verifier, TimestampTz from);
extern void fobs_verify_chain(Verifier *verifier, const pg_uuid_t *origin,
							  const Checkpoint *anchor);

#endif							/* FOBS_AUDIT_VERIFY_H */
