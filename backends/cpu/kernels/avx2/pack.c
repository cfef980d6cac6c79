/* SPDX-License-Identifier: BSD-3-Clause
 * Panels of a product: blocks of 8 columns of 8 or 4 rows are transposed in
 * registers. */
#include "vec.h"

#include "../declare.h"

/* Within each half of the vectors, 4 x 4 floats: r[4 h + s] comes to hold columns s,
 * s + 4 of rows 4 h .. 4 h + 3. */
static inline __attribute__((always_inline)) void pack_halves(vf *r, int rows)
{
#pragma GCC unroll 2
  for (int h = 0; h < rows; h += 4) {
    vf a = _mm256_unpacklo_ps(r[h], r[h + 1]), b = _mm256_unpacklo_ps(r[h + 2], r[h + 3]);
    vf c = _mm256_unpackhi_ps(r[h], r[h + 1]), d = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
    r[h] = _mm256_shuffle_ps(a, b, 0x44);
    r[h + 1] = _mm256_shuffle_ps(a, b, 0xee);
    r[h + 2] = _mm256_shuffle_ps(c, d, 0x44);
    r[h + 3] = _mm256_shuffle_ps(c, d, 0xee);
  }
}

static inline __attribute__((always_inline)) void pack_transpose(vf r[8])
{
  pack_halves(r, 8);
#pragma GCC unroll 4
  for (int s = 0; s < 4; s++) {
    vf low = r[s], high = r[4 + s];
    r[s] = _mm256_permute2f128_ps(low, high, 0x20);
    r[4 + s] = _mm256_permute2f128_ps(low, high, 0x31);
  }
}

static void pack_8(int64_t stride, vf alpha, const float *x, int64_t ld, float *out)
{
  vf r[8];

#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
    r[i] = vf_mul(vf_load(x + i * ld), alpha);
  pack_transpose(r);
#pragma GCC unroll 8
  for (int p = 0; p < 8; p++)
    vf_store(out + p * stride, r[p]);
}

static void pack_4(int64_t stride, vf alpha, const float *x, int64_t ld, float *out)
{
  vf r[4];

#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
    r[i] = vf_mul(vf_load(x + i * ld), alpha);
  pack_halves(r, 4);
#pragma GCC unroll 4
  for (int s = 0; s < 4; s++) {
    _mm_storeu_ps(out + s * stride, _mm256_castps256_ps128(r[s]));
    _mm_storeu_ps(out + (s + 4) * stride, _mm256_extractf128_ps(r[s], 1));
  }
}

/* A block at an edge: k < 8 columns, or not all of the rows. */
static void pack_edge(int64_t k, int64_t rows, int64_t lanes, int64_t stride, vf alpha,
                      const float *x, int64_t ld, float *out)
{
  vf r[8];

  for (int i = 0; i < 8; i++)
    r[i] = i >= rows ? vf_set(0)
                     : vf_mul(k >= VL ? vf_load(x + i * ld) : vf_load_n(x + i * ld, k), alpha);
  pack_transpose(r);
  for (int p = 0; p < 8 && p < k; p++)
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
        pack_8(stride, a, x + p, ld, out + p * stride);
      else if (k - p >= VL && n - i == 4 && width - i == 4)
        pack_4(stride, a, x + p, ld, out + p * stride);
      else
        pack_edge(k - p, n - i, width - i, stride, a, x + p, ld, out + p * stride);
}
