/*-------------------------------------------------------------------------
 *
 * status_page.h
 *	  The status page, and what browsers are told about it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_STATUS_PAGE_H
#define FRAISEQL_OBS_STATUS_PAGE_H

typedef struct FobsStatusPage
{
	const char *html;
	int			len;
	const char *etag;			/* another one for another page */
	const char *policy;			/* Content-Security-Policy */
} FobsStatusPage;

extern const FobsStatusPage *fobs_status_page(void);

#endif							/* FRAISEQL_OBS_STATUS_PAGE_H */
