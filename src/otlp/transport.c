/*-------------------------------------------------------------------------
 *
 * transport.c
 *	  One HTTP request at a time.
 *
 * libcurl says which sockets it waits for and until when, and we wait for them
 * together with our latch.  So nothing blocks, and a signal is acted upon at
 * once.  Whatever the other side does, a request ends after its timeout, and
 * no more is kept of an answer than fits into a FobsAnswer.
 *
 * A connection is kept and used again.  Redirections are not followed and no
 * proxy is used, whatever the server's environment says: who gets the spans
 * and the headers is who the settings name.
 *
 * libcurl calls functions of ours, which therefore must not raise errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <curl/curl.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/latch.h"

#include "compat.h"
#include "resolver.h"
#include "transport.h"

/* Sockets that one request may have: addresses that are tried at once */
#define MAX_SOCKETS		8

/* How often to look for addresses that were asked for */
#define RESOLVE_POLL_MS 10

/* libcurl has the same timeout, and is to be the one that notices. */
#define GRACE_MS		100

/* Bytes of an answer's headers, at most */
#define HEADERS_MAX		65536

#define USER_AGENT		"fraiseql_obs/" FRAISEQL_OBS_VERSION

typedef enum Stage
{
	STAGE_NONE,
	STAGE_RESOLVING,
	STAGE_SENDING,
	STAGE_DONE
} Stage;

static CURLM * multi;

typedef struct Current
{
	Stage		stage;
	int64		until;			/* ms of now_ms() */
	CURL	   *easy;
	struct curl_slist *headers;
	struct curl_slist *addresses;
	char	   *host;			/* libcurl's; NULL: it is an address */
	char	   *port;
	size_t		headers_len;	/* of the answer */
	char		error[CURL_ERROR_SIZE];
	FobsAnswer	answer;
} Current;

static Current current = {.stage = STAGE_NONE};

/* What libcurl waits for */
static struct
{
	curl_socket_t fd;
	int			what;
}			sockets[MAX_SOCKETS];
static int	nsockets = 0;
static int64 timer_at = -1;		/* ms of now_ms(), -1: none */

/* Milliseconds of a clock that is never set */
static int64
now_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

static int
note_socket(CURL * easy, curl_socket_t fd, int what, void *arg, void *arg2)
{
	int			i = 0;

	while (i < nsockets && sockets[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < nsockets)
			sockets[i] = sockets[--nsockets];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return -1;
	if (i == nsockets)
		nsockets++;
	sockets[i].fd = fd;
	sockets[i].what = what;
	return 0;
}

static int
note_timer(CURLM * for_multi, long timeout_ms, void *arg)
{
	timer_at = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	return 0;
}

/* Keeps a part of an answer.  To take less than there is ends the request. */
static size_t
keep_body(char *data, size_t size, size_t n, void *arg)
{
	FobsAnswer *answer = &current.answer;
	size_t		taken = Min(size * n, FOBS_ANSWER_MAX - answer->body_len);

	memcpy(answer->body + answer->body_len, data, taken);
	answer->body_len += taken;
	return taken;
}

/* Some versions of libcurl take headers without end, and remember them. */
static size_t
count_header(char *data, size_t size, size_t n, void *arg)
{
	current.headers_len += size * n;
	return current.headers_len <= HEADERS_MAX ? size * n : 0;
}

/* Prepares what is needed for requests; raises an error if that fails. */
void
fobs_transport_init(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
		(multi = curl_multi_init()) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not initialize libcurl")));
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, note_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, note_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 1L);
}

/* Ends what is current and forgets all of it but the answer. */
static void
finish(Stage stage)
{
	if (current.easy != NULL)
	{
		(void) curl_multi_remove_handle(multi, current.easy);
		curl_easy_cleanup(current.easy);
	}
	curl_slist_free_all(current.headers);
	curl_slist_free_all(current.addresses);
	curl_free(current.host);
	curl_free(current.port);
	current.easy = NULL;
	current.headers = NULL;
	current.addresses = NULL;
	current.host = NULL;
	current.port = NULL;
	current.stage = stage;
}

/* Ends what is current with what went wrong, '' if nothing did. */
static void
finish_with(const char *error)
{
	strlcpy(current.answer.error, error, sizeof(current.answer.error));
	finish(STAGE_DONE);
}

