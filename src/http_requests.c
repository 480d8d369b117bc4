/*-------------------------------------------------------------------------
 *
 * http_requests.c
 *	  HTTP requests that the application has answered.
 *
 * record_http_request() is called once for each request: a series of
 * app_series.c counts it by method, endpoint and status, another one has its
 * duration by method and endpoint.
 *
 * Who sends requests chooses what is in them.  So a method that HTTP does not
 * know is "other", and of an endpoint nothing is kept from the question mark
 * on, which may hold secrets and is never the same twice.  Path parameters
 * are the application's to leave out: /users/{id}, not /users/4711.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "app_labels.h"
#include "app_metrics.h"
#include "app_refs.h"
#include "app_series.h"
#include "compat.h"
#include "http_requests.h"
#include "label.h"

#define REQUESTS	"fraiseql_obs_http_requests_total"
#define DURATIONS	"fraiseql_obs_http_request_duration_seconds"

PG_FUNCTION_INFO_V1(fraiseql_obs_record_http_request);

/* RFC 9110 and PATCH, RFC 5789; QUERY is on its way */
static const char *const methods[] = {
	"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT",
	"TRACE", "QUERY"
};

static const FobsAppFamily requests = {
	REQUESTS, sizeof(REQUESTS) - 1, FOBS_APP_COUNTER, true
};
static const FobsAppFamily durations = {
	DURATIONS, sizeof(DURATIONS) - 1, FOBS_APP_HISTOGRAM, true
};

static const FobsFamily requests_family = {
	REQUESTS, FOBS_COUNTER, NULL,
	"HTTP requests that the application has answered."
};
static const FobsFamily durations_family = {
	DURATIONS, FOBS_HISTOGRAM, "seconds",
	"Duration of HTTP requests that the application has answered."
};

/* The method's name, in capitals */
static const char *
known_method(const text * method)
{
	size_t		len = VARSIZE_ANY_EXHDR(method);

	for (int i = 0; i < lengthof(methods); i++)
	{
		if (strlen(methods[i]) == len &&
			pg_strncasecmp(VARDATA_ANY(method), methods[i], len) == 0)
			return methods[i];
	}
	return FOBS_LABEL_OTHER;
}

/*
 * Records for arguments that this backend has not seen, or not lately; what
 * has been recorded already is NULL.
 */
static void
record_searching(const text * method, const text * endpoint, int status,
				 FobsAppRefs *found, const FobsAppObservation *request,
				 const FobsAppObservation *duration)
{
	const char *method_name = known_method(method);
	const char *path = VARDATA_ANY(endpoint);
	size_t		path_len = VARSIZE_ANY_EXHDR(endpoint);
	const char *query = memchr(path, '?', path_len);
	char		status_text[12];
	FobsAppLabels labels = {0};

	pg_ltoa(status, status_text);
	fobs_app_labels_add(&labels, "method", method_name, strlen(method_name));
	fobs_app_labels_add(&labels, "endpoint", path,
						query != NULL ? query - path : path_len);
	found->truncated = labels.truncated;
	if (duration != NULL)
		fobs_app_record(&durations, &labels, &found->refs[1], duration);
	fobs_app_labels_add(&labels, "status", status_text, strlen(status_text));
	if (request != NULL)
		fobs_app_record(&requests, &labels, &found->refs[0], request);
}

/* record_http_request(method, endpoint, status, duration_seconds) */
Datum
fraiseql_obs_record_http_request(PG_FUNCTION_ARGS)
{
	static const FobsAppObservation request = {.number = 1};
	FobsAppObservation duration = {0};
	text	   *method;
	text	   *endpoint;
	int			status;
	uint32		method_len;
	FobsAppKey	key;
	FobsAppRefs *found;
	bool		counted;
	bool		timed;

	if (!fobs_app_is_recording())
		PG_RETURN_VOID();
	fobs_app_require(fcinfo, 0, "method");
	fobs_app_require(fcinfo, 1, "endpoint");
	fobs_app_require(fcinfo, 2, "status");
	fobs_app_require(fcinfo, 3, "duration");
	method = PG_GETARG_TEXT_PP(0);
	endpoint = PG_GETARG_TEXT_PP(1);
	status = PG_GETARG_INT32(2);
	duration.number = PG_GETARG_FLOAT8(3);
	if (status < 100 || status > 599)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid HTTP status %d", status),
				 errhint("It is a number from 100 to 599.")));
	if (!isfinite(duration.number) || duration.number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid duration of a request"),
				 errhint("It is a finite number of seconds, and not negative.")));

	method_len = VARSIZE_ANY_EXHDR(method);
	key.len = 0;
	fobs_app_key_add(&key, "http", 4);
	fobs_app_key_add(&key, &status, sizeof(status));
	fobs_app_key_add(&key, &method_len, sizeof(method_len));
	fobs_app_key_add(&key, VARDATA_ANY(method), method_len);
	fobs_app_key_add(&key, VARDATA_ANY(endpoint), VARSIZE_ANY_EXHDR(endpoint));
	found = fobs_app_refs_find(&key);

	counted = fobs_app_record_by_ref(&found->refs[0], &request);
	timed = fobs_app_record_by_ref(&found->refs[1], &duration);
	if (!counted || !timed)
		record_searching(method, endpoint, status, found,
						 counted ? NULL : &request, timed ? NULL : &duration);
	if (found->truncated)
		fobs_app_series_count_truncated();
	PG_RETURN_VOID();
}

/* Writes the families about HTTP requests, once there were any. */
void
fobs_http_requests_write(FobsWriter *writer, const FobsAppSnapshot *snapshot)
{
	const FobsAppFamilyCopy *copy;
	FobsLabel	labels[FOBS_MAX_LABELS];

	copy = fobs_app_family(snapshot, REQUESTS);
	fobs_write_family(writer, &requests_family);
	for (int i = 0; copy != NULL && i < copy->nseries; i++)
	{
		const FobsAppSeriesCopy *series = copy->series[i];

		fobs_app_labels_unpack(series->labels, series->nlabels, labels);
		fobs_write_sample(writer, labels, series->nlabels,
						  fobs_app_counter(series));
	}

	copy = fobs_app_family(snapshot, DURATIONS);
	fobs_write_family(writer, &durations_family);
	for (int i = 0; copy != NULL && i < copy->nseries; i++)
		fobs_app_write_histogram(writer, copy, copy->series[i]);
}
