/*-------------------------------------------------------------------------
 *
 * label.h
 *	  Text of the server or of a client as a bounded, valid UTF-8 label.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_LABEL_H
#define FRAISEQL_OBS_LABEL_H

/* What overflow and "not told apart" are called in every family */
#define FOBS_LABEL_OTHER "other"

extern void fobs_label_prepare(void);
extern bool fobs_label_is_exact(const char *src);
extern bool fobs_label_copy(char *dst, size_t size, const char *src,
							size_t len);
extern bool fobs_label_copy_decoded(char *dst, size_t size, const char *src,
									size_t len);
extern void fobs_label_clear_controls(char *label);
extern const char *fobs_label_to_server(const char *value);
extern Datum fobs_label_datum(const char *value);
extern Datum fobs_label_recoded_datum(const char *text, int encoding);

#endif							/* FRAISEQL_OBS_LABEL_H */
