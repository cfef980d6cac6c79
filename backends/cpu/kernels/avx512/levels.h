/* SPDX-License-Identifier: BSD-3-Clause
 * Codes of a group to floats: up to 4 bits by one permutation of the group's
 * levels. Each level is computed as the plain kernel computes it. */
#ifndef CPU_AVX512_LEVELS_H
#define CPU_AVX512_LEVELS_H

#include "vec.h"

#include <qtk/tensor.h>

struct levels {
  vf code, more;   /* up to 4 bits: codes by lane, or what the book has there */
  vf table, above; /* and their levels: lane mod 2^bits; 3 bits: mod 4, and 4 more */
  vf scale, zero;  /* 8 bits */
  int minimum;     /* w = scale q + zero */
  const float *book;
};

static inline vf levels_affine(const struct levels *l, vf q)
{
  return l->minimum ? vf_add(vf_mul(l->scale, q), l->zero) : vf_mul(l->scale, vf_sub(q, l->zero));
}

static inline vf levels_codes(const struct levels *l, __m512i code)
{
  return l->book != NULL ? _mm512_i32gather_ps(code, l->book, 4) : _mm512_cvtepi32_ps(code);
}

static inline __attribute__((always_inline)) void levels_open(struct levels *l,
                                                              const struct qtk_qtensor *t)
{
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i code = _mm512_and_si512(lane, _mm512_set1_epi32(t->layout.bits == 4 ? 15 : 3));

  l->minimum = t->layout.zero == QTK_ZERO_MIN;
  l->book = t->layout.encoding == QTK_CODEBOOK ? t->table : NULL;
  l->code = l->more = l->table = l->above = levels_codes(l, code);
  if (t->layout.bits == 3)
    l->more = levels_codes(l, _mm512_add_epi32(code, _mm512_set1_epi32(4)));
}

static inline vf levels_of(const struct levels *l, vf code)
{
  return l->book != NULL ? vf_mul(l->scale, code) : levels_affine(l, code);
}

static inline __attribute__((always_inline)) void levels_group(struct levels *l, int bits,
                                                               float scale, float zero)
{
  l->scale = vf_set(scale);
  l->zero = vf_set(zero);
  if (bits != 8)
    l->table = levels_of(l, l->code);
  if (bits == 3)
    l->above = levels_of(l, l->more);
}

static inline vf levels_byte(const struct levels *l, __m512i code)
{
  if (l->book != NULL)
    return vf_mul(l->scale, _mm512_i32gather_ps(code, l->book, 4));
  return levels_affine(l, _mm512_cvtepi32_ps(code));
}

/* Codes of a byte each; scales and zeros may differ from lane to lane. */
static inline vf levels_lanes(const struct levels *l, int bits, __m128i code)
{
  __m512i lanes = _mm512_cvtepu8_epi32(code);

  if (l->book != NULL && (bits == 2 || bits == 4))
    return vf_mul(l->scale, _mm512_permutexvar_ps(lanes, l->code));
  if (l->book != NULL && bits == 3) { /* bit 4 of an index chooses the second table */
    __m512i high = _mm512_and_si512(lanes, _mm512_set1_epi32(4));
    lanes = _mm512_or_si512(lanes, _mm512_slli_epi32(high, 2));
    return vf_mul(l->scale, _mm512_permutex2var_ps(l->code, lanes, l->more));
  }
  return levels_byte(l, lanes);
}

/* 2-bit fields of 8 bytes: of a vector, the low half holds one field of each byte, the
 * high half the next. What stands above a field does not matter: the table repeats. */
static inline __attribute__((always_inline)) void levels_pairs(const uint8_t *packed,
                                                               __m512i out[2])
{
  const __m512i low = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
  const __m512i high = _mm512_setr_epi32(4, 4, 4, 4, 4, 4, 4, 4, 6, 6, 6, 6, 6, 6, 6, 6);
  __m128i bytes = _mm_loadl_epi64((const __m128i *)packed);
  __m512i twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi64(bytes, bytes));

  out[0] = _mm512_srlv_epi32(twice, low);
  out[1] = _mm512_srlv_epi32(twice, high);
}

/* The 32 floats of a chunk of `bits` (a constant where it is called). A permutation
 * takes the low 4 bits of an index. */
static inline __attribute__((always_inline)) void levels_chunk(const struct levels *l, int bits,
                                                               const uint8_t *packed, vf out[2])
{
  if (bits == 8) {
    out[0] = levels_byte(l, _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed)));
    out[1] = levels_byte(l, _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed + 1)));
  } else if (bits == 4) {
    __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)packed));
    out[0] = _mm512_permutexvar_ps(code, l->table);
    out[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(code, 4), l->table);
  } else {
    __m512i code[2];
    levels_pairs(packed, code);
    out[0] = _mm512_permutexvar_ps(code[0], l->table);
    out[1] = _mm512_permutexvar_ps(code[1], l->table);
    if (bits == 3) {
      uint32_t high;
      __builtin_memcpy(&high, packed + 8, 4);
      out[0] = _mm512_mask_permutexvar_ps(out[0], (__mmask16)high, code[0], l->above);
      out[1] = _mm512_mask_permutexvar_ps(out[1], (__mmask16)(high >> 16), code[1], l->above);
    }
  }
}

#endif
