/* SPDX-License-Identifier: BSD-3-Clause
 * Products of packed panels, in plain C with sums in double. */
#include "../declare.h"

#define MR 4
#define NR 8

void cpu_generic_tile(int *mr, int *nr)
{
  *mr = MR;
  *nr = NR;
}

static void gemm_tile(int64_t k, const float *a, const float *b, double acc[MR][NR])
{
  for (int i = 0; i < MR; i++)
    for (int j = 0; j < NR; j++)
      acc[i][j] = 0;
  for (int64_t p = 0; p < k; p++, a += MR, b += NR)
    for (int i = 0; i < MR; i++)
      for (int j = 0; j < NR; j++)
        acc[i][j] += (double)a[i] * (double)b[j];
}

void cpu_generic_gemm(int64_t k, int64_t m, int64_t n, const float *a, const float *b, float *c,
                      int64_t ldc, int accumulate)
{
  for (int64_t i0 = 0; i0 < m; i0 += MR, a += k * MR) {
    double acc[MR][NR];
    int64_t rows = m - i0 < MR ? m - i0 : MR;
    gemm_tile(k, a, b, acc);
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < n; j++) {
        float *out = &c[(i0 + i) * ldc + j];
        *out = (float)(accumulate ? (double)*out + acc[i][j] : acc[i][j]);
      }
  }
}

void cpu_generic_pack_rows(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha,
                           const float *x, int64_t ld, float *out)
{
  for (int64_t p = 0; p < k; p++, out += stride) {
    for (int64_t i = 0; i < n; i++)
      out[i] = alpha * x[i * ld + p];
    for (int64_t i = n; i < width; i++)
      out[i] = 0;
  }
}

void cpu_generic_pack_cols(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha,
                           const float *x, int64_t ld, float *out)
{
  for (int64_t p = 0; p < k; p++, x += ld, out += stride) {
    for (int64_t i = 0; i < n; i++)
      out[i] = alpha * x[i];
    for (int64_t i = n; i < width; i++)
      out[i] = 0;
  }
}
