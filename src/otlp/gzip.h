/*-------------------------------------------------------------------------
 *
 * gzip.h
 *	  Compression of requests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_GZIP_H
#define FRAISEQL_OBS_OTLP_GZIP_H

#include "lib/stringinfo.h"

extern bool fobs_gzip(const StringInfoData *text, StringInfo out);

#endif							/* FRAISEQL_OBS_OTLP_GZIP_H */
