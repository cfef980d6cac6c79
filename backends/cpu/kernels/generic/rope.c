/* SPDX-License-Identifier: BSD-3-Clause
 * Rotary positions of one head. */
#include "../declare.h"

void cpu_generic_rope(enum qtk_rope_style style, int64_t dims, const float *cosine,
                      const float *sine, float *x)
{
  int64_t half = dims / 2;
  int64_t step = style == QTK_ROPE_HALVES ? 1 : 2, other = style == QTK_ROPE_HALVES ? half : 1;

  for (int64_t i = 0; i < half; i++) {
    float a = x[i * step], b = x[i * step + other];
    x[i * step] = a * cosine[i] - b * sine[i];
    x[i * step + other] = b * cosine[i] + a * sine[i];
  }
}
