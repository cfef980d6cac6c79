/* SPDX-License-Identifier: BSD-3-Clause
 * A step of AdamW. */
#include <math.h>

#include "../declare.h"

void cpu_generic_adamw(const struct qtk_adamw *a, int64_t n, const float *g, float *m, float *v,
                       float *value)
{
  double correct_m = 1 - pow(a->beta1, (double)a->step);
  double correct_v = 1 - pow(a->beta2, (double)a->step);

  for (int64_t i = 0; i < n; i++) {
    double gi = (double)g[i], w = (double)value[i];
    double mi = a->beta1 * (double)m[i] + (1 - a->beta1) * gi;
    double vi = a->beta2 * (double)v[i] + (1 - a->beta2) * gi * gi;
    double step = mi / correct_m / (sqrt(vi / correct_v) + a->epsilon) + a->decay * w;
    m[i] = (float)mi;
    v[i] = (float)vi;
    value[i] = (float)(w - a->learning_rate * step);
  }
}
