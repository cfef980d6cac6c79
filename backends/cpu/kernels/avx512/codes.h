/* SPDX-License-Identifier: BSD-3-Clause
 * Codes as floats, for sums that are scaled behind: code - center, where up to 4 bits
 * have any center and 8 bits theirs. */
#ifndef CPU_AVX512_CODES_H
#define CPU_AVX512_CODES_H

#include "levels.h"

struct codes {
  vf table, above; /* as in struct levels */
};

/* The center that is taken for a wanted one. */
static inline float codes_center(int bits, float wanted)
{
  return bits == 8 ? 128 : wanted;
}

static inline __attribute__((always_inline)) void codes_open(struct codes *c, int bits,
                                                             float center)
{
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i code = _mm512_and_si512(lane, _mm512_set1_epi32(bits == 4 ? 15 : 3));

  c->table = vf_sub(_mm512_cvtepi32_ps(code), vf_set(center));
  c->above = vf_add(c->table, vf_set(4));
}

/* The 32 floats of a chunk of `bits` (a constant where it is called). */
static inline __attribute__((always_inline)) void codes_chunk(const struct codes *c, int bits,
                                                              const uint8_t *packed, vf out[2])
{
  if (bits == 8) {
    const __m128i flip = _mm_set1_epi8((char)0x80);
    __m128i a = _mm_loadu_si128((const __m128i *)packed);
    __m128i b = _mm_loadu_si128((const __m128i *)packed + 1);
    out[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_xor_si128(a, flip)));
    out[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_xor_si128(b, flip)));
  } else if (bits == 4) {
    __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed));
    out[0] = _mm512_permutexvar_ps(code, c->table);
    out[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(code, 4), c->table);
  } else {
    __m512i code[2];
    levels_pairs(packed, code);
    out[0] = _mm512_permutexvar_ps(code[0], c->table);
    out[1] = _mm512_permutexvar_ps(code[1], c->table);
    if (bits == 3) {
      uint32_t high;
      __builtin_memcpy(&high, packed + 8, 4);
      out[0] = _mm512_mask_permutexvar_ps(out[0], (__mmask16)high, code[0], c->above);
      out[1] = _mm512_mask_permutexvar_ps(out[1], (__mmask16)(high >> 16), code[1], c->above);
    }
  }
}

#endif
