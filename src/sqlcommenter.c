/*-------------------------------------------------------------------------
 *
 * sqlcommenter.c
 *	  SQLCommenter comments in a statement: pure text in, values out.
 *
 * Applications that cannot set a parameter tell who they are by a comment
 *
 *		SELECT ... / *action='list%20users',controller='users'* /
 *
 * as the SQLCommenter specification of OpenTelemetry writes it (blanks in the
 * comment marks are ours).  Most frameworks append it, some prepend it, and
 * other comments (hints, the marks of a query generator) stand beside it.
 *
 * Two steps, because nearly no statement has such a comment and every one
 * pays for the question: fobs_sqlcommenter_present() looks at both ends of
 * the text, and only then fobs_sqlcommenter_find() reads the statement from
 * its start as the server's lexer would (scan.l), with
 * standard_conforming_strings on.  Reading backwards from the end would be
 * cheaper and wrong: the text of a literal may look like a comment.
 *
 * Comments between the tokens of the statement are ignored: a comment of the
 * application stands before the first token or after the last one.
 *
 * Nothing here allocates, raises an error or knows the server: the text may
 * have any bytes, need not be valid in any encoding, and is not modified.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sqlcommenter.h"

/* What is looked for */
typedef struct Search
{
	FobsCommentValue *values;
	int			n;
} Search;

static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
is_newline(char c)
{
	return c == '\n' || c == '\r';
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Starts an identifier or the tag of a dollar quote */
static inline bool
is_identifier_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		(unsigned char) c >= 0x80;
}

/* May stand in a URL-encoded key */
static inline bool
is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
		c == '_' || c == '-' || c == '.' || c == '~' || c == '%' ||
		c == '!' || c == '(' || c == ')' || c == '*';
}

static inline int
hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Byte that %XX at p stands for, or -1 if no such escape stands there. */
static inline int
percent_escape(const char *p, const char *end)
{
	int			high;
	int			low;

	if (end - p < 3 || *p != '%')
		return -1;
	high = hex_digit(p[1]);
	low = hex_digit(p[2]);
	return (high < 0 || low < 0) ? -1 : high * 16 + low;
}

static inline bool
starts_with(const char *p, const char *end, char first, char second)
{
	return end - p >= 2 && p[0] == first && p[1] == second;
}

