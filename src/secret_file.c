/*-------------------------------------------------------------------------
 *
 * secret_file.c
 *	  Files that nobody but the server may read, and what goes with them.
 *
 * Part of the modules that have use for keys and tokens.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "storage/fd.h"

#include "secret_file.h"

/* What must not be permitted on a secret that belongs to root */
#define ROOT_MODE_MASK	(S_IWGRP | S_IXGRP | S_IRWXO)

/* The same rule as for the server's TLS key, see ssl_key_file. */
static bool
is_secret(const struct stat *status)
{
	if (status->st_uid == geteuid())
		return !(status->st_mode & PG_MODE_MASK_OWNER);
	return status->st_uid == 0 && !(status->st_mode & ROOT_MODE_MASK);
}

static void
check_kind(const char *what, const char *path, const struct stat *status)
{
	if (!S_ISREG(status->st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s \"%s\" is not a regular file", what, path)));
}

static void
check_permissions(const char *what, const char *path,
				  const struct stat *status)
{
	if (!is_secret(status))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s \"%s\" must be readable by its owner alone",
						what, path),
				 errhint("It must belong to the server's user with permissions u=rw (0600) or less, or to root with u=rw,g=r (0640) or less.")));
}

static int
read_file(const char *what, const char *path, bool secret, char *buffer,
		  int size)
{
	FILE	   *file;
	struct stat status;
	size_t		length;

	/* to open a pipe would be to wait, maybe for ever, for who writes it */
	if (stat(path, &status) == 0)
		check_kind(what, path, &status);
	file = AllocateFile(path, PG_BINARY_R);
	if (file == NULL || fstat(fileno(file), &status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read %s \"%s\": %m", what, path)));
	check_kind(what, path, &status);
	if (secret)
		check_permissions(what, path, &status);
	length = fread(buffer, 1, size, file);
	if (ferror(file))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read %s \"%s\": %m", what, path)));
	if (length == size)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s \"%s\" is too large", what, path)));
	FreeFile(file);
	return (int) length;
}

/*
 * Reads a file into a buffer, of which it must leave some; returns how much it
 * is.  Raises what is wrong with it, or who else might read it.
 */
int
fobs_secret_file_read(const char *what, const char *path, char *buffer,
					  int size)
{
	return read_file(what, path, true, buffer, size);
}

/* The same with a file that others may read, too */
int
fobs_public_file_read(const char *what, const char *path, char *buffer,
					  int size)
{
	return read_file(what, path, false, buffer, size);
}
