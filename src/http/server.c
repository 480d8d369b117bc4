/*-------------------------------------------------------------------------
 *
 * server.c
 *	  The HTTP server: libmicrohttpd, and what it is given.
 *
 * libmicrohttpd runs in our one thread, when we say so: it has an epoll set of
 * its own, which the worker waits for.  It does not listen.  Connections are
 * accepted here and given to it, so that it serves any number of listeners,
 * and so that it is we who decide who gets in (connection.c).
 *
 * What it does on its own: reads requests, within a limit of memory for each
 * connection; answers those that are malformed, of another version or exceed
 * the limit with 400, 505, 414 or 431, or closes the connection; keeps
 * connections open; sends; and speaks TLS.
 *
 * Other certificates need another libmicrohttpd.  It takes the place of the
 * old one when it has started, and with that all connections are closed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "storage/fd.h"

#include "compat.h"
#include "connection.h"
#include "listener.h"
#include "request.h"
#include "secret_file.h"
#include "server.h"

/* Connections accepted at a time, before they are served */
#define ACCEPT_AT_A_TIME 8

/* Memory for the head of a request, in each connection */
#define HEAD_SIZE		16384

#define PEM_SIZE		65536

#define TLS_VERSIONS	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* What TLS needs, in PEM; NULL: no TLS */
typedef struct Credentials
{
	char	   *cert;
	char	   *key;
} Credentials;

static struct MHD_Daemon *server = NULL;
static Credentials current;

static void log_message(void *cls, const char *format, va_list args)
			pg_attribute_printf(2, 0);

static void
log_message(void *cls, const char *format, va_list args)
{
	char		message[1024];

	vsnprintf(message, sizeof(message), format, args);
	message[strcspn(message, "\n")] = '\0';
	ereport(DEBUG1, (errmsg_internal("libmicrohttpd: %s", message)));
}

/* Nothing that we take needs decoding. */
static size_t
leave_escaped(void *cls, struct MHD_Connection *http, char *text)
{
	return strlen(text);
}

/* A connection begins or has ended. */
static void
note_connection(void *cls, struct MHD_Connection *http, void **context,
				enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_STARTED)
	{
		info = MHD_get_connection_info(http,
									   MHD_CONNECTION_INFO_CONNECTION_FD);
		*context = fobs_connection_find(info->connect_fd);
	}
	else if (*context != NULL)
		fobs_connection_closed(*context);
}

/* An answer has been sent, or cannot be. */
static void
note_completed(void *cls, struct MHD_Connection *http, void **state,
			   enum MHD_RequestTerminationCode how)
{
	if (*state != NULL)
		fobs_connection_is_idle(*state);
}

static struct MHD_Daemon *
start(const Credentials *credentials)
{
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, credentials->cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, credentials->key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_VERSIONS},
		{MHD_OPTION_END, 0, NULL}
	};
	unsigned int flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
	MHD_USE_ERROR_LOG;

	if (credentials->cert != NULL)
		flags |= MHD_USE_TLS;
	else
		tls[0].option = MHD_OPTION_END;
	return MHD_start_daemon(flags, 0, NULL, NULL, fobs_request_handle, NULL,
							MHD_OPTION_EXTERNAL_LOGGER, log_message, NULL,
							MHD_OPTION_CONNECTION_LIMIT,
							(unsigned int) FOBS_CONNECTION_SLOTS,
							MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) 0,
							MHD_OPTION_CONNECTION_MEMORY_LIMIT,
							(size_t) HEAD_SIZE,
							MHD_OPTION_STRICT_FOR_CLIENT, 1,
							MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
							MHD_OPTION_NOTIFY_CONNECTION, note_connection,
							NULL,
							MHD_OPTION_NOTIFY_COMPLETED, note_completed,
							NULL,
							MHD_OPTION_ARRAY, tls,
							MHD_OPTION_END);
}

