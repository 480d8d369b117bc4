/*-------------------------------------------------------------------------
 *
 * otlp_json.h
 *	  Spans in, OTLP/JSON out.
 *
 * See otlp_json.c for what is made of a span.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_JSON_H
#define FRAISEQL_OBS_OTLP_JSON_H

#include "lib/stringinfo.h"

#include "counters.h"
#include "spans.h"

/* A request that is being written, without or with the first of its spans */
typedef struct FobsOtlpRequest
{
	StringInfo	out;

	/* names of databases, UTF-8, by entry of counters.c */
	char		(*databases)[FOBS_DATNAME_SIZE];

	/* from UTF-8 to what "out" is in, or NULL if that is UTF-8, too */
	const char *(*translate) (const char *text);
	bool		any_span;
} FobsOtlpRequest;

extern void fobs_otlp_begin(FobsOtlpRequest *request);
extern void fobs_otlp_span(FobsOtlpRequest *request, const FobsSpan *span,
						   const FobsSpanPart *part);
extern void fobs_otlp_end(FobsOtlpRequest *request);

#endif							/* FRAISEQL_OBS_OTLP_JSON_H */
