/*-------------------------------------------------------------------------
 *
 * http_requests.h
 *	  HTTP requests that the application has answered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_HTTP_REQUESTS_H
#define FRAISEQL_OBS_HTTP_REQUESTS_H

#include "app_series.h"
#include "exposition.h"

extern void fobs_http_requests_write(FobsWriter *writer,
									 const FobsAppSnapshot *snapshot);

#endif							/* FRAISEQL_OBS_HTTP_REQUESTS_H */
