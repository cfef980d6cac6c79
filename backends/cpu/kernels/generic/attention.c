/* SPDX-License-Identifier: BSD-3-Clause
 * The inner loops of attention. */
#include <math.h>

#include "../declare.h"

static float attention_load(const void *rows, enum qtk_dtype dtype, int64_t i)
{
  return dtype == QTK_F32 ? ((const float *)rows)[i] : qtk_f16_to_f32(((const uint16_t *)rows)[i]);
}

void cpu_generic_row_dots(int64_t rows, int64_t n, float alpha, const float *x, const void *k,
                          enum qtk_dtype dtype, int64_t ld, float *y)
{
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
      sum += (double)x[j] * (double)attention_load(k, dtype, r * ld + j);
    y[r] = (float)((double)alpha * sum);
  }
}

void cpu_generic_row_sums(int64_t rows, int64_t n, const float *p, const void *v,
                          enum qtk_dtype dtype, int64_t ld, float *y)
{
  for (int64_t j = 0; j < n; j++) {
    double sum = (double)y[j];
    for (int64_t r = 0; r < rows; r++)
      sum += (double)p[r] * (double)attention_load(v, dtype, r * ld + j);
    y[j] = (float)sum;
  }
}

/* One query: a column of s. */
static void attention_column(int64_t rows, int64_t width, float *s, float *max, float *sum,
                             float *factor)
{
  float m = *max;
  double total = 0;

  for (int64_t r = 0; r < rows; r++)
    if (s[r * width] > m)
      m = s[r * width];
  for (int64_t r = 0; r < rows; r++) {
    double p = m == -INFINITY ? 0 : exp((double)s[r * width] - (double)m);
    s[r * width] = (float)p;
    total += p;
  }
  *factor = m == -INFINITY ? 1 : (float)exp((double)*max - (double)m);
  *sum = (float)((double)*sum * (double)*factor + total);
  *max = m;
}

int cpu_generic_softmax_step(int64_t rows, int64_t width, float *s, float *max, float *sum,
                             float *factor)
{
  int changed = 0;

  for (int64_t j = 0; j < width; j++) {
    attention_column(rows, width, s + j, max + j, sum + j, factor + j);
    changed |= factor[j] != 1;
  }
  return changed;
}

void cpu_generic_softmax_gradient(int64_t rows, int64_t width, float *s, const float *dp,
                                  const float *lse, const float *delta, int by_row, float *p)
{
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < width; j++) {
      int64_t i = r * width + j, q = by_row ? r : j;
      double value = exp((double)s[i] - (double)lse[q]);
      if (p != NULL)
        p[i] = (float)value;
      s[i] = (float)(value * ((double)dp[i] - (double)delta[q]));
    }
}
