/*-------------------------------------------------------------------------
 *
 * headers.h
 *	  Headers that are kept in a file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_HEADERS_H
#define FRAISEQL_OBS_OTLP_HEADERS_H

#include "nodes/pg_list.h"

extern List *fobs_headers_read(const char *path);

#endif							/* FRAISEQL_OBS_OTLP_HEADERS_H */
