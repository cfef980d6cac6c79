/* SPDX-License-Identifier: BSD-3-Clause
 * Rounding to a group's grid, and its slopes.
 *
 *   what = s (q - z) + m    q = clamp (rint ((w - m) / s) + z, 0, top)
 *
 * z is a whole number and m is 0, or z is 0 and m = s mu moves with the scale. Straight
 * through the rounding, with q before it is clamped:
 *
 *   q             dwhat/dw   dwhat/ds
 *   in 0 .. top   1          q - z + mu - w / s
 *   below 0       0          -z + mu
 *   above top     0          top - z + mu */
#ifndef QAT_GRID_H
#define QAT_GRID_H

#include <qtk/tensor.h>

struct qat_grid {
  float scale, zero, min, top;
};

static inline struct qat_grid qat_grid(const struct qtk_qtensor *t, int64_t row, int64_t group)
{
  struct qat_grid g = {.scale = qtk_get_scale(t, row, group),
                       .top = (float)((1 << t->layout.bits) - 1)};

  if (t->layout.zero == QTK_ZERO_MIN)
    g.min = qtk_get_min(t, row, group);
  else
    g.zero = t->layout.zero == QTK_ZERO_INT ? (float)qtk_get_zero(t, row, group)
                                            : (float)(1 << (t->layout.bits - 1));
  return g;
}

#ifndef QAT_RINT
#define QAT_RINT(x) (((x) + 12582912.0f) - 12582912.0f) /* of |x| < 2^22, ties to even */
#endif
#define QAT_FAR 1e6f /* further out nothing is told apart */

static inline float qat_between(float x, float low, float high)
{
  float least = x > low ? x : low; /* low for what is no number */

  return least < high ? least : high;
}

/* The code before it is clamped. */
static inline float qat_reach(const struct qat_grid *g, float w)
{
  return QAT_RINT(qat_between((w - g->min) / g->scale, -QAT_FAR, QAT_FAR)) + g->zero;
}

static inline float qat_code(const struct qat_grid *g, float w)
{
  return qat_between(qat_reach(g, w), 0.0f, g->top);
}

/* A group whose scale is 0 is 0 whatever its weights. */
static inline void qat_slopes(const struct qat_grid *g, float w, float *dw, float *ds)
{
  float reach = qat_reach(g, w), q = qat_between(reach, 0.0f, g->top);
  int inside = reach == q;

  *dw = inside && g->scale != 0.0f ? 1.0f : 0.0f;
  *ds = g->scale == 0.0f ? 0.0f : q - g->zero + (g->min - (inside ? w : 0.0f)) / g->scale;
}

#endif
