/*-------------------------------------------------------------------------
 *
 * audit_payload.c
 *	  An operation of the audit log in a bounded piece of memory.
 *
 * Of each value that is there: the number of its argument, its length in two
 * bytes, and its bytes as they are in a tuple of this database, so that only a
 * process of the same database can read them.  The result is not among them,
 * nor what every row gets anew: time, salt and digest.
 *
 * Writing is done in two steps.  fobs_payload_fit() makes all values short
 * enough, which may allocate and fail; fobs_payload_write() copies them, which
 * cannot.
 *
 * What does not fit is made to.  The longest texts are cut, at a character's
 * boundary, until there is room for what stands for each document; then each
 * document goes in whole or is replaced by one that says how large it was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "audit_payload.h"
#include "compat.h"

typedef enum Kind
{
	KIND_NONE,					/* not kept */
	KIND_NUMBER,				/* eight bytes, by value */
	KIND_TEXT,
	KIND_WHOLE,					/* all or nothing, and always short */
	KIND_DOCUMENT,				/* all, or its size */
	KIND_LIST					/* all or nothing */
} Kind;

static const Kind kinds[N_ARGUMENTS] = {
	[ARG_OPERATION] = KIND_TEXT,
	[ARG_ENTITY_TYPE] = KIND_TEXT,
	[ARG_ENTITY_ID] = KIND_TEXT,
	[ARG_DETAILS] = KIND_DOCUMENT,
	[ARG_USER_ID] = KIND_TEXT,
	[ARG_TENANT_ID] = KIND_TEXT,
	[ARG_OLD_DATA] = KIND_DOCUMENT,
	[ARG_NEW_DATA] = KIND_DOCUMENT,
	[ARG_CHANGED_FIELDS] = KIND_LIST,
	[ARG_SQLSTATE] = KIND_TEXT,
	[ARG_ERROR_MESSAGE] = KIND_TEXT,
	[ARG_DURATION_MS] = KIND_NUMBER,
	[ARG_OCCURRED_AT] = KIND_NUMBER,
	[ARG_REQUEST_ID] = KIND_TEXT,
	[ARG_TRACE_ID] = KIND_TEXT,
	[ARG_SPAN_ID] = KIND_TEXT,
	[ARG_ACTOR_TYPE] = KIND_TEXT,
	[ARG_ACTING_FOR] = KIND_TEXT,
	[ARG_CLIENT_ADDR] = KIND_WHOLE,
	[ARG_DB_ROLE] = KIND_TEXT,
	[ARG_APPLICATION_NAME] = KIND_TEXT,
};

/* In which order documents are given the room that texts have left */
static const Argument documents[] = {
	ARG_DETAILS, ARG_NEW_DATA, ARG_OLD_DATA, ARG_CHANGED_FIELDS
};

#define HEADER_SIZE		3		/* of a value: argument and length */

/* What stands for a document that does not fit, at most, with its header */
#define MARK_SIZE		64

/* What is left for texts, all together, so that the rest has room always */
#define TEXTS_SIZE \
	(FOBS_PAYLOAD_SIZE - 2 * (HEADER_SIZE + 8) - (HEADER_SIZE + 32) - \
	 3 * MARK_SIZE)

static size_t
value_size(const Operation *operation, Argument argument)
{
	if (operation->nulls[argument])
		return 0;
	if (kinds[argument] == KIND_NUMBER)
		return HEADER_SIZE + 8;
	return HEADER_SIZE +
		toast_raw_datum_size(operation->values[argument]) - VARHDRSZ;
}

static void
detoast(Operation *operation, Argument argument)
{
	struct varlena *value;

	if (operation->nulls[argument])
		return;
	value = (struct varlena *) DatumGetPointer(operation->values[argument]);
	value = pg_detoast_datum_packed(value);
	operation->values[argument] = PointerGetDatum(value);
}

static void
cut_text(Operation *operation, Argument argument, size_t limit)
{
	text	   *value;
	int			length;

	detoast(operation, argument);
	value = (text *) DatumGetPointer(operation->values[argument]);
	length = pg_mbcliplen(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
						  limit - HEADER_SIZE);
	value = cstring_to_text_with_len(VARDATA_ANY(value), length);
	operation->values[argument] = PointerGetDatum(value);
}

/* The bytes of all texts if none had more than so many */
static size_t
texts_size(const Operation *operation, size_t limit)
{
	size_t		size = 0;

	for (int i = 0; i < N_ARGUMENTS; i++)
		if (kinds[i] == KIND_TEXT)
			size += Min(value_size(operation, i), limit);
	return size;
}