static const char *
skip_spaces(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* From "--" to the end of the line */
static const char *
skip_line_comment(const char *p, const char *end)
{
	while (p < end && !is_newline(*p))
		p++;
	return p;
}

/*
 * From the opening mark to behind the closing mark that belongs to it, or
 * NULL if there is none.  Comments nest.
 */
static const char *
skip_block_comment(const char *p, const char *end)
{
	int			depth = 0;

	while (p < end)
	{
		if (starts_with(p, end, '/', '*'))
		{
			depth++;
			p += 2;
		}
		else if (starts_with(p, end, '*', '/'))
		{
			p += 2;
			if (--depth == 0)
				return p;
		}
		else
			p++;
	}
	return NULL;
}

/*
 * From an opening quote to behind the closing one, or NULL if there is none.
 * A doubled quote needs no care here: it reads as two literals in a row.
 */
static const char *
skip_quoted(const char *p, const char *end, bool backslash_escapes)
{
	char		quote = *p++;

	while (p < end)
	{
		if (*p == quote)
			return p + 1;
		if (backslash_escapes && *p == '\\')
			p++;
		p++;
	}
	return NULL;
}

/*
 * If p, behind a literal, starts what continues it on another line, the place
 * of the quote that does, else NULL.  The gap has at least one newline and
 * may have "--" comments.
 */
static const char *
find_continuation(const char *p, const char *end)
{
	bool		newline = false;

	while (p < end)
	{
		if (is_space(*p))
			newline |= is_newline(*p++);
		else if (starts_with(p, end, '-', '-'))
			p = skip_line_comment(p, end);
		else
			return (newline && *p == '\'') ? p : NULL;
	}
	return NULL;
}

/*
 * An E'...' literal, from its quote.  A literal that continues it has no E
 * and still has backslash escapes, and so has the second half of a doubled
 * quote.
 */
static const char *
skip_escape_string(const char *p, const char *end)
{
	const char *next = p;

	while (next)
	{
		p = skip_quoted(next, end, true);
		if (p == NULL)
			return NULL;
		next = (p < end && *p == '\'') ? p : find_continuation(p, end);
	}
	return p;
}

/*
 * From a dollar sign to behind the dollar quote that it starts (NULL if it
 * does not end), or to behind the sign if it starts none, as in "$1".
 */
static const char *
skip_dollar(const char *p, const char *end)
{
	const char *tag = p;
	int			tag_len;

	p++;
	if (p < end && is_identifier_start(*p))
	{
		while (p < end && (is_identifier_start(*p) || is_digit(*p)))
			p++;
	}
	if (p >= end || *p != '$')
		return tag + 1;
	p++;
	tag_len = p - tag;

	for (; end - p >= tag_len; p++)
	{
		p = memchr(p, '$', end - p - tag_len + 1);
		if (p == NULL)
			return NULL;
		if (memcmp(p, tag, tag_len) == 0)
			return p + tag_len;
	}
	return NULL;
}

/* An identifier, or a literal with a letter in front of its quote */
static const char *
skip_word(const char *p, const char *end)
{
	if ((*p == 'e' || *p == 'E') && end - p >= 2 && p[1] == '\'')
		return skip_escape_string(p + 1, end);

	while (p < end && (is_identifier_start(*p) || is_digit(*p) || *p == '$'))
		p++;
	return p;
}

/*
 * From the start of a token to behind it, or NULL if it does not end.  What
 * neither quotes nor hides the start of a quote goes byte by byte.
 */
static const char *
skip_token(const char *p, const char *end)
{
	if (*p == '\'' || *p == '"')
		return skip_quoted(p, end, false);
	if (*p == '$')
		return skip_dollar(p, end);
	if (is_identifier_start(*p))
		return skip_word(p, end);
	return p + 1;
}

/*
 * Reads a value, from its opening quote.  Returns the place behind the closing
 * one, or NULL if there is none or the value has a zero byte, which no text
 * can have.
 */
static const char *
skip_value(const char *p, const char *end)
{
	if (p >= end || *p != '\'')
		return NULL;
	for (p++; p < end; p++)
	{
		if (*p == '\'')
			return p + 1;
		if (*p == '\0' || percent_escape(p, end) == 0)
			return NULL;
		if (starts_with(p, end, '\\', '\'') || starts_with(p, end, '\\', '\\'))
			p++;
	}
	return NULL;
}

/* Is the URL-encoded text from p to end the key? */
static bool
key_equals(const char *p, const char *end, const char *key)
{
	while (p < end && *key != '\0')
	{
		int			byte = percent_escape(p, end);

		if (byte < 0)
			byte = (unsigned char) *p++;
		else
			p += 3;
		if (byte != (unsigned char) *key++)
			return false;
	}
	return p == end && *key == '\0';
}

/* Takes a value, from quote to quote, if its key is looked for. */
static void
take_value(FobsCommentValue *values, int n, const char *key,
		   const char *key_end, const char *value, const char *value_end)
{
	for (int i = 0; i < n; i++)
	{
		if (key_equals(key, key_end, values[i].key))
		{
			values[i].start = value + 1;
			values[i].end = value_end - 1;
		}
	}
}

/*
 * Reads key='value',key='value'... with white space anywhere between.  A text
 * that is anything else up to its end is some other comment: the search stays
 * as it was.
 */
static void
search_comment(const Search *search, const char *p, const char *end)
{
	FobsCommentValue found[FOBS_COMMENT_KEYS];

	memcpy(found, search->values, search->n * sizeof(FobsCommentValue));
	for (;;)
	{
		const char *key;
		const char *key_end;
		const char *value;

		key = skip_spaces(p, end);
		for (p = key; p < end && is_key_char(*p);)
			p++;
		key_end = p;
		p = skip_spaces(p, end);
		if (key == key_end || p >= end || *p != '=')
			return;

		value = skip_spaces(p + 1, end);
		p = skip_value(value, end);
		if (p == NULL)
			return;
		take_value(found, search->n, key, key_end, value, p);

		p = skip_spaces(p, end);
		if (p == end)
			break;
		if (*p++ != ',')
			return;
	}
	memcpy(search->values, found, search->n * sizeof(FobsCommentValue));
}

/*
 * Reads comments, white space and semicolons, and searches each comment if
 * there is a search.  Returns the place of what follows, which is end or the
 * start of a token, or NULL if a comment does not end.
 */
static const char *
skip_comments(const char *p, const char *end, const Search *search)
{
	while (p < end)
	{
		if (is_space(*p) || *p == ';')
			p++;
		else if (starts_with(p, end, '-', '-'))
			p = skip_line_comment(p, end);
		else if (starts_with(p, end, '/', '*'))
		{
			const char *comment = p;

			p = skip_block_comment(p, end);
			if (p == NULL)
				return NULL;
			if (search)
				search_comment(search, comment + 2, p - 2);
		}
		else
			break;
	}
	return p;
}

/*
 * fobs_sqlcommenter_present
 *		May the statement have a comment that fobs_sqlcommenter_find() reads?
 *
 * Cheap: looks at the ends of the text only, where white space and semicolons
 * do not count.  True may be wrong (the "comment" is in a literal); false is
 * right but for a comment that has a "--" comment between itself and the end.
 */
bool
fobs_sqlcommenter_present(const char *query, int len)
{
	const char *p = query;
	const char *end = query + len;

	while (p < end && (is_space(end[-1]) || end[-1] == ';'))
		end--;
	if (end - p < 4)
		return false;
	if (end[-1] == '/' && end[-2] == '*')
		return true;
	while (p < end && (is_space(*p) || *p == ';'))
		p++;
	return starts_with(p, end, '/', '*');
}

/*
 * fobs_sqlcommenter_find
 *		Finds the values of keys in the SQLCommenter comments of a statement.
 *
 * query has len bytes, and need not end in a zero.  The keys are plain text,
 * at most FOBS_COMMENT_KEYS.  Comments before the first and after the last
 * token are read; one that is not key='value' pairs through and through is
 * ignored; of several with a key, the last counts.
 *
 * Sets where each value starts and ends, or NULL if there is none.  Returns
 * false, with all of them NULL, if the statement breaks off inside of a token.
 *
 * Format: https://google.github.io/sqlcommenter/spec/
 */
bool
fobs_sqlcommenter_find(const char *query, int len, FobsCommentValue *values,
					   int n)
{
	const char *end = query + len;
	const char *p;
	const char *trailer;
	Search		search = {values, n};

	for (int i = 0; i < n; i++)
		values[i].start = NULL;
	p = skip_comments(query, end, &search);
	trailer = p;
	while (p != NULL && p < end)
	{
		trailer = skip_token(p, end);
		if (trailer == NULL)
			break;
		p = skip_comments(trailer, end, NULL);
	}
	if (p == NULL || trailer == NULL)
	{
		for (int i = 0; i < n; i++)
			values[i].start = NULL;
		return false;
	}
	skip_comments(trailer, end, &search);
	return true;
}

/*
 * Copies a value that was found, decoded, cut at size - 1 bytes and terminated
 * by a zero: %XX is a byte, a backslash before a quote or a backslash is left
 * out.  A percent sign that starts no such escape stands for itself.  The text
 * may be empty, need not be valid in any encoding, and may be cut inside of a
 * character.
 */
void
fobs_sqlcommenter_decode(const FobsCommentValue *value, char *dst, int size)
{
	const char *p = value->start;
	const char *end = value->end;
	char	   *dst_end = dst + size - 1;

	while (p < end && dst < dst_end)
	{
		int			byte = percent_escape(p, end);

		if (byte >= 0)
		{
			*dst++ = (char) byte;
			p += 3;
			continue;
		}
		if (starts_with(p, end, '\\', '\'') || starts_with(p, end, '\\', '\\'))
			p++;
		*dst++ = *p++;
	}
	*dst = '\0';
}

/*
 * Whether a text has nothing but comments, white space and semicolons: what
 * stands before the first statement of a string.
 */
bool
fobs_sqlcommenter_only_comments(const char *text, int len)
{
	return skip_comments(text, text + len, NULL) == text + len;
}
