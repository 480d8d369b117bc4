/*-------------------------------------------------------------------------
 *
 * token.c
 *	  Who may ask the HTTP endpoint for more than probes.
 *
 * The token file has a token on each line, so that one can be exchanged while
 * both are valid.  Empty lines and those that begin with "#" say nothing.  A
 * client sends one of them, as in RFC 6750: "Authorization: Bearer TOKEN".
 *
 * A file that cannot be read, or has no token, changes nothing, if there were
 * tokens; if there were none, nobody is let in.
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

/* The tokens, each with a zero at its end */
static char tokens[FILE_MAX];
static int	ntokens = 0;
static bool asked = false;

/* Puts the tokens of a file together; returns how many there are. */
static int
collect_tokens(char *text, char *collected)
{
	int			n = 0;
	char	   *line;

	while ((line = strsep(&text, "\n")) != NULL)
	{
		size_t		len;

		line += strspn(line, " \t\r");
		len = strcspn(line, " \t\r");
		if (len == 0 || line[0] == '#')
			continue;
		memcpy(collected, line, len);
		collected[len] = '\0';
		collected += len + 1;
		n++;
	}
	return n;
}

/*
 * Reads the tokens of a file; with an empty path, none is asked for.  What is
 * wrong with the file is an error, and nobody is let in who was not before.
 */
void
fobs_tokens_load(const char *path)
{
	char		text[FILE_MAX];
	char		collected[FILE_MAX] = {0};
	int			size;
	int			n;

	if (path[0] == '\0')
	{
		asked = false;
		ntokens = 0;
		explicit_bzero(tokens, sizeof(tokens));
		return;
	}
	asked = true;
	size = fobs_secret_file_read("token file", path, text, sizeof(text));
	text[size] = '\0';
	n = collect_tokens(text, collected);
	explicit_bzero(text, sizeof(text));
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("token file \"%s\" has no token", path)));
	memcpy(tokens, collected, sizeof(tokens));
	explicit_bzero(collected, sizeof(collected));
	ntokens = n;
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
