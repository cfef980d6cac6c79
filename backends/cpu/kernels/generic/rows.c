/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of floats: conversions, elementwise operations, sums. */
#include "../declare.h"

void cpu_generic_from_half(enum qtk_dtype dtype, int64_t n, const uint16_t *x, float *y)
{
  (void)qtk_convert(QTK_F32, y, dtype, x, (size_t)n);
}

void cpu_generic_to_half(enum qtk_dtype dtype, int64_t n, const float *x, uint16_t *y)
{
  (void)qtk_convert(dtype, y, QTK_F32, x, (size_t)n);
}

void cpu_generic_add(int64_t n, const float *a, const float *b, float *y)
{
  for (int64_t i = 0; i < n; i++)
    y[i] = a[i] + b[i];
}

void cpu_generic_multiply(int64_t n, const float *a, const float *b, float *y)
{
  for (int64_t i = 0; i < n; i++)
    y[i] = a[i] * b[i];
}

void cpu_generic_scale(int64_t n, float alpha, const float *x, float *y)
{
  for (int64_t i = 0; i < n; i++)
    y[i] = alpha * x[i];
}

void cpu_generic_axpy(int64_t n, float alpha, const float *x, float *y)
{
  for (int64_t i = 0; i < n; i++)
    y[i] += alpha * x[i];
}

double cpu_generic_dot(int64_t n, const float *x, const float *y)
{
  double sum = 0;

  for (int64_t i = 0; i < n; i++)
    sum += (double)x[i] * (double)y[i];
  return sum;
}

#define SUM_COLUMNS 64

static void rows_sum_block(int64_t rows, int64_t n, const float *x, int64_t ld, const float *z,
                           int64_t ldz, float *y)
{
  double sum[SUM_COLUMNS];

  for (int64_t j = 0; j < n; j++)
    sum[j] = 0;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < n; j++)
      sum[j] += z == NULL ? (double)x[i * ld + j] : (double)x[i * ld + j] * (double)z[i * ldz + j];
  for (int64_t j = 0; j < n; j++)
    y[j] = (float)((double)y[j] + sum[j]);
}

void cpu_generic_sum_rows(int64_t rows, int64_t n, const float *x, int64_t ld, const float *z,
                          int64_t ldz, float *y)
{
  for (int64_t j = 0; j < n; j += SUM_COLUMNS)
    rows_sum_block(rows, n - j < SUM_COLUMNS ? n - j : SUM_COLUMNS, x + j, ld,
                   z == NULL ? NULL : z + j, ldz, y + j);
}
