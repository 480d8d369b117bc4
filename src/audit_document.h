/*-------------------------------------------------------------------------
 *
 * audit_document.h
 *	  Rows of users' tables as documents.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_AUDIT_DOCUMENT_H
#define FOBS_AUDIT_DOCUMENT_H

#include "access/tupdesc.h"
#include "fmgr.h"

/* How rows of a table become documents */
typedef struct FobsDocuments
{
	TupleDesc	descriptor;
	FmgrInfo	to_jsonb;
	bool		plain;			/* all have a jsonb, unless too large */
} FobsDocuments;

extern void fobs_document_prepare(FobsDocuments *documents, Oid row_type,
								  TupleDesc descriptor, const bool *unread);
extern Datum fobs_row_document(FobsDocuments *documents, const Datum *values,
							   const bool *nulls, bool *unstorable);

#endif							/* FOBS_AUDIT_DOCUMENT_H */
