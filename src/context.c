/*-------------------------------------------------------------------------
 *
 * context.c
 *	  Who asks: operation, user, tenant, request and trace of a statement.
 *
 * The application tells by settings (fraiseql_obs.operation_name and so on,
 * usually SET LOCAL); where it names no operation, a SQLCommenter comment of
 * the statement does (keys action, route, controller, in this order).  Where
 * it sets no user or tenant, the settings listed in user_id_sources and
 * tenant_id_sources are taken: those that a FraiseQL session has anyway.
 *
 * The trace that a statement belongs to is that of the statement's comment,
 * else of fraiseql_obs.traceparent, else of application_name, which is what
 * drivers set that prepare their statements: the first that holds a valid
 * traceparent.  The text of a prepared statement does not change from one
 * execution to the next, so the trace of its comment counts for the first.
 *
 * A context is captured when a statement starts and belongs to it until it
 * ends, whatever is set meanwhile.  Making one costs a few copies; so the one
 * made last is shared by reference until a setting changes or a comment
 * differs, and a statement of an unchanged session pays two comparisons.
 *
 * The settings of the application are the exception: they are looked up by
 * name, which is too dear for every statement, and so only when a slow or
 * failed one is recorded.  That is before its transaction ends, but a portal
 * that outlives a change of them is recorded with the new values.
 *
 * Everything is in memory of this process but the counter of what was cut.
 * Nothing here raises an error: if memory is short, the context is empty.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/prepare.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "tcop/pquery.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "compat.h"
#include "context.h"
#include "counters.h"
#include "guc.h"
#include "label.h"
#include "sqlcommenter.h"

#define MAX_SOURCES	8			/* names in one list */

/* Room for a value of a comment before it is cut to its final size */
#define COMMENT_VALUE_SIZE	1024

/* Room for a tracestate; one that needs more is ignored */
#define COMMENT_TRACESTATE_SIZE 4096

typedef struct SourceList
{
	int			n;
	char		names[MAX_SOURCES][NAMEDATALEN * 2];

	/* none of them was there when there were so many settings; 0: not known */
	int			absent_of;
} SourceList;

typedef struct ContextShared
{
	pg_atomic_uint64 truncated; /* values that were cut */
} ContextShared;

/* What the settings of our own do not say, or not alone */
typedef struct Carried
{
	bool		has_operation;	/* the comment names one */
	char		operation[COMMENT_VALUE_SIZE];
	FobsCarrier carrier;
	FobsTrace	trace;
	char		tracestate[FOBS_TRACESTATE_SIZE];
} Carried;

static ContextShared *shared = NULL;

/* These, until the settings say otherwise: without preloading they do not */
static SourceList sources[2] = {
	[FOBS_SOURCE_USER] = {2, {"app.user_id", "app.contact_id"}},
	[FOBS_SOURCE_TENANT] = {2, {"app.tenant_id", "fraiseql.tenant_id"}},
};

/* The context of no application at all; its first reference is for ever */
static FobsContext empty_context = {2};

/*
 * The context last made.  It is stale, which is to say not the next
 * statement's, if a setting has changed since (guc.c) or if part of it comes
 * from what may differ without that.
 */
FobsContext *fobs_context_latest = &empty_context;
bool		fobs_context_stale = true;

/* Its operation is that of a comment */
static bool latest_from_comment = false;

/* The generation of the settings that it is made of */
static uint64 latest_generation = 0;

/* The trace that the settings hold, read once in each generation */
static struct
{
	uint64		generation;
	bool		valid;
	FobsTrace	trace;
	char		tracestate[FOBS_TRACESTATE_SIZE];
}			setting;

/* Asks for shared memory; from the shmem_request hook. */
void
fobs_context_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(ContextShared));
}

/* Creates or finds the shared memory; caller holds AddinShmemInitLock. */
void
fobs_context_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("fraiseql_obs_context", sizeof(ContextShared),
							 &found);
	if (!found)
		pg_atomic_init_u64(&shared->truncated, 0);
}

/*
 * Cuts the next name out of a list separated by commas and blanks.  Returns
 * its length, 0 at the end of the list.
 */
