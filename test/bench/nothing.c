/*-------------------------------------------------------------------------
 *
 * nothing.c
 *	  A function that does nothing: what calling one costs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT Datum do_nothing(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(do_nothing);

Datum
do_nothing(PG_FUNCTION_ARGS)
{
	PG_RETURN_VOID();
}
