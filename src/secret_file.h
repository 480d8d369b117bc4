/*-------------------------------------------------------------------------
 *
 * secret_file.h
 *	  Files that nobody but the server may read, and what goes with them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SECRET_FILE_H
#define FRAISEQL_OBS_SECRET_FILE_H

extern int	fobs_secret_file_read(const char *what, const char *path,
								  char *buffer, int size);
extern int	fobs_public_file_read(const char *what, const char *path,
								  char *buffer, int size);

#endif							/* FRAISEQL_OBS_SECRET_FILE_H */
