/*-------------------------------------------------------------------------
 *
 * label.c
 *	  Text of the server or of a client as a bounded, valid UTF-8 label.
 *
 * One bad byte makes Prometheus reject a whole scrape, and whoever renders a
 * scrape may be a process without a database, where an encoding conversion
 * cannot be looked up.  So text becomes UTF-8 when it is written down, in the
 * backend that has it, and everything in shared memory is valid UTF-8.  Bytes
 * that mean nothing (a SQL_ASCII database, a percent-decoded comment) become
 * U+FFFD, and so does a zero byte.
 *
 * fobs_label_copy() is called by executor hooks and while an error is being
 * handled.  It never raises and never allocates.  Only a server encoding
 * other than UTF8 and SQL_ASCII needs more than arithmetic: the conversion
 * function, which the catalogs know.  It is looked up once in a backend, by
 * fobs_label_prepare(), from a place where catalogs may be read; what needs
 * it before that becomes U+FFFD.  ASCII needs no conversion.
 *
 * The text of other databases is recoded by the same means, for SQL functions
 * alone, which may look things up.
 *
 * The way back, from UTF-8 to the server's encoding, is for SQL functions
 * alone and may allocate and raise.  It is injective: two labels that differ
 * still differ, because a character that the server's encoding lacks turns
 * into \u{1f600} and what looks like that already is escaped.
 *
 * Nothing here is shared between processes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/string.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "label.h"

/* U+FFFD REPLACEMENT CHARACTER */
#define REPLACEMENT		"\xef\xbf\xbd"
#define REPLACEMENT_LEN 3

/* Bytes of the server's text converted at a time */
#define CHUNK			64

/* Bytes that text of another database may have as UTF-8, it is cut there */
#define MAX_RECODED		(MaxAllocSize / MAX_CONVERSION_GROWTH / 4)

/* How a character starts that the server's encoding lacks */
#define ESCAPE			"\\u{"

/* A bounded output string; len stays below size, room is kept for the zero. */
typedef struct LabelBuffer
{
	char	   *data;
	size_t		len;
	size_t		size;
} LabelBuffer;

/* How text becomes UTF-8, which is in an encoding that needs a function */
typedef struct TextSource
{
	int			encoding;
	FmgrInfo   *conversion;
} TextSource;

/* The conversion from the server's encoding to UTF-8 */
static bool conversion_looked_up = false;
static FmgrInfo conversion;		/* fn_oid is InvalidOid: there is none */

static bool needs_conversion(int encoding);
static bool put_text(LabelBuffer *buf, const TextSource *from,
					 const char *src, size_t len);
static bool put_utf8(LabelBuffer *buf, const char *src, size_t len);
static bool put_converted(LabelBuffer *buf, const TextSource *from,
						  const char *src, size_t len);
static bool put_chunk(LabelBuffer *buf, const TextSource *from,
					  const char *src, int len);
static int	convert(FmgrInfo *function, int from, int to, const char *src,
					int len, char *dst);
static const char *append_server(StringInfo out, FmgrInfo *function,
								 const char *value, const char *end);
static bool put(LabelBuffer *buf, const char *src, size_t len);

/*
 * Looks up the conversion of this database's encoding, at most once.
 *
 * To be called now and then where catalogs may be read, such as ExecutorStart;
 * costs a test of a variable.  Does nothing outside of a transaction, in a
 * critical section or where interrupts are held (as they are while an error
 * is being reported).
 */
void
fobs_label_prepare(void)
{
	Oid			proc;

	if (likely(conversion_looked_up))
		return;
	if (!needs_conversion(GetDatabaseEncoding()))
	{
		conversion_looked_up = true;
		return;
	}
	if (!IsTransactionState() || CritSectionCount > 0 ||
		InterruptHoldoffCount > 0)
		return;

	/*
	 * Set it first: should the look-up raise after all, the user's statement
	 * fails once and not for ever.
	 */
	conversion_looked_up = true;
	proc = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	if (OidIsValid(proc))
		fmgr_info_cxt(proc, &conversion, TopMemoryContext);
}

/*
 * Copies len bytes of text in the server's encoding to dst, as UTF-8 with a
 * terminating zero, in at most size bytes (at least 1).
 *
 * Cut at a character's boundary when it does not fit; returns false then.
 * Never raises, never allocates.
 */
