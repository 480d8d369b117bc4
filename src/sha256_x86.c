/*-------------------------------------------------------------------------
 *
 * sha256_x86.c
 *	  SHA-256 by the instructions that x86 processors have for it.
 *
 * The server's own (pg_cryptohash) looks up the algorithm in OpenSSL for every
 * hash, which takes longer than the hash of a row does, and verification makes
 * three for each row.  So where the processor has the instructions, as most
 * have that were made since 2019, they are used here directly; elsewhere
 * nothing is available, and the server's is used.
 *
 * FIPS 180-4; the order of the instructions is Intel's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sha256_x86.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

#define BLOCK_SIZE 64
#define TARGET __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t round_constants[64]
__attribute__((aligned(16))) =
{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
		0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
		0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
		0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
		0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
		0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
		0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
		0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
		0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

bool
fobs_sha256_x86_available(void)
{
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_SSE4_1) == 0 ||
		(c & bit_SSSE3) == 0)
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

/* The state is in two registers, as ABEF and CDGH, from the high word on. */
typedef struct State
{
	__m128i		abef;
	__m128i		cdgh;
} State;

TARGET static inline State
compress(State state, const uint8_t *block)
{
	const		__m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11,
												  4, 5, 6, 7, 0, 1, 2, 3);
	State		before = state;
	__m128i		words[4];		/* the last 16 */

	for (int i = 0; i < 4; i++)
		words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) block + i),
									big_endian);
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)	/* four rounds each */
	{
		__m128i		sum =
		_mm_add_epi32(words[i & 3],
					  _mm_load_si128((const __m128i *) round_constants + i));

		state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, sum);
		sum = _mm_shuffle_epi32(sum, 0x0e);
		state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, sum);
		if (i < 12)
		{
			__m128i		next = _mm_sha256msg1_epu32(words[i & 3],
													words[(i + 1) & 3]);

			next = _mm_add_epi32(next,
								 _mm_alignr_epi8(words[(i + 3) & 3],
												 words[(i + 2) & 3], 4));
			words[i & 3] = _mm_sha256msg2_epu32(next, words[(i + 3) & 3]);
		}
	}
	state.abef = _mm_add_epi32(state.abef, before.abef);
	state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
	return state;
}

/* The hash is 32 bytes. */
TARGET void
fobs_sha256_x86(const void *data, size_t length, uint8_t *hash)
{
	const uint8_t *at = data;
	size_t		rest = length;
	uint8_t		last[2 * BLOCK_SIZE] = {0};
	size_t		n_last;
	State		state = {
		.abef = _mm_set_epi32(0x6a09e667, 0xbb67ae85, 0x510e527f, 0x9b05688c),
		.cdgh = _mm_set_epi32(0x3c6ef372, 0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)
	};
	uint32_t	words[8];

	for (; rest >= BLOCK_SIZE; rest -= BLOCK_SIZE, at += BLOCK_SIZE)
		state = compress(state, at);

	/* what is left, a bit, zeros, and the length in bits */
	if (rest > 0)
		memcpy(last, at, rest);
	last[rest] = 0x80;
	n_last = rest + 1 + 8 <= BLOCK_SIZE ? BLOCK_SIZE : 2 * BLOCK_SIZE;
	for (int i = 0; i < 8; i++)
		last[n_last - 1 - i] = (uint8_t) ((uint64_t) length * 8 >> 8 * i);
	state = compress(state, last);
	if (n_last > BLOCK_SIZE)
		state = compress(state, last + BLOCK_SIZE);

	words[0] = _mm_extract_epi32(state.abef, 3);
	words[1] = _mm_extract_epi32(state.abef, 2);
	words[2] = _mm_extract_epi32(state.cdgh, 3);
	words[3] = _mm_extract_epi32(state.cdgh, 2);
	words[4] = _mm_extract_epi32(state.abef, 1);
	words[5] = _mm_extract_epi32(state.abef, 0);
	words[6] = _mm_extract_epi32(state.cdgh, 1);
	words[7] = _mm_extract_epi32(state.cdgh, 0);
	for (int i = 0; i < 32; i++)
		hash[i] = (uint8_t) (words[i / 4] >> (24 - 8 * (i % 4)));
}

#else

bool
fobs_sha256_x86_available(void)
{
	return false;
}

void
fobs_sha256_x86(const void *data, size_t length, uint8_t *hash)
{
}

#endif