/* Cuts the longest texts, unless all fit as they are. */
static void
fit_texts(Operation *operation)
{
	size_t		limit = AUDIT_MAX_MESSAGE + HEADER_SIZE;

	while (texts_size(operation, limit) > TEXTS_SIZE)
		limit /= 2;
	for (int i = 0; i < N_ARGUMENTS; i++)
		if (kinds[i] == KIND_TEXT && value_size(operation, i) > limit)
			cut_text(operation, i, limit);
}

/* Fits one of the documents or lists into so many bytes. */
static void
fit_document(Operation *operation, Argument argument, size_t room)
{
	size_t		size = value_size(operation, argument);

	if (size <= room)
		return;
	if (kinds[argument] == KIND_DOCUMENT)
		fobs_set_value(operation, argument,
					   fobs_audit_truncated(size - HEADER_SIZE));
	else
		operation->nulls[argument] = true;
}

static size_t
operation_size(const Operation *operation)
{
	size_t		size = 0;

	for (int i = 0; i < N_ARGUMENTS; i++)
		if (kinds[i] != KIND_NONE)
			size += value_size(operation, i);
	return size;
}

/* Replaces the documents that there is no room for. */
static void
fit_documents(Operation *operation)
{
	size_t		room = FOBS_PAYLOAD_SIZE;
	size_t		marks = 0;		/* room for those that are still to come */

	for (int i = 0; i < N_ARGUMENTS; i++)
	{
		if (kinds[i] == KIND_DOCUMENT && !operation->nulls[i])
			marks += MARK_SIZE;
		else if (kinds[i] != KIND_NONE && kinds[i] != KIND_LIST)
			room -= value_size(operation, i);
	}
	for (int i = 0; i < lengthof(documents); i++)
	{
		Argument	argument = documents[i];

		if (operation->nulls[argument])
			continue;
		if (kinds[argument] == KIND_DOCUMENT)
			marks -= MARK_SIZE;
		fit_document(operation, argument, room - marks);
		room -= value_size(operation, argument);
	}
}

/*
 * Makes a copy of an operation that fits, and has its values at hand.  Returns
 * whether it has everything.
 */
bool
fobs_payload_fit(const Operation *operation, Operation *fitted)
{
	size_t		size = operation_size(operation);

	*fitted = *operation;
	if (size > FOBS_PAYLOAD_SIZE)
	{
		fit_texts(fitted);
		fit_documents(fitted);
	}
	for (int i = 0; i < N_ARGUMENTS; i++)
		if (kinds[i] != KIND_NONE && kinds[i] != KIND_NUMBER)
			detoast(fitted, i);
	return operation_size(fitted) == size;
}

/* Adds the bytes of a value to an operation; there must be room. */
void
fobs_payload_add(FobsPayload *payload, Argument argument, const void *bytes,
				 size_t size)
{
	char	   *end = payload->data + payload->size;
	uint16		length = size;

	Assert(payload->size + HEADER_SIZE + size <= FOBS_PAYLOAD_SIZE);
	*end++ = (char) argument;
	memcpy(end, &length, sizeof(length));
	memcpy(end + sizeof(length), bytes, size);
	payload->size += HEADER_SIZE + size;
}

void
fobs_payload_add_number(FobsPayload *payload, Argument argument, Datum value)
{
	int64		number = DatumGetInt64(value);	/* bits, if it is a float8 */

	fobs_payload_add(payload, argument, &number, sizeof(number));
}

/* Writes an operation that fits. */
void
fobs_payload_write(FobsPayload *payload, const Operation *fitted)
{
	payload->size = 0;
	for (int i = 0; i < N_ARGUMENTS; i++)
	{
		Datum		value = fitted->values[i];

		if (kinds[i] == KIND_NONE || fitted->nulls[i])
			continue;
		if (kinds[i] == KIND_NUMBER)
			fobs_payload_add_number(payload, i, value);
		else
			fobs_payload_add(payload, i,
							 VARDATA_ANY(DatumGetPointer(value)),
							 VARSIZE_ANY_EXHDR(DatumGetPointer(value)));
	}
}

/* Reads an operation; what it does not have is NULL. */
void
fobs_payload_read(const FobsPayload *payload, Operation *operation)
{
	const char *next = payload->data;

	memset(operation->nulls, true, sizeof(operation->nulls));
	while (next < payload->data + payload->size)
	{
		Argument	argument = (Argument) *next++;
		uint16		length;

		memcpy(&length, next, sizeof(length));
		next += sizeof(length);
		if (kinds[argument] == KIND_NUMBER)
		{
			int64		number;

			memcpy(&number, next, sizeof(number));
			fobs_set_value(operation, argument, Int64GetDatum(number));
		}
		else
		{
			struct varlena *copy = palloc(VARHDRSZ + length);

			SET_VARSIZE(copy, VARHDRSZ + length);
			memcpy(VARDATA(copy), next, length);
			fobs_set_value(operation, argument, PointerGetDatum(copy));
		}
		next += length;
	}
}
