/*-------------------------------------------------------------------------
 *
 * gzip.c
 *	  Compression of requests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef FRAISEQL_OBS_HAVE_ZLIB
#include <zlib.h>
#endif

#include "compat.h"
#include "gzip.h"

#ifdef FRAISEQL_OBS_HAVE_ZLIB

/* What makes deflateInit2() write gzip with the largest window */
#define GZIP_WINDOW_BITS	(15 + 16)
#define MEMORY_LEVEL		8

/* Compresses a text to the end of out; false if that is impossible. */
bool
fobs_gzip(const StringInfoData *text, StringInfo out)
{
	z_stream	stream = {0};
	uLong		bound;
	bool		done;

	if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS,
					 MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	bound = deflateBound(&stream, text->len);
	enlargeStringInfo(out, (int) bound);
	stream.next_in = (Bytef *) text->data;
	stream.avail_in = text->len;
	stream.next_out = (Bytef *) out->data + out->len;
	stream.avail_out = bound;
	done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
	if (done)
		out->len += stream.total_out;
	deflateEnd(&stream);
	return done;
}

#else

bool
fobs_gzip(const StringInfoData *text, StringInfo out)
{
	return false;
}

#endif