bool
fobs_label_copy(char *dst, size_t size, const char *src, size_t len)
{
	LabelBuffer buf = {dst, 0, size};
	TextSource	from = {GetDatabaseEncoding(), &conversion};
	bool		complete;

	Assert(size > 0);
	complete = put_text(&buf, &from, src, len);
	dst[buf.len] = '\0';
	return complete;
}

/*
 * Whether fobs_label_copy() would give all of a text that is valid in the
 * server's encoding, rather than U+FFFD for want of the conversion.
 */
bool
fobs_label_is_exact(const char *src)
{
	return conversion_looked_up ||
		!needs_conversion(GetDatabaseEncoding()) || pg_is_ascii(src);
}

/*
 * The same for text that a client has encoded itself, as percent escapes or
 * in its own encoding: UTF-8 if it is valid as such, else the server's.
 */
bool
fobs_label_copy_decoded(char *dst, size_t size, const char *src, size_t len)
{
	LabelBuffer buf = {dst, 0, size};
	bool		complete;

	if (pg_encoding_verifymbstr(PG_UTF8, src, len) != (int) len)
		return fobs_label_copy(dst, size, src, len);
	complete = put_utf8(&buf, src, len);
	dst[buf.len] = '\0';
	return complete;
}

/*
 * Makes control characters spaces.  They name nothing, some of who read
 * exports end a line at a carriage return, and a terminal obeys an escape.  To
 * be called before labels are compared: those that are the same now are one.
 */
void
fobs_label_clear_controls(char *label)
{
	for (; *label != '\0'; label++)
	{
		if ((unsigned char) *label < ' ' || *label == '\x7f')
			*label = ' ';
	}
}

/*
 * A label's value in the server's encoding: itself, or a palloc'd copy where
 * the encoding is neither UTF8 nor SQL_ASCII.
 */
const char *
fobs_label_to_server(const char *value)
{
	const char *end = value + strlen(value);
	FmgrInfo	function;
	StringInfoData out;

	if (!needs_conversion(GetDatabaseEncoding()) ||
		(pg_is_ascii(value) && strstr(value, ESCAPE) == NULL))
		return value;

	function.fn_oid = FindDefaultConversionProc(PG_UTF8,
												GetDatabaseEncoding());
	if (OidIsValid(function.fn_oid))
		fmgr_info(function.fn_oid, &function);
	initStringInfo(&out);
	while (value < end)
		value = append_server(&out, &function, value, end);
	return out.data;
}

/* A label's value as a datum of type text, for SQL functions. */
Datum
fobs_label_datum(const char *value)
{
	return CStringGetTextDatum(fobs_label_to_server(value));
}

/*
 * Text of a database of another encoding as a datum of type text, for SQL
 * functions: as it is if that is valid here, and else as a label.
 */
Datum
fobs_label_recoded_datum(const char *text, int encoding)
{
	size_t		len = strlen(text);
	size_t		size = Min(len * MAX_CONVERSION_GROWTH, MAX_RECODED) + 1;
	FmgrInfo	function = {.fn_oid = InvalidOid};
	TextSource	from = {encoding, &function};
	LabelBuffer buf = {NULL, 0, size};

	if (GetDatabaseEncoding() == PG_SQL_ASCII || pg_is_ascii(text) ||
		(GetDatabaseEncoding() == encoding &&
		 pg_verify_mbstr(encoding, text, len, true)))
		return CStringGetTextDatum(text);
	if (needs_conversion(encoding))
		function.fn_oid = FindDefaultConversionProc(encoding, PG_UTF8);
	if (OidIsValid(function.fn_oid))
		fmgr_info(function.fn_oid, &function);
	buf.data = palloc(size);
	(void) put_text(&buf, &from, text, len);
	buf.data[buf.len] = '\0';
	return fobs_label_datum(buf.data);
}

/*
 * Appends what can be converted up to the next character that cannot, and
 * that character escaped; returns what comes after it.
 */
