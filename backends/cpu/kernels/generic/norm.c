/* SPDX-License-Identifier: BSD-3-Clause
 * Norms of a row. */
#include <math.h>

#include "../declare.h"

static void norm_stats(enum qtk_norm kind, int64_t n, const float *x, float eps, float *stats)
{
  double mean = 0, square = 0;

  if (kind == QTK_NORM_LAYER) {
    for (int64_t i = 0; i < n; i++)
      mean += (double)x[i];
    mean /= (double)n;
  }
  for (int64_t i = 0; i < n; i++)
    square += ((double)x[i] - mean) * ((double)x[i] - mean);
  stats[0] = (float)mean;
  stats[1] = (float)(1 / sqrt(square / (double)n + (double)eps));
}

void cpu_generic_norm(enum qtk_norm kind, int64_t n, const float *x, const float *weight,
                      const float *bias, float eps, float *y, float *stats)
{
  norm_stats(kind, n, x, eps, stats);
  for (int64_t i = 0; i < n; i++) {
    float value = (x[i] - stats[0]) * stats[1];
    if (weight != NULL)
      value *= weight[i];
    y[i] = bias != NULL ? value + bias[i] : value;
  }
}

/* With u = (x - mean) r and g = dy weight: dx = r (g - mean(g u) u), and with a mean
 * subtracted also - mean(g). */
void cpu_generic_norm_backward(enum qtk_norm kind, int64_t n, const float *x, const float *weight,
                               const float *stats, const float *dy, float *dx)
{
  double mean = (double)stats[0], r = (double)stats[1], g_sum = 0, gu_sum = 0;

  for (int64_t i = 0; i < n; i++) {
    double g = (double)dy[i] * (weight != NULL ? (double)weight[i] : 1);
    g_sum += g;
    gu_sum += g * ((double)x[i] - mean) * r;
  }
  if (kind == QTK_NORM_RMS)
    g_sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double g = (double)dy[i] * (weight != NULL ? (double)weight[i] : 1);
    double u = ((double)x[i] - mean) * r;
    dx[i] = (float)(r * (g - g_sum / (double)n - u * (gu_sum / (double)n)));
  }
}
