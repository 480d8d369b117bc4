/*-------------------------------------------------------------------------
 *
 * token_fuzz.c
 *	  libFuzzer harness of http/token.c.
 *
 * Whatever is in a token file: each line of it that is a token opens, and
 * nothing else does.  The first line of the input is what a client sends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "in_file.h"
#include "in_server.h"
#include "token.h"

#define BLANKS	" \t\r"

/* Is it a line of the file without the blanks around it, and none within? */
static bool
is_token_of(const char *token, const char *text)
{
	size_t		len = strlen(token);
	char	   *copy = pstrdup(text);
	char	   *line;

	if (len == 0 || token[0] == '#' || token[strcspn(token, BLANKS)] != '\0')
		return false;
	while ((line = strsep(&copy, "\n")) != NULL)
	{
		line += strspn(line, BLANKS);
		if (strncmp(line, token, len) == 0 &&
			line[len + strspn(line + len, BLANKS)] == '\0')
			return true;
	}
	return false;
}

static void
try_input(const uint8_t *data, size_t size)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *text = palloc(size + 1);
	char	   *given;
	const char *path;
	bool		loaded = false;

	memcpy(text, data, size);
	text[size] = '\0';
	given = strsep(&text, "\n");
	if (text == NULL || strlen(given) + 1 + strlen(text) != size)
		return;
	path = file_of((const uint8_t *) text, strlen(text));
	PG_TRY();
	{
		fobs_tokens_load(path);
		loaded = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		check_error(CopyErrorData(), path);
		FlushErrorState();
		close_files();
	}
	PG_END_TRY();
	HOLDS(fobs_tokens_are_asked());
	HOLDS(!fobs_token_is_valid(given) ||
		  pg_strncasecmp(given, "Bearer ", 7) == 0);
	HOLDS(fobs_token_is_valid(psprintf("bearer %s", given)) ==
		  (loaded && is_token_of(given + strspn(given, " "), text)));
}