static const char *
append_server(StringInfo out, FmgrInfo *function, const char *value,
			  const char *end)
{
	const char *literal = strstr(value, ESCAPE);
	int			len = (literal ? literal : end) - value;

	if (len > 0)
	{
		enlargeStringInfo(out, len * MAX_CONVERSION_GROWTH + 1);
		value += convert(function, PG_UTF8, GetDatabaseEncoding(), value, len,
						 out->data + out->len);
		out->len += strlen(out->data + out->len);
	}
	if (value < end)
	{
		const unsigned char *character = (const unsigned char *) value;

		appendStringInfo(out, ESCAPE "%x}",
						 (unsigned int) utf8_to_unicode(character));
		value += pg_utf_mblen(character);
	}
	return value;
}

/* Does text need a conversion function to become UTF-8? */
static bool
needs_conversion(int encoding)
{
	return encoding != PG_UTF8 && encoding != PG_SQL_ASCII;
}

/* Appends text. */
static bool
put_text(LabelBuffer *buf, const TextSource *from, const char *src, size_t len)
{
	return needs_conversion(from->encoding) ?
		put_converted(buf, from, src, len) : put_utf8(buf, src, len);
}

/* Appends bytes that are UTF-8 except where they are not. */
static bool
put_utf8(LabelBuffer *buf, const char *src, size_t len)
{
	const char *end = src + len;

	while (src < end)
	{
		int			mblen = pg_utf_mblen((const unsigned char *) src);
		bool		fits;

		if (*src != '\0' && mblen <= end - src &&
			pg_utf8_islegal((const unsigned char *) src, mblen))
			fits = put(buf, src, mblen);
		else
		{
			fits = put(buf, REPLACEMENT, REPLACEMENT_LEN);
			mblen = 1;
		}
		if (!fits)
			return false;
		src += mblen;
	}
	return true;
}

/* Appends text in an encoding that needs a conversion function. */
static bool
put_converted(LabelBuffer *buf, const TextSource *from, const char *src,
			  size_t len)
{
	const char *end = src + len;

	while (src < end)
	{
		int			chunk = strnlen(src, Min(end - src, CHUNK));

		/* whole characters; one that the text's end cuts is none */
		chunk = pg_encoding_mbcliplen(from->encoding, src, chunk, chunk);
		if (chunk == 0)
		{
			if (!put(buf, REPLACEMENT, REPLACEMENT_LEN))
				return false;
			chunk = 1;
		}
		else if (!put_chunk(buf, from, src, chunk))
			return false;
		src += chunk;
	}
	return true;
}

/* Appends up to CHUNK bytes of whole characters. */
static bool
put_chunk(LabelBuffer *buf, const TextSource *from, const char *src, int len)
{
	char		converted[CHUNK * MAX_CONVERSION_GROWTH + 1];

	while (len > 0)
	{
		int			done = 0;

		/* ASCII is the same in every server encoding */
		while (done < len && !IS_HIGHBIT_SET(src[done]))
			done++;
		if (done > 0)
		{
			if (!put_utf8(buf, src, done))
				return false;
		}
		else
		{
			done = convert(from->conversion, from->encoding, PG_UTF8, src, len,
						   converted);
			if (!put_utf8(buf, converted, strlen(converted)))
				return false;
			if (done == 0)
			{
				if (!put(buf, REPLACEMENT, REPLACEMENT_LEN))
					return false;
				done = Min(len, pg_encoding_mblen(from->encoding, src));
			}
		}
		src += done;
		len -= done;
	}
	return true;
}

/*
 * Converts as much as can be; returns how many bytes of the source that is.
 * dst has room for MAX_CONVERSION_GROWTH times len and a zero.
 */
static int
convert(FmgrInfo *function, int from, int to, const char *src, int len,
		char *dst)
{
	int			done;

	*dst = '\0';
	if (!OidIsValid(function->fn_oid))
	{
		/* without a function: the ASCII at the start */
		for (done = 0; done < len && !IS_HIGHBIT_SET(src[done]); done++)
			dst[done] = src[done];
		dst[done] = '\0';
		return done;
	}
	return DatumGetInt32(FunctionCall6(function,
									   Int32GetDatum(from), Int32GetDatum(to),
									   CStringGetDatum(src),
									   CStringGetDatum(dst),
									   Int32GetDatum(len),
									   BoolGetDatum(true)));
}

/* Appends one character, or ASCII, unless it does not fit. */
static bool
put(LabelBuffer *buf, const char *src, size_t len)
{
	if (len >= buf->size - buf->len)
		return false;
	memcpy(buf->data + buf->len, src, len);
	buf->len += len;
	return true;
}
