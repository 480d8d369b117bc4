/*-------------------------------------------------------------------------
 *
 * jsonb_text.h
 *	  The text of a jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_JSONB_TEXT_H
#define FOBS_JSONB_TEXT_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void fobs_jsonb_append(StringInfo buffer, const Jsonb *document);

#endif							/* FOBS_JSONB_TEXT_H */
