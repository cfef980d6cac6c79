/* SPDX-License-Identifier: BSD-3-Clause
 * Codes of a group to floats: up to 4 bits by one permutation of the group's
 * levels. Each level is computed as the plain kernel computes it. */
#ifndef CPU_AVX512_LEVELS_H
#define CPU_AVX512_LEVELS_H

#include "vec.h"

#include <qtk/tensor.h>

struct levels {
  vf table;       /* up to 4 bits: level [lane mod 2^bits] */
  vf scale, zero; /* 8 bits */
  int minimum;    /* w = scale q + zero */
  const float *book;
};

static inline vf levels_affine(const struct levels *l, vf q)
{
  return l->minimum ? vf_add(vf_mul(l->scale, q), l->zero) : vf_mul(l->scale, vf_sub(q, l->zero));
}

static inline void levels_set(struct levels *l, const struct qtk_qtensor *t, float scale,
                              float zero)
{
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i code = _mm512_and_si512(lane, _mm512_set1_epi32((1 << (t->layout.bits & 7)) - 1));
  l->scale = vf_set(scale);
  l->zero = vf_set(zero);
  l->minimum = t->layout.zero == QTK_ZERO_MIN;
  l->book = t->layout.encoding == QTK_CODEBOOK ? t->table : NULL;
  l->table = l->scale;
  if (t->layout.bits == 8)
    return;
  if (l->book)
    l->table = vf_mul(l->scale, _mm512_i32gather_ps(code, l->book, 4));
  else
    l->table = levels_affine(l, _mm512_cvtepi32_ps(code));
}

static inline vf levels_byte(const struct levels *l, __m512i code)
{
  if (l->book)
    return vf_mul(l->scale, _mm512_i32gather_ps(code, l->book, 4));
  return levels_affine(l, _mm512_cvtepi32_ps(code));
}

/* The 2-bit fields of 8 bytes: fields `first` and `first` + 1 of each, 0 .. 3. */
static inline __m512i levels_pairs(__m128i bytes, int first)
{
  __m512i twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi64(bytes, bytes));
  __m512i shift = _mm512_mask_blend_epi32(0xff00, _mm512_set1_epi32(2 * first),
                                          _mm512_set1_epi32(2 * first + 2));
  return _mm512_srlv_epi32(twice, shift);
}

/* The 32 floats of a chunk of `bits` (a constant where it is called). */
static inline __attribute__((always_inline)) void levels_chunk(const struct levels *l, int bits,
                                                               const uint8_t *packed, vf out[2])
{
  if (bits == 8) {
    out[0] = levels_byte(l, _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed)));
    out[1] = levels_byte(l, _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed + 1)));
  } else if (bits == 4) {
    __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed));
    out[0] = _mm512_permutexvar_ps(code, l->table); /* the low 4 bits of an index count */
    out[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(code, 4), l->table);
  } else {
    const __m512i three = _mm512_set1_epi32(3), four = _mm512_set1_epi32(4);
    __m128i bytes = _mm_loadl_epi64((const __m128i *)packed);
    __m512i lo = levels_pairs(bytes, 0), hi = levels_pairs(bytes, 2);
    if (bits == 3) {
      uint32_t high;
      __builtin_memcpy(&high, packed + 8, 4);
      lo = _mm512_and_si512(lo, three);
      hi = _mm512_and_si512(hi, three);
      lo = _mm512_mask_or_epi32(lo, (__mmask16)high, lo, four);
      hi = _mm512_mask_or_epi32(hi, (__mmask16)(high >> 16), hi, four);
    }
    out[0] = _mm512_permutexvar_ps(lo, l->table); /* 2 bits: the table repeats every 4 */
    out[1] = _mm512_permutexvar_ps(hi, l->table);
  }
}

#endif