static size_t
next_name(const char **list, const char **name)
{
	size_t		length;

	*list += strspn(*list, ", \t\n\r");
	*name = *list;
	length = strcspn(*list, ", \t\n\r");
	*list += length;
	return length;
}

/* Checks a list of names of settings; for use by a GUC check hook. */
bool
fobs_context_sources_check(const char *names)
{
	const char *name;
	size_t		length;
	int			n = 0;

	while ((length = next_name(&names, &name)) > 0)
	{
		if (++n > MAX_SOURCES)
		{
			GUC_check_errdetail("The list may have at most %d names.",
								MAX_SOURCES);
			return false;
		}
		if (length >= sizeof(sources->names[0]))
		{
			GUC_check_errdetail("A name may have at most %d bytes.",
								(int) sizeof(sources->names[0]) - 1);
			return false;
		}
	}
	return true;
}

/* Takes a list that passed fobs_context_sources_check(). */
void
fobs_context_sources_assign(FobsSource source, const char *names)
{
	SourceList *list = &sources[source];
	const char *name;
	size_t		length;

	list->n = 0;
	list->absent_of = 0;
	while ((length = next_name(&names, &name)) > 0)
	{
		memcpy(list->names[list->n], name, length);
		list->names[list->n][length] = '\0';
		list->n++;
	}
}

static void
count_truncated(bool complete)
{
	if (!complete)
		pg_atomic_fetch_add_u64(&shared->truncated, 1);
}

static void
copy_value(char *dst, size_t size, const char *src)
{
	count_truncated(fobs_label_copy(dst, size, src, strlen(src)));
}

/* Decodes the first of these values that is there and not empty. */
static bool
decode_first(const FobsCommentValue *values, int n, char *dst)
{
	for (int i = 0; i < n; i++)
	{
		if (values[i].start == NULL)
			continue;
		fobs_sqlcommenter_decode(&values[i], dst, COMMENT_VALUE_SIZE);
		if (dst[0] != '\0')
			return true;
	}
	return false;
}

/* Is this, or what is behind it, the text of the portal? */
static bool
is_text_of_portal(const char *query, Portal portal)
{
	const char *text = portal->sourceText;

	return text != NULL && query >= text && query <= text + strlen(text);
}

/*
 * Whether the comment of the statement that starts speaks of this execution.
 * That of a prepared statement does when it is executed first; what SQL's
 * EXECUTE plans or runs has the text of PREPARE.  Nothing tells a prepared
 * statement that fails while it is planned from one that is not prepared.
 */
static bool
comment_is_current(const char *query)
{
	Portal		portal = ActivePortal;
	PreparedStatement *prepared;

	if (portal == NULL)
		return true;
	if (portal->prepStmtName == NULL)
		return (portal->visible || portal->cplan == NULL) &&
			is_text_of_portal(query, portal);
	prepared = FetchPreparedStatement(portal->prepStmtName, false);
	return prepared != NULL &&
		prepared->plansource->num_custom_plans +
		prepared->plansource->num_generic_plans <= 1;
}

/* Takes the trace of a comment, if it has one; true if so. */
static bool
trace_from_comment(Carried *carried, const char *query,
				   const FobsCommentValue *traceparent,
				   const FobsCommentValue *tracestate)
{
	char		text[COMMENT_TRACESTATE_SIZE];
	size_t		len;

	if (traceparent->start == NULL)
		return false;
	fobs_sqlcommenter_decode(traceparent, text, sizeof(text));
	if (!fobs_traceparent_parse(text, strlen(text), &carried->trace) ||
		!comment_is_current(query))
		return false;
	if (tracestate->start == NULL)
		return true;
	fobs_sqlcommenter_decode(tracestate, text, sizeof(text));
	len = strlen(text);
	if (len < sizeof(text) - 1)
		fobs_tracestate_normalize(text, len, carried->tracestate);
	return true;
}

/* Reads the comment of a statement. */
static void
read_comment(Carried *carried, const char *query, int query_len)
{
	/* the first three name the operation, in this order */
	FobsCommentValue values[] = {
		{.key = "action"},
		{.key = "route"},
		{.key = "controller"},
		{.key = "traceparent"},
		{.key = "tracestate"}
	};

	if (!fobs_sqlcommenter_present(query, query_len) ||
		!fobs_sqlcommenter_find(query, query_len, values, lengthof(values)))
		return;
	if (fobs_operation_name[0] == '\0')
		carried->has_operation = decode_first(values, 3, carried->operation);
	if (fobs_tracing &&
		trace_from_comment(carried, query, &values[3], &values[4]))
		carried->carrier = FOBS_CARRIER_COMMENT;
}

