/*-------------------------------------------------------------------------
 *
 * sha256.h
 *	  SHA-256.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_SHA256_H
#define FOBS_SHA256_H

#include "merkle.h"

/* A hash in parts; one at a time */
extern void fobs_sha256_begin(void);
extern void fobs_sha256_update(const void *data, size_t length);
extern void fobs_sha256_end(MerkleHash *hash);

/* The hash of what is in one piece */
extern void fobs_sha256(const void *data, size_t length, MerkleHash *hash);

#endif							/* FOBS_SHA256_H */
