/*-------------------------------------------------------------------------
 *
 * reset.c
 *	  Counting anew, on demand.
 *
 * A reset may run while statements are counted: one that ends at that moment
 * counts before or after it, and is not lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "operations.h"
#include "queries.h"
#include "slowlog.h"
#include "spans.h"

PG_FUNCTION_INFO_V1(fraiseql_obs_reset_metrics);

typedef struct ResetTarget
{
	const char *name;
	void		(*reset) (void);
} ResetTarget;

static const ResetTarget targets[] = {
	{"databases", fobs_counters_reset},
	{"queries", fobs_queries_reset},
	{"operations", fobs_operations_reset},
	{"errors", fobs_errors_reset},
	{"slow_queries", fobs_slowlog_reset},
	{"spans", fobs_spans_reset}
};

/*
 * reset_metrics(target): starts one kind of statistics anew, or all of them,
 * and returns the time, which for 'all' is exported as that of the last reset.
 */
Datum
fraiseql_obs_reset_metrics(PG_FUNCTION_ARGS)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		all = strcmp(name, "all") == 0;
	bool		known = all;

	fobs_counters_require();
	for (int i = 0; i < lengthof(targets); i++)
		known = known || strcmp(name, targets[i].name) == 0;
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized reset target \"%s\"", name),
				 errhint("Valid targets are \"all\", \"databases\", \"queries\", \"operations\", \"errors\", \"slow_queries\", and \"spans\".")));

	for (int i = 0; i < lengthof(targets); i++)
	{
		if (all || strcmp(name, targets[i].name) == 0)
			targets[i].reset();
	}
	PG_RETURN_TIMESTAMPTZ(all ? fobs_counters_reset_mark() :
						  GetCurrentTimestamp());
}
