/* SPDX-License-Identifier: BSD-3-Clause
 * SHA-256 by the SHA instructions of x86. Each instruction works on two rounds
 * with the state as two registers, (a, b, e, f) and (c, d, g, h). */
#include "core/digest-x86.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t digest_k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static int digest_detect(void)
{
  const char *forced = secure_getenv("QTK_CPU");
  unsigned a, b, c, d;

  if (forced != NULL && strcmp(forced, "generic") == 0)
    return 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
    return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29);
}

int qtk_digest_x86_supported(void)
{
  static int known; /* 1: no, 2: yes; every thread would write the same */
  int value = __atomic_load_n(&known, __ATOMIC_RELAXED);

  if (value == 0) {
    value = 1 + digest_detect();
    __atomic_store_n(&known, value, __ATOMIC_RELAXED);
  }
  return value == 2;
}

#define DIGEST_TARGET __attribute__((target("sha,sse4.1,ssse3")))

/* 64 rounds over one block; abef and cdgh are the state. */
DIGEST_TARGET static inline void digest_block(__m128i *abef, __m128i *cdgh, const uint8_t *block)
{
  const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  __m128i w[4], x = *abef, y = *cdgh;

  for (int i = 0; i < 4; i++)
    w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)block + i), big_endian);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) { /* words 4 i .. 4 i + 3 stand in w[i % 4] */
    __m128i k = _mm_load_si128((const __m128i *)(const void *)digest_k + i);
    __m128i sum = _mm_add_epi32(w[i % 4], k);
    y = _mm_sha256rnds2_epu32(y, x, sum);
    x = _mm_sha256rnds2_epu32(x, y, _mm_shuffle_epi32(sum, 0x0e));
    if (i < 12) {
      __m128i next = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
      next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
      w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
    }
  }
  *abef = _mm_add_epi32(*abef, x);
  *cdgh = _mm_add_epi32(*cdgh, y);
}

DIGEST_TARGET void qtk_digest_x86_blocks(uint32_t state[8], const uint8_t *blocks, size_t n)
{
  __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
  __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
  uint32_t out[8];

  for (size_t i = 0; i < n; i++)
    digest_block(&abef, &cdgh, blocks + 64 * i);
  _mm_storeu_si128((__m128i *)(void *)out, abef); /* f, e, b, a, then h, g, d, c */
  _mm_storeu_si128((__m128i *)(void *)(out + 4), cdgh);
  state[0] = out[3];
  state[1] = out[2];
  state[2] = out[7];
  state[3] = out[6];
  state[4] = out[1];
  state[5] = out[0];
  state[6] = out[5];
  state[7] = out[4];
}

#else

int qtk_digest_x86_supported(void)
{
  return 0;
}

void qtk_digest_x86_blocks(uint32_t state[8], const uint8_t *blocks, size_t n)
{
  (void)state;
  (void)blocks;
  (void)n;
}

#endif
