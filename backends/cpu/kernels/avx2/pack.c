/* SPDX-License-Identifier: BSD-3-Clause
 * Panels of a product: 8 x 8 blocks are transposed in registers. */
#include "vec.h"

#include "../../kernels.h"
#include "../declare.h"

static inline void pack_transpose(vf r[8])
{
  vf t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int s = 0; s < 4; s++) {
    t[s] = _mm256_permute2f128_ps(r[s], r[4 + s], 0x20);
    t[4 + s] = _mm256_permute2f128_ps(r[s], r[4 + s], 0x31);
  }
  for (int i = 0; i < 8; i++)
    r[i] = t[i];
}

/* Up to 8 rows and 8 columns of x into 8 lanes of `out`; `lanes` are written. */
static inline void pack_block(int64_t k, int64_t rows, int64_t lanes, int64_t stride, float alpha,
                              const float *x, int64_t ld, float *out)
{
  const vf a = vf_set(alpha);
  vf r[8];
  for (int i = 0; i < 8; i++) {
    vf v = vf_set(0.0f);
    if (i < rows)
      v = k >= VL ? vf_load(x + i * ld) : vf_load_n(x + i * ld, k);
    r[i] = vf_mul(v, a);
  }
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
  for (int64_t p = 0; p < k; p += VL)
    for (int64_t i = 0; i < width; i += VL)
      pack_block(k - p, n - i, width - i, stride, alpha, x + i * ld + p, ld, out + p * stride + i);
}
