/*-------------------------------------------------------------------------
 *
 * transport.h
 *	  One HTTP request at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_OTLP_TRANSPORT_H
#define FRAISEQL_OBS_OTLP_TRANSPORT_H

#include "nodes/pg_list.h"

/* Bytes of an answer that are read; what goes on longer is cut off */
#define FOBS_ANSWER_MAX	65536

typedef struct FobsRequest
{
	const char *url;
	const char *ca_file;		/* '': the certificates of the system */
	List	   *headers;		/* strings beside ours */
	const char *body;			/* must stay until the answer is there */
	size_t		body_len;
	bool		is_gzip;
	int			timeout_ms;		/* from asking for addresses to the end */
} FobsRequest;

typedef struct FobsAnswer
{
	int			status;			/* 0: there was none */
	bool		is_whole;		/* all that the server wanted to say */
	bool		was_asked;		/* the request went out, at least in part */
	int64		retry_after_s;	/* 0: does not say */
	char		error[256];		/* if it is not whole */
	size_t		body_len;
	char		body[FOBS_ANSWER_MAX + 1];
} FobsAnswer;

extern void fobs_transport_init(void);
extern bool fobs_transport_start(const FobsRequest *request);
extern bool fobs_transport_wait(uint32 wait_event);
extern void fobs_transport_cancel(void);
extern const FobsAnswer *fobs_transport_answer(void);

#endif							/* FRAISEQL_OBS_OTLP_TRANSPORT_H */
