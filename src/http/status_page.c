/*-------------------------------------------------------------------------
 *
 * status_page.c
 *	  The status page, and what browsers are told about it.
 *
 * The page is status_page.html, of which the Makefile makes the bytes below.
 * It is the same for everybody and holds no figure: its script asks for those,
 * from here and with a token if one is asked for.
 *
 * A browser runs the one script and takes the one style that we wrote, known
 * by their hashes, whatever else might find its way into the page; it connects
 * to us and to nobody else, and shows the page in no frame of others.  The
 * hashes are computed when the page is first asked for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/memutils.h"

#include "status_page.h"

/* In base64, with its end */
#define HASH_SIZE		64

static const unsigned char bytes[] = {
#include "status_page.inc"
	0
};
static const char *const html = (const char *) bytes;

#define HTML_LEN		((int) sizeof(bytes) - 1)

static void
hash_base64(const char *text, int len, char *hash)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	int			length;

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) text, len) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(context);
	length = pg_b64_encode((const void *) digest, sizeof(digest), hash,
						   HASH_SIZE - 1);
	if (length < 0)
		elog(ERROR, "could not encode a hash");
	hash[length] = '\0';
}

/* Of what stands in the page between two tags */
static void
hash_element(const char *begin_tag, const char *end_tag, char *hash)
{
	const char *begin = strstr(html, begin_tag);
	const char *end = begin != NULL ? strstr(begin, end_tag) : NULL;

	if (end == NULL)
		elog(ERROR, "the status page has no %s", begin_tag);
	begin += strlen(begin_tag);
	hash_base64(begin, end - begin, hash);
}

/* Returns the page, which is there for good; may raise errors. */
const FobsStatusPage *
fobs_status_page(void)
{
	static FobsStatusPage page;
	char		hash[HASH_SIZE];
	char		style[HASH_SIZE];
	char		script[HASH_SIZE];
	MemoryContext outer;

	if (page.policy != NULL)
		return &page;
	hash_base64(html, HTML_LEN, hash);
	hash_element("<style>", "</style>", style);
	hash_element("<script>", "</script>", script);
	page.html = html;
	page.len = HTML_LEN;
	outer = MemoryContextSwitchTo(TopMemoryContext);
	page.etag = psprintf("\"%s\"", hash);
	page.policy = psprintf("default-src 'none'; connect-src 'self'; "
						   "img-src data:; "
						   "style-src 'sha256-%s'; script-src 'sha256-%s'; "
						   "base-uri 'none'; form-action 'none'; "
						   "frame-ancestors 'none'", style, script);
	MemoryContextSwitchTo(outer);
	return &page;
}
