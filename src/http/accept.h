/*-------------------------------------------------------------------------
 *
 * accept.h
 *	  What a client of the HTTP endpoint can read.
 *
 * Pure text in, answer out; needs neither server nor library.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_ACCEPT_H
#define FRAISEQL_OBS_ACCEPT_H

extern bool fobs_accept_openmetrics(const char *accept);
extern bool fobs_accept_gzip(const char *accept_encoding);

#endif							/* FRAISEQL_OBS_ACCEPT_H */
