/*-------------------------------------------------------------------------
 *
 * postgres.h
 *	  The little that the pure parsers need of the server's header, so that
 *	  they compile on their own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef POSTGRES_H
#define POSTGRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#endif							/* POSTGRES_H */
