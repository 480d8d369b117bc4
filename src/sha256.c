/*-------------------------------------------------------------------------
 *
 * sha256.c
 *	  SHA-256, of which verifying a row of the audit log takes three.
 *
 * It is that of the library that the server was built with.  What is hashed is
 * short (a node of a tree has 65 bytes), so what goes with a hash counts as
 * much as its blocks do.  The server's own functions look up the algorithm for
 * each, which takes longer than to hash a row; here that is done once.  Within
 * EVP, OpenSSL 3.0 frees and allocates the state for each, which takes half as
 * long again as the blocks of a row.  Its default provider only calls
 * functions of old that do not, so they are called here; but where another
 * provider was configured, such as that of FIPS, it is the one to hash.
 *
 * All of it is this process's, and one hash is made at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#if defined(USE_OPENSSL) && defined(HAVE_LIBCRYPTO)
#include <openssl/evp.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/provider.h>
#endif
#include <openssl/sha.h>
#else
#include "common/cryptohash.h"
#include "utils/resowner.h"
#endif

#include "sha256.h"

/* What the library says of how it went, which is 1 if it went well */
static inline void
check(int result)
{
	if (unlikely(result <= 0))
		elog(ERROR, "could not compute SHA-256");
}

#if defined(USE_OPENSSL) && defined(HAVE_LIBCRYPTO)

static EVP_MD_CTX * context = NULL;
static bool direct = false;		/* the functions of old, with this: */
static SHA256_CTX state;

#if OPENSSL_VERSION_NUMBER >= 0x30000000L

static const EVP_MD *
find_algorithm(void)
{
	EVP_MD	   *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);

	direct = sha256 != NULL &&
		strcmp(OSSL_PROVIDER_get0_name(EVP_MD_get0_provider(sha256)),
			   "default") == 0;
	return sha256;
}

#else

static const EVP_MD *
find_algorithm(void)
{
	return EVP_sha256();
}

#endif

static void
prepare(void)
{
	const		EVP_MD *sha256 = find_algorithm();
	EVP_MD_CTX *made = EVP_MD_CTX_new();

	if (sha256 == NULL || made == NULL ||
		EVP_DigestInit_ex(made, sha256, NULL) <= 0)
	{
		EVP_MD_CTX_free(made);
		check(0);
	}
	context = made;
}

void
fobs_sha256_begin(void)
{
	if (unlikely(context == NULL))
		prepare();
	check(direct ? SHA256_Init(&state) :
		  EVP_DigestInit_ex(context, NULL, NULL));
}

void
fobs_sha256_update(const void *data, size_t length)
{
	check(direct ? SHA256_Update(&state, data, length) :
		  EVP_DigestUpdate(context, data, length));
}

void
fobs_sha256_end(MerkleHash *hash)
{
	check(direct ? SHA256_Final(hash->bytes, &state) :
		  EVP_DigestFinal_ex(context, hash->bytes, NULL));
}

#else

/* It belongs to a resource owner, or the transaction would free it. */
static pg_cryptohash_ctx *
hash_context(void)
{
	static ResourceOwner owner = NULL;
	static pg_cryptohash_ctx *context = NULL;
	ResourceOwner before = CurrentResourceOwner;

	if (context != NULL)
		return context;
	if (owner == NULL)
		owner = ResourceOwnerCreate(NULL, "fraiseql_obs hash");
	CurrentResourceOwner = owner;
	context = pg_cryptohash_create(PG_SHA256);
	CurrentResourceOwner = before;
	return context;
}

void
fobs_sha256_begin(void)
{
	check(pg_cryptohash_init(hash_context()) == 0);
}

void
fobs_sha256_update(const void *data, size_t length)
{
	check(pg_cryptohash_update(hash_context(), data, length) == 0);
}

void
fobs_sha256_end(MerkleHash *hash)
{
	check(pg_cryptohash_final(hash_context(), hash->bytes,
							  sizeof(hash->bytes)) == 0);
}

#endif

void
fobs_sha256(const void *data, size_t length, MerkleHash *hash)
{
	fobs_sha256_begin();
	fobs_sha256_update(data, length);
	fobs_sha256_end(hash);
}
