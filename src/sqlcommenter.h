/*-------------------------------------------------------------------------
 *
 * sqlcommenter.h
 *	  SQLCommenter comments in a statement: pure text in, values out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SQLCOMMENTER_H
#define FRAISEQL_OBS_SQLCOMMENTER_H

/* Keys that can be looked for at a time */
#define FOBS_COMMENT_KEYS	8

/* A value: the text between its quotes, encoded, in that of the statement */
typedef struct FobsCommentValue
{
	const char *key;
	const char *start;			/* NULL: there is none */
	const char *end;
} FobsCommentValue;

/*
 * Whether a statement may begin or end with a comment, at the price of a few
 * comparisons: all that can stand there besides, and nothing else that is
 * common, is white space, a semicolon and punctuation up to the slash.
 */
static inline bool
fobs_sqlcommenter_possible(const char *query, int len)
{
	return len > 0 &&
		((unsigned char) query[0] <= '/' || query[0] == ';' ||
		 (unsigned char) query[len - 1] <= '/' || query[len - 1] == ';');
}

extern bool fobs_sqlcommenter_present(const char *query, int len);
extern bool fobs_sqlcommenter_only_comments(const char *text, int len);
extern bool fobs_sqlcommenter_find(const char *query, int len,
								   FobsCommentValue *values, int n);
extern void fobs_sqlcommenter_decode(const FobsCommentValue *value,
									 char *dst, int size);

#endif							/* FRAISEQL_OBS_SQLCOMMENTER_H */
