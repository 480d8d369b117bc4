/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every difference between the PostgreSQL versions we support.
 *
 * This is the only file that looks at PG_VERSION_NUM.  The names are those of
 * the newest version, emulated on the older ones, so that dropping a version
 * means deleting lines here and nowhere else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_COMPAT_H
#define FRAISEQL_OBS_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "fraiseql_obs requires PostgreSQL 15 or later"
#endif

#include "executor/executor.h"

/*
 * libpq-be.h asks for Kerberos' headers, which Debian's server packages do
 * not bring.  struct Port is laid out the same without, by design.
 */
#ifdef ENABLE_GSS
#undef ENABLE_GSS
#include "libpq/libpq.h"
#include "libpq/libpq-be.h"
#define ENABLE_GSS 1
#else
#include "libpq/libpq.h"
#include "libpq/libpq-be.h"
#endif
#include "portability/instr_time.h"
#include "storage/proc.h"

/* 16 exports functions on its own; see the Makefile for before */
#if PG_VERSION_NUM < 160000
#include "fmgr.h"
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable
#endif

/* 16 took varatt.h out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16 moved queryjumble.h and made an instr_time a count of nanoseconds */
#if PG_VERSION_NUM >= 160000
#include "nodes/queryjumble.h"
#else
#include "utils/queryjumble.h"
#ifndef WIN32
#define INSTR_TIME_GET_NANOSEC(t) \
	((int64) (t).tv_sec * INT64CONST(1000000000) + (int64) (t).tv_nsec)
#endif
#endif

/* 19 gives the planner hook an ExplainState */
#if PG_VERSION_NUM >= 190000
#define PLANNER_PARAMS \
	Query *parse, const char *query_string, int cursorOptions, \
	ParamListInfo boundParams, struct ExplainState *es
#define PLANNER_ARGS parse, query_string, cursorOptions, boundParams, es
#else
#define PLANNER_PARAMS \
	Query *parse, const char *query_string, int cursorOptions, \
	ParamListInfo boundParams
#define PLANNER_ARGS parse, query_string, cursorOptions, boundParams
#endif

/* 17 made process numbers global and zero-based; before, PGPROC had them */
#if PG_VERSION_NUM < 170000
#define MyProcNumber (MyProc->pgprocno)
#endif

/* 17 lets a module name what it waits for */
#if PG_VERSION_NUM < 170000
#define WaitEventExtensionNew(name) PG_WAIT_EXTENSION
#endif

/* 17 renamed the variables about transaction identifiers */
#if PG_VERSION_NUM < 170000
#define TransamVariables ShmemVariableCache
#endif

/* 16 made a second kind of connections that are not for everybody */
#if PG_VERSION_NUM >= 160000
#define RESERVED_CONNECTIONS \
	(SuperuserReservedConnections + ReservedConnections)
#else
#define RESERVED_CONNECTIONS ReservedBackends
#endif

/* 16 has one function for whose an object is */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(classid, oid, role) pg_database_ownercheck(oid, role)
#endif

/* And one for who may do what with it */
#if PG_VERSION_NUM < 160000
#define object_aclcheck(classid, oid, role, mode) \
	pg_proc_aclcheck(oid, role, mode)
#endif

/* 16 says by what a backend's entry is found; the index starts at 1 */
#if PG_VERSION_NUM < 160000
#define pgstat_get_local_beentry_by_index(i) \
	pgstat_fetch_stat_local_beentry(i)
#endif

/* 16 dropped n_ from the fields of a database's statistics, and more */
#if PG_VERSION_NUM >= 160000
#define PGSTAT_DB_FIELD(entry, field) ((entry)->field)
#define PGSTAT_DB_OFFSET(field) offsetof(PgStat_StatDBEntry, field)
#else
#define n_blk_read_time n_block_read_time
#define n_blk_write_time n_block_write_time
#define n_session_time total_session_time
#define n_active_time total_active_time
#define n_idle_in_transaction_time total_idle_in_xact_time
#define PGSTAT_DB_FIELD(entry, field) ((entry)->n_##field)
#define PGSTAT_DB_OFFSET(field) offsetof(PgStat_StatDBEntry, n_##field)
#endif

/* What stands in a list from 16 on */
#if PG_VERSION_NUM >= 160000
#define SINCE_16(...) __VA_ARGS__
#else
#define SINCE_16(...)
#endif

/* 16 has more reasons to invalidate a replication slot than one */
#if PG_VERSION_NUM >= 160000
#define SLOT_IS_INVALIDATED(slot) ((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define SLOT_IS_INVALIDATED(slot) \
	(!XLogRecPtrIsInvalid((slot)->data.invalidated_at))
