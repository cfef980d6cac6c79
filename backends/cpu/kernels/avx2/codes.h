/* SPDX-License-Identifier: BSD-3-Clause
 * Codes as floats, for sums that are scaled behind: code - center, where 8 bits have
 * theirs and less have none. */
#ifndef CPU_AVX2_CODES_H
#define CPU_AVX2_CODES_H

#include "levels.h"

struct codes {
  vf table, above; /* 2 and 3 bits: floats of the codes mod 4, and 4 more */
};

/* The center that is taken for a wanted one. */
static inline float codes_center(int bits, float wanted)
{
  (void)wanted;
  return bits == 8 ? 128 : 0;
}

static inline __attribute__((always_inline)) void codes_open(struct codes *c, int bits,
                                                             float center)
{
  (void)bits;
  (void)center;
  c->table = _mm256_setr_ps(0, 1, 2, 3, 0, 1, 2, 3);
  c->above = vf_add(c->table, vf_set(4));
}

static inline vf codes_signed(const uint8_t *p)
{
  __m128i bytes = _mm_loadl_epi64((const __m128i *)p);
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_xor_si128(bytes, _mm_set1_epi8((char)0x80))));
}

/* The 32 floats of a chunk of `bits` (a constant where it is called). */
static inline __attribute__((always_inline)) void codes_chunk(const struct codes *c, int bits,
                                                              const uint8_t *packed, vf out[4])
{
  if (bits == 8) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      out[i] = codes_signed(packed + 8 * i);
  } else if (bits == 4) {
    const __m256i low = _mm256_set1_epi32(15);
    __m256i a = levels_bytes(packed), b = levels_bytes(packed + 8);
    out[0] = _mm256_cvtepi32_ps(_mm256_and_si256(a, low));
    out[1] = _mm256_cvtepi32_ps(_mm256_and_si256(b, low));
    out[2] = _mm256_cvtepi32_ps(_mm256_srli_epi32(a, 4));
    out[3] = _mm256_cvtepi32_ps(_mm256_srli_epi32(b, 4));
  } else {
    /* The table repeats: what stands above a field of 2 bits does not matter. */
    const __m256i bit = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    __m256i a = levels_bytes(packed);
    int high = 0;
    if (bits == 3)
      __builtin_memcpy(&high, packed + 8, 4);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      __m256i code = _mm256_srli_epi32(a, 2 * i);
      out[i] = _mm256_permutevar8x32_ps(c->table, code);
      if (bits == 3) { /* bit 8 i + lane of `high` becomes a sign */
        vf more = _mm256_permutevar8x32_ps(c->above, code);
        __m256i sign = _mm256_sllv_epi32(_mm256_set1_epi32(high),
                                         _mm256_sub_epi32(bit, _mm256_set1_epi32(8 * i)));
        out[i] = _mm256_blendv_ps(out[i], more, _mm256_castsi256_ps(sign));
      }
    }
  }
}

#endif
