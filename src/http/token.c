/*-------------------------------------------------------------------------
 *
 * token.c
 *	  Who may ask the HTTP endpoint for more than probes.
 *
 * The token file has a token on each line, so that one can be exchanged while
 * both are valid.  Empty lines and those that begin with "#" say nothing.  A
 * client sends one of them, as in RFC 6750: "Authorization: Bearer TOKEN".
 *
 * A line with a blank in it is none: no client can send it, and to take its
 * first word would be to take less of a secret than was meant.
 *
 * A file that is gone, cannot be read or has no token lets nobody in, whatever
 * there was before: who takes a token back must not find it valid because of
 * a mistake in doing so.
 *
 * How long it takes to refuse a token tells nothing about the valid ones: all
 * of them are compared, to the end of what was given.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <strings.h>

#include "secret_file.h"
#include "token.h"

#define FILE_MAX		8192
#define BEARER			"Bearer "
#define BLANKS			" \t\r"

/* The tokens, each with a zero at its end */
static char tokens[FILE_MAX];
static int	ntokens = 0;
static bool asked = false;

/*
 * Puts the tokens of a file together; returns how many there are.  *ignored is
 * the number of the first line that should be one and is not, or 0.
 */
static int
collect_tokens(char *text, char *collected, int *ignored)
{
	int			n = 0;
	char	   *line;

	*ignored = 0;
	for (int lineno = 1; (line = strsep(&text, "\n")) != NULL; lineno++)
	{
		size_t		len;

		line += strspn(line, BLANKS);
		len = strcspn(line, BLANKS);
		if (len == 0 || line[0] == '#')
			continue;
		if (line[len + strspn(line + len, BLANKS)] != '\0')
		{
			if (*ignored == 0)
				*ignored = lineno;
			continue;
		}
		memcpy(collected, line, len);
		collected[len] = '\0';
		collected += len + 1;
		n++;
	}
	return n;
}

static void
forget_tokens(void)
{
	ntokens = 0;
	explicit_bzero(tokens, sizeof(tokens));
}

/* Reads the tokens of a file, in place of none. */
static void
read_tokens(const char *path)
{
	char		text[FILE_MAX];
	int			size;
	int			ignored;

	size = fobs_secret_file_read("token file", path, text, sizeof(text));
	text[size] = '\0';
	ntokens = collect_tokens(text, tokens, &ignored);
	explicit_bzero(text, sizeof(text));
	if (ntokens == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("token file \"%s\" has no token", path),
				 ignored == 0 ? 0 :
				 errhint("Line %d has a blank within it, which a token has not.",
						 ignored)));
	if (ignored != 0)
		ereport(LOG,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("line %d of token file \"%s\" is ignored",
						ignored, path),
				 errdetail("It has a blank within it, which a token has not; so may lines after it.")));
}

/*
 * Reads the tokens of a file; with an empty path, none is asked for.  What is
 * wrong with the file is an error, and then nobody is let in.
 */
void
fobs_tokens_load(const char *path)
{
	forget_tokens();
	asked = path[0] != '\0';
	if (asked)
		read_tokens(path);
}

/* Is a token asked for at all? */
bool
fobs_tokens_are_asked(void)
{
	return asked;
}

/* Takes as long for any token as for any other. */
static bool
is_equal(const char *given, const char *token)
{
	size_t		given_len = strlen(given);
	size_t		token_len = strlen(token);
	volatile unsigned char difference = given_len != token_len;

	for (size_t i = 0; i < given_len; i++)
		difference |= given[i] ^ token[i % token_len];
	return difference == 0;
}

/* Is this, of an Authorization header, one of the tokens? */
bool
fobs_token_is_valid(const char *authorization)
{
	const char *token = tokens;
	bool		valid = false;

	if (strncasecmp(authorization, BEARER, strlen(BEARER)) != 0)
		return false;
	authorization += strlen(BEARER);
	authorization += strspn(authorization, " ");
	for (int i = 0; i < ntokens; i++)
	{
		valid |= is_equal(authorization, token);
		token += strlen(token) + 1;
	}
	return valid;
}
