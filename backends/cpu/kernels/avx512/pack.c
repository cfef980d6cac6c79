/* SPDX-License-Identifier: BSD-3-Clause
 * Panels of a product: 16 x 16 blocks are transposed in registers. */
#include "vec.h"

#include "../../kernels.h"
#include "../declare.h"

/* Lanes 4 b .. of rows r, r + 4, ... : two rounds of unpacking, two of shuffling. */
static inline void pack_transpose(vf r[16])
{
  vf t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 2]);
    __m512d c = _mm512_castps_pd(t[i + 1]), d = _mm512_castps_pd(t[i + 3]);
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
  }
  /* r[4 q + s] now holds columns s, s + 4, s + 8, s + 12 of rows 4 q .. 4 q + 3. */
  for (int s = 0; s < 4; s++) {
    t[s] = _mm512_shuffle_f32x4(r[s], r[4 + s], 0x88);
    t[4 + s] = _mm512_shuffle_f32x4(r[s], r[4 + s], 0xdd);
    t[8 + s] = _mm512_shuffle_f32x4(r[8 + s], r[12 + s], 0x88);
    t[12 + s] = _mm512_shuffle_f32x4(r[8 + s], r[12 + s], 0xdd);
  }
  for (int s = 0; s < 4; s++) {
    r[s] = _mm512_shuffle_f32x4(t[s], t[8 + s], 0x88);
    r[8 + s] = _mm512_shuffle_f32x4(t[s], t[8 + s], 0xdd);
    r[4 + s] = _mm512_shuffle_f32x4(t[4 + s], t[12 + s], 0x88);
    r[12 + s] = _mm512_shuffle_f32x4(t[4 + s], t[12 + s], 0xdd);
  }
}

/* Up to 16 rows and 16 columns of x into 16 lanes of `out`; `lanes` are written. */
static inline void pack_block(int64_t k, int64_t rows, int64_t lanes, int64_t stride, float alpha,
                              const float *x, int64_t ld, float *out)
{
  const vf a = vf_set(alpha);
  vf r[16];
  for (int i = 0; i < 16; i++) {
    vf v = vf_set(0.0f);
    if (i < rows)
      v = k >= VL ? vf_load(x + i * ld) : vf_load_n(x + i * ld, k);
    r[i] = vf_mul(v, a);
  }
  pack_transpose(r);
  const __mmask16 mask = lanes >= VL ? (__mmask16)0xffff : vf_mask(lanes);
  for (int p = 0; p < 16 && p < k; p++)
    _mm512_mask_storeu_ps(out + p * stride, mask, r[p]);
}

void K(pack_rows)(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha, const float *x,
                  int64_t ld, float *out)
{
  for (int64_t p = 0; p < k; p += VL)
    for (int64_t i = 0; i < width; i += VL)
      pack_block(k - p, n - i, width - i, stride, alpha, x + i * ld + p, ld, out + p * stride + i);
}

void K(pack_cols)(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha, const float *x,
                  int64_t ld, float *out)
{
  const vf a = vf_set(alpha);
  for (int64_t p = 0; p < k; p++)
    for (int64_t i = 0; i < width; i += VL) {
      int64_t left = n - i, lanes = width - i;
      vf v = vf_set(0.0f);
      if (left > 0)
        v = left >= VL ? vf_load(x + p * ld + i) : vf_load_n(x + p * ld + i, left);
      v = vf_mul(v, a);
      if (lanes >= VL)
        vf_store(out + p * stride + i, v);
      else
        vf_store_n(out + p * stride + i, v, lanes);
    }
}
