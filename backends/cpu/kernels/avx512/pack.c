/* SPDX-License-Identifier: BSD-3-Clause
 * Panels of a product: blocks of 16 columns of 16 or 8 rows are transposed in
 * registers. */
#include "vec.h"

#include "../declare.h"

/* Within each quarter of the vectors, 4 x 4 floats: r[4 q + s] comes to hold columns
 * s, s + 4, s + 8, s + 12 of rows 4 q .. 4 q + 3. */
static inline __attribute__((always_inline)) void pack_quarters(vf *r, int rows)
{
#pragma GCC unroll 4
  for (int q = 0; q < rows; q += 4) {
    __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[q], r[q + 1]));
    __m512d b = _mm512_castps_pd(_mm512_unpacklo_ps(r[q + 2], r[q + 3]));
    __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(r[q], r[q + 1]));
    __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[q + 2], r[q + 3]));
    r[q] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
    r[q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    r[q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
    r[q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
  }
}

/* Column s + 4 p becomes r[s + 4 p]. */
static inline __attribute__((always_inline)) void pack_transpose(vf r[16])
{
  pack_quarters(r, 16);
#pragma GCC unroll 4
  for (int s = 0; s < 4; s++) {
    vf a = _mm512_shuffle_f32x4(r[s], r[4 + s], 0x88);
    vf b = _mm512_shuffle_f32x4(r[s], r[4 + s], 0xdd);
    vf c = _mm512_shuffle_f32x4(r[8 + s], r[12 + s], 0x88);
    vf d = _mm512_shuffle_f32x4(r[8 + s], r[12 + s], 0xdd);
    r[s] = _mm512_shuffle_f32x4(a, c, 0x88);
    r[4 + s] = _mm512_shuffle_f32x4(b, d, 0x88);
    r[8 + s] = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[12 + s] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

/* 16 columns of 16 rows. */
static void pack_16(int64_t stride, vf alpha, const float *x, int64_t ld, float *out)
{
  vf r[16];

#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    r[i] = vf_mul(vf_load(x + i * ld), alpha);
  pack_transpose(r);
#pragma GCC unroll 16
  for (int p = 0; p < 16; p++)
    vf_store(out + p * stride, r[p]);
}

/* 16 columns of 8 rows. */
static void pack_8(int64_t stride, vf alpha, const float *x, int64_t ld, float *out)
{
  vf r[8];

#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
    r[i] = vf_mul(vf_load(x + i * ld), alpha);
  pack_quarters(r, 8);
#pragma GCC unroll 4
  for (int s = 0; s < 4; s++) {
#define PACK_COLUMN(p)                                                        \
  _mm_storeu_ps(out + (s + 4 * p) * stride, _mm512_extractf32x4_ps(r[s], p)); \
  _mm_storeu_ps(out + (s + 4 * p) * stride + 4, _mm512_extractf32x4_ps(r[4 + s], p));
    PACK_COLUMN(0)
    PACK_COLUMN(1)
    PACK_COLUMN(2)
    PACK_COLUMN(3)
#undef PACK_COLUMN
  }
}

/* A block at an edge: k < 16 columns, or not all of the rows. */
static void pack_edge(int64_t k, int64_t rows, int64_t lanes, int64_t stride, vf alpha,
                      const float *x, int64_t ld, float *out)
{
  vf r[16];

  for (int i = 0; i < 16; i++)
    r[i] = i >= rows ? vf_set(0)
                     : vf_mul(k >= VL ? vf_load(x + i * ld) : vf_load_n(x + i * ld, k), alpha);
  pack_transpose(r);
  for (int p = 0; p < 16 && p < k; p++)
    if (lanes >= VL)
      vf_store(out + p * stride, r[p]);
    else
      vf_store_n(out + p * stride, r[p], lanes);
}

void K(pack_rows)(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha, const float *x,
                  int64_t ld, float *out)
{
  const vf a = vf_set(alpha);

  for (int64_t i = 0; i < width; i += VL, x += VL * ld, out += VL)
    for (int64_t p = 0; p < k; p += VL)
      if (k - p >= VL && n - i >= VL)
        pack_16(stride, a, x + p, ld, out + p * stride);
      else if (k - p >= VL && n - i == 8 && width - i == 8)
        pack_8(stride, a, x + p, ld, out + p * stride);
      else
        pack_edge(k - p, n - i, width - i, stride, a, x + p, ld, out + p * stride);
}

static void pack_cols_8(int64_t k, int64_t stride, float alpha, const float *x, int64_t ld,
                        float *out)
{
  const __m256 a = _mm256_set1_ps(alpha);

  for (int64_t p = 0; p < k; p++, x += ld, out += stride)
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_loadu_ps(x), a));
}

void K(pack_cols)(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha, const float *x,
                  int64_t ld, float *out)
{
  const vf a = vf_set(alpha);

  if (n == 8 && width == 8) {
    pack_cols_8(k, stride, alpha, x, ld, out);
    return;
  }
  for (int64_t p = 0; p < k; p++, x += ld, out += stride)
    for (int64_t i = 0; i < width; i += VL) {
      int64_t left = n - i;
      vf v = left >= VL ? vf_load(x + i) : left > 0 ? vf_load_n(x + i, left) : vf_set(0);
      if (width - i >= VL)
        vf_store(out + i, vf_mul(v, a));
      else
        vf_store_n(out + i, vf_mul(v, a), width - i);
    }
}
