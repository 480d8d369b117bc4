/*-------------------------------------------------------------------------
 *
 * sqlcommenter.h
 *	  SQLCommenter comments in a statement: pure text in, values out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SQLCOMMENTER_H
#define FRAISEQL_OBS_SQLCOMMENTER_H

extern bool fobs_sqlcommenter_present(const char *query, int len);
extern bool fobs_sqlcommenter_value(const char *query, int len,
									const char *key, char *dst, int size);

#endif							/* FRAISEQL_OBS_SQLCOMMENTER_H */