/*
 * Reads a traceparent and the tracestate that goes with it, either of which
 * may be NULL.  The latter is stored in FOBS_TRACESTATE_SIZE bytes.
 */
static bool
read_setting(const char *traceparent, const char *tracestate,
			 FobsTrace *trace, char *state)
{
	state[0] = '\0';
	if (traceparent == NULL ||
		!fobs_traceparent_parse(traceparent, strlen(traceparent), trace))
		return false;
	if (tracestate != NULL)
		fobs_tracestate_normalize(tracestate, strlen(tracestate), state);
	return true;
}

/* Takes the trace of the settings, or of application_name, if there is one. */
static void
read_session(Carried *carried)
{
	if (setting.generation != fobs_context_generation)
	{
		setting.valid = read_setting(fobs_traceparent, fobs_tracestate,
									 &setting.trace, setting.tracestate);
		setting.generation = fobs_context_generation;
	}
	if (setting.valid)
	{
		carried->carrier = FOBS_CARRIER_SETTING;
		carried->trace = setting.trace;
		strlcpy(carried->tracestate, setting.tracestate,
				FOBS_TRACESTATE_SIZE);
	}
	else if (fobs_context_application_name_possible() &&
			 fobs_traceparent_parse(application_name,
									strlen(application_name),
									&carried->trace))
		carried->carrier = FOBS_CARRIER_APPLICATION_NAME;
}

