/* SPDX-License-Identifier: BSD-3-Clause
 * Softmax over long rows. */
#include <math.h>

#include "../declare.h"

float cpu_generic_max(int64_t n, const float *x)
{
  float m = x[0];

  for (int64_t i = 1; i < n; i++)
    if (x[i] > m)
      m = x[i];
  return m;
}

double cpu_generic_exp_sum(int64_t n, const float *x, float shift, float alpha, float *y)
{
  double sum = 0;

  for (int64_t i = 0; i < n; i++) {
    double e = exp((double)x[i] - (double)shift);
    sum += e;
    if (y != NULL)
      y[i] = (float)((double)alpha * e);
  }
  return sum;
}

double cpu_generic_divergence(int64_t n, const float *x, float x_max, double x_sum, const float *y,
                              float y_max, double y_sum, float alpha, float *dy)
{
  double shift = (double)x_max + log(x_sum) - ((double)y_max + log(y_sum)), sum = 0;

  for (int64_t i = 0; i < n; i++) {
    double p = exp((double)x[i] - (double)x_max) / x_sum;
    double q = exp((double)y[i] - (double)y_max) / y_sum;
    sum += p * ((double)x[i] - (double)y[i] - shift);
    if (dy != NULL)
      dy[i] = (float)((double)alpha * (q - p));
  }
  return sum;
}
