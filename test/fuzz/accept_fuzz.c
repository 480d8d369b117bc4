/*-------------------------------------------------------------------------
 *
 * accept_fuzz.c
 *	  libFuzzer harness of accept.c.
 *
 *		clang -g -O1 -fsanitize=fuzzer,address,undefined -Itest/fuzz \
 *			-Isrc/http test/fuzz/accept_fuzz.c src/http/accept.c
 *
 * Whatever a header holds, what is read stays in bounds.  What was understood
 * does not depend on what is said of other things, before or after; and what
 * is said last of gzip, or best of a format, is what counts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "accept.h"

#define HOLDS(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "does not hold: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is said of a header of these two texts */
static bool
accepts(bool (*function) (const char *), const char *first,
		const char *second)
{
	size_t		size = strlen(first) + strlen(second) + 1;
	char	   *header = malloc(size);
	bool		result;

	snprintf(header, size, "%s%s", first, second);
	result = function(header);
	free(header);
	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	bool		openmetrics;
	bool		gzip;

	memcpy(text, data, size);
	text[size] = '\0';
	openmetrics = fobs_accept_openmetrics(text);
	gzip = fobs_accept_gzip(text);

	HOLDS(accepts(fobs_accept_openmetrics, "text/html;q=0.7, ", text) ==
		  openmetrics);
	HOLDS(accepts(fobs_accept_openmetrics, "application/openmetrics-text, ",
				  text));
	HOLDS(accepts(fobs_accept_gzip, "br;q=0.7, ", text) == gzip);

	/* a quote that does not end takes what is behind it */
	if (strchr(text, '"') == NULL)
	{
		HOLDS(accepts(fobs_accept_openmetrics, text, ",text/html") ==
			  openmetrics);
		HOLDS(accepts(fobs_accept_gzip, text, ", br") == gzip);
		HOLDS(accepts(fobs_accept_gzip, text, ",gzip"));
		HOLDS(!accepts(fobs_accept_gzip, text, ", gzip;q=0"));
	}
	free(text);
	return 0;
}