static char *
read_pem(const char *what, const char *path,
		 int (*read) (const char *, const char *, char *, int))
{
	char	   *pem = MemoryContextAllocZero(TopMemoryContext, PEM_SIZE);

	PG_TRY();
	{
		(void) read(what, path, pem, PEM_SIZE);
	}
	PG_CATCH();
	{
		pfree(pem);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return pem;
}

/*
 * Who has set one of the files wants TLS, and must not be served without it
 * because the other is forgotten.
 */
static void
check_both_are_set(const char *cert_file, const char *key_file)
{
	if (cert_file[0] != '\0' && key_file[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("\"fraiseql_obs.http_tls_key_file\" is not set"),
				 errhint("Set it to the file with the private key that belongs to certificate file \"%s\".",
						 cert_file)));
	if (cert_file[0] == '\0' && key_file[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("\"fraiseql_obs.http_tls_cert_file\" is not set"),
				 errhint("Set it to the file with the certificate that belongs to private key file \"%s\".",
						 key_file)));
}

/* Reads the files, if there are to be any. */
static void
read_credentials(const char *cert_file, const char *key_file,
				 Credentials *credentials)
{
	credentials->cert = credentials->key = NULL;
	check_both_are_set(cert_file, key_file);
	if (cert_file[0] == '\0')
		return;
	credentials->cert = read_pem("certificate file", cert_file,
								 fobs_public_file_read);
	PG_TRY();
	{
		credentials->key = read_pem("private key file", key_file,
									fobs_secret_file_read);
	}
	PG_CATCH();
	{
		pfree(credentials->cert);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
forget_credentials(Credentials *credentials)
{
	if (credentials->cert == NULL)
		return;
	explicit_bzero(credentials->key, PEM_SIZE);
	pfree(credentials->key);
	pfree(credentials->cert);
	credentials->cert = credentials->key = NULL;
}

static bool
are_equal(const Credentials *a, const Credentials *b)
{
	if (a->cert == NULL || b->cert == NULL)
		return a->cert == b->cert;
	return strcmp(a->cert, b->cert) == 0 && strcmp(a->key, b->key) == 0;
}

/*
 * Starts the server, in place of the one that runs, if any and if that has
 * other credentials: with TLS if there is a certificate.  Raises what is wrong
 * with the files; false if libmicrohttpd does not start.  In both cases the
 * old one runs on.
 */
bool
fobs_server_start(const char *cert_file, const char *key_file)
{
	Credentials credentials;
	struct MHD_Daemon *started;

	read_credentials(cert_file, key_file, &credentials);
	if (server != NULL && are_equal(&credentials, &current))
	{
		forget_credentials(&credentials);
		return true;
	}
	started = start(&credentials);
	if (started == NULL)
	{
		forget_credentials(&credentials);
		return false;
	}
	if (server != NULL)
		MHD_stop_daemon(server);
	forget_credentials(&current);
	current = credentials;
	server = started;
	return true;
}

bool
fobs_server_is_running(void)
{
	return server != NULL;
}

/* What becomes readable when the server has something to do */
int
fobs_server_socket(void)
{
	return MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

/* In how many milliseconds it wants to run, though nothing is readable */
int
fobs_server_timeout_ms(int at_most)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	if (MHD_get_timeout(server, &timeout) == MHD_YES && timeout < at_most)
		return (int) timeout;
	return at_most;
}

/* Accepts one connection; false if there is none. */
static bool
accept_one(pgsocket listener)
{
	struct sockaddr_storage address;
	socklen_t	length = sizeof(address);
	FobsConnection *connection;
	int			fd;

	fd = accept4(listener, (struct sockaddr *) &address, &length,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
	{
		/* out of files, or worse: do not be back at once */
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR &&
			errno != ECONNABORTED)
			pg_usleep(100000L);
		return false;
	}
	connection = fobs_connection_open(fd,
									  fobs_address_is_local((struct sockaddr *)
															&address));
	if (connection == NULL)
	{
		close(fd);
		return true;
	}
	if (MHD_add_connection(server, fd, (struct sockaddr *) &address,
						   length) != MHD_YES)
		fobs_connection_closed(connection);
	return true;
}

/* Accepts connections. */
void
fobs_server_accept(pgsocket listener)
{
	for (int i = 0; i < ACCEPT_AT_A_TIME; i++)
	{
		if (!fobs_connections_have_slot() || !accept_one(listener))
			break;
	}
}

/* Does all that there is to do, without waiting. */
void
fobs_server_run(void)
{
	fobs_connections_close_overdue();
	(void) MHD_run(server);
}
