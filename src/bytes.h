/*-------------------------------------------------------------------------
 *
 * bytes.h
 *	  Bytes of values, and such as are put together; for what is done with
 *	  each row of the audit log, where calls would take longer than the work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_BYTES_H
#define FOBS_BYTES_H

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "compat.h"

/* The bytes of a value of varying length, which mostly are where they are */
static inline struct varlena *
fobs_unpacked(Datum value)
{
	struct varlena *bytes = (struct varlena *) DatumGetPointer(value);

	return VARATT_IS_EXTERNAL(bytes) || VARATT_IS_COMPRESSED(bytes) ?
		pg_detoast_datum_packed(bytes) : bytes;
}

/* Room for n bytes at the end of a buffer */
static inline char *
fobs_reserve(StringInfo buffer, int n)
{
	if (unlikely(n >= buffer->maxlen - buffer->len))
		enlargeStringInfo(buffer, n);
	return buffer->data + buffer->len;
}

/* Appends bytes to a buffer, and no zero behind them. */
static inline void
fobs_append(StringInfo buffer, const void *bytes, int n)
{
	memcpy(fobs_reserve(buffer, n), bytes, n);
	buffer->len += n;
}

static inline void
fobs_append_byte(StringInfo buffer, uint8 byte)
{
	*fobs_reserve(buffer, 1) = byte;
	buffer->len++;
}

#endif							/* FOBS_BYTES_H */
