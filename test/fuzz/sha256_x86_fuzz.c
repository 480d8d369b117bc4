/*-------------------------------------------------------------------------
 *
 * sha256_x86_fuzz.c
 *	  libFuzzer harness of sha256_x86.c.
 *
 *		clang -g -O1 -fsanitize=fuzzer,address,undefined -Itest/fuzz -Isrc \
 *			test/fuzz/sha256_x86_fuzz.c src/sha256_x86.c
 *
 * The hash of every input must be that of FIPS 180-4, written down here as it
 * stands there.  Where the processor lacks the instructions nothing is tested.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sha256_x86.h"

#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first bits of the fractions of a root of the first primes */
static void
fractions(uint32_t *bits, int n, long double (*root) (long double))
{
	int			found = 0;

	for (int candidate = 2; found < n; candidate++)
	{
		int			divisor = 2;

		while (candidate % divisor != 0)
			divisor++;
		if (divisor == candidate)
		{
			long double value = root(candidate);

			bits[found++] = (uint32_t) ((value - floorl(value)) * 4294967296.0L);
		}
	}
}

static void
defined_block(uint32_t *state, const uint8_t *block)
{
	static uint32_t k[64];
	uint32_t	w[64];
	uint32_t	s[8];

	if (k[0] == 0)
		fractions(k, 64, cbrtl);
	for (int t = 0; t < 64; t++)
		w[t] = t < 16 ?
			(uint32_t) block[4 * t] << 24 | block[4 * t + 1] << 16 |
			block[4 * t + 2] << 8 | block[4 * t + 3] :
			(ROTR(w[t - 2], 17) ^ ROTR(w[t - 2], 19) ^ w[t - 2] >> 10) +
			w[t - 7] +
			(ROTR(w[t - 15], 7) ^ ROTR(w[t - 15], 18) ^ w[t - 15] >> 3) +
			w[t - 16];
	memcpy(s, state, sizeof(s));
	for (int t = 0; t < 64; t++)
	{
		uint32_t	t1 = s[7] + (ROTR(s[4], 6) ^ ROTR(s[4], 11) ^
								 ROTR(s[4], 25)) +
		((s[4] & s[5]) ^ (~s[4] & s[6])) + k[t] + w[t];
		uint32_t	t2 = (ROTR(s[0], 2) ^ ROTR(s[0], 13) ^ ROTR(s[0], 22)) +
		((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

static void
defined_hash(const uint8_t *data, size_t size, uint8_t *hash)
{
	size_t		padded = (size + 9 + 63) / 64 * 64;
	uint8_t    *message = calloc(padded, 1);
	uint32_t	state[8];

	if (message == NULL)
		abort();
	memcpy(message, data, size);
	message[size] = 0x80;
	for (int i = 0; i < 8; i++)
		message[padded - 1 - i] = (uint8_t) ((uint64_t) size * 8 >> 8 * i);
	fractions(state, 8, sqrtl);
	for (size_t i = 0; i < padded; i += 64)
		defined_block(state, message + i);
	for (int i = 0; i < 32; i++)
		hash[i] = (uint8_t) (state[i / 4] >> (24 - 8 * (i % 4)));
	free(message);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t		hash[32];
	uint8_t		defined[32];

	if (!fobs_sha256_x86_available())
		return 0;
	fobs_sha256_x86(data, size, hash);
	defined_hash(data, size, defined);
	if (memcmp(hash, defined, sizeof(hash)) != 0)
	{
		fprintf(stderr, "not the hash of %zu bytes\n", size);
		abort();
	}
	return 0;
}
