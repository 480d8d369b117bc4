/*-------------------------------------------------------------------------
 *
 * token.h
 *	  Who may ask the HTTP endpoint for more than probes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_TOKEN_H
#define FRAISEQL_OBS_TOKEN_H

extern void fobs_tokens_load(const char *path);
extern bool fobs_tokens_are_asked(void);
extern bool fobs_token_is_valid(const char *authorization);

#endif							/* FRAISEQL_OBS_TOKEN_H */
