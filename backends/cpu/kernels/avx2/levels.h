/* SPDX-License-Identifier: BSD-3-Clause
 * Codes of a group to floats, computed as the plain kernel computes them. */
#ifndef CPU_AVX2_LEVELS_H
#define CPU_AVX2_LEVELS_H

#include "vec.h"

#include <qtk/tensor.h>

struct levels {
  vf scale, zero;
  int minimum; /* w = scale q + zero */
  const float *book;
};

static inline __attribute__((always_inline)) void levels_open(struct levels *l,
                                                              const struct qtk_qtensor *t)
{
  l->minimum = t->layout.zero == QTK_ZERO_MIN;
  l->book = t->layout.encoding == QTK_CODEBOOK ? t->table : NULL;
}

static inline __attribute__((always_inline)) void levels_group(struct levels *l, int bits,
                                                               float scale, float zero)
{
  (void)bits;
  l->scale = vf_set(scale);
  l->zero = vf_set(zero);
}

static inline vf levels_value(const struct levels *l, __m256i code)
{
  if (l->book)
    return vf_mul(l->scale, _mm256_i32gather_ps(l->book, code, 4));
  vf q = _mm256_cvtepi32_ps(code);
  return l->minimum ? vf_add(vf_mul(l->scale, q), l->zero) : vf_mul(l->scale, vf_sub(q, l->zero));
}

/* Codes of a byte each; scales and zeros may differ from lane to lane. */
static inline vf levels_lanes(const struct levels *l, int bits, __m128i code)
{
  (void)bits;
  return levels_value(l, _mm256_cvtepu8_epi32(code));
}

static inline __m256i levels_bytes(const uint8_t *p)
{
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

/* The 32 floats of a chunk of `bits` (a constant where it is called). */
static inline __attribute__((always_inline)) void levels_chunk(const struct levels *l, int bits,
                                                               const uint8_t *packed, vf out[4])
{
  if (bits == 8) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      out[i] = levels_value(l, levels_bytes(packed + 8 * i));
  } else if (bits == 4) {
    const __m256i low = _mm256_set1_epi32(15);
    __m256i a = levels_bytes(packed), b = levels_bytes(packed + 8);
    out[0] = levels_value(l, _mm256_and_si256(a, low));
    out[1] = levels_value(l, _mm256_and_si256(b, low));
    out[2] = levels_value(l, _mm256_srli_epi32(a, 4));
    out[3] = levels_value(l, _mm256_srli_epi32(b, 4));
  } else {
    const __m256i three = _mm256_set1_epi32(3), four = _mm256_set1_epi32(4);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i a = levels_bytes(packed);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      __m256i code = _mm256_and_si256(_mm256_srli_epi32(a, 2 * i), three);
      if (bits == 3) {
        __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(packed[8 + i]), lane);
        code = _mm256_or_si256(code, _mm256_and_si256(_mm256_slli_epi32(high, 2), four));
      }
      out[i] = levels_value(l, code);
    }
  }
}

#endif