#endif

/* 16 says how many types of processes there are */
#if PG_VERSION_NUM >= 160000
#define BACKEND_TYPES ((int) BACKEND_NUM_TYPES)
#else
#define BACKEND_TYPES ((int) B_LOGGER + 1)
#endif

/* 17 wants the table itself, where a partition's may be its parent's */
#if PG_VERSION_NUM < 170000
#define getIdentitySequence(relation, number, missing_ok) \
	getIdentitySequence(RelationGetRelid(relation), number, missing_ok)
#endif

/* 17 renamed the checkpointer's statistics */
#if PG_VERSION_NUM < 170000
#define num_timed timed_checkpoints
#define num_requested requested_checkpoints
#define write_time checkpoint_write_time
#define sync_time checkpoint_sync_time
#define buffers_written buf_written_checkpoints
#endif

/* 18 put the numbers about WAL into a structure of their own */
#if PG_VERSION_NUM >= 180000
#define PGSTAT_WAL_FIELD(stats, field) ((stats)->wal_counters.field)
#else
#define PGSTAT_WAL_FIELD(stats, field) ((stats)->field)
#endif

/* 18 dropped execute_once from ExecutorRun() */
#if PG_VERSION_NUM >= 180000
#define EXECUTOR_RUN_PARAMS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define EXECUTOR_RUN_ARGS queryDesc, direction, count
#else
#define EXECUTOR_RUN_PARAMS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, \
	bool execute_once
#define EXECUTOR_RUN_ARGS queryDesc, direction, count, execute_once
#endif

/* 18 dropped run_once from PortalRun(), too */
#if PG_VERSION_NUM < 180000
#define PortalRun(portal, count, top, dest, altdest, qc) \
	PortalRun(portal, count, top, true, dest, altdest, qc)
#endif

/* 16 lets who reads a sorted datum do without a copy; before, it was one */
#if PG_VERSION_NUM < 160000
#define tuplesort_getdatum(state, forward, copy, val, isnull, abbrev) \
	tuplesort_getdatum(state, forward, val, isnull, abbrev)
#define tuplesort_free_datum(value) pfree(DatumGetPointer(value))
#else
#define tuplesort_free_datum(value) ((void) (value))
#endif

/* 18 has constraints on virtual columns, too, and so names these */
#if PG_VERSION_NUM < 180000
#define ri_CheckConstraintExprs ri_ConstraintExprs
#endif

/* It has them in expressions, too, and constraints that are not enforced */
#if PG_VERSION_NUM < 180000
#define expand_generated_columns_in_expr(node, relation, number) (node)
#define fobs_check_is_enforced(check) true
#else
#define fobs_check_is_enforced(check) ((check)->ccenforced)
#endif

/*
 * How many settings there are; 0 where that is not cheap to know, which is
 * where looking for one is.  16 finds them by a hash table.
 */
#if PG_VERSION_NUM < 160000
#define number_of_settings() GetNumConfigOptions()
#else
#define number_of_settings() 0
#endif

/* 17 lets a resource owner have a set of what is waited for */
#if PG_VERSION_NUM < 170000
#define CreateWaitEventSet(owner, n) CreateWaitEventSet(TopMemoryContext, n)
#endif

/* 18 lets a module name itself */
#ifndef PG_MODULE_MAGIC_EXT
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#endif

/* 16 has to be told of more tables that a row comes from */
#if PG_VERSION_NUM < 160000
#define EvalPlanQualInit(epq, estate, plan, marks, param, relations) \
	EvalPlanQualInit(epq, estate, plan, marks, param)
#endif

/*
 * Makes a table that is changed, and which of its columns, all that a query
 * would have.  16 has the columns elsewhere, 18 wants to know what was pruned.
 */
#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#endif

static inline void
fobs_init_range_table(EState *estate, RangeTblEntry *entry,
					  Bitmapset *changed)
{
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;

	addRTEPermissionInfo(&permissions, entry)->updatedCols = changed;
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(entry), permissions,
					   bms_make_singleton(1));
#else
	ExecInitRangeTable(estate, list_make1(entry), permissions);
#endif
#else
	entry->updatedCols = changed;
	ExecInitRangeTable(estate, list_make1(entry));
#endif
}

/* 18 counts what an index scan does */
#if PG_VERSION_NUM >= 180000
#define index_beginscan(table, index, snapshot, n_keys, n_orders) \
	index_beginscan(table, index, snapshot, NULL, n_keys, n_orders)
#endif

#endif							/* FRAISEQL_OBS_COMPAT_H */
