/*-------------------------------------------------------------------------
 *
 * sha256_x86.h
 *	  SHA-256 by the instructions that x86 processors have for it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FOBS_SHA256_X86_H
#define FOBS_SHA256_X86_H

extern bool fobs_sha256_x86_available(void);
extern void fobs_sha256_x86(const void *data, size_t length, uint8_t *hash);

#endif							/* FOBS_SHA256_X86_H */