static bool
add_header(const char *header)
{
	struct curl_slist *longer = curl_slist_append(current.headers, header);

	if (longer != NULL)
		current.headers = longer;
	return longer != NULL;
}

static bool
add_headers(const FobsRequest *request)
{
	ListCell   *cell;

	foreach(cell, request->headers)
	{
		if (!add_header(lfirst(cell)))
			return false;
	}

	/* without the last one libcurl may wait for leave to send the body */
	return add_header("Content-Type: application/json") &&
		(!request->is_gzip || add_header("Content-Encoding: gzip")) &&
		add_header("Expect:");
}

/* Sets the host that addresses must be asked for, and its port. */
static bool
find_host(const char *url)
{
	CURLU	   *parsed = curl_url();
	bool		found;

	if (parsed == NULL)
		return false;
	found = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &current.host, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_PORT, &current.port,
					 CURLU_DEFAULT_PORT) == CURLUE_OK;
	curl_url_cleanup(parsed);
	return found;
}

static void
set_tls_options(CURL * easy, const FobsRequest *request)
{
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (request->ca_file[0] == '\0')
		return;

	/* those and no others */
	curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

static void
set_options(CURL * easy, const FobsRequest *request)
{
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
#if CURL_AT_LEAST_VERSION(7, 85, 0)
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
					 (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, current.error);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, current.headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, count_header);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
					 (curl_off_t) request->body_len);
	set_tls_options(easy, request);
}

/* Begins to send, once it is known whereto. */
static void
start_sending(void)
{
	int64		left = current.until - now_ms();

	curl_easy_setopt(current.easy, CURLOPT_TIMEOUT_MS, (long) Max(left, 1));
	curl_easy_setopt(current.easy, CURLOPT_CONNECTTIMEOUT_MS,
					 (long) Max(left, 1));
	nsockets = 0;
	if (curl_multi_add_handle(multi, current.easy) == CURLM_OK)
		current.stage = STAGE_SENDING;
	else
		finish_with("out of memory");
}

/* Tells libcurl what was found out, in the place of what it may know. */
static void
use_addresses(const char *addresses)
{
	char		entry[NI_MAXHOST + FOBS_ADDRESSES_SIZE + 16];

	snprintf(entry, sizeof(entry), "%s:%s:%s", current.host, current.port,
			 addresses);
	current.addresses = curl_slist_append(NULL, entry);
	if (current.addresses == NULL)
	{
		finish_with("out of memory");
		return;
	}
	curl_easy_setopt(current.easy, CURLOPT_RESOLVE, current.addresses);
	start_sending();
}

static void
go_on_resolving(void)
{
	char		addresses[FOBS_ADDRESSES_SIZE];
	const char *error;

	switch (fobs_resolver_ask(current.host, addresses, &error))
	{
		case FOBS_RESOLVED_FOUND:
			use_addresses(addresses);
			break;
		case FOBS_RESOLVED_FAILED:
			snprintf(current.error, sizeof(current.error),
					 "could not resolve host \"%s\": %s", current.host, error);
			finish_with(current.error);
			break;
		case FOBS_RESOLVED_PENDING:
			if (now_ms() < current.until)
				break;
			snprintf(current.error, sizeof(current.error),
					 "could not resolve host \"%s\" in time", current.host);
			finish_with(current.error);
			break;
	}
}

/* Starts a request; false if there is not the memory. */
bool
fobs_transport_start(const FobsRequest *request)
{
	memset(&current, 0, offsetof(Current, answer.body));
	current.until = now_ms() + request->timeout_ms;
	current.easy = curl_easy_init();
	if (current.easy == NULL || !add_headers(request) ||
		!find_host(request->url) || strlen(current.host) >= NI_MAXHOST)
	{
		finish(STAGE_NONE);
		return false;
	}
	set_options(current.easy, request);
	current.stage = STAGE_RESOLVING;

	/* what is an address already need not be asked for */
	if (current.host[0] == '[' || strspn(current.host, "0123456789.") ==
		strlen(current.host))
		start_sending();
	else
		go_on_resolving();
	return true;
}

