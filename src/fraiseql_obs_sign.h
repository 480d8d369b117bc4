/*-------------------------------------------------------------------------
 *
 * fraiseql_obs_sign.h
 *	  Signatures, in a module of their own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FRAISEQL_OBS_SIGN_H
#define FRAISEQL_OBS_SIGN_H

#define FOBS_SIGN_MODULE	"$libdir/fraiseql_obs_sign"
#define FOBS_SIGN_FUNCTION	"fraiseql_obs_sign"

/* Ed25519, RFC 8032 */
typedef struct FobsSignature
{
	unsigned char signature[64];
	unsigned char public_key[32];
} FobsSignature;

/* Signs a text with the private key of a file; raises what goes wrong. */
typedef void (*FobsSignFunction) (const char *key_file, const char *text,
								  FobsSignature *result);

#endif							/* FRAISEQL_OBS_SIGN_H */
