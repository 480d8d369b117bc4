/*-------------------------------------------------------------------------
 *
 * probes.c
 *	  Health probes: what the server's state is judged to be.
 *
 * health_facts.c measures, health.c judges; here both are put together, for
 * SQL functions and for processes that answer probes without a database.
 *
 * health_verdict() judges values that are given and not measured, in the form
 * in which health() shows them: what would be said of them with the settings
 * as they are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlogdefs.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "health_facts.h"
#include "probes.h"

PG_FUNCTION_INFO_V1(fraiseql_obs_health);
PG_FUNCTION_INFO_V1(fraiseql_obs_liveness);
PG_FUNCTION_INFO_V1(fraiseql_obs_readiness);
PG_FUNCTION_INFO_V1(fraiseql_obs_health_verdict);

static const FobsHealthQuestion no_question = {FOBS_ROLE_ANY, -1};

/* Reads which role is asked for; false if there is no such role. */
bool
fobs_probe_role(const char *text, FobsHealthQuestion *question)
{
	for (int i = 0; i < FOBS_N_ROLES; i++)
	{
		if (strcmp(text, fobs_role_names[i]) == 0)
		{
			question->role = i;
			return true;
		}
	}
	return false;
}

/* Reads a lag as settings are written, such as 16MB; false if it is none. */
bool
fobs_probe_max_lag(const char *text, FobsHealthQuestion *question)
{
	double		max_lag;

	if (!parse_real(text, &max_lag, GUC_UNIT_BYTE, NULL) || max_lag < 0)
		return false;
	question->max_lag = max_lag;
	return true;
}

/*
 * Appends the answer to a probe as JSON; returns whether it passes.  The
 * library must be preloaded.  Needs no transaction and no database; allocates
 * in the current memory context, which the caller is to reset.
 */
bool
fobs_probe_answer(FobsProbe probe, const FobsHealthQuestion *question,
				  bool detailed, StringInfo out)
{
	FobsHealthFacts facts;
	FobsVerdict verdict;

	if (probe == FOBS_PROBE_LIVENESS)
	{
		fobs_health_append_json(out, probe, detailed, NULL, NULL);
		return true;
	}
	fobs_health_read(&facts);
	fobs_health_judge(&facts, &fobs_health_limits,
					  question != NULL ? question : &no_question, &verdict);
	fobs_health_append_json(out, probe, detailed, &facts, &verdict);
	return fobs_health_passes(probe, &facts, &verdict);
}

static Datum
answer(FobsProbe probe, const FobsHealthQuestion *question)
{
	StringInfoData out;

	initStringInfo(&out);
	(void) fobs_probe_answer(probe, question, true, &out);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/* Reads what readiness is asked for of arguments that may be NULL. */
static FobsHealthQuestion
question_of(FunctionCallInfo fcinfo, int role, int max_lag)
{
	FobsHealthQuestion question = no_question;

	if (!PG_ARGISNULL(role))
	{
		char	   *word = text_to_cstring(PG_GETARG_TEXT_PP(role));

		if (!fobs_probe_role(word, &question))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized role \"%s\"", word),
					 errhint("Available roles: any, primary, replica.")));
	}
	if (!PG_ARGISNULL(max_lag))
	{
		char	   *word = text_to_cstring(PG_GETARG_TEXT_PP(max_lag));

		if (!fobs_probe_max_lag(word, &question))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid lag: \"%s\"", word),
					 errhint("A lag is a number of bytes, such as 16MB.")));
	}
	return question;
}

/* The check that a key of health_verdict()'s argument names */
static FobsCheck
check_of(const JsonbValue *key)
{
	for (int i = 0; i < FOBS_N_CHECKS; i++)
	{
		if (strlen(fobs_check_names[i]) == key->val.string.len &&
			memcmp(fobs_check_names[i], key->val.string.val,
				   key->val.string.len) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized health check \"%.*s\"",
					key->val.string.len, key->val.string.val)));
	return FOBS_N_CHECKS;		/* keep compiler quiet */
}