/* Takes what libcurl says about the request, if it is done. */
static void
take_answer(void)
{
	FobsAnswer *answer = &current.answer;
	CURLMsg    *message;
	CURLcode	result;
	int			left;
	long		value = 0;
	curl_off_t	seconds = 0;

	message = curl_multi_info_read(multi, &left);
	if (message == NULL || message->msg != CURLMSG_DONE)
		return;
	result = message->data.result;
	curl_easy_getinfo(current.easy, CURLINFO_RESPONSE_CODE, &value);
	answer->status = value >= 200 && value < 600 ? (int) value : 0;
	value = 0;
	curl_easy_getinfo(current.easy, CURLINFO_REQUEST_SIZE, &value);
	answer->was_asked = value > 0;
	curl_easy_getinfo(current.easy, CURLINFO_RETRY_AFTER, &seconds);
	answer->retry_after_s = Max((int64) seconds, 0);
	answer->is_whole = result == CURLE_OK;
	answer->body[answer->body_len] = '\0';
	if (result == CURLE_OK)
	{
		finish_with(answer->status == 0 ? "the answer has no valid status" :
					"");
		return;
	}
	if (!answer->was_asked)
		fobs_resolver_forget();
	if (result == CURLE_WRITE_ERROR)
		finish_with("the answer is too long");
	else
		finish_with(current.error[0] != '\0' ? current.error :
					curl_easy_strerror(result));
}

/* Adds what libcurl waits for to a set. */
static void
add_sockets(WaitEventSet *set)
{
	for (int i = 0; i < nsockets; i++)
	{
		int			events = 0;

		if (sockets[i].what & CURL_POLL_IN)
			events |= WL_SOCKET_READABLE;
		if (sockets[i].what & CURL_POLL_OUT)
			events |= WL_SOCKET_WRITEABLE;
		if (events != 0)
			AddWaitEventToSet(set, events, sockets[i].fd, NULL, NULL);
	}
}

/* How long to wait at most */
static long
timeout_ms(void)
{
	int64		until = current.until;

	if (current.stage == STAGE_RESOLVING)
		return RESOLVE_POLL_MS;
	until += GRACE_MS;
	if (timer_at >= 0)
		until = Min(until, timer_at);
	return (long) Max(until - now_ms(), 0);
}

/* Waits for our latch, or whatever brings the request on. */
static int
wait_for_events(WaitEvent *events, int max, uint32 wait_event)
{
	WaitEventSet *set = CreateWaitEventSet(NULL, MAX_SOCKETS + 2);
	int			n;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	if (current.stage == STAGE_SENDING)
		add_sockets(set);
	n = WaitEventSetWait(set, timeout_ms(), events, max, wait_event);
	FreeWaitEventSet(set);
	return n;
}

/* Lets libcurl do what can be done now. */
static void
go_on_sending(const WaitEvent *events, int n)
{
	int			running;

	for (int i = 0; i < n; i++)
	{
		int			what = 0;

		if (events[i].events & WL_SOCKET_READABLE)
			what |= CURL_CSELECT_IN;
		if (events[i].events & WL_SOCKET_WRITEABLE)
			what |= CURL_CSELECT_OUT;
		if (what != 0)
			(void) curl_multi_socket_action(multi, events[i].fd, what,
											&running);
	}
	if (timer_at >= 0 && timer_at <= now_ms())
	{
		timer_at = -1;
		(void) curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0,
										&running);
	}
	take_answer();
	if (current.stage == STAGE_SENDING && now_ms() >= current.until + GRACE_MS)
		finish_with("timed out");
}

/*
 * Waits for the request that was started, or for our latch, which is reset.
 * True when the answer is there.
 */
bool
fobs_transport_wait(uint32 wait_event)
{
	WaitEvent	events[MAX_SOCKETS + 2];
	int			n = 0;

	if (current.stage != STAGE_DONE)
		n = wait_for_events(events, lengthof(events), wait_event);
	ResetLatch(MyLatch);
	if (current.stage == STAGE_RESOLVING)
		go_on_resolving();
	else if (current.stage == STAGE_SENDING)
		go_on_sending(events, n);
	return current.stage == STAGE_DONE;
}

/* Forgets the request that was started. */
void
fobs_transport_cancel(void)
{
	finish(STAGE_NONE);
}

const FobsAnswer *
fobs_transport_answer(void)
{
	return &current.answer;
}
