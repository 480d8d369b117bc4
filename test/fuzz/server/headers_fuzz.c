/*-------------------------------------------------------------------------
 *
 * headers_fuzz.c
 *	  libFuzzer harness of otlp/headers.c.
 *
 * Whatever is in a headers file: what is taken of it is lines of that file,
 * each of which is one header and none of ours; and no part of a file is in an
 * error, as it is secret.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "headers.h"
#include "in_file.h"
#include "in_server.h"

static void
check_header(const char *header, const uint8_t *data, size_t size)
{
	const char *colon = strchr(header, ':');

	HOLDS(colon != NULL && colon > header);
	HOLDS(memmem(data, size, header, strlen(header)) != NULL);
	HOLDS(pg_strncasecmp(header, "Host:", 5) != 0);
	HOLDS(pg_strncasecmp(header, "Content-Length:", 15) != 0);
	HOLDS(colon[1 + strspn(colon + 1, " \t")] != '\0');
	for (const char *c = header; *c != '\0'; c++)
		HOLDS((unsigned char) *c >= ' ' || *c == '\t');
	for (const char *c = header; c < colon; c++)
		HOLDS(*c > ' ' && *c < 0x7f);
}

static void
try_input(const uint8_t *data, size_t size)
{
	const char *path = file_of(data, size);
	MemoryContext context = CurrentMemoryContext;
	List	   *headers = NIL;
	ListCell   *cell;

	PG_TRY();
	{
		headers = fobs_headers_read(path);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		check_error(CopyErrorData(), path);
		FlushErrorState();
		close_files();
	}
	PG_END_TRY();
	foreach(cell, headers)
		check_header(lfirst(cell), data, size);
}
