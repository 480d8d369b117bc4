/*-------------------------------------------------------------------------
 *
 * in_file.h
 *	  Inputs that the tested code reads from a file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IN_FILE_H
#define IN_FILE_H

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"
#include "utils/elog.h"

/* A file with the input that nobody else may read, in memory */
static const char *
file_of(const uint8_t *data, size_t size)
{
	static int	fd = -1;
	static char path[32];

	if (fd < 0)
	{
		fd = memfd_create("input", 0);
		if (fd < 0 || fchmod(fd, 0600) != 0)
			abort();
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != size)
		abort();
	return path;
}

/* What is wrong with a file, by its name alone */
static void
check_error(const ErrorData *error, const char *path)
{
	if (error->sqlerrcode != ERRCODE_CONFIG_FILE_ERROR ||
		strstr(error->message, path) == NULL || strlen(error->message) > 100)
	{
		fprintf(stderr, "unexpected: %s\n", error->message);
		abort();
	}
}

/* What an error has left open is closed at the end of a transaction. */
static void
close_files(void)
{
	AtEOXact_Files(false);
}

#endif							/* IN_FILE_H */
