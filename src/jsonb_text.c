/*-------------------------------------------------------------------------
 *
 * jsonb_text.c
 *	  The text of a jsonb.
 *
 * The same bytes as those of jsonb_out(), in a third of the time, because
 * sealing and verifying the audit log write each row's documents.  The server
 * makes a value of each element, copies its string to end it with a zero, and
 * looks at that byte by byte; here elements are written from where they are.
 * jsonb.h says how they are stored, which is for good: it is what is on disk.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"

#include "bytes.h"
#include "jsonb_text.h"

static void append_container(StringInfo buffer, const JsonbContainer *from);

/* Does a byte of a string stand for itself? */
static inline bool
is_plain(unsigned char c)
{
	return c >= ' ' && c != '"' && c != '\\';
}

/* The same of any of eight bytes at once */
static inline bool
has_special(uint64 word)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	const uint64 high = ones << 7;
	uint64		quote = word ^ (ones * '"');
	uint64		backslash = word ^ (ones * '\\');

	return ((((word - ones * ' ') & ~word) | ((quote - ones) & ~quote) |
			 ((backslash - ones) & ~backslash)) & high) != 0;
}

/* How many bytes of a string there are before one that is escaped */
static inline uint32
count_plain(const char *string, uint32 length)
{
	uint32		n = 0;

	for (; length - n >= sizeof(uint64); n += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, string + n, sizeof(word));
		if (has_special(word))
			break;
	}
	while (n < length && is_plain(string[n]))
		n++;
	return n;
}

static void
append_escaped(StringInfo buffer, unsigned char c)
{
	static const char letters[] = {
		['\b'] = 'b',['\f'] = 'f',['\n'] = 'n',['\r'] = 'r',['\t'] = 't',
		['"'] = '"',['\\'] = '\\'
	};

	if (letters[c] == '\0')
	{
		appendStringInfo(buffer, "\\u%04x", c);
		return;
	}
	fobs_append_byte(buffer, '\\');
	fobs_append_byte(buffer, letters[c]);
}

static void
append_string(StringInfo buffer, const char *string, uint32 length)
{
	const char *end = string + length;

	fobs_append_byte(buffer, '"');
	for (;;)
	{
		uint32		n = count_plain(string, end - string);

		fobs_append(buffer, string, n);
		string += n;
		if (string == end)
			break;
		append_escaped(buffer, *string++);
	}
	fobs_append_byte(buffer, '"');
}

static void
append_numeric(StringInfo buffer, const void *number)
{
	Datum		result = DirectFunctionCall1(numeric_out,
											 PointerGetDatum(number));
	char	   *text = DatumGetCString(result);

	fobs_append(buffer, text, strlen(text));
	pfree(text);
}

/* An element that is stored behind data from an offset to another */
static void
append_element(StringInfo buffer, JEntry entry, const char *data,
			   uint32 offset, uint32 end)
{
	if (JBE_ISSTRING(entry))
		append_string(buffer, data + offset, end - offset);
	else if (JBE_ISNUMERIC(entry))
		append_numeric(buffer, data + INTALIGN(offset));
	else if (JBE_ISBOOL_TRUE(entry))
		fobs_append(buffer, "true", 4);
	else if (JBE_ISBOOL_FALSE(entry))
		fobs_append(buffer, "false", 5);
	else if (JBE_ISNULL(entry))
		fobs_append(buffer, "null", 4);
	else
		append_container(buffer,
						 (const JsonbContainer *) (data + INTALIGN(offset)));
}

/* What an array has, or a scalar, stored as the only element of one */
static void
append_elements(StringInfo buffer, const JsonbContainer *from)
{
	uint32		n = JsonContainerSize(from);
	const char *data = (const char *) &from->children[n];
	uint32		offset = 0;

	for (uint32 i = 0; i < n; i++)
	{
		uint32		begin = offset;

		JBE_ADVANCE_OFFSET(offset, from->children[i]);
		if (i > 0)
			fobs_append(buffer, ", ", 2);
		append_element(buffer, from->children[i], data, begin, offset);
	}
}

/* All keys of an object are stored before its values. */
static void
append_pairs(StringInfo buffer, const JsonbContainer *from)
{
	uint32		n = JsonContainerSize(from);
	const JEntry *keys = from->children;
	const JEntry *values = from->children + n;
	const char *data = (const char *) (values + n);
	uint32		key_offset = 0;
	uint32		offset = getJsonbOffset(from, n);

	for (uint32 i = 0; i < n; i++)
	{
		uint32		key = key_offset;
		uint32		begin = offset;

		JBE_ADVANCE_OFFSET(key_offset, keys[i]);
		JBE_ADVANCE_OFFSET(offset, values[i]);
		if (i > 0)
			fobs_append(buffer, ", ", 2);
		append_string(buffer, data + key, key_offset - key);
		fobs_append(buffer, ": ", 2);
		append_element(buffer, values[i], data, begin, offset);
	}
}

static void
append_container(StringInfo buffer, const JsonbContainer *from)
{
	check_stack_depth();
	if (JsonContainerIsScalar(from))
		append_elements(buffer, from);
	else if (JsonContainerIsArray(from))
	{
		fobs_append_byte(buffer, '[');
		append_elements(buffer, from);
		fobs_append_byte(buffer, ']');
	}
	else
	{
		fobs_append_byte(buffer, '{');
		append_pairs(buffer, from);
		fobs_append_byte(buffer, '}');
	}
}

void
fobs_jsonb_append(StringInfo buffer, const Jsonb *document)
{
	append_container(buffer, &document->root);
}
