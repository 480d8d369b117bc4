/*-------------------------------------------------------------------------
 *
 * sqlcommenter_fuzz.c
 *	  libFuzzer harness of sqlcommenter.c.
 *
 *		clang -g -O1 -fsanitize=fuzzer,address,undefined -Itest/fuzz -Isrc \
 *			test/fuzz/sqlcommenter_fuzz.c src/sqlcommenter.c
 *
 * Each input is used in two ways.  As a statement: whatever it holds, what
 * is read stays in bounds and agrees with itself.  As data: statements are
 * built around it whose value is known, because it was encoded here as the
 * specification says, or quoted here as the server's manual says.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE				/* memmem */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "sqlcommenter.h"

#define KEY "action"
#define HOLDS(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "does not hold: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A statement under construction */
typedef struct Text
{
	char	   *bytes;
	int			len;
} Text;

static void
append(Text *text, const char *bytes, int len)
{
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

static void
append_string(Text *text, const char *string)
{
	append(text, string, strlen(string));
}

/* URL-encodes what the specification's url_encode() would. */
static void
append_encoded(Text *text, const char *data, int len)
{
	static const char unreserved[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	"-_.~!()";

	for (int i = 0; i < len; i++)
	{
		char		c = data[i];

		if (c == '\'' && i % 2)
			append_string(text, "\\'");
		else if (c != '\0' && strchr(unreserved, c))
			append(text, &c, 1);
		else
		{
			char		escape[4];

			snprintf(escape, sizeof(escape), "%%%02X", (unsigned char) c);
			append(text, escape, 3);
		}
	}
}

/* Doubles every quote, and every backslash if those escape. */
static void
append_quoted(Text *text, const char *data, int len, char quote,
			  bool backslash_escapes)
{
	append(text, &quote, 1);
	for (int i = 0; i < len; i++)
	{
		append(text, &data[i], 1);
		if (data[i] == quote || (backslash_escapes && data[i] == '\\'))
			append(text, &data[i], 1);
	}
	append(text, &quote, 1);
}

static bool
contains(const char *data, int len, const char *what)
{
	return memmem(data, len, what, strlen(what)) != NULL;
}

/* The decoded value of a key, if a comment of the statement has it */
static bool
find_value(const char *query, int len, const char *key, char *dst, int size)
{
	FobsCommentValue value = {.key = key};

	if (!fobs_sqlcommenter_find(query, len, &value, 1) ||
		value.start == NULL)
		return false;
	fobs_sqlcommenter_decode(&value, dst, size);
	return true;
}

/* Any bytes as a statement */
static void
check_statement(const char *query, int len)
{
	int			size = len + 2;
	char	   *whole = malloc(size);
	char	   *cut = malloc(size);
	Text		behind = {malloc(len + 8), 0};
	bool		found;

	HOLDS(whole && cut && behind.bytes);

	/* The cheaper the test, the more it lets through. */
	HOLDS(!fobs_sqlcommenter_present(query, len) ||
		  fobs_sqlcommenter_possible(query, len));
	HOLDS(!fobs_sqlcommenter_only_comments(query, len) ||
		  fobs_sqlcommenter_only_comments(query, len / 2) ||
		  contains(query, len, "/*") || contains(query, len, "--"));

	memset(whole, 'X', size);
	found = find_value(query, len, KEY, whole, size);
	if (found)
	{
		int			cut_size = 1 + len % 7;

		/* It fits: decoding only shrinks.  A cut value is its start. */
		HOLDS(memchr(whole, '\0', len + 1) != NULL);
		HOLDS(find_value(query, len, KEY, cut, cut_size));
		HOLDS(strlen(cut) < cut_size);
		HOLDS(strncmp(whole, cut, strlen(cut)) == 0);
		HOLDS(strlen(cut) == cut_size - 1 || strcmp(whole, cut) == 0);

		/* The quick test may only miss what "--" hides. */
		HOLDS(fobs_sqlcommenter_present(query, len) ||
			  contains(query, len, "--"));

		/* White space and semicolons behind it mean nothing. */
		append(&behind, query, len);
		append_string(&behind, "\n; \t");
		HOLDS(find_value(behind.bytes, behind.len, KEY, cut,
						 size));
		HOLDS(strcmp(whole, cut) == 0);
	}
	else
		HOLDS(whole[0] == 'X');

	free(behind.bytes);
	free(cut);
	free(whole);
}

/*
 * The statement so far, with the encoded value behind it or before it, must
 * have the value; without, it must have none.
 */
static void
check_wrapped(const Text *statement, const char *value, int len,
			  const char *format_before, const char *format_behind)
{
	Text		text = {malloc(statement->len + 3 * len + 64), 0};
	char	   *dst = malloc(len + 1);

	HOLDS(text.bytes && dst);
	HOLDS(!find_value(statement->bytes, statement->len, KEY, dst,
					  len + 1));
	if (format_before)
	{
		append_string(&text, format_before);
		append_encoded(&text, value, len);
		append_string(&text, "'*/ ");
	}
	append(&text, statement->bytes, statement->len);
	if (format_behind)
	{
		append_string(&text, format_behind);
		append_encoded(&text, value, len);
		append_string(&text, "'*/");
	}
	HOLDS(fobs_sqlcommenter_present(text.bytes, text.len));
	HOLDS(find_value(text.bytes, text.len, KEY, dst, len + 1));
	HOLDS(memcmp(dst, value, len) == 0 && dst[len] == '\0');
	free(dst);
	free(text.bytes);
}

/* Any bytes in a literal of every kind, and as the value */
static void
check_data(const char *data, int len)
{
	Text		text = {malloc(3 * len + 64), 0};
	static const char behind[] = " /*a='x',action='";
	static const char before[] = "/* h */ /*action='";

	HOLDS(text.bytes);

	append_string(&text, "SELECT ");
	append_quoted(&text, data, len, '\'', false);
	check_wrapped(&text, data, len, NULL, behind);
	check_wrapped(&text, data, len, before, NULL);

	text.len = 0;
	append_string(&text, "SELECT x,e");
	append_quoted(&text, data, len, '\'', true);
	append_string(&text, " -- it's\n");
	append_quoted(&text, data, len / 2, '\'', true);
	check_wrapped(&text, data, len, NULL, behind);

	text.len = 0;
	append_string(&text, "SELECT 1 AS ");
	append_quoted(&text, data, len, '"', false);
	check_wrapped(&text, data, len, NULL, behind);

	if (!contains(data, len, "$q1$") && len > 0 && data[len - 1] != '$')
	{
		text.len = 0;
		append_string(&text, "SELECT $q1$");
		append(&text, data, len);
		append_string(&text, "$q1$");
		check_wrapped(&text, data, len, NULL, behind);
	}
	if (!contains(data, len, "\n") && !contains(data, len, "\r"))
	{
		text.len = 0;
		append_string(&text, "SELECT 1 --");
		append(&text, data, len);
		append_string(&text, "\n");
		check_wrapped(&text, data, len, NULL, behind);
	}
	free(text.bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *copy;

	if (size > 4096)
		return -1;

	/* exactly as long as it is, so that one byte too many is seen */
	copy = malloc(size + (size == 0));
	HOLDS(copy);
	memcpy(copy, data, size);
	check_statement(copy, size);
	if (memchr(copy, '\0', size) == NULL)
		check_data(copy, size);
	free(copy);
	return 0;
}
