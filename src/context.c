/*-------------------------------------------------------------------------
 *
 * context.c
 *	  Who asks: operation, user, tenant and request of a statement.
 *
 * The application tells by settings (fraiseql_obs.operation_name and so on,
 * usually SET LOCAL); where it names no operation, a SQLCommenter comment of
 * the statement does (keys action, route, controller, in this order).  Where
 * it sets no user or tenant, the settings listed in user_id_sources and
 * tenant_id_sources are taken: those that a FraiseQL session has anyway.
 *
 * A context is captured when a statement starts and belongs to it until it
 * ends, whatever is set meanwhile.  Making one costs a few copies; so the one
 * made last is shared by reference until a setting changes or a comment
 * differs, and a statement of an unchanged session pays a comparison.
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

#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "context.h"
#include "counters.h"
#include "guc.h"
#include "label.h"
#include "sqlcommenter.h"

#define MAX_SOURCES	8			/* names in one list */

/* Room for a value of a comment before it is cut to its final size */
#define COMMENT_VALUE_SIZE	1024

typedef struct SourceList
{
	int			n;
	char		names[MAX_SOURCES][NAMEDATALEN * 2];
} SourceList;

typedef struct ContextShared
{
	pg_atomic_uint64 truncated; /* values that were cut */
} ContextShared;

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
 * statement's, if a setting has changed since (guc.c) or if its operation is
 * that of a comment.
 */
FobsContext *fobs_context_latest = &empty_context;
bool		fobs_context_stale = true;

/* It is what the settings say now, but for the operation of a comment */
static bool latest_from_comment = false;
static uint64 latest_generation = 0;

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

/* The operation that the statement's comment names, if any. */
static bool
operation_from_comment(const char *query, int query_len, char *value)
{
	static const char *const keys[] = {"action", "route", "controller"};

	if (!fobs_sqlcommenter_present(query, query_len))
		return false;
	for (int i = 0; i < lengthof(keys); i++)
	{
		if (fobs_sqlcommenter_value(query, query_len, keys[i],
									value, COMMENT_VALUE_SIZE) &&
			value[0] != '\0')
			return true;
	}
	return false;
}

/* Makes a context; the operation is the comment's, unless that is NULL. */
static FobsContext *
make_context(const char *comment)
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
	if (comment != NULL)
		count_truncated(fobs_label_copy_decoded(key->operation,
												FOBS_OPERATION_SIZE,
												comment, strlen(comment)));
	else
		copy_value(key->operation, FOBS_OPERATION_SIZE, fobs_operation_name);
	if (key->operation[0] != '\0')
	{
		key->database = fobs_counters_database();
		copy_value(key->type, FOBS_OPERATION_TYPE_SIZE, fobs_operation_type);
	}
	copy_value(context->request_id, FOBS_ID_SIZE, fobs_request_id);
	copy_value(context->user_id, FOBS_ID_SIZE, fobs_user_id);
	copy_value(context->tenant_id, FOBS_ID_SIZE, fobs_tenant_id);
	return context;
}

/*
 * Makes the context of settings and, unless it is NULL, the operation of a
 * comment the latest one.
 */
static void
set_latest(const char *comment)
{
	FobsContext *context;

	context = make_context(comment);
	if (context == NULL)
	{
		context = &empty_context;
		context->refcount++;
	}
	fobs_context_release(fobs_context_latest);
	fobs_context_latest = context;
	latest_from_comment = comment != NULL;
}

/* Is the latest context's operation that of this comment? */
static bool
latest_has_operation(const char *comment)
{
	char		operation[FOBS_OPERATION_SIZE];

	fobs_label_copy_decoded(operation, sizeof(operation), comment,
							strlen(comment));
	return strcmp(fobs_context_latest->operation.operation, operation) == 0;
}

/*
 * The rarer part of fobs_context_capture(): settings have changed, or the
 * statement or the one before may have a comment.
 */
void
fobs_context_renew(const char *query, int query_len)
{
	char		comment[COMMENT_VALUE_SIZE];
	bool		changed = fobs_context_generation != latest_generation;

	if (fobs_operation_name[0] == '\0' &&
		operation_from_comment(query, query_len, comment))
	{
		if (changed || !latest_from_comment || !latest_has_operation(comment))
			set_latest(comment);
	}
	else if (changed || latest_from_comment)
		set_latest(NULL);

	latest_generation = fobs_context_generation;
	fobs_context_stale = latest_from_comment;
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

	for (int i = 0; i < list->n; i++)
	{
		/* after SET LOCAL, a setting that is not there reads '' */
		const char *setting = GetConfigOption(list->names[i], true, false);

		if (setting != NULL && setting[0] != '\0')
			return setting;
	}
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

/* How many values of the context were too long and have been cut. */
uint64
fobs_context_truncated(void)
{
	return pg_atomic_read_u64(&shared->truncated);
}
