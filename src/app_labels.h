/*-------------------------------------------------------------------------
 *
 * app_labels.h
 *	  Names and labels of the metrics that the application keeps.
 *
 * See app_labels.c for what is allowed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_APP_LABELS_H
#define FRAISEQL_OBS_APP_LABELS_H

#include "utils/jsonb.h"

#include "exposition.h"

/* Bytes of a metric's name, with its terminating zero */
#define FOBS_APP_NAME_SIZE		128

/* Bytes of a label's value; more are cut at a character */
#define FOBS_APP_VALUE_BYTES	128

/* Bytes of all labels of a series */
#define FOBS_APP_LABELS_SIZE	480

/* A set of labels: each name and each value, in UTF-8, and a zero after it */
typedef struct FobsAppLabels
{
	int			size;			/* of text */
	int			n;
	bool		truncated;		/* a value was cut */
	char		text[FOBS_APP_LABELS_SIZE];
} FobsAppLabels;

extern void fobs_app_name_check(const char *name, size_t len,
								FobsMetricType type);
extern void fobs_app_labels_add(FobsAppLabels *labels, const char *name,
								const char *value, size_t len);
extern void fobs_app_labels_from_jsonb(FobsAppLabels *labels, Jsonb *json);
extern void fobs_app_labels_unpack(const char *text, int n,
								   FobsLabel *labels);

#endif							/* FRAISEQL_OBS_APP_LABELS_H */
