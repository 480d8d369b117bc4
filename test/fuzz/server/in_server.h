/*-------------------------------------------------------------------------
 *
 * in_server.h
 *	  libFuzzer harnesses of what needs a server to run in: memory contexts,
 *	  errors, jsonb.
 *
 * A harness is a module.  To load it, in a single-user server, is to run it;
 * see fuzz_in_server() of dev/test.  Each input has a memory context.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IN_SERVER_H
#define IN_SERVER_H

#include <unistd.h>

#include "fmgr.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

/* Aborts, which libFuzzer reports, unless the condition holds. */
#define HOLDS(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "does not hold: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*run) (const uint8_t *, size_t));

PGDLLEXPORT void _PG_init(void);

/* What a harness does with an input */
static void try_input(const uint8_t *data, size_t size);

static int
run_input(const uint8_t *data, size_t size)
{
	static MemoryContext context = NULL;
	MemoryContext outer = CurrentMemoryContext;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "input",
										ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	try_input(data, size);
	MemoryContextSwitchTo(outer);
	MemoryContextReset(context);
	return 0;
}

/* Arguments are in the environment, with blanks between. */
void
_PG_init(void)
{
	char	   *rest = strdup(getenv("FUZZ_ARGUMENTS"));
	char	   *arguments[16] = {"fuzz"};
	char	  **argv = arguments;
	int			argc = 1;

	while (argc < lengthof(arguments) - 1 &&
		   (arguments[argc] = strsep(&rest, " ")) != NULL)
		argc++;
	_exit(LLVMFuzzerRunDriver(&argc, &argv, run_input));
}

#endif							/* IN_SERVER_H */
