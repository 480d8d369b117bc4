/*-------------------------------------------------------------------------
 *
 * audit_sign.c
 *	  Signed checkpoints of the audit log.
 *
 * A checkpoint is a note of C2SP tlog-checkpoint, as audit_checkpoint()
 * writes it: origin, size and root of the tree of seals.  Signed, it is
 * followed by an empty line and a line of C2SP signed-note: a dash, the name
 * of the key, which is the origin, and in base64 four bytes that identify the
 * key and the Ed25519 signature.
 *
 * Only the audit worker signs: it alone loads the module that can, and reads
 * the key (fraiseql_obs_sign.c).  The log's tables it reads and writes with
 * the rights of their owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"

#include "audit_door.h"
#include "audit_log.h"
#include "audit_worker.h"
#include "compat.h"
#include "fraiseql_obs_sign.h"

#define SIGNATURE_DASH	"\xe2\x80\x94"	/* U+2014, which begins the line */
#define KEY_TYPE_ED25519 0x01
#define KEY_ID_SIZE		4

char	   *fobs_audit_signing_key_file;

PG_FUNCTION_INFO_V1(fraiseql_obs_audit_sign_checkpoint);

/* The first bytes of SHA-256(name || newline || type || public key) */
static void
key_id(const char *name, const FobsSignature *signature, uint8 *id)
{
	static const uint8 separator[] = {'\n', KEY_TYPE_ED25519};
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) name, strlen(name)) < 0 ||
		pg_cryptohash_update(hash, separator, sizeof(separator)) < 0 ||
		pg_cryptohash_update(hash, signature->public_key,
							 sizeof(signature->public_key)) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(hash);
	memcpy(id, digest, KEY_ID_SIZE);
}

/* A note with its signature */
static char *
sign_note(const char *note)
{
	FobsSignFunction sign = (FobsSignFunction)
	load_external_function(FOBS_SIGN_MODULE, FOBS_SIGN_FUNCTION, true,
						   NULL);
	char	   *name = pnstrdup(note, strcspn(note, "\n"));
	uint8		bytes[KEY_ID_SIZE + sizeof(((FobsSignature *) 0)->signature)];
	char		base64[2 * sizeof(bytes)];
	FobsSignature signature;
	int			length;

	sign(fobs_audit_signing_key_file, note, &signature);
	key_id(name, &signature, bytes);
	memcpy(bytes + KEY_ID_SIZE, signature.signature,
		   sizeof(signature.signature));
	length = pg_b64_encode((const void *) bytes, sizeof(bytes), base64,
						   sizeof(base64));
	if (length < 0)
		elog(ERROR, "could not encode a signature");
	return psprintf("%s\n" SIGNATURE_DASH " %s %.*s\n", note, name, length,
					base64);
}

/* The checkpoint as it stands */
static char *
read_checkpoint(void)
{
	if (SPI_execute("SELECT fraiseql_obs.audit_checkpoint_note()", false, 1) !=
		SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the checkpoint of the audit log");
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static void
publish(const char *note)
{
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(note);
	int			doors_before = fobs_audit_doors;

	fobs_audit_doors |= FOBS_DOOR_KEEP;
	PG_TRY();
	{
		if (SPI_execute_with_args("SELECT fraiseql_obs.audit_publish_checkpoint($1)",
								  1, &type, &value, NULL, false, 0) < 0)
			elog(ERROR, "could not publish the checkpoint of the audit log");
	}
	PG_FINALLY();
	{
		fobs_audit_doors = doors_before;
	}
	PG_END_TRY();
}

/*
 * audit_sign_checkpoint() returns boolean
 *
 * Signs the checkpoint; false if that has been done before, or no key is
 * configured.
 */
Datum
fraiseql_obs_audit_sign_checkpoint(PG_FUNCTION_ARGS)
{
	FobsSavedUser saved;
	char	   *note;
	bool		needed;

	if (MyBgworkerEntry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("only the audit worker can sign checkpoints")));
	if (fobs_audit_signing_key_file == NULL ||
		fobs_audit_signing_key_file[0] == '\0')
		PG_RETURN_BOOL(false);
	fobs_audit_become_owner(fobs_audit_log_owner(), &saved);
	SPI_connect();
	note = read_checkpoint();
	needed = strstr(note, "\n\n") == NULL;
	if (needed)
		publish(sign_note(note));
	SPI_finish();
	fobs_audit_become_self(&saved);
	PG_RETURN_BOOL(needed);
}
