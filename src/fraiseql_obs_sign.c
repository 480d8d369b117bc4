/*-------------------------------------------------------------------------
 *
 * fraiseql_obs_sign.c
 *	  Signatures, in a module of their own.
 *
 * The only code that needs OpenSSL, which the server may be built without.
 * Nobody but the audit worker loads it, and only where a key is configured, so
 * that the key is never in the memory of a process that serves users.
 *
 * The key is read anew for each signature, which takes a fraction of a
 * millisecond, and is wiped afterwards: a key that is exchanged needs no
 * restart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "fmgr.h"

#include "compat.h"
#include "fraiseql_obs_sign.h"
#include "secret_file.h"

/* Bytes of a key file, at most */
#define KEY_FILE_MAX	8192

PG_MODULE_MAGIC_EXT(.name = "fraiseql_obs_sign",.version = FRAISEQL_OBS_VERSION);

extern PGDLLEXPORT void fraiseql_obs_sign(const char *key_file,
										  const char *text,
										  FobsSignature *result);

/* A key that asks for a passphrase is refused: nobody is there to type it. */
static int
no_passphrase(char *buffer, int size, int writing, void *arg)
{
	return 0;
}

/* The Ed25519 key in a file, or NULL */
static EVP_PKEY *
read_key(const char *key_file)
{
	char		buffer[KEY_FILE_MAX];
	int			size = fobs_secret_file_read("private key file", key_file,
											 buffer, sizeof(buffer));
	BIO		   *bio = BIO_new_mem_buf(buffer, size);
	EVP_PKEY   *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(buffer, sizeof(buffer));
	if (key != NULL && EVP_PKEY_id(key) != EVP_PKEY_ED25519)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static bool
sign(EVP_PKEY * key, const char *text, FobsSignature *result)
{
	size_t		signature_size = sizeof(result->signature);
	size_t		key_size = sizeof(result->public_key);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool		done;

	done = context != NULL &&
		EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestSign(context, result->signature, &signature_size,
					   (const unsigned char *) text, strlen(text)) == 1 &&
		signature_size == sizeof(result->signature) &&
		EVP_PKEY_get_raw_public_key(key, result->public_key, &key_size) == 1 &&
		key_size == sizeof(result->public_key);
	EVP_MD_CTX_free(context);
	return done;
}

/* See FobsSignFunction. */
void
fraiseql_obs_sign(const char *key_file, const char *text,
				  FobsSignature *result)
{
	EVP_PKEY   *key = read_key(key_file);
	bool		done;

	if (key == NULL)
	{
		ERR_clear_error();
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("file \"%s\" has no usable private key", key_file),
				 errhint("Make an Ed25519 key without a passphrase, as by \"openssl genpkey -algorithm ed25519\".")));
	}
	done = sign(key, text, result);
	EVP_PKEY_free(key);
	ERR_clear_error();
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not sign with the private key of file \"%s\"",
						key_file)));
}
