/*-------------------------------------------------------------------------
 *
 * server.h
 *	  The HTTP server: libmicrohttpd, and what it is given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SERVER_H
#define FRAISEQL_OBS_SERVER_H

extern bool fobs_server_start(const char *cert_file, const char *key_file);
extern bool fobs_server_is_running(void);
extern int	fobs_server_socket(void);
extern int	fobs_server_timeout_ms(int at_most);
extern void fobs_server_accept(pgsocket listener);
extern void fobs_server_run(void);

#endif							/* FRAISEQL_OBS_SERVER_H */