/* Makes a context of the settings and what is carried besides. */
static FobsContext *
make_context(const Carried *carried)
{
	FobsContext *context;
	FobsOperationKey *key;

	context = MemoryContextAllocExtended(TopMemoryContext,
										 sizeof(FobsContext),
										 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (context == NULL)
		return NULL;
	context->refcount = 1;
	key = &context->operation;
	if (carried->has_operation)
		count_truncated(fobs_label_copy_decoded(key->operation,
												FOBS_OPERATION_SIZE,
												carried->operation,
												strlen(carried->operation)));
	else
		copy_value(key->operation, FOBS_OPERATION_SIZE, fobs_operation_name);
	fobs_label_clear_controls(key->operation);
	if (key->operation[0] != '\0')
	{
		key->database = fobs_counters_database();
		copy_value(key->type, FOBS_OPERATION_TYPE_SIZE, fobs_operation_type);
		fobs_label_clear_controls(key->type);
	}
	copy_value(context->request_id, FOBS_ID_SIZE, fobs_request_id);
	copy_value(context->user_id, FOBS_ID_SIZE, fobs_user_id);
	copy_value(context->tenant_id, FOBS_ID_SIZE, fobs_tenant_id);
	context->carrier = carried->carrier;
	context->trace = carried->trace;
	strlcpy(context->tracestate, carried->tracestate, FOBS_TRACESTATE_SIZE);
	return context;
}

/* Makes the context of now the latest one. */
static void
set_latest(const Carried *carried)
{
	FobsContext *context;

	context = make_context(carried);
	if (context == NULL)
	{
		context = &empty_context;
		context->refcount++;
	}
	fobs_context_release(fobs_context_latest);
	fobs_context_latest = context;
	latest_from_comment = carried->has_operation;
}

/* Is the latest context's operation that of this comment? */
static bool
latest_has_operation(const char *comment)
{
	char		operation[FOBS_OPERATION_SIZE];

	fobs_label_copy_decoded(operation, sizeof(operation), comment,
							strlen(comment));
	fobs_label_clear_controls(operation);
	return strcmp(fobs_context_latest->operation.operation, operation) == 0;
}

/* Is the latest context of unchanged settings also what is carried now? */
static bool
latest_has(const Carried *carried)
{
	const FobsContext *latest = fobs_context_latest;

	if (latest_from_comment != carried->has_operation ||
		(latest_from_comment && !latest_has_operation(carried->operation)))
		return false;
	return latest->carrier == carried->carrier &&
		memcmp(&latest->trace, &carried->trace, sizeof(FobsTrace)) == 0 &&
		strcmp(latest->tracestate, carried->tracestate) == 0;
}

/*
 * The rarer part of fobs_context_capture(): settings have changed, or the
 * statement or the one before may have a comment, or application_name a trace.
 */
void
fobs_context_renew(const char *query, int query_len)
{
	Carried		carried;

	carried.has_operation = false;
	carried.carrier = FOBS_CARRIER_NONE;
	memset(&carried.trace, 0, sizeof(FobsTrace));
	carried.tracestate[0] = '\0';
	read_comment(&carried, query, query_len);
	if (fobs_tracing && carried.carrier == FOBS_CARRIER_NONE)
	{
		memset(&carried.trace, 0, sizeof(FobsTrace));
		read_session(&carried);
	}

	if (fobs_context_generation != latest_generation ||
		!latest_has(&carried))
		set_latest(&carried);
	latest_generation = fobs_context_generation;
	fobs_context_stale = carried.has_operation ||
		carried.carrier == FOBS_CARRIER_COMMENT ||
		carried.carrier == FOBS_CARRIER_APPLICATION_NAME;
}

/* Frees a context that nobody holds any more. */
void
fobs_context_free(FobsContext *context)
{
	pfree(context);
}

/* The first of an application's settings that has a value, or NULL. */
static const char *
setting_of_sources(FobsSource source)
{
	SourceList *list = &sources[source];
	int			nsettings = number_of_settings();
	bool		absent = true;

	/* to look for what is not there takes longest */
	if (nsettings != 0 && nsettings == list->absent_of)
		return NULL;
	for (int i = 0; i < list->n; i++)
	{
		/* after SET LOCAL, a setting that is not there reads '' */
		const char *setting = GetConfigOption(list->names[i], true, false);

		if (setting != NULL && setting[0] != '\0')
			return setting;
		absent = absent && setting == NULL;
	}
	list->absent_of = absent ? nsettings : 0;
	return NULL;
}

static void
value_from_sources(FobsSource source, char *value)
{
	const char *setting = setting_of_sources(source);

	value[0] = '\0';
	if (setting != NULL)
		copy_value(value, FOBS_ID_SIZE, setting);
}

/* The user behind a statement, or ''; into FOBS_ID_SIZE bytes. */
void
fobs_context_user_id(const FobsContext *context, char *user_id)
{
	if (context->user_id[0] != '\0')
		strlcpy(user_id, context->user_id, FOBS_ID_SIZE);
	else
		value_from_sources(FOBS_SOURCE_USER, user_id);
}

/* The tenant behind a statement, or ''; into FOBS_ID_SIZE bytes. */
void
fobs_context_tenant_id(const FobsContext *context, char *tenant_id)
{
	if (context->tenant_id[0] != '\0')
		strlcpy(tenant_id, context->tenant_id, FOBS_ID_SIZE);
	else
		value_from_sources(FOBS_SOURCE_TENANT, tenant_id);
}

/*
 * The user or tenant behind the session now, as it was set: not cut, in the
 * server's encoding.  NULL if none is set.  Works without shared memory.
 */
const char *
fobs_context_setting(FobsSource source)
{
	const char *own = GetConfigOption(source == FOBS_SOURCE_USER ?
									  "fraiseql_obs.user_id" :
									  "fraiseql_obs.tenant_id", true, false);

	return own != NULL && own[0] != '\0' ? own : setting_of_sources(source);
}

/*
 * The trace that the session's settings or its application_name hold now,
 * whether tracing is on or off; comments are not looked at.  The tracestate
 * is stored in FOBS_TRACESTATE_SIZE bytes.  Works without shared memory.
 */
bool
fobs_context_session_trace(FobsTrace *trace, char *tracestate)
{
	if (read_setting(GetConfigOption("fraiseql_obs.traceparent", true, false),
					 GetConfigOption("fraiseql_obs.tracestate", true, false),
					 trace, tracestate))
		return true;
	return read_setting(application_name, NULL, trace, tracestate);
}

/* How many values of the context were too long and have been cut. */
uint64
fobs_context_truncated(void)
{
	return pg_atomic_read_u64(&shared->truncated);
}
