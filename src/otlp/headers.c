/*-------------------------------------------------------------------------
 *
 * headers.c
 *	  Headers that are kept in a file.
 *
 * What identifies the sender to the endpoint is a secret, which a setting
 * would show to whoever may read settings.  The file has one header a line,
 * "Authorization: Bearer ...".  Empty lines and those that begin with # do not
 * count.  It is read anew for each request, so a token that is exchanged needs
 * no reload.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "headers.h"
#include "secret_file.h"

#define WHAT			"headers file"

/* Bytes of such a file, at most */
#define FILE_MAX		16384

/* These are ours to say. */
static const char *const reserved[] = {
	"Connection", "Content-Encoding", "Content-Length", "Content-Type",
	"Expect", "Host", "TE", "Trailer", "Transfer-Encoding", "Upgrade"
};

/* Is it a character of a name, RFC 9110 5.6.2? */
static bool
is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') ||
		(c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* May it be in a value?  What is not ASCII may. */
static bool
is_value_char(char c)
{
	return c == '\t' || ((unsigned char) c >= ' ' && c != 0x7f);
}

static bool
is_reserved(const char *name, size_t len)
{
	for (int i = 0; i < lengthof(reserved); i++)
	{
		if (len == strlen(reserved[i]) &&
			pg_strncasecmp(name, reserved[i], len) == 0)
			return true;
	}
	return false;
}

/* What is wrong with a line, or NULL; the line itself is a secret. */
static const char *
mistake(const char *line)
{
	size_t		len = 0;

	while (is_token_char(line[len]))
		len++;
	if (len == 0 || line[len] != ':')
		return "is not of the form \"name: value\"";
	if (is_reserved(line, len))
		return "has a header that cannot be set";
	line += len + 1;
	if (line[strspn(line, " \t")] == '\0')
		return "has no value";
	for (; *line != '\0'; line++)
	{
		if (!is_value_char(*line))
			return "has a control character";
	}
	return NULL;
}

static void
trim_end(char *line)
{
	size_t		len = strlen(line);

	while (len > 0 && strchr(" \t\r", line[len - 1]) != NULL)
		line[--len] = '\0';
}

/* Reads headers, in the current memory context; raises what is wrong. */
List *
fobs_headers_read(const char *path)
{
	char	   *buffer = palloc(FILE_MAX + 1);
	int			size = fobs_secret_file_read(WHAT, path, buffer, FILE_MAX);
	List	   *headers = NIL;
	int			number = 0;
	char	   *next;

	buffer[size] = '\0';
	if (strlen(buffer) != size)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s \"%s\" has a zero byte", WHAT, path)));
	for (char *line = buffer; line != NULL; line = next)
	{
		const char *problem;

		number++;
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		trim_end(line);
		if (line[0] == '\0' || line[0] == '#')
			continue;
		problem = mistake(line);
		if (problem != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("line %d of %s \"%s\" %s", number, WHAT, path,
							problem)));
		headers = lappend(headers, line);
	}
	return headers;
}
