/*-------------------------------------------------------------------------
 *
 * tracecontext.h
 *	  W3C Trace Context: pure text in, identifiers out, and the way back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_TRACECONTEXT_H
#define FRAISEQL_OBS_TRACECONTEXT_H

/* Bytes of identifiers, and of the texts, each with its zero */
#define FOBS_TRACE_ID_BYTES		16
#define FOBS_SPAN_ID_BYTES		8
#define FOBS_TRACE_ID_SIZE		33
#define FOBS_SPAN_ID_SIZE		17
#define FOBS_TRACEPARENT_SIZE	56

/* The longest tracestate that is passed on, and what one may have in it */
#define FOBS_TRACESTATE_SIZE	513
#define FOBS_TRACESTATE_MEMBERS 32
#define FOBS_TRACESTATE_VALUE_SIZE 257

/* Flags; others are reserved and never passed on */
#define FOBS_TRACE_SAMPLED		0x01
#define FOBS_TRACE_RANDOM		0x02

/* What a traceparent says.  No trace: all zero. */
typedef struct FobsTrace
{
	uint8_t		trace_id[FOBS_TRACE_ID_BYTES];
	uint8_t		parent_id[FOBS_SPAN_ID_BYTES];	/* the caller's span */
	uint8_t		flags;
} FobsTrace;

static inline bool
fobs_trace_is_set(const FobsTrace *trace)
{
	uint64_t	halves[2];

	memcpy(halves, trace->trace_id, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
}

static inline bool
fobs_trace_is_sampled(const FobsTrace *trace)
{
	return (trace->flags & FOBS_TRACE_SAMPLED) != 0;
}

extern bool fobs_traceparent_parse(const char *text, size_t len,
								   FobsTrace *trace);
extern void fobs_traceparent_format(const FobsTrace *trace, char *text);
extern void fobs_trace_format_id(const uint8_t *id, int size, char *text);
extern bool fobs_trace_id_parse(const char *text, uint8_t *trace_id);
extern bool fobs_trace_id_is_plain(const char *text);
extern bool fobs_trace_sampled_by_rate(const uint8_t *trace_id, double rate);

extern bool fobs_tracestate_normalize(const char *text, size_t len,
									  char *state);
extern bool fobs_tracestate_value(const char *state, const char *key,
								  char *value);
extern void fobs_tracestate_put(char *state, const char *key,
								const char *value);
extern void fobs_tracestate_encode(const char *text, char *value);
extern void fobs_tracestate_decode(const char *value, char *text);

#endif							/* FRAISEQL_OBS_TRACECONTEXT_H */
