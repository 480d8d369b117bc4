/*-------------------------------------------------------------------------
 *
 * audit_query.c
 *	  A query whose rows are looked at one by one.
 *
 * Rows go from the executor to a function of ours and are not kept, so that
 * millions of them take no memory.  The function runs in a memory context
 * that is reset after each row.  It does not see rows that have nulls where
 * there must be none, which constraints of a table are no promise of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/memutils.h"

#include "audit_query.h"
#include "compat.h"

typedef struct RowReceiver
{
	DestReceiver public;
	const AuditQuery *query;
	MemoryContext context;
} RowReceiver;

static bool
is_complete(TupleTableSlot *slot, uint32 required)
{
	for (int i = 0; required >> i != 0; i++)
		if ((required & ((uint32) 1 << i)) != 0 && slot->tts_isnull[i])
			return false;
	return true;
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext before = MemoryContextSwitchTo(receiver->context);

	slot_getallattrs(slot);
	if (is_complete(slot, receiver->query->required))
		receiver->query->row(slot, receiver->query->arg);
	else if (receiver->query->incomplete != NULL)
		(*receiver->query->incomplete)++;
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table of the audit log has a null where there must be none")));
	MemoryContextSwitchTo(before);
	MemoryContextReset(receiver->context);
	return true;
}

static void
start(DestReceiver *self, int operation, TupleDesc tupdesc)
{
}

static void
finish(DestReceiver *self)
{
}

void
fobs_audit_add_arg(AuditQuery *query, Oid type, Datum value)
{
	Assert(query->n_args < AUDIT_QUERY_MAX_ARGS);
	query->types[query->n_args] = type;
	query->args[query->n_args] = value;
	query->n_args++;
}

/*
 * Runs a query.  It has an SPI connection of its own, so the function may run
 * others.
 */
void
fobs_audit_run_query(const AuditQuery *query)
{
	SPIExecuteOptions options = {0};
	RowReceiver receiver = {{0}};
	int			result;

	SPI_connect();
	receiver.public.receiveSlot = receive_row;
	receiver.public.rStartup = start;
	receiver.public.rShutdown = finish;
	receiver.public.rDestroy = finish;
	receiver.public.mydest = DestNone;
	receiver.query = query;
	receiver.context = AllocSetContextCreate(CurrentMemoryContext,
											 "audit log row",
											 ALLOCSET_DEFAULT_SIZES);

	options.params = makeParamList(query->n_args);
	for (int i = 0; i < query->n_args; i++)
	{
		ParamExternData *param = &options.params->params[i];

		param->value = query->args[i];
		param->isnull = false;
		param->pflags = PARAM_FLAG_CONST;
		param->ptype = query->types[i];
	}
	options.read_only = !query->new_snapshot;
	options.dest = &receiver.public;
	result = SPI_execute_extended(query->text, &options);
	/* that is what SPI says of a SELECT whose rows it does not keep */
	if (result != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute_extended failed: %s",
			 SPI_result_code_string(result));
	SPI_finish();
}