/* A value of health_verdict()'s argument, as the kind of fact that it is */
static double
fact_value(const JsonbValue *key, FobsFact fact, FobsFactKind kind,
		   const JsonbValue *value)
{
	if (value->type == jbvNull)
		return get_float8_nan();
	if (kind == FOBS_FACT_NUMBER && value->type == jbvNumeric)
	{
		Datum		numeric = NumericGetDatum(value->val.numeric);

		return DatumGetFloat8(DirectFunctionCall1(numeric_float8, numeric));
	}
	if (kind == FOBS_FACT_BOOLEAN && value->type == jbvBool)
		return value->val.boolean;
	if (value->type == jbvString)
	{
		char	   *text = pnstrdup(value->val.string.val,
									value->val.string.len);

		if (kind == FOBS_FACT_NAME)
		{
			int			word = fobs_health_find_word(fact, text,
													 strlen(text));

			if (word >= 0)
				return word;
		}
		else if (kind == FOBS_FACT_LSN)
			return DatumGetLSN(DirectFunctionCall1(pg_lsn_in,
												   CStringGetDatum(text)));
		else if (kind == FOBS_FACT_TIME)
		{
			Datum		datum = DirectFunctionCall3(timestamptz_in,
													CStringGetDatum(text),
													InvalidOid, -1);
			TimestampTz time = DatumGetTimestampTz(datum);

			if (!TIMESTAMP_NOT_FINITE(time))
				return time;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value of \"%.*s\" in a health check",
					key->val.string.len, key->val.string.val)));
	return 0;					/* keep compiler quiet */
}

/* Reads the values of one check; what the verdict says in it is passed by. */
static void
read_check(FobsHealthFacts *facts, FobsCheck check, JsonbContainer *values)
{
	JsonbIterator *iterator = JsonbIteratorInit(values);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		FobsFactKind kind;
		FobsFact	fact;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		fact = fobs_health_find_fact(check, key.val.string.val,
									 key.val.string.len, &kind);
		if (fact != FOBS_N_FACTS)
			facts->values[fact] = fact_value(&key, fact, kind, &value);
	}
}

/* Reads checks, in the form of the "checks" of health(). */
static void
read_checks(FobsHealthFacts *facts, JsonbContainer *checks)
{
	JsonbIterator *iterator = JsonbIteratorInit(checks);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		FobsCheck	check;

		if (token != WJB_KEY)
			continue;
		check = check_of(&key);
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type != jbvBinary ||
			!JsonContainerIsObject(value.val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("health check \"%s\" is not an object",
							fobs_check_names[check])));
		read_check(facts, check, value.val.binary.data);
	}
}

/*
 * The checks of health_verdict()'s argument, which are all of it, or those of
 * a document that has them beside what was made of them
 */
static JsonbContainer *
checks_of(Jsonb *document)
{
	JsonbContainer *checks = &document->root;
	JsonbValue	buffer;
	JsonbValue *value;

	if (JsonContainerIsObject(checks))
	{
		value = getKeyJsonValueFromContainer(checks, "checks",
											 strlen("checks"), &buffer);
		if (value == NULL)
			return checks;
		if (value->type == jbvBinary &&
			JsonContainerIsObject(value->val.binary.data))
			return value->val.binary.data;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("health checks are not an object")));
	return NULL;				/* keep compiler quiet */
}

/* health() returns jsonb */
Datum
fraiseql_obs_health(PG_FUNCTION_ARGS)
{
	fobs_counters_require();
	PG_RETURN_DATUM(answer(FOBS_PROBE_HEALTH, NULL));
}

/* liveness() returns jsonb */
Datum
fraiseql_obs_liveness(PG_FUNCTION_ARGS)
{
	fobs_counters_require();
	PG_RETURN_DATUM(answer(FOBS_PROBE_LIVENESS, NULL));
}

/* readiness(role, max_lag) returns jsonb */
Datum
fraiseql_obs_readiness(PG_FUNCTION_ARGS)
{
	FobsHealthQuestion question = question_of(fcinfo, 0, 1);

	fobs_counters_require();
	PG_RETURN_DATUM(answer(FOBS_PROBE_READINESS, &question));
}

/* health_verdict(checks, role, max_lag) returns jsonb */
Datum
fraiseql_obs_health_verdict(PG_FUNCTION_ARGS)
{
	FobsHealthQuestion question = question_of(fcinfo, 1, 2);
	FobsHealthFacts facts;
	FobsVerdict verdict;
	StringInfoData out;

	/* without, there are no settings to judge by */
	fobs_counters_require();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	fobs_health_clear(&facts);
	facts.at = GetCurrentTimestamp();
	read_checks(&facts, checks_of(PG_GETARG_JSONB_P(0)));
	fobs_health_judge(&facts, &fobs_health_limits, &question, &verdict);
	initStringInfo(&out);
	fobs_health_append_json(&out, FOBS_PROBE_HEALTH, true, &facts, &verdict);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
