/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests of the HTTP endpoint, and their answers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_REQUEST_H
#define FRAISEQL_OBS_REQUEST_H

#include <microhttpd.h>

#include "endpoint.h"

extern void fobs_requests_init(const FobsEndpoint *endpoint);
extern enum MHD_Result fobs_request_handle(void *cls,
										   struct MHD_Connection *http,
										   const char *url,
										   const char *method,
										   const char *version,
										   const char *upload,
										   size_t *upload_size,
										   void **state);

#endif							/* FRAISEQL_OBS_REQUEST_H */
